"""The TLS side of the front: HTTP/2 only, a client certificate if the client has one, each known one its own anchor."""

from __future__ import annotations

import ssl
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mdmsim.fakeapns.provider import Environment
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.http import Identity
from mdmsim.pki.certificate import identity_to_pem

#: Every name of Apple's push service that a client may ask for: production, sandbox, the sandbox's older alias that
#: many clients still use, and the two of broadcast channel management.
APPLE_HOSTS = (
    "api.push.apple.com",
    "api.sandbox.push.apple.com",
    "api.development.push.apple.com",
    "api-manage-broadcast.push.apple.com",
    "api-manage-broadcast.sandbox.push.apple.com",
)


def environment_of(host: str) -> Environment | None:
    """The environment that a name of Apple's push service stands for; None for any other name."""
    name = host.lower().rstrip(".")
    if name not in APPLE_HOSTS:
        return None
    return "sandbox" if ".sandbox." in name or ".development." in name else "production"


#: What the front's server certificate carries: Apple's names, and loopback's for clients with a base URL.
SERVER_NAMES = (*APPLE_HOSTS, "localhost")

#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for.
_NO_CHECK_TIME = 0x200000


class Hello:
    """One handshake: what it is to end with, and what it tells.

    While it is entered, the handshakes of this task go by it: OpenSSL calls back from inside the handshake and knows
    nothing of connections, but a task has its own context.
    """

    __slots__ = ("_token", "alert", "host")

    def __init__(self, alert: str = "") -> None:
        #: Name of the TLS alert that ends the handshake ("internal_error", "certificate_revoked"); empty: none.
        self.alert = alert
        #: The name that the client asked for (SNI), if it did.
        self.host: str | None = None

    def __enter__(self) -> Hello:
        self._token = _HELLO.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        _HELLO.reset(self._token)


_HELLO: ContextVar[Hello | None] = ContextVar("hello", default=None)


def _on_hello(connection: ssl.SSLObject, host: str | None, context: ssl.SSLContext) -> int | None:
    hello = _HELLO.get()
    if hello is None:
        return None
    hello.host = host
    if not hello.alert:
        return None
    alert = getattr(ssl, f"ALERT_DESCRIPTION_{hello.alert.upper()}", ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
    return int(alert)


@contextmanager
def strange_names_are_no_news() -> Iterator[None]:
    """While entered, a client that asks for a name which is not ASCII leaves nothing on stderr.

    Python ends such a handshake with an alert, which is right, and reports the name as an exception that nobody could
    catch, once for each connection. Everything else that is reported so goes on to whoever was told before.
    """
    global _entered, _told_before
    if not _entered:
        _told_before, sys.unraisablehook = sys.unraisablehook, _on_unraisable
    _entered += 1
    try:
        yield
    finally:
        _entered -= 1
        if not _entered and sys.unraisablehook is _on_unraisable:
            sys.unraisablehook = _told_before


_entered = 0
_told_before: Callable[[sys.UnraisableHookArgs], object] = sys.unraisablehook


def _on_unraisable(report: sys.UnraisableHookArgs) -> None:
    error = report.exc_value
    if _HELLO.get() is not None and isinstance(error, UnicodeDecodeError) and error.object == report.object:
        return
    _told_before(report)


def server_context(identity: Identity, certificates: Iterable[bytes], settings: ApnsSettings) -> ssl.SSLContext:
    """A context for the front. `certificates`: the push certificates that clients may show, DER, of any issuer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Some clients offer http/1.1 before h2, some no ALPN at all: only h2 is offered, and nobody needs to ask for it.
    context.set_alpn_protocols(["h2"])
    # Optional: a client without a certificate is told so by an answer, not by an alert.
    context.verify_mode = ssl.CERT_OPTIONAL
    # A push certificate's issuer is nobody's business here, so the certificate itself is the end of the chain.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if settings.certificate_dates == "world":
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    else:
        # A session that is resumed is not judged again, and a certificate that has expired since would be let in.
        context.num_tickets = 0
    context.sni_callback = _on_hello
    if anchors := b"".join(certificates):
        context.load_verify_locations(cadata=anchors)
    # Python loads identities from files only; this one is private (mode 0600) and gone in a moment.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(identity_to_pem(identity))
        file.flush()
        context.load_cert_chain(file.name)
    return context
