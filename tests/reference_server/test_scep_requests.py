"""What a certificate request may ask for: what the enrollment profile of this server asks for, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from mdmsim.chance import Chance
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.csr import build_csr
from mdmsim.pki.envelope import envelope
from mdmsim.pki.keys import FreshKeys
from mdmsim.pki.names import name
from mdmsim.pki.scep.client import throw_away_signer
from mdmsim.pki.scep.message import MessageType, Status, build_message, parse_message
from tests.reference_server.kit import DEVICE_CA, KEYS, Server, authority
from tests.reference_server.scep_client import minted, renewal, scep_payload

pytestmark = pytest.mark.anyio


async def status_of(
    server: Server, *, key: bytes | None = None, subject: x509.Name | None = None, **csr: Any
) -> Status:
    """Ask with a challenge of the server's own for what one argument changes; the pkiStatus of the answer."""
    challenge = scep_payload(await minted(server)).challenge
    request = build_csr(key or KEYS.take(), subject or name("device"), challenge=challenge, key_usage=5, **csr)
    message = build_message(
        MessageType.PKCS_REQ,
        "request",
        envelope(request, (authority(DEVICE_CA).certificate,), chance=Chance("request")),
        throw_away_signer(KEYS.take(), clock=server.clock),
        sender_nonce=b"12345678",
        signed_at_ms=server.clock.now_ms(),
    )
    answer = await server.request("POST", "/scep?operation=PKIOperation", message)
    status = parse_message(answer.body).status
    assert status is not None
    return status


async def test_what_the_profile_asks_for_is_issued(server: Server) -> None:
    assert await status_of(server) is Status.SUCCESS


async def test_an_rsa_key_below_the_size_of_the_profile_is_refused(server: Server) -> None:
    assert await status_of(server, key=FreshKeys().take(bits=1024)) is Status.FAILURE


async def test_a_smaller_key_is_issued_where_the_profile_asks_for_it() -> None:
    assert await status_of(Server(scep_key_bits=1024), key=FreshKeys().take(bits=1024)) is Status.SUCCESS


async def test_the_subject_of_the_ca_is_refused(server: Server) -> None:
    subject = load_certificate(authority(DEVICE_CA).certificate).subject
    assert await status_of(server, subject=subject) is Status.FAILURE


async def test_alternative_names_that_no_profile_asks_for_are_refused(server: Server) -> None:
    san = x509.SubjectAlternativeName([x509.DNSName("mdm.example.com")])
    assert await status_of(server, san=san) is Status.FAILURE


async def test_a_renewal_signed_by_the_certificate_of_the_ca_is_refused(server: Server) -> None:
    assert await renewal(server, authority(DEVICE_CA).identity, KEYS.take()) is None
