"""TLS without I/O, for the trio and the blocking shell: contexts, device identities, sessions, pins.

What it costs decides the shape. A context with a key of its own for each device is 22 KB and 1.8 ms, so there is one
context per trust and key type, and the device's certificate goes in right before the handshake object is made, which
copies it. (One context holds one certificate per key type and lets none go: a device with an RSA key would else show
an EC certificate loaded earlier for another device.) Sessions are bound to their context and carry the identity they
were made with: they are kept by device identity, few of them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from mdmsim.http import Identity, TLSFailed, TlsProblem, Trust
from mdmsim.transport.conversation import LinkBroken, LinkRefused
from mdmsim.transport.descriptors import own_limit
from mdmsim.transport.lru import Lru
from mdmsim.transport.place import Place

#: What a key is, told from the algorithm in its PKCS#8 head (RFC 8017 appendix A.1, RFC 5480 section 2.1.1).
_RSA = bytes.fromhex("2a864886f70d010101")
_EC = bytes.fromhex("2a8648ce3d0201")
_SessionKey = tuple[str, str, int, Trust, Identity | None]


def key_type(key: bytes) -> str:
    """`rsa`, `ec` or `other` for a PKCS#8 DER key."""
    head = key[:40]
    return "rsa" if _RSA in head else "ec" if _EC in head else "other"


