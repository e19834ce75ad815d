"""openssl accepts what devices and the reference server really sent each other, and meets both at their TLS ports."""

from __future__ import annotations

import base64
import plistlib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.events import Event
from mdmsim.http import Identity, Trust
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import certificates_from_pem, identity_from_pem, identity_to_pem, public_key, to_pem
from mdmsim.pki.keys import FreshKeys
from mdmsim.pki.push_certificate import new_topic
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.world.live import live_world
from mdmsim.world.world import World
from tests.interop.needs import from_path
from tests.interop.openssl import OpenSSL, Refused
from tests.interop.recorded import Exchange, TakenKeys, exchanges
from tests.interop.stack import apple

pytestmark = [pytest.mark.interop, pytest.mark.live, pytest.mark.timeout(120)]


@dataclass
class Played:
    """A live world in which an iPhone and a Mac have enrolled and answered a command each."""

    portal: BlockingPortal
    world: World
    adapter: ReferenceAdapter
    keys: TakenKeys
    folder: Path

    def identity(self, name: str) -> Identity:
        device = self.world.fleet[name]
        assert device.state.enrollment is not None
        return device.identity(device.state.enrollment.identity)

    @property
    def ca(self) -> Identity:
        return identity_from_pem((self.folder / "server" / "ca.pem").read_bytes())

    @property
    def ca_pem(self) -> bytes:
        return to_pem(self.ca.certificate)

    def exchanges(self, label: str | None = None, *, device: str | None = None) -> list[Exchange]:
        return [e for e in exchanges(self.world.log.events, label) if device in (None, e.device)]

    @property
    def address(self) -> str:
        return self.world.server.url.removeprefix("https://")

    def ask(self, name: str, request_type: str, keys: dict[str, Any]) -> Event:
        """Queue a command and return the event of its answer's delivery."""

        async def queue() -> Event | None:
            since = len(self.world.log.events)
            uuid = await self.adapter.queue(self.world.fleet[name].persona.udid, request_type, keys)

            def delivered(event: Event) -> bool:
                return event.kind == "device.report-delivered" and event.data["command_uuid"] == uuid

            return await self.world.wait_for(delivered, within_ms=30_000, since=since)

        event: Event | None = self.portal.call(queue)
        assert event is not None, f"{request_type} was not answered"
        return event


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("live")
    keys = TakenKeys()
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal("trio"))
        world = stack.enter_context(
            portal.wrap_async_context_manager(live_world(seed="openssl", keys=keys, directory=folder))
        )
        facts = world.server
        adapter = ReferenceAdapter(world.outbound, facts.url, facts.api_key, Trust(anchors=facts.anchors))
        here = Played(portal, world, adapter, keys, folder)
        for name, kind in (("iphone", "iphone"), ("mac", "mac-silicon")):
            portal.call(partial(_enrol, here, name, kind))
            here.ask(name, "DeviceInformation", {"Queries": ["SerialNumber"]})
        yield here


async def _enrol(here: Played, name: str, kind: str) -> None:
    here.world.add_device(name, kind)
    await here.world.fleet.install(name, await here.adapter.enrollment_profile())


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSSL:
    return OpenSSL(tmp_path)


# ---- Mdm-Signature


def test_every_mdm_signature_of_a_flow_verifies_under_the_ca(played: Played, openssl: OpenSSL) -> None:
    signed = [e for e in played.exchanges() if e.signature]
    labels = {e.label for e in signed}
    assert labels == {"checkin:Authenticate", "checkin:TokenUpdate", "connect:Idle", "connect:Acknowledged"}
    for exchange in signed:
        signature = base64.b64decode(exchange.signature or "")
        verify = ("cms", "-verify", "-inform", "DER", "-in", signature, "-content", exchange.body, "-binary")
        assert openssl(*verify, "-noverify") == exchange.body
        assert openssl(*verify, "-CAfile", played.ca_pem, "-purpose", "sslclient") == exchange.body


def test_mdm_signature_of_a_changed_body_is_refused(played: Played, openssl: OpenSSL) -> None:
    exchange = next(e for e in played.exchanges() if e.signature)
    signature = base64.b64decode(exchange.signature or "")
    changed = exchange.body.replace(b"</plist>", b"</plist> ")
    with pytest.raises(Refused, match=r"verification failure|digest"):
        openssl(
            "cms", "-verify", "-inform", "DER", "-in", signature, "-content", changed, "-binary", "-noverify"
        )  # fmt: skip


