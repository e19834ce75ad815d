"""The way to a push host, hop by hop, as a server goes it: which way, name, TCP, proxy, TLS.

Nothing goes beyond this machine and its private networks, and nothing to Apple, unless the host is allowed by name.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # the second is not in typeshed
    getproxies_environment,
    proxy_bypass_environment,
)

from cryptography.exceptions import InvalidSignature

from mdmsim.apple_network import is_apples
from mdmsim.cli.diagnosis.finding import Finding, good, missing
from mdmsim.cli.exits import FAILED, NOT_CARRIED_OUT, Mistake
from mdmsim.cli.words import certificates, url_host
from mdmsim.http import Identity
from mdmsim.pki.certificate import identity_to_pem, load_certificate

#: Seconds for each hop.
PATIENCE = 15.0

_LONGEST_HEAD, _LONGEST_BODY = 16384, 65536


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop and what was found there. `code`: the exit code where it is the one that failed."""

    name: str
    finding: Finding
    code: int = 0


class Stopped(Exception):
    """The way ends at this hop."""

    def __init__(self, hop: Hop) -> None:
        super().__init__(hop.name)
        self.hop = hop


def stop(name: str, seen: str, do: str, code: int = FAILED) -> NoReturn:
    raise Stopped(Hop(name, missing(seen, do), code))


@dataclass(frozen=True, slots=True)
class Target:
    """Where to go. `proxy`: host, port and the value of Proxy-Authorization; `by`: who named it."""

    host: str
    port: int
    proxy: tuple[str, int, str | None] | None = field(repr=False)
    by: str = ""

    @property
    def is_apples(self) -> bool:
        return is_apples(self.host)

    @property
    def authority(self) -> str:
        return f"{url_host(self.host)}:{self.port}"


def target(url: str, proxy: str | None) -> tuple[Target, Hop]:
    """What URL and proxy mean. `proxy` None: the environment's, as most clients take it. Raises Mistake."""
    split = urlsplit(url if "://" in url else f"https://{url}")
    host = (split.hostname or "").rstrip(".")
    if split.scheme == "http":
        raise Mistake(
            f"--push {_bare(url)}: the port without TLS is not tried here: it judges no certificate, so there is no way to look "
            'at. Try it with curl --http2-prior-knowledge -i -d \'{"mdm":"x"}\' URL/3/device/TOKEN, or write https://HOST:PORT.'
        )
    if split.scheme != "https":
        raise Mistake(f"--push {url}: push services speak TLS only. Write https://HOST:PORT.")
    try:
        port = split.port or 443
    except ValueError:
        host, port = "", 0
    if not host or split.path not in ("", "/") or split.query or split.username:
        raise Mistake(
            f"--push {_bare(url)}: not the base URL of a push service. Write https://HOST or https://HOST:PORT."
        )
    if proxy is not None:
        return _through(host, port, proxy, "--proxy")
    named = getproxies_environment().get("https")
    if not named:
        return Target(host, port, None), Hop("way", good(f"directly to {url_host(host)}:{port}"))
    if _is_loopback(host):
        said = f"directly to {url_host(host)}:{port}: HTTPS_PROXY does not count for this machine, as in Go"
        return Target(host, port, None), Hop("way", good(said))
    if proxy_bypass_environment(host):
        return Target(host, port, None), Hop("way", good(f"directly to {url_host(host)}:{port}: NO_PROXY names it"))
    return _through(host, port, named, "HTTPS_PROXY")


def _through(host: str, port: int, proxy: str, by: str) -> tuple[Target, Hop]:
    split = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        proxy_port = split.port or 80
    except ValueError:
        proxy_port = 0
    if split.scheme != "http" or not split.hostname or not proxy_port:
        raise Mistake(f"{by} {_bare(proxy)}: not an HTTP proxy. Write http://HOST:PORT, as mdmsim up prints it.")
    login = None
    if split.username is not None:
        login = base64.b64encode(f"{unquote(split.username)}:{unquote(split.password or '')}".encode()).decode()
    found = Target(host, port, (split.hostname, proxy_port, login), by)
    return found, Hop("way", good(f"to {found.authority} through the proxy {split.hostname}:{proxy_port} ({by})"))


