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

from mdmsim.chance import Chance
from mdmsim.clock import DAY, WallClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import (
    certificates_from_pem,
    identity_from_pem,
    identity_to_pem,
    not_after_ms,
    to_pem,
)
from mdmsim.pki.keys import FreshKeys
from mdmsim.pki.push_certificate import PushRights, is_push_certificate, push_rights
from mdmsim.pki.push_request import read_push_request
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
        (("--out", "/nowhere/push.pem"), "--out: /nowhere/push.pem: there is no folder /nowhere. Make it"),
        (("--out", "new.pem", "--environment", "staging"), "staging"),
        (("--out", "new.pem", "--days", "0"), "--days 0: it would have ended when it is made"),
        (("--out", "new.pem", "--topic", "a" * 256), "--topic"),
        (("--out", "new.pem", "--topic", "a", "--also", ""), '--also "": not a topic. Write 1 to 255 characters'),
        (("--out", "FILE/new.pem"), "--out: FILE/new.pem: there is no folder FILE"),
        (("--out", "/proc/new.pem"), "--out /proc/new.pem: cannot be written"),
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


# vendor-signed requests, and the portal that takes them


def asked(facts: dict[str, Any], path: str, request: Path) -> httpx.Response:
    headers = {"Authorization": f"Bearer {facts['admin_key']}"}
    url = f"{facts['admin_url']}/portal/certificates{path}"
    return httpx.post(url, content=request.read_bytes(), headers=headers, trust_env=False)


@pytest.mark.live
def test_from_a_request_to_a_push_and_through_a_renewal(mdmsim: CommandLine, tmp_path: Path) -> None:
    """What an administrator does once a year, against a fake that is restarted in between."""
    options = ("--portal", tmp_path / "portal.json", "--ca-file", tmp_path / "ca.pem", "--json")
    made: dict[str, Any] = {}
    for round_ in ("create", "renew"):
        request, key, push = (tmp_path / f"{round_}.{kind}" for kind in ("b64", "key", "pem"))
        assert mdmsim("apns", "vendor-request", "--key-out", key, "--out", request).code == 0
        assert key.stat().st_mode & 0o777 == 0o600
        with process("apns", *options) as running:
            assert running.stdout is not None
            facts = json.loads(running.stdout.readline())
            answer = asked(facts, f"/{made['id']}/renew" if made else "", request)
            assert answer.status_code == 201, answer.text
            before, made = made, answer.json()
            assert before.get("topic") in (None, made["topic"])
            headers = {"Authorization": f"Bearer {facts['admin_key']}"}
            url = f"{facts['admin_url']}/portal/certificates/{made['id']}"
            push.write_bytes(httpx.get(url, headers=headers, trust_env=False).content + key.read_bytes())
            trust = ("--ca", tmp_path / "ca.pem")
            assert mdmsim("doctor", "--push", facts["url"], *trust, "--certificate", push).code == 0


