"""Request bodies, read up to a limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import anyio

from reference_server.errors import ClientGone

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = Iterable[tuple[bytes, bytes]]


class TooLarge(Exception):
    """The body is, or says it is, larger than the limit."""


#: Longer bodies than this are rare, and only so many of them are held at once. In bytes.
LARGE = 64 * 1024

Check = Callable[[], Awaitable[None]]


class LargeBodies:
    """The few long bodies that may be in memory at once: however many clients send one, the others wait."""

    def __init__(self, at_once: int) -> None:
        self.room = anyio.Semaphore(at_once)


async def read_body(
    headers: RawHeaders, receive: Receive, limit: int, large: LargeBodies, *, check: Check | None = None
) -> bytes:
    """The whole body. Raises TooLarge as soon as that is known, unread, and ClientGone.

    `check` is called before a body becomes a long one, and may raise: nobody unknown gets to fill the memory.
    """
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > limit):
            raise TooLarge
    body, more = await _piece(receive)
    if not more:
        if len(body) > limit:
            raise TooLarge
        return body
    parts, size = [body], len(body)
    while more and size <= min(LARGE, limit):
        body, more = await _piece(receive)
        parts.append(body)
        size += len(body)
    if size > limit:
        raise TooLarge
    if not more:
        return b"".join(parts)
    if check is not None:
        await check()
    async with large.room:
        while more:
            body, more = await _piece(receive)
            parts.append(body)
            size += len(body)
            if size > limit:
                raise TooLarge
        return b"".join(parts)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)
