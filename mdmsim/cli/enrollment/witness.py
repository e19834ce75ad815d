"""What a device's last exchange was: the proof behind every obstacle."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mdmsim.fleet.fleet import Sender
from mdmsim.http import Request, Response, TransportError


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what became of it: a response or an error."""

    request: Request
    response: Response | None = None
    error: TransportError | None = None

    @property
    def refused(self) -> bool:
        return self.response is not None and not self.response.is_success

    @property
    def seen(self) -> str:
        """`checkin:Authenticate answered 500: "boom"`."""
        if self.response is None:
            return str(self.error)
        answered = f"{self.request.label} answered {self.response.status}"
        said = first_line(self.response.body)
        return f'{answered}: "{said}"' if said else answered


_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


def first_line(body: bytes) -> str:
    """The first line of a body that says something, short enough to show; a web page's title; nothing of what is no text."""
    text = body[:4000].decode("utf-8", "replace").strip()
    if text[:14].lower().startswith(("<!doctype html", "<html")):
        title = _TITLE.search(text)
        return f"a web page: {' '.join(title[1].split())[:120]}" if title else "a web page"
    line = text.splitlines()[0].strip() if text else ""
    if sum(not (c.isprintable()) for c in line) > len(line) // 10:
        return f"{len(body)} bytes that are no text"
    return line if len(line) <= 160 else f"{line[:159]}…"


class Witness:
    """Around a device's transport: remembers what succeeded by name, and the last exchange whole.

    `refusal`: the last one that was answered with anything but a 2xx.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.last: Exchange | None = None
        self.refusal: Exchange | None = None
        self.done: list[str] = []

    async def send(self, request: Request) -> Response:
        try:
            response = await self._sender.send(request)
        except TransportError as error:
            self.last = Exchange(request, error=error)
            raise
        self.last = Exchange(request, response)
        if response.is_success:
            self.done.append(request.label)
        else:
            self.refusal = self.last
        return response

    @property
    def steps(self) -> list[str]:
        """What went well, as people call it: SCEP, Authenticate, TokenUpdate."""
        names = {"scep:PKIOperation": "SCEP"}
        shown = [names.get(label) or label.partition("checkin:")[2] for label in self.done]
        return [name for name in dict.fromkeys(shown) if name]