@pytest.mark.live
def test_a_portal_may_believe_one_vendor_only(mdmsim: CommandLine, tmp_path: Path) -> None:
    vendor, ca = tmp_path / "vendor.pem", tmp_path / "vendor-ca.pem"
    root = Authority.create("Vendors", keys=FreshKeys(), clock=WallClock(), chance=Chance(1))
    vendor.write_bytes(identity_to_pem(root.client_identity("Acme MDM")))
    ca.write_bytes(to_pem(root.certificate))
    ours, foreign = tmp_path / "ours.b64", tmp_path / "foreign.b64"
    assert (
        mdmsim("apns", "vendor-request", "--vendor", vendor, "--key-out", tmp_path / "1.key", "--out", ours).code == 0
    )
    assert mdmsim("apns", "vendor-request", "--key-out", tmp_path / "2.key", "--out", foreign).code == 0
    with process("apns", "--vendor-ca", ca, "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert asked(facts, "", ours).json()["vendor"] == "Acme MDM"
        refused = asked(facts, "", foreign)
    assert refused.status_code == 400
    assert "does not come from CN=Vendors" in refused.json()["error"]


@pytest.mark.live
@pytest.mark.parametrize(("options", "status"), [((), 400), (("--sha1-requests",), 201)])
def test_old_signatures_are_a_switch(
    mdmsim: CommandLine, tmp_path: Path, options: tuple[str, ...], status: int
) -> None:
    words = ("--digest", "sha1", "--key-out", tmp_path / "key", "--out", tmp_path / "request")
    assert mdmsim("apns", "vendor-request", *words).code == 0
    with process("apns", *options, "--json") as running:
        assert running.stdout is not None
        assert asked(json.loads(running.stdout.readline()), "", tmp_path / "request").status_code == status


@pytest.mark.interop
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_a_request_of_openssls_is_signed(mdmsim: CommandLine, tmp_path: Path, form: str) -> None:
    words = [
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        "key",
        "-out",
        "csr",
        "-outform",
        form,
    ]
    subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)
    assert mdmsim("apns", "vendor-request", "--csr", tmp_path / "csr", "--out", tmp_path / "request").code == 0
    signed = read_push_request((tmp_path / "request").read_bytes(), now_ms=WallClock().now_ms())
    assert signed.vendor == "mdmsim MDM vendor"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--out", "new"), "either --csr FILE, or --key-out FILE"),
        (("--out", "new", "--csr", "a", "--key-out", "b"), "either --csr FILE, or --key-out FILE"),
        (("--out", "FILE", "--key-out", "k"), "--out FILE: is there already"),
        (("--out", "new", "--key-out", "FILE"), "--key-out FILE: is there already"),
        (("--out", "new", "--csr", "/nowhere"), "--csr /nowhere: "),
        (("--out", "new", "--key-out", "new"), "--key-out and --out: both would write new"),
        (("--out", "new", "--key-out", "./new"), "--key-out and --out: both would write"),
        (("--out", "/nowhere/r", "--key-out", "k"), "--out: /nowhere/r: there is no folder /nowhere"),
        (("--out", "new", "--csr", "FILE"), "--csr FILE: not a PKCS#10 request. Name a PKCS #10 request, as"),
        (("--out", "new", "--key-out", "k", "--vendor", "FILE"), "--vendor FILE: "),
    ],
)
def test_a_wrong_request_is_named(
    mdmsim: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("precious")
    ended = mdmsim("apns", "vendor-request", *arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert says in ended.err
    assert [file.name for file in tmp_path.iterdir()] == ["FILE"]


def test_a_certificate_is_not_taken_for_a_request(mdmsim: CommandLine, tmp_path: Path) -> None:
    mdmsim("apns", "certificate", "--out", tmp_path / "push.pem")
    ended = mdmsim("apns", "vendor-request", "--csr", tmp_path / "push.pem", "--out", tmp_path / "request")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "push.pem: it holds a certificate, and no certificate request. Name a PKCS #10 request" in ended.err


def test_a_request_that_cannot_be_written_is_told_with_a_way_out(mdmsim: CommandLine, tmp_path: Path) -> None:
    ended = mdmsim("apns", "vendor-request", "--key-out", tmp_path / "key", "--out", "/proc/request")
    assert (ended.code, ended.err.partition(": cannot be written (")[0]) == (2, "--out /proc/request")
    assert ended.err.endswith("Name another file.\n")
    assert (tmp_path / "key").exists()  # nothing of it was overwritten, and it may be removed


@pytest.mark.parametrize("words", [("apns", "--certificate"), ("up", "--only", "apns", "--push-certificate")])
def test_a_push_certificate_that_is_none_is_told_with_its_option(
    mdmsim: CommandLine, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "zero").write_bytes(bytes(100))
    ended = mdmsim(*words, tmp_path / "zero")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f'{words[-1]} {tmp_path}/zero: no "BEGIN CERTIFICATE" block in it. Name a PEM file')


def test_a_servers_certificate_is_no_push_certificate(mdmsim: CommandLine, tmp_path: Path) -> None:
    root = Authority.create("Some CA", keys=FreshKeys(), clock=WallClock(), chance=Chance(1))
    (tmp_path / "ca.pem").write_bytes(to_pem(root.certificate))
    ended = mdmsim("apns", "--certificate", tmp_path / "ca.pem")
    assert ended.code == 2
    assert "its certificate names no topic, so it is no push certificate" in ended.err
