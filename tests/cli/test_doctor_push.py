"""`mdmsim doctor --push`: one push, hop by hop; every hop is made to fail for real."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from mdmsim.chance import Chance
from mdmsim.cli.diagnosis import way
from mdmsim.cli.diagnosis.push import Answer
from mdmsim.cli.diagnosis.verdict import verdict
from mdmsim.clock import WallClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import certificates_from_pem, identity_to_pem, to_pem
from mdmsim.pki.keys import FreshKeys
from tests.cli.commands import CommandLine, Ended, process

pytestmark = pytest.mark.live

APPLE = "https://api.push.apple.com"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no trust of this machine's own."""
    for name in (
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def usual(up: dict[str, Any]) -> list[str]:
    """The CA and the certificate that are right."""
    return ["--ca", up["apns"]["ca_file"], "--certificate", up["apns"]["push_file"]]


def hops(ended: Ended) -> dict[str, dict[str, Any]]:
    return {hop["name"]: hop for hop in ended.json["hops"]}


def ends(ended: Ended, code: int, name: str) -> dict[str, Any]:
    """The hop at which the way ends, which has this name; all before it are good."""
    said = ended.json
    *before, last = said["hops"]
    assert [hop["name"] for hop in before if hop["state"] != "good"] == [], said
    assert (ended.code, said["good"], last["name"], last["state"]) == (code, False, name, "missing"), said
    assert last["do"]
    found: dict[str, Any] = last
    return found


def admin(up: dict[str, Any], method: str, path: str, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {up['apns']['admin_key']}"}
    url = f"{up['apns']['admin_url']}{path}"
    answer = httpx.request(method, url, json=body or None, headers=headers, trust_env=False)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def certificates_shown(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows with every handshake: whether the client had a certificate to show in it."""
    shown: list[bool] = []
    having: dict[int, bool] = {}
    make, handshake = way.tls_context, way.secure

    def made(ca: Path | None, identity: Any) -> Any:
        context = make(ca, identity)
        having[id(context)] = identity is not None
        return context

    def secured(target: Any, connection: Any, context: Any, allowed: Any) -> Any:
        shown.append(having[id(context)])
        return handshake(target, connection, context, allowed)

    monkeypatch.setattr(way, "tls_context", made)
    monkeypatch.setattr(way, "secure", secured)
    return shown


@contextmanager
def saying(answer: bytes) -> Iterator[int]:
    """A server that reads something, says this to its first client, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


# the whole way


@pytest.mark.parametrize("port", ["", ":2197"])
def test_a_push_goes_through_the_proxy(mdmsim: CommandLine, up: dict[str, Any], usual: list[str], port: str) -> None:
    ended = mdmsim("doctor", "--push", APPLE + port, "--proxy", up["proxy"]["url"], *usual)
    assert ended.code == 0
    told = [line.split()[1] for line in ended.out.splitlines()[:-1]]
    assert told == ["way", "name", "tcp", "proxy", "tls", "http2", "certificate", "topic", "token"]
    assert "400 BadDeviceToken, which is right for a made-up token" in ended.out
    verdict_line = ended.out.splitlines()[-1]
    assert verdict_line.startswith(
        "  ✓ a push goes all the way; what comes of an accepted one (answer.cut, answer.stalled"
    )
    assert verdict_line.endswith("was not tried: --token HEX of a device does")


def test_the_environment_of_the_recipe_is_enough(
    mdmsim: CommandLine, up: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in up["proxy"]["environment"].items():
        monkeypatch.setenv(name, value)
    ended = mdmsim("doctor", "--push", APPLE, "--certificate", up["apns"]["push_file"], "--json")
    assert ended.code == 0
    assert hops(ended)["way"]["seen"].endswith("(HTTPS_PROXY)")
    assert ended.json["not_tried"].startswith("what comes of an accepted one")


def test_a_base_url_is_reached_directly_whatever_the_proxy(
    mdmsim: CommandLine, up: dict[str, Any], usual: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{dead_port()}")
    ended = mdmsim("doctor", "--push", up["apns"]["url"], *usual, "--json")
    assert (ended.code, "proxy" in hops(ended)) == (0, False)
    assert "HTTPS_PROXY does not count for this machine, as in Go" in hops(ended)["way"]["seen"]


def test_no_proxy_is_honoured(mdmsim: CommandLine, usual: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{dead_port()}")
    monkeypatch.setenv("NO_PROXY", ".invalid")
    ended = mdmsim("doctor", "--push", "https://push.invalid", *usual, "--json")
    assert hops(ended)["way"]["seen"] == "directly to push.invalid:443: NO_PROXY names it"


def test_a_devices_token_is_accepted(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    token = admin(up, "POST", "/tokens", device="mac-1", topic=up["apns"]["topic"])["token"]
    ended = mdmsim("doctor", "--push", up["apns"]["url"], *usual, "--token", token.upper(), "--json")
    assert ended.code == 0
    assert hops(ended)["token"]["seen"].startswith("200 apns-id ")
    assert "not_tried" not in ended.json
    pending = admin(up, "GET", "/pending")
    assert token not in json.dumps(pending)  # it must not replace what waits for the device


# where it ends


def test_a_name_without_address(mdmsim: CommandLine, usual: list[str]) -> None:
    hop = ends(mdmsim("doctor", "--push", "https://push.invalid", *usual, "--json"), 3, "name")
    assert "push.invalid has no address" in hop["seen"]


@pytest.mark.parametrize(
    ("options", "do"),
    [
        (["--push", "https://17.188.143.1"], "--allow-host 17.188.143.1"),
        (["--push", APPLE, "--proxy", "http://17.188.143.1:3128"], "name the proxy that mdmsim up prints"),
    ],
)
def test_nothing_is_sent_to_addresses_outside(
    mdmsim: CommandLine, usual: list[str], monkeypatch: pytest.MonkeyPatch, options: list[str], do: str
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *args, **kwargs: pytest.fail(f"connected to {args}"))
    hop = ends(mdmsim("doctor", *options, *usual, "--json"), 1, "name")
    assert "nothing was sent" in hop["seen"] and do in hop["do"]


def test_apples_own_address_is_known_for_what_it_is(
    mdmsim: CommandLine, usual: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the name resolves to Apple, as it does on a machine whose hosts file has no line for it."""
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("17.188.143.1", 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [entry])
    monkeypatch.setattr(socket, "create_connection", lambda *args, **kwargs: pytest.fail(f"connected to {args}"))
    hop = ends(mdmsim("doctor", "--push", APPLE, *usual, "--json"), 1, "name")
    assert hop["seen"] == "api.push.apple.com is 17.188.143.1, which is Apple's; nothing was sent"
    assert "127.0.0.1 api.push.apple.com" in hop["do"]


def test_a_port_where_nobody_listens(mdmsim: CommandLine, usual: list[str]) -> None:
    hop = ends(mdmsim("doctor", "--push", f"https://127.0.0.1:{dead_port()}", *usual, "--json"), 3, "tcp")
    assert "connection refused" in hop["seen"]


def test_a_proxy_that_refuses(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    ended = mdmsim("doctor", "--push", "https://api.ent.apple.com", "--proxy", up["proxy"]["url"], *usual, "--json")
    assert "403 api.ent.apple.com:443 is not simulated here" in ends(ended, 1, "proxy")["seen"]


def test_a_proxy_whose_fake_is_down(mdmsim: CommandLine, usual: list[str]) -> None:
    with process("proxy", "--apns", f"127.0.0.1:{dead_port()}", "--json") as running:
        assert running.stdout is not None
        proxy = json.loads(running.stdout.readline())["url"]
        ended = mdmsim("doctor", "--push", APPLE, "--proxy", proxy, *usual, "--json")
    assert "502 the fake for api.push.apple.com does not answer" in ends(ended, 3, "proxy")["seen"]


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"\x15\x03\x03\x00\x02\x02\x16", "which is no proxy's answer"),
        (b"", "hung up, which is no proxy's answer"),
    ],
)
def test_what_is_no_proxy_of_ours(mdmsim: CommandLine, usual: list[str], answer: bytes, seen: str) -> None:
    with saying(answer) as port:
        ended = mdmsim("doctor", "--push", APPLE, "--proxy", f"http://me:hunter2@127.0.0.1:{port}", *usual, "--json")
    assert seen in ends(ended, 1, "proxy")["seen"]
    assert "hunter2" not in ended.out


def test_a_ca_that_is_missing_is_named(mdmsim: CommandLine, up: dict[str, Any]) -> None:
    ended = mdmsim("doctor", "--push", up["apns"]["url"], "--certificate", up["apns"]["push_file"], "--json")
    hop = ends(ended, 1, "tls")
    assert "issued by CN=mdmsim stand-in for Apple's CAs, which is not trusted here" in hop["seen"]
    assert "--ca FILE" in hop["do"] and "mdmsim apns wrote to its --ca-file" in hop["do"]


def test_a_ca_that_is_missing_is_named_through_the_proxy_too(mdmsim: CommandLine, up: dict[str, Any]) -> None:
    ended = mdmsim("doctor", "--push", APPLE, "--proxy", up["proxy"]["url"], "--ca", up["server"]["ca_file"], "--json")
    assert "mdmsim stand-in for Apple's CAs" in ends(ended, 1, "tls")["seen"]


def test_a_certificate_for_another_name(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    route = f"push.example.com={urlsplit(up['apns']['url']).netloc}"
    with process("proxy", "--route", route, "--json") as running:
        assert running.stdout is not None
        proxy = json.loads(running.stdout.readline())["url"]
        ended = mdmsim("doctor", "--push", "https://push.example.com", "--proxy", proxy, *usual, "--json")
    seen = ends(ended, 1, "tls")["seen"]
    assert seen.startswith("its certificate is for api.push.apple.com, ") and seen.endswith("not for push.example.com")


def test_a_port_without_tls(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    url = f"https://{urlsplit(up['apns']['admin_url']).netloc}"
    assert ends(mdmsim("doctor", "--push", url, *usual, "--json"), 1, "tls")["seen"] == "it does not speak TLS"


def test_a_name_that_a_hosts_port_does_not_know(mdmsim: CommandLine, usual: list[str]) -> None:
    with process("up", "--only", "apns,proxy", "--hosts-port", "0", "--json") as running:
        assert running.stdout is not None
        (port,) = json.loads(running.stdout.readline())["proxy"]["hosts_ports"]
        ended = mdmsim("doctor", "--push", f"https://localhost:{port}", *usual, "--json")
    assert ends(ended, 1, "tls")["seen"] == "it knows nobody called localhost"


def test_what_may_be_apple_itself_gets_nothing_unless_it_is_named(
    mdmsim: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public CAs never issue directly: behind a proxy, an intermediate CA is how Apple itself would look."""
    clock, chance = WallClock(), Chance(1)
    root = Authority.create("a public root", keys=FreshKeys(), clock=clock, chance=chance, kind="ec")
    server = root.subordinate("an issuing CA", kind="ec").issue_server(["api.push.apple.com"])
    push = tmp_path / "push.pem"
    push.write_bytes(identity_to_pem(root.issue_push("com.apple.mgmt.External.x")))
    (tmp_path / "server.pem").write_bytes(identity_to_pem(server))
    (tmp_path / "ca.pem").write_bytes(to_pem(root.certificate))
    with process("apns", "--server-identity", tmp_path / "server.pem", "--certificate", push, "--json") as apns:
        assert apns.stdout is not None
        fake = urlsplit(json.loads(apns.stdout.readline())["url"]).netloc
        with process("proxy", "--apns", fake, "--json") as running:
            assert running.stdout is not None
            proxy = json.loads(running.stdout.readline())["url"]
            options = ("--push", APPLE, "--proxy", proxy, "--ca", tmp_path / "ca.pem", "--certificate", push, "--json")
            shown = certificates_shown(monkeypatch)
            hop = ends(mdmsim("doctor", *options), 1, "tls")
            assert hop["seen"].endswith("so this may be Apple itself; nothing was sent")
            assert shown == [False]
            assert mdmsim("doctor", *options, "--allow-host", "api.push.apple.com").code == 0


def test_a_host_that_is_no_push_host(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    host = "https://mdmenrollment.apple.com"
    ended = mdmsim("doctor", "--push", host, "--proxy", up["proxy"]["url"], *usual, "--json")
    assert ends(ended, 1, "http2")["seen"] == "it answers in HTTP/1.1"


def test_no_certificate(mdmsim: CommandLine, up: dict[str, Any]) -> None:
    ended = mdmsim("doctor", "--push", up["apns"]["url"], "--ca", up["apns"]["ca_file"], "--json")
    assert ends(ended, 1, "certificate")["seen"] == "403 MissingProviderToken: none was shown"


def test_a_certificate_that_nobody_registered(mdmsim: CommandLine, up: dict[str, Any], tmp_path: Path) -> None:
    assert mdmsim("apns", "certificate", "--out", tmp_path / "push.pem").code == 0
    options = ("--ca", up["apns"]["ca_file"], "--certificate", tmp_path / "push.pem")
    hop = ends(mdmsim("doctor", "--push", up["apns"]["url"], *options, "--json"), 1, "certificate")
    assert "make it known" in hop["do"]


def test_a_certificate_that_has_expired(mdmsim: CommandLine, tmp_path: Path) -> None:
    assert mdmsim("apns", "certificate", "--days", "-1", "--out", tmp_path / "push.pem").code == 0
    options = ("--certificate", tmp_path / "push.pem", "--ca-file", tmp_path / "ca.pem", "--json")
    with process("apns", *options) as running:
        assert running.stdout is not None
        url = json.loads(running.stdout.readline())["url"]
        ended = mdmsim("doctor", "--push", url, "--ca", tmp_path / "ca.pem", *options[:2], "--json")
    assert ends(ended, 1, "certificate")


def test_a_certificate_for_the_other_environment(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    sandbox = "https://api.sandbox.push.apple.com"
    ended = mdmsim("doctor", "--push", sandbox, "--proxy", up["proxy"]["url"], *usual, "--json")
    hop = ends(ended, 1, "certificate")
    assert "GOAWAY BadCertificateEnvironment" in hop["seen"] and "--environment both" in hop["do"]


@pytest.mark.parametrize(
    ("fault", "name", "seen"),
    [
        (
            {"name": "tls.refused", "reason": "certificate_revoked"},
            "certificate",
            "certificate_revoked: it was revoked",
        ),
        ({"name": "tls.refused", "reason": "internal_error"}, "tls", "INTERNAL_ERROR"),
    ],
)
def test_a_fault_before_http_2_is_recognised(
    mdmsim: CommandLine, up: dict[str, Any], usual: list[str], fault: dict[str, Any], name: str, seen: str
) -> None:
    planned = admin(up, "POST", "/faults", why="the doctor must see it", **fault)
    try:
        ended = mdmsim("doctor", "--push", up["apns"]["url"], *usual, "--json")
    finally:
        admin(up, "DELETE", f"/faults/{planned['number']}")
    assert seen in ends(ended, 1, name)["seen"]


def test_a_blackout_is_suspected(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    planned = admin(up, "POST", "/faults", why="the doctor must see it", name="blackout", seconds=60)
    try:
        ended = mdmsim("doctor", "--push", up["apns"]["url"], *usual, "--json")
    finally:
        admin(up, "DELETE", f"/faults/{planned['number']}")
    # The reset may overtake the accept.
    last = ended.json["hops"][-1]
    assert (last["name"], last["state"]) in (("tcp", "missing"), ("tls", "missing"))
    assert "look at its admin API" in last["do"] or "a blackout may be on" in last["do"]


def test_a_foreign_topic(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    ended = mdmsim("doctor", "--push", up["apns"]["url"], *usual, "--topic", "com.apple.mgmt.External.x", "--json")
    assert ends(ended, 1, "topic")["seen"] == "400 TopicDisallowed: com.apple.mgmt.External.x"


def test_a_token_that_no_device_has(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    ended = mdmsim("doctor", "--push", up["apns"]["url"], *usual, "--token", "ab" * 32, "--json")
    assert ends(ended, 1, "token")["seen"] == "400 BadDeviceToken"


def test_a_device_that_is_gone(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    topic = up["apns"]["topic"]
    token = admin(up, "POST", "/tokens", device="mac-2", topic=topic)["token"]
    admin(up, "DELETE", f"/tokens/{topic}/{token}")
    hop = ends(mdmsim("doctor", "--push", up["apns"]["url"], *usual, "--token", token, "--json"), 1, "token")
    assert hop["seen"].startswith("410 Unregistered since 20")


@pytest.mark.parametrize(
    ("fault", "name", "seen"),
    [
        ({"name": "push.refused", "status": 503, "reason": "ServiceUnavailable"}, "answer", "503 ServiceUnavailable"),
        ({"name": "stream.refused"}, "answer", "the stream was reset (error 7)"),
        ({"name": "goaway", "reason": "Shutdown"}, "answer", "GOAWAY Shutdown, no answer"),
        ({"name": "answer.cut"}, "answer", "it hung up without an answer"),
        ({"name": "answer.stalled"}, "answer", "nothing came in 1 s"),
    ],
)
def test_a_fault_is_recognised(
    mdmsim: CommandLine,
    up: dict[str, Any],
    usual: list[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: dict[str, Any],
    name: str,
    seen: str,
) -> None:
    monkeypatch.setattr(way, "PATIENCE", 1.0)
    token = admin(up, "POST", "/tokens", device="mac-3", topic=up["apns"]["topic"])["token"]
    planned = admin(up, "POST", "/faults", why="the doctor must see it", times=1, **fault)
    try:
        ended = mdmsim("doctor", "--push", up["apns"]["url"], *usual, "--token", token, "--json")
    finally:
        admin(up, "DELETE", f"/faults/{planned['number']}")
    assert seen in ends(ended, 1, name)["seen"]


@pytest.mark.parametrize(
    ("answer", "name", "seen"),
    [
        (Answer(reset=7), "answer", "the stream was reset (error 7) and not answered"),
        (Answer(goaway="Shutdown"), "answer", "GOAWAY Shutdown, no answer"),
        (Answer(goaway=""), "answer", "GOAWAY, no answer"),
        (
            Answer(goaway="BadCertificateEnvironment"),
            "certificate",
            "GOAWAY BadCertificateEnvironment: push.pem, topic x",
        ),
        (Answer(status=404, reason="BadPath"), "answer", "404 BadPath"),
        (
            Answer(status=403, reason="MissingProviderToken"),
            "certificate",
            "403 MissingProviderToken: push.pem did not arrive",
        ),
        (Answer(status=400, reason="PayloadEmpty"), "answer", "400 PayloadEmpty"),
    ],
)
def test_an_answer_says_at_which_hop_it_ends(answer: Answer, name: str, seen: str) -> None:
    last = list(verdict(answer, certificate=Path("push.pem"), subject="x", topic=None, made_up=True))[-1]
    assert (last.name, last.finding.state, last.finding.seen, last.code) == (name, "missing", seen, 1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--certificate", "push.pem"], "go with --push URL"),
        (["--push", "http://127.0.0.1:80"], "the port without TLS is not tried here"),
        (["--push", "https://me:hunter2@127.0.0.1/"], "--push https://127.0.0.1/: not the base URL"),
        (["--push", "https://127.0.0.1:99999"], "not the base URL"),
        (["--push", "https://127.0.0.1/3/device/ab"], "not the base URL"),
        (
            ["--push", APPLE, "--proxy", "socks5://me:hunter2@127.0.0.1:1080"],
            "--proxy socks5://127.0.0.1:1080: not an HTTP",
        ),
        (["--push", APPLE, "--ca", "/nowhere.pem"], "--ca /nowhere.pem: "),
        (["--push", APPLE, "--ca", "/dev/null"], "--ca /dev/null: no certificate in it"),
        (["--push", APPLE, "--certificate", "/dev/null"], "--certificate /dev/null: "),
        (["--push", APPLE, "--token", "xyz"], "--token: not a push token"),
    ],
)
def test_a_mistake_is_one_message(mdmsim: CommandLine, options: list[str], says: str) -> None:
    ended = mdmsim("doctor", *options)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert says in ended.err
    assert "hunter2" not in ended.err


def test_no_key_is_ever_told(mdmsim: CommandLine, up: dict[str, Any], usual: list[str]) -> None:
    ended = mdmsim("doctor", "--push", up["apns"]["url"], *usual)
    assert "PRIVATE" not in ended.out
    assert certificates_from_pem(Path(up["apns"]["push_file"]).read_bytes())
