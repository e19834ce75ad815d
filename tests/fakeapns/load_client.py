"""A push provider that keeps many requests open on one HTTP/2 connection, and says what came of each."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import h2.config
import h2.connection
import h2.events
import trio

#: Requests open at a time.
WINDOW = 40


@dataclass(frozen=True)
class Wish:
    """A push to send. `answered` is called with the status, if one comes."""

    token: bytes
    payload: bytes
    answered: Callable[[int], None]
    expiration: int | None = None


class Meter(Protocol):
    """Watches the bytes on their way out, before encryption."""

    def room(self, length: int) -> int:
        """How many of so many bytes may be sent now."""

    def spent(self) -> None:
        """There was not room enough, and those that there was room for are sent."""


async def push_all(port: int, context: ssl.SSLContext, wishes: Iterable[Wish], *, meter: Meter | None = None) -> None:
    """Push until the wishes, the room or the connection end; returns then."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    remaining: Iterator[Wish] = iter(wishes)
    opened: dict[int, Wish] = {}
    statuses: dict[int, int] = {}
    exhausted = False
    try:
        tcp = await trio.open_tcp_stream("127.0.0.1", port)
        stream = trio.SSLStream(tcp, context, server_hostname="127.0.0.1", https_compatible=True)
        async with tcp:
            while True:
                while not exhausted and len(opened) < WINDOW:
                    wish = next(remaining, None)
                    if wish is None:
                        exhausted = True
                    else:
                        opened[_send(connection, wish)] = wish
                if exhausted and not opened:
                    return
                data = connection.data_to_send()
                room = meter.room(len(data)) if meter is not None else len(data)
                await stream.send_all(data[:room])
                if meter is not None and room < len(data):
                    meter.spent()
                received = await stream.receive_some(65536)
                if not received:
                    return
                for event in connection.receive_data(bytes(received)):
                    if isinstance(event, h2.events.ResponseReceived):
                        statuses[event.stream_id or 0] = int(dict(event.headers or ())[b":status"])
                    elif isinstance(event, h2.events.StreamEnded):
                        number = event.stream_id or 0
                        opened.pop(number).answered(statuses.pop(number))
                    elif isinstance(event, h2.events.DataReceived):
                        connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                    elif isinstance(event, h2.events.ConnectionTerminated):
                        return
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        return


def _send(connection: h2.connection.H2Connection, wish: Wish) -> int:
    stream: int = connection.get_next_available_stream_id()
    headers = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "127.0.0.1"),
        (":path", f"/3/device/{wish.token.hex()}"),
        ("apns-push-type", "mdm"),
    ]
    if wish.expiration is not None:
        headers.append(("apns-expiration", str(wish.expiration)))
    connection.send_headers(stream, headers)
    connection.send_data(stream, wish.payload, end_stream=True)
    return stream