def _bare(url: str) -> str:
    """A URL without user and password."""
    return re.sub(r"//[^/@]*@", "//", url)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def resolve(way: Target, allowed: frozenset[str]) -> tuple[str, Hop]:
    """The address to connect to: the proxy's, or the host's own. Raises Stopped."""
    host, port = way.proxy[:2] if way.proxy is not None else (way.host, way.port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = f"{host} has no address: {getattr(error, 'strerror', None) or error}"
        stop("name", said, _lead_here(way, host), NOT_CARRIED_OUT)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    outside = [address for address in addresses if not _is_near(address)]
    if outside and host not in allowed:
        whose = "Apple's" if way.is_apples and way.proxy is None else "neither this machine's nor a private network's"
        stop("name", f"{host} is {outside[0]}, which is {whose}; nothing was sent", _lead_here(way, host))
    return addresses[0], Hop("name", good(f"{host} is {', '.join(addresses)}"))


def _is_near(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.is_loopback or found.is_private or found.is_link_local


def _lead_here(way: Target, host: str) -> str:
    if way.proxy is not None:
        return f"name the proxy that mdmsim up prints, by its address (it came from {way.by})"
    if way.is_apples:
        return (
            f"lead it here: a proxy (--proxy URL, HTTPS_PROXY for the server), or a line in the hosts file: 127.0.0.1 {host}. "
            f"To push to Apple itself: --allow-host {host}"
        )
    return f"take the base URL that mdmsim up prints; if that host is meant: --allow-host {host}"


def connect(way: Target, address: str) -> tuple[socket.socket, Hop]:
    """A TCP connection to the proxy or the host. Raises Stopped."""
    port = way.proxy[1] if way.proxy is not None else way.port
    try:
        connection = socket.create_connection((address, port), timeout=PATIENCE)
    except OSError as error:
        what = "the proxy" if way.proxy is not None else "the fake"
        do = f"start {what} (mdmsim up), and compare the port with what it printed"
        if way.proxy is None and way.is_apples:
            do += "; for a hosts file it listens with --hosts-port 443 --hosts-port 2197"
        if isinstance(error, ConnectionResetError):
            do = "it accepts and hangs up at once: a blackout may be on; GET /faults of its admin API lists it"
        why = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        stop("tcp", f"{url_host(address)}:{port}: {why}", do, NOT_CARRIED_OUT)
    connection.settimeout(PATIENCE)
    return connection, Hop("tcp", good(f"{url_host(address)}:{port} accepts"))


def tunnel(way: Target, connection: socket.socket) -> Hop:
    """Ask the proxy for the connection. Raises Stopped."""
    login = way.proxy[2] if way.proxy is not None else None
    extra = f"Proxy-Authorization: Basic {login}\r\n" if login else ""
    request = f"CONNECT {way.authority} HTTP/1.1\r\nHost: {way.authority}\r\n{extra}\r\n"
    try:
        connection.sendall(request.encode("latin-1", "replace"))
        said = b""
        while b"\r\n\r\n" not in said and len(said) < _LONGEST_HEAD:
            data = connection.recv(1)  # not a byte of what comes behind the head belongs to the proxy
            if not data:
                break
            said += data
        found = re.match(rb"HTTP/1\.[01] (\d{3})", said)
        status = int(found[1]) if found else 0
        body = b"" if not found or 200 <= status < 300 else _rest(connection)
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        stop("proxy", f"CONNECT {way.authority}: {why}", _NO_PROXY_THERE)
    if not found:
        shown = "hung up" if not said else f"answered {said[:40]!r}"
        stop("proxy", f"CONNECT {way.authority}: it {shown}, which is no proxy's answer", _NO_PROXY_THERE)
    if 200 <= status < 300:
        return Hop("proxy", good(f"CONNECT {way.authority}: {status}"))
    text = body.decode("utf-8", "replace").strip().partition("\n")[0]
    shown = "".join(character if character.isprintable() else " " for character in text)[:600]
    do = {
        403: "what it says; if these are not mdmsim's words, it is another proxy: take the one that mdmsim up prints",
        407: "it wants a password: this is not mdmsim's proxy; take the one that mdmsim up prints",
        502: "start the fake that it leads to, and compare the ports",
    }.get(status, _NO_PROXY_THERE)
    code = NOT_CARRIED_OUT if status == 502 else FAILED
    stop("proxy", f"CONNECT {way.authority}: {status} {shown}".rstrip(), do, code)


_NO_PROXY_THERE = "this is not mdmsim's proxy: take the URL that mdmsim up prints as HTTPS_PROXY"


def _rest(connection: socket.socket) -> bytes:
    """What follows the head of a refusal, until the proxy hangs up or falls silent."""
    body = b""
    connection.settimeout(2)
    try:
        while len(body) < _LONGEST_BODY and (data := connection.recv(4096)):
            body += data
    except OSError:
        pass
    return body


def tls_context(ca: Path | None, identity: Identity | None) -> ssl.SSLContext:
    """Trust and certificate as the server would have them. `ca` None: what OpenSSL trusts here. Raises Mistake."""
    trusted = b"".join(certificates([ca], "--ca")) if ca is not None else None
    context = ssl.create_default_context(cadata=trusted)
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        # Python loads identities from files only; this one is private (mode 0600) and gone in a moment.
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(identity_to_pem(identity))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def secure(
    way: Target, connection: socket.socket, context: ssl.SSLContext, allowed: frozenset[str]
) -> tuple[ssl.SSLSocket, Hop]:
    """TLS with the host, judged as clients judge it. Raises Stopped."""
    try:
        tls = context.wrap_socket(connection, server_hostname=way.host)
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(error.verify_message, error.verify_code) from None
    except ssl.SSLError as error:
        if (refused := client_certificate_refused(error)) is not None:
            raise Stopped(refused) from None
        stop("tls", *_tls_failure(way, error))
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else "the connection was cut"
        stop("tls", f"{why} during the handshake", "it is no TLS port, or a fault is planned: look at its admin API")
    if way.is_apples and way.host not in allowed and not _directly_trusted(tls, context):
        tls.close()
        do = (
            "trust the CA that mdmsim up names and no other: --ca FILE, SSL_CERT_FILE for the server. "
            f"To push to Apple itself: --allow-host {way.host}"
        )
        stop("tls", "its certificate comes from a public CA, so this may be Apple itself; nothing was sent", do)
    issuer = load_certificate(tls.getpeercert(binary_form=True) or b"").issuer.rfc4514_string()
    return tls, Hop("tls", good(f"{tls.version()}; certificate issued by {issuer}, which is trusted"))


class Untrusted(Exception):
    """The server's certificate does not hold. Whose it is must be looked up on another connection."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.why = why
        self.code = code


#: OpenSSL's X509_V_ERR_...: what a person can do about each.
_EXPIRED, _NOT_YET, _NAME, _ADDRESS = 10, 9, 62, 64


def explain_untrusted(way: Target, connection: socket.socket, untrusted: Untrusted) -> NoReturn:
    """Say which CA is missing, or which name is wrong, from the certificate that the server shows. Raises Stopped."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(connection, server_hostname=way.host) as tls:
            shown = load_certificate(tls.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        stop("tls", f"the server's certificate is not trusted: {untrusted.why}", _TRUST)
    issuer = shown.issuer.rfc4514_string() or "nobody"
    if untrusted.code in (_NAME, _ADDRESS):
        names = ", ".join(_names(shown)) or "no name at all"
        do = "dial one of these names, or start the fake with --host, which its certificate then carries"
        stop("tls", f"its certificate is for {names}, not for {way.host}", do)
    if untrusted.code in (_EXPIRED, _NOT_YET):
        dates = f"{shown.not_valid_before_utc:%Y-%m-%d} to {shown.not_valid_after_utc:%Y-%m-%d}"
        stop("tls", f"its certificate is valid from {dates}", "set this machine's clock, or start the fake again")
    said = f"its certificate is issued by {issuer}, which is not trusted here ({untrusted.why})"
    stop("tls", said, _TRUST)


_TRUST = (
    "trust the CA that mdmsim up names (apple-ca.pem), or that mdmsim apns wrote to its --ca-file: --ca FILE here; SSL_CERT_FILE, NODE_EXTRA_CA_CERTS or a trust store "
    "for the server (mdmsim up --for NAME)"
)


def _names(certificate: object) -> list[str]:
    from cryptography import x509

    if not isinstance(certificate, x509.Certificate):
        return []
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _directly_trusted(tls: ssl.SSLSocket, context: ssl.SSLContext) -> bool:
    """Whether one of the trusted certificates issued the server's itself, as fakes' CAs do and public ones never do."""
    leaf = load_certificate(tls.getpeercert(binary_form=True) or b"")
    for der in context.get_ca_certs(binary_form=True):
        trusted = load_certificate(der)
        if trusted.subject == leaf.issuer:
            try:
                leaf.verify_directly_issued_by(trusted)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return True
    return False


def _tls_failure(way: Target, error: ssl.SSLError) -> tuple[str, str]:
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"):
        return "it does not speak TLS", "take the port of the fake APNs: not the courier's, and not the admin API's"
    if reason == "TLSV1_UNRECOGNIZED_NAME":
        return (
            f"it knows nobody called {way.host}",
            "dial a name that it answers for: mdmsim up --json lists them (proxy, hosts)",
        )
    return f"the handshake failed: {reason}", "if a fault is planned, the fake's admin API lists it"


#: What to do about a push certificate that the fake does not know.
MAKE_KNOWN = "make it known: mdmsim up --push-certificate FILE, mdmsim apns --certificate FILE, or POST /certificates"

#: Alerts by which a server refuses a client certificate, as OpenSSL names them: what it means.
_REFUSALS = {
    "UNKNOWN_CA": "the fake does not know it",
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_REVOKED": "it was revoked",
    "BAD_CERTIFICATE": "the fake does not want it",
    "CERTIFICATE_UNKNOWN": "the fake does not want it",
    "UNSUPPORTED_CERTIFICATE": "it is of a kind that the fake does not want",
    "CERTIFICATE_REQUIRED": "there is none, and the server wants one",
}


def client_certificate_refused(error: ssl.SSLError) -> Hop | None:
    """The hop, where the alert is about the client's certificate; in TLS 1.3 it comes with the first answer."""
    alert = re.sub(r"^(TLSV\d+|SSLV3|TLSV13)_(ALERT_)?", "", error.reason or "")
    means = _REFUSALS.get(alert)
    if means is None:
        return None
    do = {
        "UNKNOWN_CA": MAKE_KNOWN,
        "CERTIFICATE_EXPIRED": "renew it; a throw-away one: mdmsim apns certificate --topic TOPIC --out FILE",
        "CERTIFICATE_REQUIRED": "show one: --certificate FILE",
    }.get(alert, "take another: mdmsim apns certificate --topic TOPIC --out FILE")
    return Hop("certificate", missing(f"refused with the TLS alert {alert.lower()}: {means}", do), FAILED)
