"""`mdmsim apns certificate`: push certificates that servers and the fake APNs accept."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from mdmsim.clock import DAY, WallClock
from mdmsim.pki.certificate import certificates_from_pem, identity_from_pem, not_after_ms
from mdmsim.pki.push_certificate import PushRights, is_push_certificate, push_rights
from tests.cli.commands import CommandLine, process
from tests.interop.nanomdm import nanomdm

TOPIC = "com.apple.mgmt.External.0f6c6d3e-6a3c-4e0e-9d5e-0a4c0e6e3b11"


def test_it_has_the_topic_and_a_key_for_the_owner_only(mdmsim: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "push.pem"
    said = mdmsim("apns", "certificate", "--topic", TOPIC, "--out", out, "--json").json
    assert (said["file"], said["topic"], said["environments"]) == (str(out), TOPIC, ["production"])
    identity = identity_from_pem(out.read_bytes())
    assert push_rights(identity.certificate) == PushRights(TOPIC, (), True, False)
    assert identity.chain == ()  # NanoMDM keeps the last certificate of a file
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_new_topic_is_another_every_time(mdmsim: CommandLine, tmp_path: Path) -> None:
    made = [mdmsim("apns", "certificate", "--out", tmp_path / name, "--json").json["topic"] for name in "ab"]
    assert len(set(made)) == 2
    assert is_push_certificate(certificates_from_pem((tmp_path / "a").read_bytes())[0])


@pytest.mark.parametrize(
    ("environment", "production", "sandbox"),
    [("production", True, False), ("sandbox", False, True), ("both", True, True)],
)
def test_it_is_marked_for_an_environment(
    mdmsim: CommandLine, tmp_path: Path, environment: str, production: bool, sandbox: bool
) -> None:
    mdmsim("apns", "certificate", "--out", tmp_path / "push.pem", "--environment", environment)
    rights = push_rights(certificates_from_pem((tmp_path / "push.pem").read_bytes())[0])
    assert (rights.production, rights.sandbox) == (production, sandbox)


def test_it_may_list_several_topics(mdmsim: CommandLine, tmp_path: Path) -> None:
    options = ("--topic", "com.example.app", "--also", "com.example.app.voip")
    said = mdmsim("apns", "certificate", "--out", tmp_path / "push.pem", *options)
    rights = push_rights(certificates_from_pem((tmp_path / "push.pem").read_bytes())[0])
    assert rights.topics == ("com.example.app", "com.example.app.voip")
    assert "MDM servers refuse a topic that does not begin with com.apple.mgmt." in said.out


def test_it_can_have_ended(mdmsim: CommandLine, tmp_path: Path) -> None:
    mdmsim("apns", "certificate", "--out", tmp_path / "push.pem", "--days", "-1")
    ended = not_after_ms(certificates_from_pem((tmp_path / "push.pem").read_bytes())[0])
    assert ended < WallClock().now_ms() - DAY // 2


def test_old_servers_get_the_old_form_of_key(mdmsim: CommandLine, tmp_path: Path) -> None:
    mdmsim("apns", "certificate", "--out", tmp_path / "push.pem", "--key", "pkcs1")
    assert b"-----BEGIN RSA PRIVATE KEY-----" in (tmp_path / "push.pem").read_bytes()
    identity_from_pem((tmp_path / "push.pem").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--out", "FILE"), "--out FILE: is there already"),
        (("--out", "new.pem", "--topic", " "), '--topic " ": not a topic'),
        (("--out", "new.pem", "--topic", TOPIC + "x" * 60), "--topic: "),
        (("--out", "/nowhere/push.pem"), "/nowhere/"),
        (("--out", "new.pem", "--environment", "staging"), "staging"),
        ((), "--out"),
    ],
)
def test_a_mistake_is_named(
    mdmsim: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("precious")
    ended = mdmsim("apns", "certificate", *arguments)
    assert ended.code == 2
    assert says in ended.err and ended.err.count("\n") == 1
    assert (tmp_path / "FILE").read_text() == "precious"


def test_apns_without_a_subcommand_still_serves(mdmsim: CommandLine) -> None:
    with process("apns", "--json") as running:
        assert running.stdout is not None
        assert json.loads(running.stdout.readline())["url"]
    assert mdmsim("apns", "certificates").code == 2


@pytest.mark.live
def test_the_fake_accepts_it_once_it_knows_it(mdmsim: CommandLine, tmp_path: Path) -> None:
    out, other = tmp_path / "push.pem", tmp_path / "other.pem"
    for file in (out, other):
        mdmsim("apns", "certificate", "--out", file)
    with process("apns", "--certificate", out, "--ca-file", tmp_path / "ca.pem", "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert _pushed(facts, tmp_path / "ca.pem", out) == "BadDeviceToken"  # judged after the certificate
        with pytest.raises((httpx.TransportError, ssl.SSLError)):
            _pushed(facts, tmp_path / "ca.pem", other)
        admin = {"Authorization": f"Bearer {facts['admin_key']}"}
        certificate = subprocess.run(["openssl", "x509", "-in", other], capture_output=True, check=True).stdout
        assert httpx.post(f"{facts['admin_url']}/certificates", content=certificate, headers=admin).status_code == 201
        assert _pushed(facts, tmp_path / "ca.pem", other) == "BadDeviceToken"


def _pushed(facts: dict[str, Any], ca: Path, certificate: Path) -> Any:
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate)
    with httpx.Client(http2=True, verify=context, trust_env=False) as client:
        return client.post(f"{facts['url']}/3/device/{'ab' * 32}", content=b'{"mdm":"x"}').json()["reason"]


@pytest.mark.live
@pytest.mark.interop
@pytest.mark.parametrize("form", ["pkcs8", "pkcs1"])
def test_nanomdm_takes_it_for_one_of_apples(mdmsim: CommandLine, tmp_path: Path, form: str) -> None:
    out = tmp_path / "push.pem"
    mdmsim("apns", "certificate", "--topic", TOPIC, "--key", form, "--out", out)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with nanomdm(tmp_path / "db", ca=out, apns_ca=out, proxy=proxy) as server:
            url = f"http://127.0.0.1:{server.port}/v1/pushcert"
            answer = httpx.put(url, content=out.read_bytes(), auth=("nanomdm", "interop"), trust_env=False)
    assert (answer.status_code, answer.json()["topic"]) == (200, TOPIC)
