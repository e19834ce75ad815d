from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from mdmsim.fakeapns.front.context import SERVER_NAMES
from mdmsim.fakeapns.front.server import Front
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.proxy import connect as connecting
from mdmsim.proxy.connect import ESTABLISHED, ConnectProxy
from tests.fakeapns.support import PAYLOAD, TOPIC, Bench, client_context, serving

pytestmark = pytest.mark.anyio

HOST = "api.push.apple.com"


async def _echo(stream: trio.SocketStream) -> None:
    async with stream:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)
        await stream.send_all(b" bye")


async def _serve_echo(listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
    await trio.serve_listeners(_echo, listeners, task_status=task_status)


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[ConnectProxy, int]]:
    async with serving(_serve_echo) as echo:
        connect = ConnectProxy({HOST: ("127.0.0.1", echo)})
        async with serving(connect.serve) as port:
            yield connect, port


async def _say(port: int, *pieces: bytes) -> bytes:
    """What comes back until the other end closes, after these bytes and an end."""
    received = b""
    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for piece in pieces:
                await stream.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            await stream.send_eof()
            while data := await stream.receive_some(65536):
                received += data
    return received


def _connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


@pytest.mark.parametrize("target", [f"{HOST}:443", f"{HOST}:2197", f"{HOST.upper()}:443", f"{HOST}.:443"])
async def test_apples_hosts_are_spliced_to_the_fake(proxy: tuple[ConnectProxy, int], target: str) -> None:
    assert await _say(proxy[1], _connect(target), b"hello") == ESTABLISHED + b"hello bye"


async def test_the_answer_is_the_exact_line_that_clients_look_for(proxy: tuple[ConnectProxy, int]) -> None:
    said = await _say(proxy[1], _connect(f"{HOST}:443"))
    assert said.startswith(b"HTTP/1.1 200 Connection established\r\n\r\n")


async def test_bytes_sent_right_behind_the_request_are_carried(proxy: tuple[ConnectProxy, int]) -> None:
    assert await _say(proxy[1], _connect(f"{HOST}:443") + b"early") == ESTABLISHED + b"early bye"


async def test_a_request_in_pieces_is_understood(proxy: tuple[ConnectProxy, int]) -> None:
    request = _connect(f"{HOST}:443")
    assert await _say(proxy[1], request[:9], request[9:-2], request[-2:]) == ESTABLISHED + b" bye"


@pytest.mark.parametrize(
    "target",
    [
        "example.com:443",
        f"{HOST}:80",
        f"{HOST}:",
        HOST,
        ":443",
        f"{HOST}:{'9' * 5000}",
        f"{HOST}:\u0664\u0664\u0663",
        f"x.{HOST}:443",
    ],
)
async def test_everything_else_is_refused_with_a_clear_403(proxy: tuple[ConnectProxy, int], target: str) -> None:
    said = (await _say(proxy[1], _connect(target))).decode()
    assert said.startswith("HTTP/1.1 403 Forbidden\r\n")
    assert " is not simulated here" in said
    assert HOST in said
    assert proxy[0].counters["refused"] == 1


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("example.com:443", "for other hosts set NO_PROXY"),
        ("vpp.itunes.apple.com:443", "Apps and Books (VPP), and no fake for it is running behind this proxy."),
        ("vpp.itunes.apple.com:443", "--route vpp.itunes.apple.com=HOST:PORT"),
        ("mdmenrollment.apple.com:443", "mdmsim up --only dep,proxy"),
        ("api.sandbox.push.apple.com:443", "mdmsim up --only apns,proxy"),
        ("identity.apple.com:443", "nothing of Apple's is touched"),
        (f"{HOST}:80", "on ports 443 and 2197"),
    ],
)
async def test_the_403_says_what_the_host_is_and_what_to_do(
    proxy: tuple[ConnectProxy, int], target: str, says: str
) -> None:
    assert says in (await _say(proxy[1], _connect(target))).decode()


async def test_a_method_or_host_cannot_control_the_terminal_that_shows_the_log(
    proxy: tuple[ConnectProxy, int], caplog: pytest.LogCaptureFixture
) -> None:
    await _say(proxy[1], b"\x1b[2J\x9b31m http://x HTTP/1.1\r\n\r\n")
    await _say(proxy[1], b"CONNECT \x1b[31mevil:443 HTTP/1.1\r\n\r\n")
    assert len(caplog.messages) == 2
    assert not {"\x1b", "\x9b"} & set(caplog.text)
    assert "\\x1b[2J\\x9b31m" in caplog.text


