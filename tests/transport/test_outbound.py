from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

from mdmsim.http import BadAnswer, ConnectFailed, ExchangeCut, Request, Response, TimedOut, TLSFailed, Trust
from mdmsim.transport.http1 import Limits
from mdmsim.transport.outbound import HttpOutbound
from mdmsim.transport.wire import Tap
from tests.transport.certs import HOST, OTHER_ROOT, ROOT, SERVER, leaf
from tests.transport.script import Action, Ask, Cut, Hush, Say, Script, ok, status
from tests.transport.shells import SOON, put, run, server_context, serving_script

T = TypeVar("T")
DEVICE = leaf(ROOT, purpose="client", common_name="client", rsa_key=True)


def send(script: Script, *requests: Request, tap: Tap | None = None, **settings: Any) -> list[Response]:
    async def main() -> list[Response]:
        async with serving_script(script) as port:
            async with HttpOutbound(connect_to={f"{HOST}:443": ("127.0.0.1", port)}, **settings) as outbound:
                return [await outbound.send(request, tap=tap) for request in requests]

    return run("trio", main)


def test_an_answer_comes_back_whole() -> None:
    script = Script([[Ask(), ok(b"hello", "X-A: b")]])
    (response,) = send(script, put(b"<x/>", headers=(("Authorization", "Bearer k"),)))
    assert response == Response(200, (("X-A", "b"), ("Content-Length", "5")), b"hello", f"https://{HOST}/mdm")
    request = script.played.all_requests[0].decode()
    assert f"Host: {HOST}\r\n" in request and "Authorization: Bearer k\r\n" in request and request.endswith("<x/>")


def test_the_client_certificate_is_presented_per_identity() -> None:
    script = Script([[Ask(), ok()], [Ask(), ok()]])
    send(script, put(identity=DEVICE), put())
    assert script.played.clients == [DEVICE.certificate, None]


def test_a_redirect_is_followed_and_told() -> None:
    tap = Tap()
    script = Script([[Ask(), status(307, "Location: /b"), Ask(), ok()]])
    (response,) = send(script, put(b"<x/>"), tap=tap)
    assert response.url == f"https://{HOST}/b" and tap.hops == [(307, response.url)]


@pytest.mark.parametrize(
    ("trust", "reason"),
    [
        (Trust(), "not trusted"),
        (Trust(anchors=(OTHER_ROOT.der,)), "not trusted"),
        (Trust(anchors=(ROOT.der,), pins=(OTHER_ROOT.der,)), "pinned"),
    ],
)
def test_a_server_that_is_not_trusted_sees_no_request(trust: Trust, reason: str) -> None:
    script = Script([[Ask(), ok()]])
    with pytest.raises(TLSFailed, match=reason):
        send(script, put(trust=trust))
    assert not script.played.all_requests


def test_a_pin_in_the_chain_is_accepted() -> None:
    (response,) = send(Script([[Ask(), ok()]]), put(trust=Trust(anchors=(ROOT.der,), pins=(SERVER.certificate,))))
    assert response.status == 200


@pytest.mark.parametrize(
    ("actions", "error"),
    [
        ([Ask(), Cut()], ExchangeCut),
        ([Ask(), Say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"), Cut()], ExchangeCut),
        ([Ask(), Say(b"SSH-2.0-x\r\n\r\n"), Hush()], BadAnswer),
        ([Ask(), ok(b"x" * 1001), Hush()], BadAnswer),
        ([Ask(), Say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), Hush()], BadAnswer),
    ],
)
def test_what_is_no_whole_answer_is_a_transport_error(actions: list[Action], error: type[Exception]) -> None:
    with pytest.raises(error):
        send(Script([actions]), put(), limits=Limits(body=1000))


def test_a_silent_server_times_out() -> None:
    with pytest.raises(TimedOut):
        send(Script([[Ask(), Hush()]]), put(timeout=SOON))


@pytest.mark.parametrize("url", ["https://gdmf.apple.com/", "http://example.test/", "nonsense", "https://127.0.0.1:1/"])
def test_a_place_where_nobody_goes_fails_to_connect(url: str) -> None:
    with pytest.raises(ConnectFailed):
        send(Script([]), put(url=url))


def test_a_tap_that_asks_for_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="TrioTransport"):
        send(Script([]), put(), tap=Tap(cut_response_after=3))


def _h2_server(
    seen: list[dict[str, str]], clients: list[bytes | None]
) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def serve(stream: trio.SocketStream) -> None:
        context = server_context(SERVER, client_anchor=ROOT.der)
        context.set_alpn_protocols(["h2"])
        tls = trio.SSLStream(stream, context, server_side=True)
        await tls.do_handshake()
        clients.append(tls.getpeercert(binary_form=True))
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        await tls.send_all(connection.data_to_send())
        while data := await tls.receive_some():
            for event in connection.receive_data(bytes(data)):
                if isinstance(event, RequestReceived):
                    seen.append(dict(event.headers or ()))  # type: ignore[arg-type]
                elif isinstance(event, StreamEnded):
                    connection.send_headers(event.stream_id, [(":status", "200"), ("apns-id", "x")], end_stream=True)
            await tls.send_all(connection.data_to_send())

    return serve


def test_http_2_is_spoken_with_a_client_certificate() -> None:
    seen: list[dict[str, str]] = []
    clients: list[bytes | None] = []

    async def main() -> list[Response]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, _h2_server(seen, clients), 0)
            to = ("127.0.0.1", listeners[0].socket.getsockname()[1])
            async with HttpOutbound(connect_to={f"{HOST}:443": to}) as outbound:
                answers = [await outbound.send(put(method="POST", identity=DEVICE)) for _ in range(2)]
            nursery.cancel_scope.cancel()
        return answers

    answers = run("trio", main)
    assert [answer.header("apns-id") for answer in answers] == ["x", "x"]
    assert clients == [DEVICE.certificate]
    assert seen[0][":authority"] == HOST
