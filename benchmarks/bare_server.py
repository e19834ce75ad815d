"""The other end for client benchmarks: TLS, HTTP/1.1, 200 without a body to everything, as cheaply as this can be done.

    python -m benchmarks.bare_server CERTIFICATE_PEM

prints its port and serves until it is ended. It runs in a process of its own, so its cost is not counted.
"""

from __future__ import annotations

import ssl
import sys

import httptools
import trio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class _Requests:
    def __init__(self) -> None:
        self.complete = 0

    def on_message_complete(self) -> None:
        self.complete += 1


async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
    requests = _Requests()
    parser = httptools.HttpRequestParser(requests)
    try:
        while data := await stream.receive_some(65536):
            parser.feed_data(data)
            if requests.complete:
                await stream.send_all(ANSWER * requests.complete)
                requests.complete = 0
    except trio.BrokenResourceError:
        pass


async def main(pem: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.verify_mode = ssl.CERT_NONE
    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1", https_compatible=True)
    listener = listeners[0].transport_listener
    assert isinstance(listener, trio.SocketListener)
    print(listener.socket.getsockname()[1], flush=True)
    await trio.serve_listeners(answer, listeners)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
