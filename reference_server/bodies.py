"""Request bodies, read up to a limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from reference_server.errors import ClientGone

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = Iterable[tuple[bytes, bytes]]


class TooLarge(Exception):
    """The body is, or says it is, larger than the limit."""


async def read_body(headers: RawHeaders, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as that is known, unread, and ClientGone."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise TooLarge
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise TooLarge
        return body
    parts, size = [body], len(body)
    while True:
        if size > limit:
            raise TooLarge
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body = message.get("body", b"")
        parts.append(body)
        size += len(body)
        if not message.get("more_body", False):
            if size > limit:
                raise TooLarge
            return b"".join(parts)
