"""An unmodified NanoMDM behind `mdmsim front`: devices show client certificates, and it reads them from the header."""

from __future__ import annotations

import json
import plistlib
import signal
from pathlib import Path
from typing import Any

import pytest

from mdmsim.cli.entry import run
from tests.cli.commands import process
from tests.interop.nanomdm import command, nanomdm
from tests.interop.scepserver import scepserver
from tests.interop.test_way_in import COMMAND_UUID, profile

pytestmark = [pytest.mark.interop, pytest.mark.live]


@pytest.mark.parametrize("form", ["pem", "rfc9440"])
def test_devices_enrol_into_nanomdm_through_the_front(tmp_path: Path, form: str) -> None:
    header = {"pem": "X-Client-Cert", "rfc9440": "Client-Cert"}[form]
    with scepserver(tmp_path / "scep") as scep:
        # NanoMDM pushes nothing here: nobody answers at the proxy that it is given.
        nowhere = {"apns_ca": scep.ca, "proxy": "http://127.0.0.1:9"}
        with (
            nanomdm(tmp_path / "nanomdm", ca=scep.ca, header=header, **nowhere) as server,
            process(
                "front", f"http://127.0.0.1:{server.port}", "--client-ca", scep.ca, "--form", form, "--json"
            ) as front,
        ):
            assert front.stdout is not None
            facts: dict[str, Any] = json.loads(front.stdout.readline())
            assert facts["header"] == header
            whole = plistlib.loads(profile(server, scep, "com.apple.mgmt.External.front"))
            whole["PayloadContent"][0] |= {
                "ServerURL": f"{facts['url']}/mdm",
                "CheckInURL": f"{facts['url']}/checkin",
                "SignMessage": False,
            }
            (tmp_path / "enroll.mobileconfig").write_bytes(plistlib.dumps(whole))
            store = ("--store", str(tmp_path / "devices"), "--trust", facts["ca_file"], "--allow-http")
            assert run(["enroll", str(tmp_path / "enroll.mobileconfig"), *store, "--platform", "macos"]) == 0
            udid = server.webhook.heard[0].udid
            assert [heard.topic for heard in server.webhook.of(udid)] == ["mdm.Authenticate", "mdm.TokenUpdate"]
            server.enqueue(udid, command(COMMAND_UUID, "DeviceInformation", {"Queries": ["UDID"]}), push=False)
            assert run(["connect", *store]) == 0
            assert server.webhook.answer(udid, COMMAND_UUID).status == "Acknowledged"
            front.send_signal(signal.SIGTERM)
            assert front.wait(20) == 0
