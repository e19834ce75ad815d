"""The client's side of SCEP and of enrollment profiles, as the server's tests speak it."""

from __future__ import annotations

import base64
from typing import Any

from mdmsim.chance import Chance
from mdmsim.http import Identity
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.cms import verify
from mdmsim.pki.csr import build_csr
from mdmsim.pki.degenerate import parse_certificates_only
from mdmsim.pki.envelope import envelope, open_envelope, parse_enveloped_data
from mdmsim.pki.names import subject_from_payload
from mdmsim.pki.scep import client as scep
from mdmsim.pki.scep.ca_certificates import parse_ca_certificates
from mdmsim.pki.scep.capabilities import parse_capabilities
from mdmsim.pki.scep.message import MessageType, Status, build_message, parse_message
from mdmsim.protocol.payloads import MDM, SCEP
from mdmsim.protocol.profile import MdmPayload, Profile, ScepPayload, parse_profile
from tests.reference_server.kit import DEVICE_CA, KEYS, Answer, Server, authority


async def fetched(server: Server) -> Profile:
    answer = await server.request("GET", "/enroll")
    assert answer.status == 200
    return parse_profile(verify(answer.body).content)


async def minted(server: Server, **wishes: Any) -> Profile:
    answer = await server.api("POST", "/profiles", wishes)
    assert answer.status == 201, answer.body
    content = base64.b64decode(answer.json()["content"])
    return parse_profile(verify(content).content if answer.json()["signed"] else content)


def scep_payload(profile: Profile) -> ScepPayload:
    return ScepPayload.of(profile.of_type(SCEP)[0])


def mdm_payload(profile: Profile) -> MdmPayload:
    return MdmPayload.of(profile.of_type(MDM)[0])


async def begin(server: Server, payload: ScepPayload, key: bytes) -> scep.Transaction:
    caps = parse_capabilities((await server.request("GET", "/scep?operation=GetCACaps&message=")).body)
    certificates = parse_ca_certificates((await server.request("GET", "/scep?operation=GetCACert")).body)
    return scep.begin(
        key=key,
        subject=subject_from_payload([[list(pair) for pair in rdn] for rdn in payload.subject]),
        ca_certificates=certificates,
        capabilities=caps,
        clock=server.clock,
        chance=Chance("scep"),
        signer_key=KEYS.take(),
        challenge=payload.challenge,
        fingerprint=payload.ca_fingerprint,
        key_usage=payload.key_usage,
    )


async def post(server: Server, transaction: scep.Transaction) -> Answer:
    return await server.request("POST", "/scep?operation=PKIOperation", transaction.message)


async def scep_identity(server: Server, payload: ScepPayload) -> Identity:
    key = KEYS.take()
    transaction = await begin(server, payload, key)
    answer = await post(server, transaction)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-pki-message")
    reply = scep.read_reply(transaction, answer.body, at_ms=server.clock.now_ms())
    assert isinstance(reply, scep.Certificate)
    return Identity(reply.certificate, key)


async def renewal(
    server: Server, signer: Identity, key: bytes, *, kind: MessageType = MessageType.RENEWAL_REQ
) -> Identity | None:
    """Ask for another certificate without a challenge, on the strength of the signer's own; None when refused."""
    ca = authority(DEVICE_CA).certificate
    message = build_message(
        kind,
        "renewal",
        envelope(build_csr(key, load_certificate(signer.certificate).subject), (ca,), chance=Chance("renewal")),
        signer,
        sender_nonce=b"12345678",
        signed_at_ms=server.clock.now_ms(),
    )
    reply = parse_message((await server.request("POST", "/scep?operation=PKIOperation", message)).body)
    if reply.status is not Status.SUCCESS:
        return None
    issued, *_ = parse_certificates_only(open_envelope(parse_enveloped_data(reply.content), signer))
    return Identity(issued, key)
