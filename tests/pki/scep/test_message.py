"""The attributes of a SCEP message: what must be there, and its measure (RFC 8894 section 3.2.1)."""

from __future__ import annotations

import pytest

from mdmsim.chance import Chance
from mdmsim.http import Identity
from mdmsim.pki import asn1
from mdmsim.pki.authority import Authority
from mdmsim.pki.cms import sign_with
from mdmsim.pki.csr import build_csr
from mdmsim.pki.envelope import envelope
from mdmsim.pki.keys import FreshKeys
from mdmsim.pki.names import name
from mdmsim.pki.scep.errors import FailInfo, MalformedScep
from mdmsim.pki.scep.message import (
    MAX_NONCE,
    MAX_TRANSACTION_ID,
    MESSAGE_TYPE,
    TRANSACTION_ID,
    MessageType,
    build_message,
    parse_message,
)
from mdmsim.pki.scep.server import ScepService


@pytest.mark.parametrize("transaction_id", ["", "x" * (MAX_TRANSACTION_ID + 1)])
def test_a_transaction_id_has_a_measure(identity: Identity, transaction_id: str) -> None:
    message = build_message(MessageType.PKCS_REQ, transaction_id, b"x", identity, sender_nonce=b"1")
    with pytest.raises(MalformedScep, match="transactionID"):
        parse_message(message)


@pytest.mark.parametrize("nonce", [b"", bytes(MAX_NONCE + 1)])
def test_a_nonce_has_a_measure(identity: Identity, nonce: bytes) -> None:
    message = build_message(MessageType.PKCS_REQ, "T1", b"x", identity, sender_nonce=nonce)
    with pytest.raises(MalformedScep, match="senderNonce"):
        parse_message(message)


def test_a_request_without_a_nonce_is_answered_with_bad_request(
    authority: Authority, service: ScepService, identity: Identity, chance: Chance
) -> None:
    csr = build_csr(FreshKeys().take(bits=1024), name("x"))
    attributes = {
        MESSAGE_TYPE: asn1.printable(str(int(MessageType.PKCS_REQ))),
        TRANSACTION_ID: asn1.printable("T1"),
    }
    message = sign_with(envelope(csr, [authority.certificate], chance=chance), identity, attributes)
    answer = service.handle(message)
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_REQUEST)
