"""An unmodified NanoMDM, led to `mdmsim up` by the lines that it printed, and by nothing else."""

from __future__ import annotations

import json
import plistlib
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mdmsim.cli.entry import run
from tests.cli.commands import process
from tests.interop.nanomdm import API_KEY, NanoMDM, command, nanomdm
from tests.interop.needs import from_path
from tests.interop.scepserver import CHALLENGE, ScepServer, scepserver

pytestmark = [pytest.mark.interop, pytest.mark.live]

COMMAND_UUID = "8D7B9E0C-5B1C-4F0C-9C8B-0A6F2E1D3C4B"


def profile(server: NanoMDM, scep: ScepServer, topic: str) -> bytes:
    """An enrollment profile, as an administrator of NanoMDM writes one."""
    about = {"PayloadVersion": 1, "PayloadOrganization": "Acme"}
    mdm = {
        "PayloadType": "com.apple.mdm",
        "PayloadIdentifier": "acme.mdm",
        "PayloadUUID": "E2C5A0F4-0000-4000-8000-000000000001",
        "AccessRights": 8191,
        "CheckOutWhenRemoved": True,
        "IdentityCertificateUUID": "E2C5A0F4-0000-4000-8000-000000000002",
        "ServerURL": f"http://127.0.0.1:{server.port}/mdm",
        "SignMessage": True,
        "Topic": topic,
    }
    identity = {
        "PayloadType": "com.apple.security.scep",
        "PayloadIdentifier": "acme.scep",
        "PayloadUUID": "E2C5A0F4-0000-4000-8000-000000000002",
        "PayloadContent": {
            "URL": scep.url,
            "Challenge": CHALLENGE,
            "Keysize": 2048,
            "Key Type": "RSA",
            "Key Usage": 5,
            "Subject": [[["O", "Acme"]], [["CN", "device"]]],
        },
    }
    whole = {
        "PayloadType": "Configuration",
        "PayloadIdentifier": "acme",
        "PayloadUUID": "E2C5A0F4-0000-4000-8000-000000000003",
        "PayloadDisplayName": "Acme",
        "PayloadContent": [about | mdm, about | identity],
    }
    return plistlib.dumps(about | whole)


def test_nanomdm_wakes_a_device_by_what_its_recipe_says(tmp_path: Path) -> None:
    with (
        process("up", "--only", "apns,dep,proxy", "--data", tmp_path / "world", "--json") as up,
        scepserver(tmp_path / "scep") as scep,
    ):
        assert up.stdout is not None
        facts: dict[str, Any] = json.loads(up.stdout.readline())
        steps = facts["recipes"]["nanomdm"]["steps"]
        exports = dict(step.removeprefix("export ").split("=", 1) for step in steps if step.startswith("export "))
        led = {"proxy": exports["HTTPS_PROXY"], "apns_ca": Path(exports["SSL_CERT_FILE"])}
        with nanomdm(tmp_path / "nanomdm", ca=scep.ca, **led) as server:
            upload = next(step for step in steps if step.startswith("curl "))
            words = shlex.split(upload.replace("$NANOMDM_API_KEY", API_KEY).replace(":9000/", f":{server.port}/"))
            said = subprocess.run(
                [from_path("curl"), "-sS", "--noproxy", "*", *words[1:]], capture_output=True, check=True
            )
            assert json.loads(said.stdout)["topic"] == facts["apns"]["topic"]

            (tmp_path / "enroll.mobileconfig").write_bytes(profile(server, scep, facts["apns"]["topic"]))
            store = ("--store", str(tmp_path / "devices"), "--courier", facts["courier"]["url"], "--allow-http")
            assert run(["enroll", str(tmp_path / "enroll.mobileconfig"), *store, "--platform", "ios"]) == 0
            with process("connect", *store, "--listen") as device:
                assert device.stdout is not None
                udid = server.webhook.heard[0].udid
                queued = server.enqueue(udid, command(COMMAND_UUID, "DeviceInformation", {"Queries": ["UDID"]}))
                assert (queued.status, queued.push_error) == (200, None)
                assert server.webhook.answer(udid, COMMAND_UUID).status == "Acknowledged"
