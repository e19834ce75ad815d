"""The TLS handshake with a provider: done, or the word for how it was not."""

from __future__ import annotations

import ssl

import trio

from mdmsim.fakeapns.front.context import Hello
from mdmsim.fakeapns.front.transport import Transport

#: The first byte of a TLS handshake.
_TLS_HANDSHAKE = b"\x16"


class NoHandshake(Exception):
    """The connection did not get as far as HTTP; `why` is the word that it is counted under.

    `alert`: the TLS record that tells the client, still to be sent.
    """

    def __init__(self, why: str, alert: bytes = b"") -> None:
        super().__init__(why)
        self.why = why
        self.alert = alert


async def shake_hands(
    transport: Transport, context: ssl.SSLContext, hello: Hello, timeout: float
) -> trio.SSLStream[Transport]:
    """The stream in TLS, within `timeout` seconds. Raises NoHandshake."""
    tls = trio.SSLStream(transport, context, server_side=True, https_compatible=True)
    try:
        with trio.fail_after(timeout), hello:
            await tls.do_handshake()
    except trio.TooSlowError:
        raise NoHandshake("handshake-timeout") from None
    except trio.BrokenResourceError as error:
        raise NoHandshake(_word(error, transport, hello), _alert(tls)) from None
    return tls


def subject_of(tls: trio.SSLStream[Transport]) -> str | None:
    """The common name of the client's certificate, or its whole subject without one; None without a certificate."""
    found = tls.getpeercert()
    if not found:
        return None
    pairs = [pair for relative in found.get("subject", ()) for pair in relative]
    named = [value for name, value in pairs if name == "commonName"]
    return named[0] if named else ", ".join(f"{name}={value}" for name, value in pairs)


def _word(error: trio.BrokenResourceError, transport: Transport, hello: Hello) -> str:
    if hello.alert:
        return "tls-refused"
    if transport.first not in (b"", _TLS_HANDSHAKE):
        return "not-tls"
    cause = error.__cause__
    left = isinstance(cause, ssl.SSLEOFError) or not isinstance(cause, ssl.SSLError)
    return "handshake-cut" if left else "handshake-failed"


def _alert(tls: trio.SSLStream[Transport]) -> bytes:
    # trio forgets the alert that OpenSSL has ready after a failed handshake, and clients would not know why.
    pending = getattr(tls, "_outgoing", None)
    return pending.read() if isinstance(pending, ssl.MemoryBIO) else b""