def _pem(kind: str, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (kind.encode(), base64.encodebytes(der), kind.encode())


@contextlib.contextmanager
def _secret_file(content: bytes) -> Iterator[str]:
    """A path at which OpenSSL can read the content: in memory where the system can, always for this user only."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        fd = os.memfd_create("identity")
        try:
            os.fchmod(fd, 0o600)
            _write_all(fd, content)
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
        return
    memory = Path("/dev/shm")
    fd, path = tempfile.mkstemp(prefix="mdmsim-", dir=memory if memory.is_dir() else None)  # mkstemp makes it 0600
    try:
        try:
            _write_all(fd, content)
        finally:
            os.close(fd)
        yield path
    finally:
        Path(path).unlink()


def _write_all(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Make a context show this certificate and chain. Raises TLSFailed when key and certificate do not fit."""
    chain = b"".join(_pem("CERTIFICATE", der) for der in (identity.certificate, *identity.chain))
    try:
        with _secret_file(_pem("PRIVATE KEY", identity.key) + chain) as path:
            context.load_cert_chain(path)
    except (ssl.SSLError, OSError) as error:
        if (limit := own_limit(error, "a server")) is not None:
            raise limit from None
        raise TLSFailed(f"the client identity cannot be used: {_reason(error)}", problem="own") from None


def new_context(trust: Trust, *, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """A client context that trusts what `trust` says and nothing else, without identity.

    A name must stand in subjectAltName (Apple, HT210176: required since iOS 13 and macOS 10.15), TLS is at least 1.2
    (Apple, App Transport Security). An anchor that is not self-signed helps to build a chain but does not end one,
    as on devices. Raises TLSFailed when an anchor is not a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(list(alpn))
    if trust.system:
        context.load_default_certs()
    for anchor in trust.anchors:
        try:
            context.load_verify_locations(cadata=anchor)
        except (ssl.SSLError, ValueError) as error:
            raise TLSFailed(f"a trust anchor is not a certificate: {_reason(error)}", problem="own") from None
    return context


def verified_chain(tls: ssl.SSLObject | ssl.SSLSocket) -> list[bytes]:
    """The chain as it was verified, leaf first, anchor last, DER; empty on a resumed session.

    Public since Python 3.13, there since 3.10 under a private name.
    """
    public = getattr(tls, "get_verified_chain", None)
    if public is not None:
        return list(public() or ())
    inner = getattr(tls, "_sslobj")  # noqa: B009  (mypy knows no such attribute)
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in inner.get_verified_chain() or ()]


def check_pins(tls: ssl.SSLObject | ssl.SSLSocket, trust: Trust) -> None:
    """Raise TLSFailed unless one of the pins is in the verified chain.

    The chain as sent would not do: a server may send certificates that play no part in its chain. A resumed session
    has no chain; it was made under the same trust, pins included, and passed then.
    """
    if trust.pins and not tls.session_reused and not set(trust.pins).intersection(verified_chain(tls)):
        raise TLSFailed("none of the server's certificates is pinned", problem="not-pinned")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error) or type(error).__name__


#: OpenSSL's reasons for an answer that is no TLS record at all.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")


def problem_of(error: ssl.SSLError) -> TlsProblem:
    """What a handshake failed at, from OpenSSL's reason: its own judgement, or the alert that came (RFC 8446, 6.2)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "untrusted"
    reason = error.reason or ""
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
        return "client-certificate"
    if "PROTOCOL_VERSION" in reason or reason == "UNSUPPORTED_PROTOCOL":
        return "version"
    return "not-tls" if reason in _NOT_TLS else "other"


class TlsPipe:
    """One TLS connection: bytes from the socket in, bytes for the socket out."""

    __slots__ = ("_in", "_out", "_place", "_trust", "established", "tls")

    def __init__(self, context: ssl.SSLContext, place: Place, trust: Trust, session: ssl.SSLSession | None) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._place, self._trust = place, trust
        self.established = False
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=place.host, session=session)

    def handshake(self) -> bool:
        """A step of the handshake; true when it is done. Raises TLSFailed; the alert is then in `outgoing`."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise self._failed(error) from None
        check_pins(self.tls, self._trust)
        self.established = True
        return True

    def _failed(self, error: ssl.SSLError) -> TLSFailed:
        if isinstance(error, ssl.SSLCertVerificationError):
            return TLSFailed(
                f"the certificate of {self._place.at} is not trusted: {error.verify_message}", problem="untrusted"
            )
        if _is_ragged(error):
            return TLSFailed(f"{self._place.at} ended the connection during the TLS handshake")
        return TLSFailed(f"the TLS handshake with {self._place.at} failed: {_reason(error)}", problem=problem_of(error))

    def outgoing(self) -> bytes:
        """What must go to the socket now; may be empty."""
        return self._out.read()

    def incoming(self, data: bytes) -> None:
        """What came from the socket; b"" for its end."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def seal(self, data: bytes) -> bytes:
        """Plain bytes as they go to the socket."""
        write = self.tls.write
        done = write(data)
        while done < len(data):  # one record at a time
            done += write(memoryview(data)[done:])
        return self._out.read()

    def pending(self) -> bool:
        """Whether `unseal` could find something without reading the socket first."""
        return bool(self._in.pending) or self._in.eof or bool(self.tls.pending())

    def unseal(self) -> bytes | None:
        """Plain bytes that came, b"" after close_notify, None when the socket must be read first.

        Raises LinkBroken for an end without close_notify, LinkRefused for an alert.
        """
        try:
            return self.tls.read(65536)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            if _is_ragged(error):
                raise LinkBroken("no close_notify") from None
            if error.reason and "ALERT" in error.reason:
                raise LinkRefused(_reason(error), problem_of(error)) from None
            raise LinkBroken(_reason(error)) from None

    def farewell(self) -> bytes:
        """close_notify, to be sent before closing."""
        if self.established:
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
        return self._out.read()


def _is_ragged(error: ssl.SSLError) -> bool:
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


class TlsClient:
    """The contexts and sessions of one transport."""

    def __init__(self, *, contexts: int = 64, sessions: int = 512) -> None:
        self._contexts: Lru[tuple[Trust, str], ssl.SSLContext] = Lru(contexts)
        self._sessions: Lru[_SessionKey, ssl.SSLSession] = Lru(sessions)
        self._shows: Lru[tuple[Trust, str], Identity] = Lru(contexts)
        self._lock = threading.Lock()

    def begin(self, place: Place, trust: Trust, identity: Identity | None) -> TlsPipe:
        """A connection ready for its handshake. Raises TLSFailed for an identity or an anchor that cannot be used."""
        kind = "bare" if identity is None else key_type(identity.key)
        # Pins are judged apart from the context, and so is http://: devices that differ in them share one.
        which = (Trust(anchors=trust.anchors, system=trust.system), kind)
        # Between loading the certificate and wrap_bio, which copies it, nobody else may load another.
        with self._lock:
            context = self._contexts.get(which)
            if context is None:
                context = new_context(which[0])
                self._contexts.put(which, context)
                self._shows.pop(which)
            if identity is not None and self._shows.get(which) != identity:
                self._shows.pop(which)
                load_identity(context, identity)
                self._shows.put(which, identity)
            session = self._sessions.get((place.host, place.scheme, place.port, trust, identity))
            try:
                return TlsPipe(context, place, trust, session)
            except ValueError:  # the session outlived its context
                return TlsPipe(context, place, trust, None)

    def keep_session(self, pipe: TlsPipe, place: Place, trust: Trust, identity: Identity | None) -> None:
        """Remember a connection's session as it ends: under TLS 1.3 the ticket comes after the handshake."""
        session = pipe.tls.session if pipe.established else None
        if session is not None and session.has_ticket:
            with self._lock:
                self._sessions.put((place.host, place.scheme, place.port, trust, identity), session)

    def forget_sessions(self) -> None:
        with self._lock:
            self._sessions.clear()
