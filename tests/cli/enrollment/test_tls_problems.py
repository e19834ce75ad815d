"""What is told of a TLS handshake that failed, over real TLS on loopback: each class accuses the right party."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mdmsim.cli.enrollment.obstacle import Obstacle
from mdmsim.cli.enrollment.obstacles import of_exchange
from mdmsim.cli.enrollment.profile import Facts
from mdmsim.cli.enrollment.witness import Witness
from mdmsim.clock import WallClock
from mdmsim.http import Identity, Request, TLSFailed, Trust
from mdmsim.transport.tls import load_identity
from mdmsim.transport.trio_client import TrioTransport
from tests.transport.certs import DAY, INTERMEDIATE, OTHER_ROOT, ROOT, SERVER, der, leaf, name, pkcs8, today

ADDRESS = "127.0.0.1"
DEVICE = leaf(OTHER_ROOT, purpose="client", common_name="device identity")
FACTS = Facts(name="Lab", server_url="https://127.0.0.1/mdm", carries=("CN=something else",))
ROOTS = Trust(anchors=(ROOT.der,))


def tls(identity: Identity = SERVER, **settings: object) -> ssl.SSLContext:
    """A server's context; `settings` are attributes of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_identity(context, identity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is what one test is about
        for name, value in settings.items():
            setattr(context, name, value)
    return context


def self_signed(address: str) -> Identity:
    """A server's certificate that is its own issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(address))
        .issuer_name(name(address))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today() - DAY)
        .not_valid_after(today() + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
    )
    return Identity(der(builder.sign(key, hashes.SHA256())), pkcs8(key))


def demanding(context: ssl.SSLContext, trusted: bytes) -> ssl.SSLContext:
    """The same, where every client must show a certificate of that CA."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=trusted)
    return context


