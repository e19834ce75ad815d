"""The CA's side of SCEP, without HTTP and without storage of its own choosing.

`handle` does everything with books in memory. A server with a database goes step by step instead: `read`, judge the
challenge and look for an earlier answer itself, then `certify` and one of the `answer_...` methods.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import rsa

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.http import Identity
from mdmsim.pki import csr as pkcs10
from mdmsim.pki.algorithms import Digest
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import is_authority, load_certificate, public_key_der
from mdmsim.pki.chain import verify_chain
from mdmsim.pki.degenerate import certificates_only
from mdmsim.pki.envelope import CipherName, Transport, envelope, open_envelope, parse_enveloped_data
from mdmsim.pki.errors import (
    CannotDecrypt,
    CannotEncrypt,
    CMSError,
    MalformedCertificate,
    MalformedCMS,
    MalformedCSR,
    MalformedKey,
    UntrustedCertificate,
)
from mdmsim.pki.keys import load_public_key
from mdmsim.pki.names import comparable, text
from mdmsim.pki.scep.capabilities import STANDARD, Capabilities
from mdmsim.pki.scep.challenges import AnyChallenge, Challenges
from mdmsim.pki.scep.errors import FailInfo, MalformedScep
from mdmsim.pki.scep.message import MessageType, PkiMessage, Status, build_message, parse_message
from mdmsim.protocol.content_type import CA_CERT, CA_RA_CERT, PKI_MESSAGE

#: The largest message read; real ones have 3 to 8 KB, other servers stop at 2 MiB, too.
MAX_MESSAGE = 2 * 2**20
NONCE_SIZE = 16  # RFC 8894 section 3.2.1.5

Outcome: TypeAlias = Literal["issued", "failed", "pending"]
_REQUESTS = (MessageType.PKCS_REQ, MessageType.RENEWAL_REQ, MessageType.UPDATE_REQ)


@dataclass(frozen=True, slots=True)
class Quirks:
    """Departures from good behaviour that real servers show, for testing clients."""

    digest: Digest | None = None
    cipher: CipherName | None = None
    transport: Transport = "pkcs1"
    repeat_nonce: bool = False
    without_certificates: bool = False
    without_signing_time: bool = False
    wrong_recipient_nonce: bool = False
    wrong_transaction_id: bool = False


#: micromdm/scep and step-ca: SHA-1, single DES, the sender's nonce given back.
SMALLSTEP = Quirks(digest="sha1", cipher="des", repeat_nonce=True)
#: A Microsoft CA: no certificates in the message, no signing time, RSA-OAEP (captured).
MICROSOFT = Quirks(transport="oaep", without_certificates=True, without_signing_time=True)


@dataclass(frozen=True, slots=True)
class Request:
    """One PKIOperation as read. `signer`: the certificate that signed it, to which the answer will be encrypted.

    `csr` is None in a poll and where it could not be read. `refusal` and `why`: set if the request must be refused
    whatever its challenge. `renewal_of`: the certificate of ours whose key signed it, None if it was a throw-away.
    """

    message_type: MessageType
    transaction_id: str
    sender_nonce: bytes | None
    signer: bytes = field(repr=False)
    digest: Digest = "sha256"
    cipher: CipherName = "aes128"
    csr: pkcs10.Request | None = None
    renewal_of: bytes | None = field(default=None, repr=False)
    refusal: FailInfo | None = None
    why: str = ""

    @property
    def challenge(self) -> str | None:
        """The challengePassword; None without one."""
        return self.csr.challenge if self.csr is not None else None

    @property
    def is_poll(self) -> bool:
        return self.message_type is MessageType.CERT_POLL


@dataclass(frozen=True, slots=True)
class Answer:
    """A CertRep to send with 200. `why` is for the log; what the device may know is in the body."""

    body: bytes = field(repr=False)
    outcome: Outcome
    request: Request
    certificate: bytes | None = field(default=None, repr=False)
    fail_info: FailInfo | None = None
    why: str = ""
    content_type: str = PKI_MESSAGE


@dataclass(frozen=True, slots=True)
class CaCertAnswer:
    content_type: str
    body: bytes


@dataclass(slots=True)
class _Entry:
    """What `handle` remembers of a transaction."""

    request: Request
    certificate: bytes | None = None


class ScepService:
    """A SCEP server's logic over one authority, whose key is RSA.

    `ra`: a registration authority that signs and decrypts in the CA's place, GetCACert then answers with the chain.
    `pending`: `handle` answers PENDING until `approve`. `days`: how long certificates are valid. `least_key_bits`: the
    smallest RSA key that gets a certificate. `alternative_names`: whether requests may ask for them; where not, such a
    request is refused rather than cut down. Nobody gets the subject of an authority in the chain, or of the RA.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        clock: Clock,
        chance: Chance,
        challenges: Challenges | None = None,
        ra: Identity | None = None,
        pending: bool = False,
        days: float = 365,
        quirks: Quirks | None = None,
        capabilities: Capabilities = STANDARD,
        remembered: int = 10_000,
        least_key_bits: int = 0,
        alternative_names: bool = True,
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._chance = chance
        self._challenges = challenges or AnyChallenge()
        self._ra = ra
        self._pending = pending
        self._days = days
        self._quirks = quirks or Quirks()
        self._capabilities = capabilities
        self._remembered = remembered
        self._entries: dict[str, _Entry] = {}
        self._least_key_bits = least_key_bits
        self._alternative_names = alternative_names
        self._speaker = ra or authority.identity
        named = (self._speaker.certificate, *authority.chain)
        self._authorities = frozenset(comparable(load_certificate(each).subject) for each in named)

    # ---- what a client asks first

    def ca_caps(self) -> bytes:
        """The body of GetCACaps, text/plain."""
        return self._capabilities.render()

    def ca_cert(self) -> CaCertAnswer:
        """GetCACert: the one CA certificate, or with an RA or a subordinate CA the chain as a certs-only message.

        A CA without an RA answers with one certificate, because Apple's client takes the other type as a sign that
        separate RA certificates exist (reported by CA operators).
        """
        if self._ra is None:
            return CaCertAnswer(CA_CERT, self._authority.certificate)
        return CaCertAnswer(CA_RA_CERT, certificates_only((self._ra.certificate, *self._authority.chain)))

    # ---- step by step

    def read(self, data: bytes) -> Request:
        """Read a PKIOperation: its signature, its envelope, its certificate request.

        Raises MalformedScep for what is no SCEP request at all (the HTTP layer answers 400). What can be answered is
        not raised but noted as `refusal`.
        """
        if len(data) > MAX_MESSAGE:
            raise MalformedScep("SCEP message", f"{len(data)} bytes, more than {MAX_MESSAGE}")
        try:
            message = parse_message(data)
        except CMSError as error:
            raise MalformedScep("SCEP message", error.reason) from None
        if message.message_type is MessageType.CERT_REP:
            raise MalformedScep("SCEP message", "a CertRep (3) is an answer, not a request")
        try:
            enveloped = parse_enveloped_data(message.content)
        except MalformedCMS as error:
            return self._noted(message, "aes128", FailInfo.BAD_MESSAGE_CHECK, error.reason)
        cipher = enveloped.cipher
        try:
            content = open_envelope(enveloped, self._speaker)
        except CannotDecrypt as error:
            return self._noted(message, cipher, FailInfo.BAD_MESSAGE_CHECK, error.reason)
        if message.sender_nonce is None:
            return self._noted(message, cipher, FailInfo.BAD_REQUEST, "the senderNonce attribute is missing")
        if message.message_type is MessageType.CERT_POLL:
            return self._noted(message, cipher)
        if message.message_type not in _REQUESTS:
            what = f"messageType {int(message.message_type)} is not supported"
            return self._noted(message, cipher, FailInfo.BAD_REQUEST, what)
        try:
            csr = pkcs10.parse_csr(content)
        except MalformedCSR as error:
            # The request's own signature is the proof of possession of its key.
            info = FailInfo.BAD_MESSAGE_CHECK if "signature" in error.reason else FailInfo.BAD_REQUEST
            return self._noted(message, cipher, info, str(error))
        if why := self._objection(csr):
            return self._noted(message, cipher, FailInfo.BAD_REQUEST, why, csr=csr)
        renewal_of = self._renewed(message)
        if message.message_type is MessageType.RENEWAL_REQ and renewal_of is None:
            what = "a RenewalReq that no valid certificate of this CA signed"
            return self._noted(message, cipher, FailInfo.BAD_CERT_ID, what, csr=csr)
        return self._noted(message, cipher, csr=csr, renewal_of=renewal_of)

    def _objection(self, csr: pkcs10.Request) -> str:
        """Why no certificate is issued for that request, whoever asks; empty where nothing is wrong with it."""
        key = load_public_key(csr.public_key)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < self._least_key_bits:
            return f"its RSA key has {key.key_size} bits, at least {self._least_key_bits} are needed"
        if comparable(csr.subject) in self._authorities:
            return f"its subject {text(csr.subject)} is an authority's"
        if csr.san is not None and not self._alternative_names:
            return "it asks for alternative names, which the enrollment profile does not"
        return ""

    def _renewed(self, message: PkiMessage) -> bytes | None:
        """The signer's certificate if this CA issued it to a device and it is valid now: proof enough for a renewal.

        An authority's own certificate proves nothing, nor does a registration authority's: neither is a device's.
        """
        try:
            verify_chain(
                message.signer, (), (self._authority.certificate,), at_ms=self._clock.now_ms(), purpose="client"
            )
        except UntrustedCertificate:
            return None
        return None if is_authority(message.signer) or message.signer == self._speaker.certificate else message.signer

    def _noted(
        self,
        message: PkiMessage,
        cipher: CipherName,
        refusal: FailInfo | None = None,
        why: str = "",
        *,
        csr: pkcs10.Request | None = None,
        renewal_of: bytes | None = None,
    ) -> Request:
        return Request(
            message.message_type,
            message.transaction_id,
            message.sender_nonce,
            message.signer,
            message.digest,
            cipher,
            csr,
            renewal_of,
            refusal,
            why,
        )

    def certify(self, request: Request) -> bytes:
        """A new client certificate (DER) with the request's subject, alternative names and key.

        Raises MalformedScep for a request without a certificate request, and for a subject that cannot be issued.
        """
        csr = request.csr
        if csr is None:
            raise MalformedScep("SCEP message", "it holds no certificate request")
        try:
            return self._authority.issue_client(
                csr.subject,
                public_key=csr.public_key,
                san=csr.san,
                key_encipherment=csr.key_encipherment,
                days=self._days,
            )
        except (MalformedCertificate, MalformedKey) as error:
            raise MalformedScep("SCEP message", str(error)) from None

    def answer_issued(self, request: Request, certificate: bytes) -> Answer:
        """CertRep SUCCESS: the certificate first, then the CA's chain, encrypted to the request's signer.

        A failure answer instead if the signer's certificate cannot receive an envelope.
        """
        chain = (certificate, *self._authority.chain)
        try:
            content = envelope(
                certificates_only(chain),
                (request.signer,),
                chance=self._chance,
                cipher=self._quirks.cipher or request.cipher,
                transport=self._quirks.transport,
            )
        except CannotEncrypt as error:
            return self.answer_failure(request, FailInfo.BAD_ALG, log=str(error))
        body = self._cert_rep(request, Status.SUCCESS, content)
        return Answer(body, "issued", request, certificate)

    def answer_failure(self, request: Request, info: FailInfo, text: str = "", *, log: str = "") -> Answer:
        """CertRep FAILURE. `text` goes to the device and must hold nothing internal; `log` does not leave the server."""
        body = self._cert_rep(request, Status.FAILURE, b"", info=info, text=text)
        return Answer(body, "failed", request, fail_info=info, why=log or text)

    def answer_pending(self, request: Request) -> Answer:
        """CertRep PENDING: ask again later."""
        return Answer(self._cert_rep(request, Status.PENDING, b""), "pending", request)

    def _cert_rep(
        self, request: Request, status: Status, content: bytes, *, info: FailInfo | None = None, text: str = ""
    ) -> bytes:
        quirks = self._quirks
        nonce = self._chance.bytes(NONCE_SIZE)
        sender_nonce = request.sender_nonce if quirks.repeat_nonce and request.sender_nonce else nonce
        recipient_nonce = self._chance.bytes(NONCE_SIZE) if quirks.wrong_recipient_nonce else request.sender_nonce
        transaction_id = request.transaction_id[::-1] + "0" if quirks.wrong_transaction_id else request.transaction_id
        return build_message(
            MessageType.CERT_REP,
            transaction_id,
            content,
            self._speaker,
            sender_nonce=sender_nonce,
            recipient_nonce=recipient_nonce,
            status=status,
            fail_info=info,
            fail_info_text=text,
            signed_at_ms=None if quirks.without_signing_time else self._clock.now_ms(),
            digest=quirks.digest or request.digest,
            include_signer=not quirks.without_certificates,
        )

    # ---- all at once

    def handle(self, data: bytes) -> Answer:
        """One PKIOperation from bytes to answer, challenges and duplicates included. Raises MalformedScep (400)."""
        request = self.read(data)
        if request.refusal is not None:
            return self.answer_failure(request, request.refusal, log=request.why)
        earlier = self._entries.get(request.transaction_id)
        if request.is_poll:
            return self._answer_poll(request, earlier)
        # A retry whose first answer was lost gets the same certificate, whatever became of its challenge.
        if earlier is not None and earlier.certificate is not None and _is_retry(request, earlier.request):
            return self.answer_issued(request, earlier.certificate)
        if request.renewal_of is None and not self._challenges.allows(request.challenge, request):
            return self.answer_failure(request, FailInfo.BAD_REQUEST, "the challenge is not valid")
        if self._pending:
            self._remember(_Entry(request))
            return self.answer_pending(request)
        return self._issue(request)

    def _issue(self, request: Request) -> Answer:
        try:
            certificate = self.certify(request)
        except MalformedScep as error:
            return self.answer_failure(request, FailInfo.BAD_REQUEST, log=error.reason)
        answer = self.answer_issued(request, certificate)
        if answer.outcome == "issued":
            self._remember(_Entry(request, certificate))
            self._challenges.issued(request.challenge, request, certificate)
        return answer

    def _answer_poll(self, request: Request, earlier: _Entry | None) -> Answer:
        # The poll must come from who asked: the answer goes to the poll's signer.
        if earlier is None or public_key_der(earlier.request.signer) != public_key_der(request.signer):
            return self.answer_failure(request, FailInfo.BAD_CERT_ID, "no request with this transactionID")
        if earlier.certificate is None:
            return self.answer_pending(request)
        return self.answer_issued(request, earlier.certificate)

    def approve(self, transaction_id: str) -> bytes:
        """Issue the certificate of a pending transaction and return it. Raises KeyError, MalformedScep."""
        entry = self._entries[transaction_id]
        if entry.certificate is None:
            entry.certificate = self.certify(entry.request)
            self._challenges.issued(entry.request.challenge, entry.request, entry.certificate)
        return entry.certificate

    def _remember(self, entry: _Entry) -> None:
        self._entries.pop(entry.request.transaction_id, None)
        self._entries[entry.request.transaction_id] = entry
        while len(self._entries) > self._remembered:
            del self._entries[next(iter(self._entries))]


def _is_retry(request: Request, earlier: Request) -> bool:
    """The same certificate request again. Nonce and throw-away signer may be new; key and subject alone could be
    another device's where a load test shares keys."""
    return request.csr is not None and earlier.csr is not None and request.csr.der == earlier.csr.der


# ---- GET


_MESSAGE = re.compile(r"(?:^|&)message=([^&]*)")


def decode_message(raw_query: str) -> bytes:
    """The message of a PKIOperation by GET, from the raw query string. Raises MalformedScep.

    From the raw one because macOS leaves + and / unescaped, and form decoding would make blanks of the plus signs
    (reported for step-ca). Fully escaped and URL-safe base64 are accepted as well.
    """
    found = _MESSAGE.search(raw_query)
    if found is None or not found.group(1):
        raise MalformedScep("PKIOperation", 'the query string has no "message"')
    text = unquote(found.group(1)).replace("-", "+").replace("_", "/").replace(" ", "+")
    text = re.sub(r"[\r\n]", "", text).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedScep("PKIOperation", 'the "message" is not base64') from None
