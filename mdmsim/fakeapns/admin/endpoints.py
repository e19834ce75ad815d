"""What a call of the admin API is: one entry of a table from which it is routed, checked and described."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

#: The longest body of a request, in bytes: a due-list for 100,000 devices fits.
MAX_BODY = 16 << 20


class Refused(Exception):
    """A call that cannot be done. The text is for people; `status` and `body` are the answer's."""

    def __init__(self, status: int, error: str, body: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.body = body if body is not None else {"error": error}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call. `handler(path parameters, query, body)`: the answer, of type `reply` (None: no body; str: text).

    `problems`: statuses of refusals beyond 400 and 401, which every call may answer. `raw`: what kinds of body come as
    they are, as bytes. `open`: no key is needed. `waits`: the handler may take long, and ends when the client is gone.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    handler: Callable[[dict[str, Any], Any, Any], Awaitable[Any]]
    reply: Any
    status: int = 200
    body: type | None = None
    query: type | None = None
    problems: tuple[int, ...] = ()
    raw: tuple[str, ...] = ()
    open: bool = False
    waits: bool = False
