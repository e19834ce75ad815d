"""The device's side of SCEP, without I/O: build the request, read the answer, poll.

A `Transaction` is plain data, so that it can lie in a device's stored state between polls. Shape of the request:
captured from macOS 10.11 and 10.12 (throw-away signer, nonce of 8 bytes, transactionID from the key, DER order).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdmsim.chance import Chance
from mdmsim.clock import DAY, MINUTE, Clock, utc
from mdmsim.http import Identity
from mdmsim.pki import asn1
from mdmsim.pki.algorithms import Digest
from mdmsim.pki.asn1 import BadASN1, Reader
from mdmsim.pki.authority import key_usage as usage_extension
from mdmsim.pki.certificate import load_certificate, public_key_der
from mdmsim.pki.chain import verify_chain
from mdmsim.pki.cms import Form
from mdmsim.pki.csr import build_csr
from mdmsim.pki.degenerate import parse_certificates_only
from mdmsim.pki.envelope import CipherName, decrypt, envelope
from mdmsim.pki.errors import (
    CMSError,
    MalformedCertificate,
    MalformedCSR,
    MalformedKey,
    UntrustedCertificate,
)
from mdmsim.pki.keys import load_key, public_key_of
from mdmsim.pki.names import Name, attribute
from mdmsim.pki.scep.ca_certificates import choose_recipient, issuing_authority
from mdmsim.pki.scep.capabilities import Capabilities
from mdmsim.pki.scep.errors import (
    BadIssuedCertificate,
    BadReply,
    MalformedScep,
    NoRequest,
    RefusedByCA,
)
from mdmsim.pki.scep.message import MessageType, PkiMessage, Status, build_message, parse_message

#: How long before now the throw-away certificate begins: servers refuse a signing time outside its validity.
SIGNER_BACKDATED_MS = 10 * MINUTE
SIGNER_NAME = "MDM SCEP SIGNER"
#: RFC 8894 asks for 16 bytes, Apple sends 8 (captured: macOS 10.11, 10.12).
NONCE_SIZE = 8

CONTENT_TYPE = "application/octet-stream"


# ---- URLs


def operation_url(base: str, operation: str, message: str | None = None) -> str:
    """The URL of GetCACaps or GetCACert. `message` is the payload's Name, sent empty without one (captured: macOS)."""
    return f"{_with_query(base)}operation={operation}&message={quote(message or '', safe='')}"


def pki_operation_url(base: str, message: bytes | None = None) -> str:
    """The URL of PKIOperation: for POST, or with the message for GET.

    In the GET form + and / stay bare and only = is escaped, as macOS does (reported for step-ca).
    """
    url = f"{_with_query(base)}operation=PKIOperation"
    if message is None:
        return url
    return f"{url}&message={base64.b64encode(message).decode().replace('=', '%3D')}"


def _with_query(base: str) -> str:
    base = base.partition("#")[0]
    return base + ("" if base.endswith(("?", "&")) else "&" if "?" in base else "?")


# ---- the transaction


@dataclass(frozen=True, slots=True)
class Transaction:
    """One enrollment under way: `message` is the pkiMessage to send now, by POST if `post` says so.

    The rest is what the answer is judged by. All of it is plain data; `signer` and `message` are secrets.
    """

    message: bytes = field(repr=False)
    post: bool
    transaction_id: str
    sender_nonce: bytes
    public_key: bytes = field(repr=False)
    subject: bytes = field(repr=False)
    signer: Identity = field(repr=False)
    recipient: bytes = field(repr=False)
    ca_certificates: tuple[bytes, ...] = field(repr=False)
    cipher: CipherName
    digest: Digest
    form: Form


@dataclass(frozen=True, slots=True)
class Certificate:
    """The issued certificate (DER), and what else came with it."""

    certificate: bytes
    others: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """The CA wants to be asked again later: see `poll`."""


def begin(
    *,
    key: bytes,
    subject: Name,
    ca_certificates: Sequence[bytes],
    capabilities: Capabilities,
    clock: Clock,
    chance: Chance,
    signer_key: bytes,
    challenge: str | None = None,
    fingerprint: bytes | None = None,
    ra: bool = False,
    key_usage: int = 0,
    san: x509.SubjectAlternativeName | None = None,
    region: str = "US",
    cipher: CipherName | None = None,
    digest: Digest | None = None,
    form: Form = "der",
    challenge_attribute: bool = True,
) -> Transaction:
    """A PKCSReq for the private `key`, signed by a throw-away certificate over `signer_key` (both PKCS#8 DER, RSA).

    `ra`: GetCACert's content type promises registration authorities. `key_usage`: the payload's bitmask. `region`: the device's, for the throw-away's subject. `cipher`, `digest`: where
    an OS generation does not choose by the capabilities (captured: macOS 10.11 SHA-1, 10.12 SHA-512, both 3DES);
    `form="ber"`: an envelope of indefinite length, as reported of some. `challenge_attribute`: the challenge stands
    among the signed attributes, too, outside the envelope (captured: macOS 10.12). Sending the transaction's message again is a
    retry that a CA knows by its transactionID. Raises BadRAResponse, WeakCapabilities, NoRequest.
    """
    capabilities.require_digest()
    recipient = choose_recipient(ca_certificates, fingerprint, ra=ra)
    try:
        request = build_csr(key, subject, challenge=challenge, san=san, key_usage=key_usage)
        spki = public_key_of(key)
        signer = throw_away_signer(signer_key, clock=clock, region=region)
    except (MalformedCSR, MalformedKey) as error:
        raise NoRequest(error.what, error.reason) from None
    started = Transaction(
        message=b"",
        post=capabilities.post,
        transaction_id=transaction_id_of(spki),
        sender_nonce=b"",
        public_key=spki,
        subject=subject.public_bytes(),
        signer=signer,
        recipient=recipient,
        ca_certificates=tuple(ca_certificates),
        cipher=cipher or capabilities.cipher,
        digest=digest or capabilities.digest,
        form=form,
    )
    shown = challenge if challenge_attribute else None
    return _next(started, MessageType.PKCS_REQ, request, clock=clock, chance=chance, challenge=shown)


