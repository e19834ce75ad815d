"""pkiMessage: a signed CMS message around an envelope, with SCEP's attributes (RFC 8894 section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from mdmsim.http import Identity
from mdmsim.pki import asn1
from mdmsim.pki.algorithms import Digest
from mdmsim.pki.asn1 import BadASN1, Element, Reader
from mdmsim.pki.cms import sign_with, verify
from mdmsim.pki.scep.errors import FailInfo, MalformedScep

T = TypeVar("T")

# RFC 8894 section 3.2.1: the attributes' OIDs, and failInfoText of section 3.2.1.4.2.
_ARC = "2.16.840.1.113733.1.9."
MESSAGE_TYPE = _ARC + "2"
PKI_STATUS = _ARC + "3"
FAIL_INFO = _ARC + "4"
SENDER_NONCE = _ARC + "5"
RECIPIENT_NONCE = _ARC + "6"
TRANSACTION_ID = _ARC + "7"
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"
#: PKCS#9's. It belongs into the certificate request; macOS repeats it here (captured: macOS 10.12).
CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"

#: Longer ones are no transaction identifiers; Apple's have 40 characters.
MAX_TRANSACTION_ID = 256
MAX_NONCE = 256


class MessageType(IntEnum):
    """RFC 8894 section 3.2.1.2."""

    CERT_REP = 3
    RENEWAL_REQ = 17
    UPDATE_REQ = 18  # drafts only
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22


class Status(IntEnum):
    """pkiStatus (RFC 8894 section 3.2.1.3)."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


@dataclass(frozen=True, slots=True)
class PkiMessage:
    """A pkiMessage whose signature holds. `content`: the envelope as bytes, empty in FAILURE and PENDING.

    `signer`: the signer's certificate (DER), of which nothing is known but that it signed; `certificates`: all that
    came along; `digest`: the signer's.
    """

    message_type: MessageType
    transaction_id: str
    sender_nonce: bytes | None
    recipient_nonce: bytes | None
    status: Status | None
    fail_info: FailInfo | None
    fail_info_text: str
    content: bytes = field(repr=False)
    signer: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    digest: Digest = "sha256"
    signing_time: int | None = None


def build_message(
    message_type: MessageType,
    transaction_id: str,
    content: bytes,
    signer: Identity,
    *,
    sender_nonce: bytes,
    recipient_nonce: bytes | None = None,
    status: Status | None = None,
    fail_info: FailInfo | None = None,
    fail_info_text: str = "",
    challenge: str | None = None,
    signed_at_ms: int | None = None,
    digest: Digest = "sha256",
    include_signer: bool = True,
) -> bytes:
    """A pkiMessage in DER around `content` (an envelope, or empty). `include_signer`: its certificate goes along."""
    attributes = {
        MESSAGE_TYPE: asn1.printable(str(int(message_type))),
        TRANSACTION_ID: asn1.printable(transaction_id),
        SENDER_NONCE: asn1.octets(sender_nonce),
    }
    if recipient_nonce is not None:
        attributes[RECIPIENT_NONCE] = asn1.octets(recipient_nonce)
    if status is not None:
        attributes[PKI_STATUS] = asn1.printable(str(int(status)))
    if fail_info is not None:
        attributes[FAIL_INFO] = asn1.printable(str(int(fail_info)))
    if fail_info_text:
        attributes[FAIL_INFO_TEXT] = asn1.utf8(fail_info_text)
    if challenge is not None:
        attributes[CHALLENGE_PASSWORD] = asn1.printable_or_utf8(challenge)
    return sign_with(
        content, signer, attributes, signed_at_ms=signed_at_ms, digest=digest, include_signer=include_signer
    )


def parse_message(data: bytes, *, known: Sequence[bytes] = ()) -> PkiMessage:
    """Read a pkiMessage and check its signature. `known`: certificates of signers that do not send theirs along.

    Raises MalformedScep; MalformedCMS and BadSignature of its CMS.
    """
    signed = verify(data, known=known)
    fields = _Attributes(signed.attributes)
    kind = fields.number(MESSAGE_TYPE, "messageType")
    if kind is None:
        raise MalformedScep("SCEP message", "the messageType attribute is missing")
    transaction_id = fields.text(TRANSACTION_ID, "transactionID")
    if not (transaction_id and transaction_id.isascii() and len(transaction_id) <= MAX_TRANSACTION_ID):
        raise MalformedScep("SCEP message", "the transactionID attribute is missing, too long or not ASCII")
    status = fields.number(PKI_STATUS, "pkiStatus")
    reason = fields.number(FAIL_INFO, "failInfo")
    try:
        message_type, pki_status = MessageType(kind), None if status is None else Status(status)
    except ValueError:
        raise MalformedScep("SCEP message", f"messageType {kind} or pkiStatus {status} is none of SCEP's") from None
    return PkiMessage(
        message_type,
        transaction_id,
        fields.nonce(SENDER_NONCE, "senderNonce"),
        fields.nonce(RECIPIENT_NONCE, "recipientNonce"),
        pki_status,
        FailInfo(reason) if reason is not None and reason in list(FailInfo) else None,
        fields.text(FAIL_INFO_TEXT, "failInfoText")[:200],
        signed.content,
        signed.signer,
        signed.certificates,
        signed.digest,
        signed.signing_time,
    )


class _Attributes:
    """SCEP's signed attributes, read by type. Methods raise MalformedScep."""

    def __init__(self, found: Mapping[str, bytes]) -> None:
        self._found = found

    def _read(self, oid: str, what: str, read: Callable[[Reader, Element, str], T]) -> T | None:
        raw = self._found.get(oid)
        if raw is None:
            return None
        reader = Reader(raw)
        try:
            return read(reader, reader.element(0, len(raw)), what)
        except BadASN1 as error:
            raise MalformedScep("SCEP message", str(error)) from None

    def text(self, oid: str, what: str) -> str:
        found = self._read(oid, what, Reader.text) or ""
        if not found.isprintable():
            raise MalformedScep("SCEP message", f"{what} holds control characters")
        return found

    def number(self, oid: str, what: str) -> int | None:
        """A number written as text. Some senders write an INTEGER."""
        raw = self._found.get(oid)
        if raw is None:
            return None
        if raw[0] == asn1.INTEGER:
            return self._read(oid, what, Reader.integer)
        found = self.text(oid, what)
        if not (found.isascii() and found.isdigit() and len(found) <= 4):
            raise MalformedScep("SCEP message", f"{what} is {found[:20]!r}, expected a number")
        return int(found)

    def nonce(self, oid: str, what: str) -> bytes | None:
        found = self._read(oid, what, Reader.octets)
        if found is not None and not 1 <= len(found) <= MAX_NONCE:
            raise MalformedScep("SCEP message", f"{what} has {len(found)} bytes, allowed are 1 to {MAX_NONCE}")
        return found