def test_mdm_signature_is_a_ber_message_with_sha256_and_no_attributes(played: Played, openssl: OpenSSL) -> None:
    exchange = next(e for e in played.exchanges("checkin:Authenticate"))
    structure = openssl(
        "asn1parse", "-inform", "DER", "-in", base64.b64decode(exchange.signature or "")
    ).decode()  # fmt: skip
    assert "pkcs7-signedData" in structure
    assert "l=inf" in structure
    assert "sha256" in structure
    assert "messageDigest" not in structure


# ---- profiles


def test_signed_enrollment_profile_verifies_and_holds_the_payloads(played: Played, openssl: OpenSSL) -> None:
    signed = _curl(played, "/enroll")
    content = openssl("cms", "-verify", "-inform", "DER", "-in", signed, "-CAfile", played.ca_pem, "-purpose", "any")
    assert openssl(
        "smime", "-verify", "-inform", "DER", "-in", signed, "-CAfile", played.ca_pem, "-purpose", "any"
    ) == content  # fmt: skip
    profile = plistlib.loads(content)
    assert [payload["PayloadType"] for payload in profile["PayloadContent"]] == [
        "com.apple.security.root",
        "com.apple.security.scep",
        "com.apple.mdm",
    ]


def _curl(played: Played, path: str) -> bytes:
    """A page of the server, fetched by a client that is not ours."""
    curl = from_path("curl")
    ca = played.folder / "server" / "ca-root.pem"
    done = subprocess.run(
        [curl, "--silent", "--show-error", "--fail", "--cacert", str(ca), played.world.server.url + path],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


MANAGED = {
    "PayloadType": "com.apple.wifi.managed",
    "PayloadVersion": 1,
    "PayloadIdentifier": "test.openssl.wifi",
    "PayloadUUID": "0E1C1E0A-5C1B-4E0B-9D0D-0E6D2C1F7A12",
    "SSID_STR": "Lab",
}
PROFILE = {
    "PayloadType": "Configuration",
    "PayloadVersion": 1,
    "PayloadIdentifier": "test.openssl",
    "PayloadUUID": "0E1C1E0A-5C1B-4E0B-9D0D-0E6D2C1F7A11",
    "PayloadDisplayName": "By openssl",
}


@pytest.mark.parametrize("cipher", ["-des3", "-aes128", "-aes256"])
def test_device_installs_a_profile_that_openssl_encrypted_and_signed(
    played: Played, openssl: OpenSSL, cipher: str
) -> None:
    identity = played.identity("mac")
    payloads = plistlib.dumps([MANAGED])  # type: ignore[arg-type]
    encrypted = openssl(
        "cms", "-encrypt", "-binary", "-outform", "DER", cipher, to_pem(identity.certificate), input=payloads
    )  # fmt: skip
    plist = plistlib.dumps({**PROFILE, "EncryptedPayloadContent": encrypted})
    signer = identity_from_pem((played.folder / "server" / "profile.pem").read_bytes())
    signed = openssl(
        "cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-signer", identity_to_pem(signer), input=plist
    )  # fmt: skip
    answer = played.ask("mac", "InstallProfile", {"Payload": signed})
    assert answer.data["status"] == "Acknowledged"
    assert "test.openssl" in [installed.identifier for installed in played.world.fleet["mac"].state.profiles]


# ---- SCEP


def test_scep_request_opens_with_openssl_down_to_the_csr(played: Played, openssl: OpenSSL) -> None:
    for exchange in played.exchanges("scep:PKIOperation"):
        message = exchange.pki_message
        signer = openssl("cms", "-verify", "-inform", "DER", "-in", message, "-noverify", "-signer", "/dev/stdout",
                         "-out", "/dev/null")  # fmt: skip
        envelope = openssl(
            "cms", "-verify", "-inform", "DER", "-in", message, "-CAfile", signer, "-purpose", "any", "-binary"
        )  # fmt: skip
        csr = openssl("cms", "-decrypt", "-inform", "DER", "-in", envelope, "-inkey", identity_to_pem(played.ca),
                      "-recip", played.ca_pem, "-binary")  # fmt: skip
        text = openssl("req", "-inform", "DER", "-in", csr, "-verify", "-noout", "-text").decode()
        assert "CN = MDM device identity" in text
        assert "challengePassword" in text
        attributes = openssl("cms", "-cmsout", "-print", "-noout", "-inform", "DER", "-in", message).decode()
        # messageType, senderNonce, transactionID (RFC 8894 section 3.2.1).
        for oid in ("2.16.840.1.113733.1.9.2", "2.16.840.1.113733.1.9.5", "2.16.840.1.113733.1.9.7"):
            assert oid in attributes
        assert "PRINTABLESTRING:19" in attributes


def test_signer_of_a_scep_request_is_not_the_key_being_certified(played: Played, openssl: OpenSSL) -> None:
    message = played.exchanges("scep:PKIOperation", device="iphone")[0].pki_message
    signer = openssl("cms", "-verify", "-inform", "DER", "-in", message, "-noverify", "-signer", "/dev/stdout",
                     "-out", "/dev/null")  # fmt: skip
    text = openssl("x509", "-in", signer, "-noout", "-subject", "-nameopt", "RFC2253").decode()
    assert text.strip() == "subject=C=US,CN=MDM SCEP SIGNER"
    own = openssl("x509", "-in", signer, "-noout", "-pubkey")
    certified = openssl("x509", "-in", to_pem(played.identity("iphone").certificate), "-noout", "-pubkey")
    assert own != certified


def test_scep_answer_opens_with_openssl_down_to_the_certificate(played: Played, openssl: OpenSSL) -> None:
    for exchange in played.exchanges("scep:PKIOperation"):
        signer = openssl("cms", "-verify", "-inform", "DER", "-in", exchange.pki_message, "-noverify", "-signer",
                         "/dev/stdout", "-out", "/dev/null")  # fmt: skip
        certificate = certificates_from_pem(signer)[0]
        key = played.keys.of(_spki(certificate))
        envelope = openssl("cms", "-verify", "-inform", "DER", "-in", exchange.answer, "-CAfile", played.ca_pem,
                           "-purpose", "any", "-binary")  # fmt: skip
        inner = openssl("cms", "-decrypt", "-inform", "DER", "-in", envelope, "-recip", signer, "-inkey",
                        identity_to_pem(Identity(certificate, key)), "-binary")  # fmt: skip
        issued = openssl("pkcs7", "-inform", "DER", "-in", inner, "-print_certs")
        assert certificates_from_pem(issued)[0] == played.identity(exchange.device).certificate


def _spki(certificate: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public_key(certificate).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# ---- certificates


def test_issued_identity_verifies_for_tls_clients_and_says_so(played: Played, openssl: OpenSSL) -> None:
    certificate = to_pem(played.identity("iphone").certificate)
    openssl("verify", "-x509_strict", "-CAfile", played.ca_pem, "-purpose", "sslclient", certificate)
    text = openssl("x509", "-in", certificate, "-noout", "-text").decode()
    assert "TLS Web Client Authentication" in text
    assert "CN = MDM device identity" in text


def test_server_certificate_verifies_for_its_address(played: Played, openssl: OpenSSL) -> None:
    server = identity_from_pem((played.folder / "server" / "server.pem").read_bytes())
    openssl("verify", "-x509_strict", "-CAfile", played.ca_pem, "-purpose", "sslserver", "-verify_ip", "127.0.0.1",
            to_pem(server.certificate))  # fmt: skip


def test_push_certificate_names_its_topic_as_apples_do(played: Played, openssl: OpenSSL) -> None:
    push = identity_from_pem((played.folder / "server" / "push.pem").read_bytes())
    certificate = to_pem(push.certificate)
    openssl("verify", "-x509_strict", "-CAfile", played.ca_pem, "-purpose", "sslclient", certificate)
    subject = openssl("x509", "-in", certificate, "-noout", "-subject", "-nameopt", "RFC2253").decode().strip()
    topic = played.world.server.topic
    assert subject == f"subject=C=US,CN=APSP:{topic.rpartition('.')[2]},UID={topic}"
    structure = openssl("asn1parse", "-in", certificate).decode()
    assert "1.2.840.113635.100.6.3.2" in structure


# ---- TLS


def _idle(played: Played, name: str) -> bytes:
    """A report without signature, as raw HTTP: only the client certificate can say whose it is."""
    body = next(e.body for e in played.exchanges("connect:Idle", device=name))
    head = (
        f"PUT /mdm/connect HTTP/1.1\r\nHost: {played.address}\r\nContent-Type: application/x-apple-aspen-mdm\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def test_s_client_is_known_by_the_server_for_its_client_certificate(played: Played, openssl: OpenSSL) -> None:
    identity = played.identity("iphone")
    said = openssl.session(
        "-connect", played.address, "-CAfile", played.ca_pem, "-verify_return_error", "-verify_ip", "127.0.0.1",
        "-cert", to_pem(identity.certificate), "-key", identity_to_pem(identity), "-alpn", "h2,http/1.1", "-ign_eof",
        input=_idle(played, "iphone"),
    )  # fmt: skip
    assert "Verify return code: 0 (ok)" in said
    assert "ALPN protocol: http/1.1" in said
    assert "HTTP/1.1 200 OK" in said


def test_s_client_without_a_certificate_reaches_the_server_and_is_nobody(played: Played, openssl: OpenSSL) -> None:
    said = openssl.session(
        "-connect", played.address, "-CAfile", played.ca_pem, "-ign_eof", input=_idle(played, "iphone")
    )
    assert "HTTP/1.1 400 Bad Request" in said


def test_s_client_of_a_foreign_ca_is_refused_by_the_server(played: Played, openssl: OpenSSL) -> None:
    stranger = Authority.create("Stranger CA", keys=FreshKeys(), clock=WallClock(), chance=Chance("stranger"))
    identity = stranger.client_identity("stranger")
    said = openssl.session(
        "-connect", played.address, "-CAfile", played.ca_pem, "-cert", to_pem(identity.certificate), "-key",
        identity_to_pem(identity), "-ign_eof", input=_idle(played, "iphone"),
    )  # fmt: skip
    assert "Verify return code: 0 (ok)" in said
    assert "HTTP/1.1" not in said


@pytest.fixture(scope="module")
def push(played: Played, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Identity]]:
    """Address, CA file and a push identity of a fake APNs on sockets."""
    clock, chance = WallClock(), Chance("apns")
    authority = Authority.create("Push CA", keys=FreshKeys(), clock=clock, chance=chance.stream("ca"))
    identity = authority.issue_push(new_topic(chance))
    around = apple(tmp_path_factory.mktemp("apns"), clock, chance)
    with played.portal.wrap_async_context_manager(around) as fake:
        fake.service.certificates.register(identity.certificate)
        yield f"127.0.0.1:{fake.port}", fake.ca_file, identity


@pytest.mark.parametrize("alpn", [("-alpn", "h2"), ("-alpn", "http/1.1,h2"), ()], ids=["h2", "h2-second", "none"])
def test_s_client_is_let_in_by_apns_with_a_push_certificate(
    push: tuple[str, Path, Identity], openssl: OpenSSL, alpn: tuple[str, ...]
) -> None:
    address, ca_file, identity = push
    said = openssl.session(
        "-connect", address, "-CAfile", str(ca_file), "-verify_return_error", "-verify_hostname",
        "api.push.apple.com", "-cert", to_pem(identity.certificate), "-key", identity_to_pem(identity), *alpn,
        input=b"Q\n",
    )  # fmt: skip
    assert "Verify return code: 0 (ok)" in said
    assert ("ALPN protocol: h2" in said) == bool(alpn)
    assert "alert" not in said


def test_curl_pushes_over_http2_with_a_push_certificate(
    push: tuple[str, Path, Identity], openssl: OpenSSL, tmp_path: Path
) -> None:
    address, ca_file, identity = push
    curl = from_path("curl")
    url = f"https://api.push.apple.com:{address.rpartition(':')[2]}/3/device/{'ab' * 32}"
    done = subprocess.run(
        [curl, "--silent", "--show-error", "--http2", "--cacert", str(ca_file), "--connect-to", f"::{address}",
         "--cert", openssl.file(identity_to_pem(identity)), "--data", '{"mdm":"magic"}', "--write-out",
         "%{http_version} %{response_code}", url],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"reason":"BadDeviceToken"}2 400'
