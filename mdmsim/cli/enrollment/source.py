"""Where devices get their enrollment profile: a file, standard input, or a URL that each device asks for itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from mdmsim.cli.enrollment.obstacle import Obstacle, Stopped
from mdmsim.cli.enrollment.profile import Facts, read_facts, refuse_apple
from mdmsim.cli.enrollment.witness import first_line
from mdmsim.cli.exits import FAILED, MISTAKE, Mistake
from mdmsim.cli.words import contents
from mdmsim.device.personas import Persona, fetch_headers
from mdmsim.fleet.fleet import Sender
from mdmsim.http import Request, Trust, is_loopback

#: Reads the facts of a profile; raises Stopped. Bytes, where they came from, whose mistake a bad one is.
Reader = Callable[[bytes, str, int], Facts]


class Refused(Exception):
    """The server did not hand out a profile; the device's last exchange shows it."""


class Source(Protocol):
    """Hands out profiles."""

    where: str

    async def profile(self, persona: Persona, sender: Sender) -> bytes:
        """The profile for this device. Raises Refused, TransportError, Stopped."""


class Given:
    """One profile for all devices."""

    def __init__(self, where: str, data: bytes) -> None:
        self.where = where
        self.data = data

    async def profile(self, persona: Persona, sender: Sender) -> bytes:
        return self.data


class Fetched:
    """A URL: each device asks for a profile of its own, since servers put a challenge into each that is good once."""

    def __init__(self, url: str, trust: Trust) -> None:
        self.where = url
        self._trust = trust

    async def profile(self, persona: Persona, sender: Sender) -> bytes:
        request = Request("GET", self.where, fetch_headers(persona), label="profile:fetch", trust=self._trust)
        response = await sender.send(request)
        if not response.is_success:
            raise Refused(first_line(response.body))
        if not response.body.strip():
            raise Stopped(
                Obstacle(
                    f"{self.where}: the server answered {response.status} with an empty body in place of a profile.",
                    advice="check the URL: it must be the one that hands the profile out",
                )
            )
        return response.body


def source_of(text: str, *, trust: Trust, allow_hosts: frozenset[str]) -> Given | Fetched:
    """What PROFILE_OR_URL means. Raises Mistake, Stopped."""
    if text == "-":
        return Given("standard input", sys.stdin.buffer.read())
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Given(text, _file(text))
    if scheme not in ("https", "http"):
        raise Mistake(f'{text}: {scheme}:// cannot be fetched. Write an https:// URL, a file, or "-".')
    try:
        host = (urlsplit(text).hostname or "").lower()
    except ValueError as error:
        raise Mistake(f"{text}: {error}. Write a URL such as https://mdm.example.com/enroll.") from None
    refuse_apple(host, text, allow_hosts)
    if scheme == "http" and not (trust.allow_http and is_loopback(host)):
        allow = ", or add --allow-http" if is_loopback(host) else "; http:// is for servers on this machine only"
        raise Stopped(Obstacle(f"{text} is plain http.", advice=f"write https://{allow}", code=MISTAKE))
    return Fetched(text, trust)


def _file(text: str) -> bytes:
    path = Path(text)
    if not path.exists() and "/" in text and "." in text.partition("/")[0].lstrip("."):
        raise Mistake(f"{text}: no such file. If it is a URL, write https://{text}")
    return contents(path, "")


def reader(*, allow_hosts: frozenset[str]) -> Reader:
    """Reads facts with these permissions."""

    def read(data: bytes, where: str, code: int) -> Facts:
        return read_facts(data, where, allow_hosts=allow_hosts, code=code)

    return read


def whose_mistake(source: Given | Fetched) -> int:
    """The exit code for a profile that is none: a file is the user's choice, an answer the server's."""
    return MISTAKE if isinstance(source, Given) else FAILED