def poll(transaction: Transaction, *, clock: Clock, chance: Chance) -> Transaction:
    """The same transaction with a CertPoll as its next message (RFC 8894 section 3.3.3: issuer and subject)."""
    issuer = load_certificate(
        issuing_authority(transaction.ca_certificates, transaction.recipient)
    ).subject.public_bytes()
    content = asn1.sequence(issuer, transaction.subject)
    return _next(transaction, MessageType.CERT_POLL, content, clock=clock, chance=chance)


def _next(
    transaction: Transaction,
    kind: MessageType,
    content: bytes,
    *,
    clock: Clock,
    chance: Chance,
    challenge: str | None = None,
) -> Transaction:
    nonce = chance.bytes(NONCE_SIZE)
    message = build_message(
        kind,
        transaction.transaction_id,
        envelope(content, (transaction.recipient,), chance=chance, cipher=transaction.cipher, form=transaction.form),
        transaction.signer,
        sender_nonce=nonce,
        challenge=challenge,
        signed_at_ms=clock.now_ms(),
        digest=transaction.digest,
    )
    return replace(transaction, message=message, sender_nonce=nonce)


def transaction_id_of(spki: bytes) -> str:
    """Upper-case hex SHA-1 of the bits of the subjectPublicKey (captured: macOS 10.11). Raises MalformedKey."""
    try:
        reader = Reader(spki)
        parts = reader.children(reader.root(asn1.SEQUENCE, "public key"), "public key", 2)
        bits = reader.body(parts[1], asn1.BIT_STRING, "public key")
    except BadASN1 as error:
        raise MalformedKey("public key", str(error)) from None
    return hashlib.sha1(bits[1:]).hexdigest().upper()


def throw_away_signer(key: bytes, *, clock: Clock, region: str = "US") -> Identity:
    """The self-signed certificate that signs a device's request (captured: macOS 10.11, 10.12)."""
    now = clock.now_ms()
    begin_ms = now - SIGNER_BACKDATED_MS
    begin_ms -= begin_ms % 1000
    name = x509.Name([attribute(NameOID.COMMON_NAME, SIGNER_NAME), attribute(NameOID.COUNTRY_NAME, region)])
    private = load_key(key)
    certificate = (
        x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=private.public_key(),
            serial_number=1,
            not_valid_before=utc(begin_ms),
            not_valid_after=utc(begin_ms + 365 * DAY),
        )
        .add_extension(usage_extension(signature=True), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True)
        .sign(private, hashes.SHA256())
    )
    return Identity(certificate.public_bytes(serialization.Encoding.DER), key)


# ---- the answer


def read_reply(transaction: Transaction, body: bytes, *, at_ms: int) -> Certificate | Pending:
    """The certificate that the CA issued, or that it wants to be polled.

    Checked: the signature, that one of the CA's certificates stands behind it, transactionID, recipientNonce, and
    that the certificate is for the requested key. Accepted, because real CAs send them: SHA-1, single DES, OAEP,
    messages without certificates, a senderNonce that repeats ours. Raises RefusedByCA, BadReply, BadIssuedCertificate.
    """
    try:
        reply = parse_message(body, known=transaction.ca_certificates)
    except (CMSError, MalformedScep) as error:
        raise BadReply("SCEP CertRep", error.reason) from None
    if reply.message_type is not MessageType.CERT_REP:
        raise BadReply("SCEP CertRep", f"messageType {int(reply.message_type)}, expected 3")
    if reply.transaction_id != transaction.transaction_id:
        raise BadReply("SCEP CertRep", f"transactionID {reply.transaction_id[:80]!r} is another request's")
    if reply.recipient_nonce != transaction.sender_nonce:
        found = "missing" if reply.recipient_nonce is None else "another request's"
        raise BadReply("SCEP CertRep", f"recipientNonce is {found}")
    _require_trusted(reply, transaction, at_ms)
    if reply.status is Status.PENDING:
        return Pending()
    if reply.status is Status.FAILURE:
        raise RefusedByCA(reply.fail_info, reply.fail_info_text)
    if reply.status is None:
        raise BadReply("SCEP CertRep", "the pkiStatus attribute is missing")
    return _open(reply, transaction)


def _require_trusted(reply: PkiMessage, transaction: Transaction, at_ms: int) -> None:
    """The signer is one of GetCACert's certificates, or was issued by one."""
    if reply.signer in transaction.ca_certificates:
        return
    try:
        verify_chain(reply.signer, reply.certificates, transaction.ca_certificates, at_ms=at_ms)
    except UntrustedCertificate as error:
        raise BadReply("SCEP CertRep", f"its signer is not the CA of GetCACert: {error}") from None


def _open(reply: PkiMessage, transaction: Transaction) -> Certificate:
    try:
        certificates = parse_certificates_only(decrypt(reply.content, transaction.signer))
    except CMSError as error:
        raise BadReply("SCEP CertRep", f"its content: {error.reason}") from None
    mine = [der for der in certificates if _key_of(der) == transaction.public_key]
    if not mine:
        raise BadIssuedCertificate(
            "SCEP CertRep", f"none of its {len(certificates)} certificates is for the requested key"
        )
    return Certificate(mine[0], tuple(der for der in certificates if der != mine[0]))


def _key_of(der: bytes) -> bytes | None:
    try:
        return public_key_der(der)
    except MalformedCertificate:
        return None
