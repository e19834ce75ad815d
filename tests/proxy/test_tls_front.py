from __future__ import annotations

import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import httpx
import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import DAY, ManualClock
from mdmsim.events import EventLog, Events
from mdmsim.faults import FaultPlan
from mdmsim.http import Identity, Response
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import fingerprint, identity_to_pem
from mdmsim.pki.proxy_header import parse
from mdmsim.proxy.tls_front import TlsFront
from tests.fakeapns.support import client_context, serving

pytestmark = pytest.mark.anyio

Open = Callable[..., AbstractAsyncContextManager["Behind"]]


class Behind:
    """A plain HTTP server behind a front: remembers its requests, answers what it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[h11.Request, bytes]] = []
        self.connections = 0
        self.status = 200
        self.headers: list[tuple[str, str]] = [("content-type", "text/xml")]
        self.body = b"<plist/>"
        self.close_after = False
        self.port = 0
        self.url = ""

    @property
    def headers_seen(self) -> dict[str, str]:
        request, _ = self.requests[-1]
        return {name.decode(): value.decode() for name, value in request.headers}

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                request, body = None, b""
                while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                    if event is h11.NEED_DATA:
                        connection.receive_data(await stream.receive_some(65536))
                    elif isinstance(event, h11.Request):
                        request = event
                    elif isinstance(event, h11.Data):
                        body += event.data
                    else:
                        return
                assert request is not None
                self.requests.append((request, body))
                if self.status == 0:
                    return
                headers = [*self.headers, ("content-length", str(len(self.body)))]
                await stream.send_all(connection.send(h11.Response(status_code=self.status, headers=headers)) or b"")
                if request.method != b"HEAD":
                    await stream.send_all(connection.send(h11.Data(data=self.body)) or b"")
                connection.send(h11.EndOfMessage())
                if self.close_after:
                    return
                connection.start_next_cycle()

    async def serve(self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await trio.serve_listeners(self.handle, listeners, task_status=task_status)


@pytest.fixture(scope="session")
def device(authority: Authority) -> Identity:
    return authority.client_identity("iphone-01", days=30)


@pytest.fixture(scope="session")
def server(authority: Authority) -> Identity:
    return authority.issue_server(["localhost"], ["127.0.0.1"])


@pytest.fixture
def opened(authority: Authority, server: Identity) -> Open:
    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[Behind]:
        behind = Behind()
        options.setdefault("client_authorities", [authority.certificate])
        async with serving(behind.serve) as upstream:
            front = TlsFront(server, ("127.0.0.1", upstream), **options)
            async with serving(front.serve) as behind.port:
                behind.url = f"https://127.0.0.1:{behind.port}/mdm"
                yield behind

    return make


@pytest.fixture
def context(authority: Authority, device: Identity) -> ssl.SSLContext:
    return client_context(authority.certificate, device)


async def test_a_request_and_its_answer_pass_through(opened: Open, context: ssl.SSLContext) -> None:
    async with opened() as behind, httpx.AsyncClient(verify=context) as client:
        behind.headers = [("Content-Type", "text/xml"), ("X-Twice", "1"), ("X-Twice", "2")]
        answer = await client.put(behind.url + "?a=b", content=b"<plist>1</plist>", headers={"x-own": "mine"})
        request, body = behind.requests[0]
    assert (request.method, request.target, body) == (b"PUT", b"/mdm?a=b", b"<plist>1</plist>")
    assert behind.headers_seen["x-own"] == "mine"
    assert (answer.status_code, answer.content, answer.headers["x-twice"]) == (200, b"<plist/>", "1, 2")


@pytest.mark.parametrize("source", ["server", "fault"])
async def test_head_is_answered_without_content_on_a_connection_that_stays(
    opened: Open, context: ssl.SSLContext, source: str
) -> None:
    plan = FaultPlan(Chance("front"))
    async with opened(faults=plan) as behind, httpx.AsyncClient(verify=context) as client:
        if source == "fault":
            plan.add("front.answer", why="a test asks for it", times=1, answer=Response(200, (), b"<plist/>"))
        answer = await client.head(behind.url)
        again = await client.get(behind.url)
        ports = {each.extensions["network_stream"].get_extra_info("client_addr") for each in (answer, again)}
    # RFC 9110 section 9.3.2: as for GET, the length included, without the content.
    assert (answer.headers["content-length"], answer.content, again.content) == ("8", b"", b"<plist/>")
    assert len(ports) == 1


@pytest.mark.parametrize("form", ["nginx", "rfc9440"])
async def test_the_certificate_is_handed_on(opened: Open, context: ssl.SSLContext, device: Identity, form: str) -> None:
    async with opened(form=form, header="Client-Cert") as behind, httpx.AsyncClient(verify=context) as client:
        await client.put(behind.url, content=b"x")
    assert parse(behind.headers_seen["client-cert"]) == (device.certificate,)


@pytest.mark.parametrize("name", ["X-Client-Cert", "x-client-cert", "X_Client_Cert"])
async def test_a_client_cannot_bring_the_header_itself(opened: Open, authority: Authority, name: str) -> None:
    nobody = client_context(authority.certificate)
    async with opened() as behind, httpx.AsyncClient(verify=nobody) as client:
        await client.put(behind.url, content=b"x", headers={name: "forged"})
    assert "forged" not in behind.headers_seen.values()


async def test_an_expired_certificate_is_for_the_server_to_judge(
    opened: Open, authority: Authority, server: Identity
) -> None:
    clock = ManualClock()
    old = authority.client_identity("old", not_before_ms=clock.now_ms() - 20 * DAY, not_after_ms=clock.now_ms() - DAY)
    async with (
        opened() as behind,
        httpx.AsyncClient(verify=client_context(authority.certificate, old)) as client,
    ):
        await client.put(behind.url, content=b"x")
    assert parse(behind.headers_seen["x-client-cert"]) == (old.certificate,)


async def test_a_certificate_of_another_authority_fails_in_the_handshake(opened: Open, authority: Authority) -> None:
    from mdmsim.pki.keys import FreshKeys

    other = Authority.create("other", keys=FreshKeys(), clock=ManualClock(), chance=Chance(9), kind="ec")
    stranger = client_context(authority.certificate, other.client_identity("stranger"))
    async with opened() as behind, httpx.AsyncClient(verify=stranger) as client:
        with pytest.raises(httpx.TransportError):
            await client.put(behind.url, content=b"x")
    assert behind.requests == []


async def test_without_authorities_no_certificate_is_asked_for(opened: Open, context: ssl.SSLContext) -> None:
    async with opened(client_authorities=()) as behind, httpx.AsyncClient(verify=context) as client:
        await client.put(behind.url, content=b"x")
    assert "x-client-cert" not in behind.headers_seen


async def test_connections_are_kept_on_both_sides(opened: Open, context: ssl.SSLContext) -> None:
    async with opened() as behind, httpx.AsyncClient(verify=context) as client:
        for _ in range(3):
            await client.put(behind.url, content=b"x")
    assert (behind.connections, len(behind.requests)) == (1, 3)


async def test_a_server_that_closes_after_each_answer_is_connected_again(opened: Open, context: ssl.SSLContext) -> None:
    async with opened() as behind, httpx.AsyncClient(verify=context) as client:
        behind.close_after = True
        statuses = [(await client.put(behind.url, content=b"x")).status_code for _ in range(3)]
    assert (statuses, len(behind.requests)) == ([200] * 3, 3)


async def test_a_request_that_the_server_cut_is_not_sent_again(opened: Open, context: ssl.SSLContext) -> None:
    async with opened() as behind, httpx.AsyncClient(verify=context) as client:
        behind.status = 0
        answer = await client.put(behind.url, content=b"x")
    assert (answer.status_code, len(behind.requests)) == (502, 1)


@pytest.mark.parametrize("status", [204, 401, 500])
async def test_statuses_pass_unchanged(opened: Open, context: ssl.SSLContext, status: int) -> None:
    async with opened() as behind, httpx.AsyncClient(verify=context) as client:
        behind.status, behind.body = status, b""
        if status == 204:
            behind.headers = []
        assert (await client.put(behind.url, content=b"x")).status_code == status


async def test_hop_by_hop_headers_stay_behind(opened: Open, context: ssl.SSLContext) -> None:
    async with opened() as behind, httpx.AsyncClient(verify=context) as client:
        await client.put(behind.url, content=b"x", headers={"connection": "keep-alive, x-hop", "x-hop": "1", "te": "x"})
    assert not {"x-hop", "te", "connection"} & behind.headers_seen.keys()


async def test_a_chunked_body_arrives_with_its_length(opened: Open, context: ssl.SSLContext) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with opened() as behind, httpx.AsyncClient(verify=context) as client:
        await client.put(behind.url, content=body())
    assert (behind.requests[0][1], behind.headers_seen["content-length"]) == (b"onetwo", "6")


# faults and events


async def test_a_fault_answers_in_the_servers_place(opened: Open, context: ssl.SSLContext) -> None:
    faults = FaultPlan(Chance(1))
    fault = faults.add(
        "front.answer",
        why="the server disowns the device",
        answer=Response(401, (("x-why", "test"),), b"no"),
        match=lambda facts: facts["target"] == "/mdm" and b"Idle" in facts["body"],
    )
    async with opened(faults=faults) as behind, httpx.AsyncClient(verify=context) as client:
        statuses = [(await client.put(behind.url, content=body)).status_code for body in (b"x", b"Idle")]
    assert (statuses, len(behind.requests), fault.injected) == ([200, 401], 1, 1)


@pytest.mark.parametrize(("when", "seen"), [("before", 0), ("after", 1)])
async def test_a_fault_cuts_before_or_after_the_server(
    opened: Open, context: ssl.SSLContext, when: str, seen: int
) -> None:
    faults = FaultPlan(Chance(1))
    faults.add("front.cut", why="networks fail", answer=when)
    async with opened(faults=faults) as behind, httpx.AsyncClient(verify=context) as client:
        with pytest.raises(httpx.TransportError):
            await client.put(behind.url, content=b"x")
    assert len(behind.requests) == seen


async def test_every_exchange_is_recorded(opened: Open, context: ssl.SSLContext, device: Identity) -> None:
    log = EventLog()
    events = Events(ManualClock())
    events.subscribe(log)
    async with opened(events=events) as behind, httpx.AsyncClient(verify=context) as client:
        await client.put(behind.url, content=b"x")
    (event,) = log.of("exchange")
    assert (event.source, event.data["status"], event.data["request_body"]) == ("front", 200, b"x")
    assert event.data["identity"] == fingerprint(device.certificate)


# bad input


async def test_a_server_that_is_not_there_is_a_502(
    authority: Authority, server: Identity, context: ssl.SSLContext
) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    dead = listener.socket.getsockname()[1]
    await listener.aclose()
    async with (
        serving(TlsFront(server, ("127.0.0.1", dead)).serve) as port,
        httpx.AsyncClient(verify=context) as client,
    ):
        assert (await client.get(f"https://127.0.0.1:{port}/")).status_code == 502


@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"])
async def test_what_is_not_tls_is_let_go(opened: Open, context: ssl.SSLContext, text: bytes) -> None:
    async with opened() as behind, httpx.AsyncClient(verify=context) as client:
        async with await trio.open_tcp_stream("127.0.0.1", behind.port) as stream:
            await stream.send_all(text)
            await stream.send_eof()
            with trio.fail_after(10):
                while await stream.receive_some(4096):
                    continue
        assert (await client.put(behind.url, content=b"x")).status_code == 200


async def test_what_is_not_http_gets_a_400(opened: Open, context: ssl.SSLContext) -> None:
    async with opened() as behind:
        stream = await trio.open_tcp_stream("127.0.0.1", behind.port)
        async with trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True) as tls:
            await tls.send_all(b"bad request\r\n\r\n")
            assert (await tls.receive_some(4096)).startswith(b"HTTP/1.1 400")


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
async def test_curl_puts_through_the_front(opened: Open, device: Identity, tmp_path: Path) -> None:
    identity = tmp_path / "device.pem"
    identity.write_bytes(identity_to_pem(device))
    async with opened() as behind:
        with trio.fail_after(20):
            done = await trio.run_process(
                ["curl", "-sS", "-i", "--insecure", "--cert", str(identity), "-T", "-", behind.url],
                stdin=b"x" * 3000,
                capture_stdout=True,
                check=False,
            )
    assert done.stdout.endswith(b"<plist/>")
    assert parse(behind.headers_seen["x-client-cert"]) == (device.certificate,)