async def test_a_password_in_the_request_is_not_repeated(
    proxy: tuple[ConnectProxy, int], caplog: pytest.LogCaptureFixture
) -> None:
    said = await _say(
        proxy[1], b"CONNECT me:hunter2@example.com:443 HTTP/1.1\r\nProxy-Authorization: Basic aHVudGVyMg==\r\n\r\n"
    )
    assert b"example.com:443" in said
    assert "hunter2" not in said.decode() + caplog.text and "aHVudGVyMg" not in said.decode() + caplog.text


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET http://example.com/ HTTP/1.1", 405),
        (b"CONNECT", 400),
        (b"\x16\x03\x01 x y", 400),
        (b"CONNECT x SOCKS/5", 400),
    ],
)
async def test_other_requests_are_refused(proxy: tuple[ConnectProxy, int], request_line: bytes, status: int) -> None:
    said = await _say(proxy[1], request_line + b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 %d " % status)


async def test_a_head_without_end_is_refused(proxy: tuple[ConnectProxy, int]) -> None:
    said = await _say(proxy[1], b"CONNECT " + b"x" * 20_000)
    assert said.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("size", [16_500, 19_000, 20_000, 24_000])
async def test_a_head_that_is_too_long_is_refused_although_it_ends(proxy: tuple[ConnectProxy, int], size: int) -> None:
    said = await _say(proxy[1], _connect(f"{HOST}:443")[:-2] + b"X-Long: " + b"x" * size + b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begun", [b"\r\n", b"\r\n\r\n", b"\n"])
async def test_empty_lines_before_the_request_are_ignored(proxy: tuple[ConnectProxy, int], begun: bytes) -> None:
    assert await _say(proxy[1], begun, _connect(f"{HOST}:443") + b"hello") == ESTABLISHED + b"hello bye"


async def test_lines_may_end_without_cr(proxy: tuple[ConnectProxy, int]) -> None:
    bare = _connect(f"{HOST}:443").replace(b"\r", b"")
    assert await _say(proxy[1], bare[:-1], bare[-1:] + b"\r\n\r\nhello") == ESTABLISHED + b"\r\n\r\nhello bye"


async def test_a_head_that_breaks_off_is_told_so(proxy: tuple[ConnectProxy, int]) -> None:
    assert (await _say(proxy[1], b"CONNECT x:443 HTTP/1.1\r\n")).startswith(b"HTTP/1.1 400 ")
    assert proxy[0].counters["bad-request"] == 1


async def test_a_head_that_never_ends_is_a_408_in_the_end(
    proxy: tuple[ConnectProxy, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_PATIENCE", 0.05)
    async with await trio.open_tcp_stream("127.0.0.1", proxy[1]) as stream:
        await stream.send_all(b"CONNECT")
        assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert proxy[0].counters["timeout"] == 1


async def test_a_fake_that_is_not_there_is_a_502() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    dead = listener.socket.getsockname()[1]
    await listener.aclose()
    async with serving(ConnectProxy({HOST: ("127.0.0.1", dead)}).serve) as port:
        assert (await _say(port, _connect(f"{HOST}:443"))).startswith(b"HTTP/1.1 502 ")


async def test_a_client_that_hangs_up_at_once_harms_nobody(proxy: tuple[ConnectProxy, int]) -> None:
    assert await _say(proxy[1]) == b""
    assert await _say(proxy[1], _connect(f"{HOST}:443")) == ESTABLISHED + b" bye"


# real clients, through the proxy, to the real front


@pytest.fixture
async def way_in(bench: Bench, authority: Authority) -> AsyncIterator[int]:
    front = Front(bench.service, authority.issue_server(SERVER_NAMES))
    async with serving(front.serve) as apns:
        async with serving(ConnectProxy({HOST: ("127.0.0.1", apns)}).serve) as port:
            yield port


@pytest.fixture
def bench(authority: Authority) -> Bench:
    return Bench(authority.issue_push(TOPIC))


async def test_httpx_pushes_to_apples_name_through_the_proxy(bench: Bench, authority: Authority, way_in: int) -> None:
    token = bench.service.register("mac-1", TOPIC)
    context = client_context(authority.certificate, bench.provider)
    async with httpx.AsyncClient(http2=True, verify=context, proxy=f"http://127.0.0.1:{way_in}") as client:
        answer = await client.post(f"https://{HOST}/3/device/{token.hex()}", content=PAYLOAD)
    assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)


async def test_httpx_is_told_about_other_hosts(bench: Bench, authority: Authority, way_in: int) -> None:
    context = client_context(authority.certificate, bench.provider)
    async with httpx.AsyncClient(verify=context, proxy=f"http://127.0.0.1:{way_in}") as client:
        with pytest.raises(httpx.ProxyError, match="403"):
            await client.get("https://example.com/")


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
async def test_curl_pushes_on_the_other_port_through_the_proxy(bench: Bench, way_in: int, tmp_path: Path) -> None:
    token = bench.service.register("mac-1", TOPIC)
    identity = tmp_path / "push.pem"
    identity.write_bytes(identity_to_pem(bench.provider))
    command = ["curl", "-sS", "-i", "--http2", "--insecure", "--cert", str(identity), "-d", "{}"]
    with trio.fail_after(20):
        done = await trio.run_process(
            [*command, "--proxy", f"http://127.0.0.1:{way_in}", f"https://{HOST}:2197/3/device/{token.hex()}"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert b"HTTP/2 200" in done.stdout


async def test_head_is_refused_without_content(proxy: tuple[ConnectProxy, int]) -> None:
    answer = await _say(proxy[1], b"HEAD http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n")
    head, _, content = answer.partition(b"\r\n\r\n")
    assert (head.partition(b"\r\n")[0], content) == (b"HTTP/1.1 405 Method Not Allowed", b"")