@contextlib.contextmanager
def server(context: ssl.SSLContext | None, said: bytes = b"") -> Iterator[int]:
    """Answers each connection with TLS and a 200, or without a context with `said`; its port."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                if context is None:
                    connection.recv(65536)
                    connection.sendall(said)
                    continue
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(65536)
                    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server((ADDRESS, 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def told(
    port: int,
    *,
    trust: Trust = ROOTS,
    identity: Identity | None = DEVICE,
    facts: Facts | None = FACTS,
    label: str = "checkin:Authenticate",
) -> tuple[TLSFailed, Obstacle]:
    """How a request to that port failed, and what is told of it."""

    async def main() -> tuple[TLSFailed, Obstacle]:
        with TrioTransport() as transport:
            witness = Witness(transport)
            request = Request(
                "PUT", f"https://{ADDRESS}:{port}/mdm", body=b"x", label=label, trust=trust, identity=identity
            )
            with pytest.raises(TLSFailed) as failed:
                await witness.send(request)
            assert witness.last is not None
            obstacle = await of_exchange(witness.last, facts, WallClock())
            assert obstacle is not None
            return failed.value, obstacle

    return trio.run(main)


def test_a_ca_that_the_device_does_not_know_is_named_with_the_remedy() -> None:
    with server(tls()) as port:
        error, obstacle = told(port, trust=Trust(anchors=(OTHER_ROOT.der,)))
    assert error.problem == "untrusted"
    assert obstacle.what == (
        f"The certificate of 127.0.0.1:{port} is signed by CN=Lab Root, which the profile does not carry; "
        "it carries CN=something else."
    )
    assert "--trust" in (obstacle.advice or "")
    assert obstacle.code == 3


# transport.tls: a certificate that is no root builds a chain and ends none; MicroMDM's profile carries its leaf alone.
def test_the_servers_own_certificate_in_the_profile_is_not_enough_and_the_ca_is_named() -> None:
    with server(tls()) as port:
        error, obstacle = told(port, trust=Trust(anchors=(SERVER.certificate,)))
    assert error.problem == "untrusted"
    assert obstacle.what == (
        f"The certificate of 127.0.0.1:{port} is signed by CN=Lab Root, which the profile does not carry; "
        "it carries the server's certificate itself, which is no root."
    )
    assert "--trust" in (obstacle.advice or "")


def test_of_an_intermediate_in_the_profile_the_root_above_it_is_named() -> None:
    with server(tls(leaf(INTERMEDIATE, ADDRESS))) as port:
        _, obstacle = told(port, trust=Trust(anchors=(INTERMEDIATE.der,)))
    assert "is signed by CN=Lab Root, which" in obstacle.what


def test_a_certificate_that_signed_itself_is_told_as_such_and_is_enough_as_an_anchor() -> None:
    own = self_signed(ADDRESS)
    with server(tls(own)) as port:
        error, obstacle = told(port)
        assert error.problem == "untrusted"
        assert f"The certificate of 127.0.0.1:{port} is signed by itself (CN=127.0.0.1)" in obstacle.what
        with pytest.raises(pytest.fail.Exception):  # the request gets through
            told(port, trust=Trust(anchors=(own.certificate,)))


@pytest.mark.parametrize(
    ("identity", "says"),
    [
        (leaf(ROOT, ADDRESS, to_days=-1), "expired at"),
        (leaf(ROOT, ADDRESS, from_days=1), "is valid only from"),
        (leaf(ROOT, "other.example.com"), "is for other.example.com, not for 127.0.0.1"),
        (leaf(ROOT, ADDRESS, purpose="client"), "do not allow a TLS server"),
    ],
    ids=["expired", "not-yet-valid", "name", "purpose"],
)
@pytest.mark.parametrize("anchors", [(ROOT.der,), ()], ids=["trusted-ca", "unknown-ca"])
def test_a_fault_of_the_servers_certificate_is_not_blamed_on_the_ca(
    identity: Identity, says: str, anchors: tuple[bytes, ...]
) -> None:
    with server(tls(identity)) as port:
        error, obstacle = told(port, trust=Trust(anchors=anchors))
    assert error.problem == "untrusted"
    assert obstacle.what.startswith(f"The certificate of 127.0.0.1:{port} is not good: ")
    assert says in obstacle.what


def test_a_pin_that_does_not_fit_is_the_profiles_matter() -> None:
    with server(tls()) as port:
        error, obstacle = told(port, trust=Trust(anchors=(ROOT.der,), pins=(OTHER_ROOT.der,)))
    assert error.problem == "not-pinned"
    assert obstacle.what == f"No certificate of 127.0.0.1:{port} is one that the profile pins."


def test_a_server_with_old_tls_only_is_told_the_version() -> None:
    old = tls(minimum_version=ssl.TLSVersion.TLSv1_1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with server(old) as port:
        error, obstacle = told(port)
    assert error.problem == "version"
    assert obstacle.what == f"127.0.0.1:{port} and the device have no version of TLS in common."


def test_a_server_that_speaks_plain_http_is_told_that_it_speaks_no_tls() -> None:
    with server(None, b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        error, obstacle = told(port)
    assert error.problem == "not-tls"
    assert obstacle.what == f"127.0.0.1:{port} does not speak TLS."


def test_a_connection_that_ends_in_the_handshake_is_blamed_on_nobody() -> None:
    with server(None) as port:
        error, obstacle = told(port)
    assert error.problem == "other"
    assert obstacle.what == f"The TLS handshake with 127.0.0.1:{port} failed."


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_a_client_certificate_that_the_server_refuses_is_named_with_its_issuer(version: ssl.TLSVersion) -> None:
    with server(demanding(tls(minimum_version=version, maximum_version=version), ROOT.der)) as port:
        error, obstacle = told(port)
    assert error.problem == "client-certificate"
    assert obstacle.what == (
        "The server refused the device's certificate in the TLS handshake; it was issued by CN=Foreign Root."
    )
    assert obstacle.code == 1


def test_an_expired_client_certificate_is_seen_as_such() -> None:
    expired = leaf(ROOT, purpose="client", common_name="device identity", to_days=-1)
    with server(demanding(tls(), ROOT.der)) as port:
        error, obstacle = told(port, identity=expired)
    assert error.problem == "client-certificate"
    assert "certificate expired" in (obstacle.seen or "")


def test_a_server_that_wants_a_certificate_too_early_is_told_so() -> None:
    with server(demanding(tls(), ROOT.der)) as port:
        error, obstacle = told(port, identity=None, label="scep:GetCACaps", facts=None)
    assert error.problem == "client-certificate"
    assert (
        obstacle.what == "The SCEP server demands a client certificate in the TLS handshake, before SCEP's GetCACaps."
    )


def test_a_refused_client_certificate_is_not_blamed_on_a_ca_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's root is trusted as one of the system's, which the second look at its chain does not know."""

    def load(context: ssl.SSLContext) -> None:
        context.load_verify_locations(cadata=ROOT.der)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", load)
    with server(demanding(tls(), ROOT.der)) as port:
        _, obstacle = told(port, trust=Trust(system=True))
    assert obstacle.what.startswith("The server refused the device's certificate")


def test_a_key_that_does_not_fit_its_certificate_is_the_devices_own_matter() -> None:
    with server(tls()) as port:
        error, obstacle = told(port, identity=Identity(DEVICE.certificate, SERVER.key))
    assert error.problem == "own"
    assert "a certificate on the device's side cannot be used" in obstacle.what
