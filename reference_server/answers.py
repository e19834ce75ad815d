"""Answers as ASGI messages, with the id of their request."""

from __future__ import annotations

from reference_server.bodies import Send

TEXT = b"text/plain; charset=utf-8"


async def send_answer(
    send: Send,
    status: int,
    request_id: str,
    *,
    content_type: bytes | None = None,
    body: bytes = b"",
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """One complete answer. Without a body there is no content type either: an empty 200 must be zero bytes."""
    headers = [(b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode("ascii")), *extra]
    if content_type is not None:
        headers.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_text(
    send: Send, status: int, request_id: str, text: str, *, extra: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """One line of plain text, for whoever reads a refusal."""
    await send_answer(send, status, request_id, content_type=TEXT, body=f"{text}\n".encode(), extra=extra)
