"""Whatever a client says to the proxy or to a hosts port: it is answered or cut off, and others do not notice."""

from __future__ import annotations

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from mdmsim.proxy.connect import ConnectProxy
from mdmsim.proxy.direct import DirectFront
from tests.proxy.test_client_hello import HELLO

ROUTES = {"api.push.apple.com": ("127.0.0.1", 1)}

_words = st.sampled_from(
    [b"CONNECT", b"GET", b"api.push.apple.com:443", b"[::1]:443", b"HTTP/1.1", b" ", b"\r\n", b":", b"\xff", b"@"]
)
_heads = st.lists(_words | st.binary(max_size=30), max_size=12).map(b"".join)


def met(front: ConnectProxy | DirectFront, said: bytes) -> bytes:
    """What comes back to a client that says this and is done."""

    async def meet() -> bytes:
        left, right = trio.socket.socketpair()
        client, received = trio.SocketStream(right), b""
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(front.handle, trio.SocketStream(left))
                try:
                    await client.send_all(said)
                    await client.send_eof()
                    while data := await client.receive_some(65536):
                        received += bytes(data)
                except trio.BrokenResourceError:
                    pass
        await trio.aclose_forcefully(client)
        return received

    return trio.run(meet)


@given(_heads)
@example(b"CONNECT api.push.apple.com:" + b"9" * 5000 + b" HTTP/1.1")
@example(b"CONNECT " + b"[" * 3000 + b":443 HTTP/1.1")
def test_any_head_is_refused_in_one_answer(head: bytes) -> None:
    answer = met(ConnectProxy(ROUTES), head + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ", b"HTTP/1.1 405 ", b"HTTP/1.1 502 "))
    assert answer.count(b"HTTP/1.1 4") + answer.count(b"HTTP/1.1 5") == 1


@given(st.binary(max_size=300))
def test_any_first_bytes_are_met_at_a_hosts_port(said: bytes) -> None:
    met(DirectFront(ROUTES), said)


@given(st.data())
def test_a_mangled_client_hello_is_met_at_a_hosts_port(data: st.DataObject) -> None:
    mangled = bytearray(HELLO)
    for _ in range(data.draw(st.integers(1, 8))):
        mangled[data.draw(st.integers(0, len(HELLO) - 1))] = data.draw(st.integers(0, 255))
    met(DirectFront(ROUTES), bytes(mangled))


@pytest.mark.parametrize("front", [ConnectProxy(ROUTES), DirectFront(ROUTES)])
def test_who_says_nothing_gets_nothing(front: ConnectProxy | DirectFront) -> None:
    assert met(front, b"") == b""
