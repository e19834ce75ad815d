"""The enrollment profile, and the identity that SCEP gives for it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest

from mdmsim.clock import DAY
from mdmsim.pki.certificate import not_before_ms, serial
from mdmsim.pki.chain import verify_chain
from mdmsim.pki.cms import verify
from mdmsim.pki.names import subject_text
from mdmsim.pki.scep import client as scep
from mdmsim.pki.scep.errors import RefusedByCA
from mdmsim.protocol.payloads import MDM, ROOT, SCEP
from mdmsim.protocol.profile import CertificatePayload, ScepPayload
from tests.reference_server.kit import DEVICE_CA, KEYS, TOPIC, Device, Server, authority
from tests.reference_server.scep_client import (
    begin,
    fetched,
    mdm_payload,
    minted,
    post,
    renewal,
    scep_identity,
    scep_payload,
)

pytestmark = pytest.mark.anyio


async def test_the_profile_holds_trust_identity_and_enrollment(server: Server) -> None:
    profile = await fetched(server)
    assert [payload.type for payload in profile.payloads] == [ROOT, SCEP, MDM]
    mdm, payload = mdm_payload(profile), scep_payload(profile)
    assert (mdm.topic, mdm.server_url, mdm.check_in_url) == (
        TOPIC,
        "https://mdm.example.com/mdm/connect",
        "https://mdm.example.com/mdm/checkin",
    )
    assert (mdm.access_rights, mdm.sign_message, mdm.check_out_when_removed) == (8191, True, True)
    assert mdm.identity_certificate_uuid == profile.of_type(SCEP)[0].uuid
    # Macs of macOS 26 refuse a profile without it (graze-social/cocore pull request 54).
    assert mdm.server_capabilities == ("com.apple.mdm.per-user-connections",)
    assert payload.url == "https://mdm.example.com/scep"
    assert payload.ca_fingerprint == hashlib.sha256(authority(DEVICE_CA).certificate).digest()
    assert CertificatePayload.of(profile.of_type(ROOT)[0]).der == authority(DEVICE_CA).certificate


async def test_the_profile_is_signed_and_its_signer_trusted_by_its_own_root(server: Server) -> None:
    answer = await server.request("GET", "/enroll")
    assert answer.headers["content-type"] == "application/x-apple-aspen-config"
    signer = verify(answer.body).signer
    verify_chain(signer, (), (authority(DEVICE_CA).certificate,), at_ms=server.clock.now_ms())


async def test_two_profiles_share_the_identifier_and_nothing_secret(server: Server) -> None:
    one, other = await fetched(server), await fetched(server)
    assert one.identifier == other.identifier
    assert one.uuid != other.uuid
    assert scep_payload(one).challenge != scep_payload(other).challenge


async def test_a_minted_profile_can_differ_in_every_way_that_a_test_needs(server: Server) -> None:
    profile = await minted(
        server, topic="", server_url="https://other.example.com/x", access_rights=1, sign_message=False, anchors=[]
    )
    mdm = mdm_payload(profile)
    assert (mdm.topic, mdm.server_url, mdm.access_rights, mdm.sign_message) == (
        "",
        "https://other.example.com/x",
        1,
        False,
    )
    assert profile.of_type(ROOT) == ()


async def test_a_minted_profile_may_end_the_enrollment_by_itself(server: Server) -> None:
    assert (await minted(server, duration_until_removal=3600)).duration_until_removal == 3600.0
    assert (await server.api("POST", "/profiles", {"duration_until_removal": 0})).status == 400


async def test_a_profile_may_be_minted_unsigned(server: Server) -> None:
    answer = await server.api("POST", "/profiles", {"sign": False})
    assert base64.b64decode(answer.json()["content"]).startswith(b"<?xml")


async def test_a_device_enrols_with_the_identity_that_the_profile_brings(server: Server) -> None:
    identity = await scep_identity(server, scep_payload(await fetched(server)))
    device = await server.enrolled(identity=identity)
    assert (await device.idle()).status == 200
    assert subject_text(identity.certificate) == "CN=MDM device identity, O=mdmsim reference server"
    assert not_before_ms(identity.certificate) <= server.clock.now_ms() - 5 * 60_000


async def test_a_message_by_get_is_taken_with_bare_and_with_escaped_base64(server: Server) -> None:
    for spelling in (lambda text: text, lambda text: text.replace("+", "%2B").replace("/", "%2F")):
        transaction = await begin(server, scep_payload(await fetched(server)), KEYS.take())
        url = scep.pki_operation_url("/scep", transaction.message)
        path, _, message = url.partition("message=")
        answer = await server.request("GET", f"{path}message={spelling(message)}")
        reply = scep.read_reply(transaction, answer.body, at_ms=server.clock.now_ms())
        assert isinstance(reply, scep.Certificate)


async def test_capabilities_are_text_with_one_word_a_line(server: Server) -> None:
    answer = await server.request("GET", "/scep?operation=GetCACaps&message=")
    assert answer.headers["content-type"].startswith("text/plain")
    assert {"AES", "SHA-256", "POSTPKIOperation", "SCEPStandard", "Renewal"} <= set(answer.body.decode().split())


def _wrong(payload: ScepPayload) -> str | None:
    return "wrong"


def _missing(payload: ScepPayload) -> str | None:
    return None


@pytest.mark.parametrize("challenge", [_wrong, _missing])
@pytest.mark.parametrize("mode", ["one-time", "static"])
async def test_a_wrong_challenge_is_a_scep_failure_that_tells_nothing_internal(
    mode: str, challenge: Callable[[ScepPayload], str | None]
) -> None:
    static = "the static challenge" if mode == "static" else None
    server = Server(scep_challenge=mode, scep_static_challenge=static)
    payload = scep_payload(await fetched(server))
    object.__setattr__(payload, "challenge", challenge(payload))
    transaction = await begin(server, payload, KEYS.take())
    answer = await post(server, transaction)
    assert answer.status == 200
    with pytest.raises(RefusedByCA) as refused:
        scep.read_reply(transaction, answer.body, at_ms=server.clock.now_ms())
    assert (refused.value.fail_info, refused.value.text) == (2, "the challenge is missing, wrong or used up")


async def test_a_static_challenge_is_good_for_any_number_of_devices() -> None:
    server = Server(scep_challenge="static", scep_static_challenge="open sesame")
    payload = scep_payload(await fetched(server))
    for number in range(3):
        await server.enrolled(f"UDID-{number}", identity=await scep_identity(server, payload))


async def test_a_challenge_outlives_attempts_that_failed_half_way(server: Server) -> None:
    payload = scep_payload(await fetched(server))
    await scep_identity(server, payload)
    halfway = Device(server, identity=await scep_identity(server, payload))
    await halfway.authenticate()
    await server.enrolled(identity=await scep_identity(server, payload))


async def test_a_challenge_is_used_up_by_the_enrollment_that_was_finished(server: Server) -> None:
    payload = scep_payload(await fetched(server))
    spare = await scep_identity(server, payload)
    device = await server.enrolled("UDID-1", identity=await scep_identity(server, payload))
    assert (await Device(server, "UDID-2", identity=spare).authenticate()).status == 403
    transaction = await begin(server, payload, KEYS.take())
    with pytest.raises(RefusedByCA):
        scep.read_reply(transaction, (await post(server, transaction)).body, at_ms=server.clock.now_ms())
    assert (await device.token_update()).status == 200


async def test_of_two_devices_with_one_challenge_that_both_passed_authenticate_the_first_to_finish_enrols(
    server: Server,
) -> None:
    payload = scep_payload(await fetched(server))
    first, second = [Device(server, f"UDID-{n}", identity=await scep_identity(server, payload)) for n in (1, 2)]
    assert [(await device.authenticate()).status for device in (first, second)] == [200, 200]
    assert [(await device.token_update()).status for device in (first, second)] == [200, 403]
    assert (await second.idle()).status == 403
    assert (await server.device("UDID-2"))["status"] == "pending"


async def test_a_profile_for_many_devices_enrols_many(server: Server) -> None:
    payload = scep_payload(await minted(server, devices=None))
    for number in range(3):
        await server.enrolled(f"UDID-{number}", identity=await scep_identity(server, payload))


async def test_a_challenge_does_not_mint_identities_without_end(server: Server) -> None:
    payload = scep_payload(await fetched(server))
    for _ in range(10):
        await scep_identity(server, payload)
    transaction = await begin(server, payload, KEYS.take())
    with pytest.raises(RefusedByCA):
        scep.read_reply(transaction, (await post(server, transaction)).body, at_ms=server.clock.now_ms())


async def test_a_challenge_expires(server: Server) -> None:
    payload = scep_payload(await fetched(server))
    server.manual.advance(8 * DAY)
    transaction = await begin(server, payload, KEYS.take())
    with pytest.raises(RefusedByCA):
        scep.read_reply(transaction, (await post(server, transaction)).body, at_ms=server.clock.now_ms())


async def test_a_profile_minted_with_a_wrong_challenge_fails_in_scep(server: Server) -> None:
    payload = scep_payload(await minted(server, wrong_challenge=True))
    transaction = await begin(server, payload, KEYS.take())
    with pytest.raises(RefusedByCA):
        scep.read_reply(transaction, (await post(server, transaction)).body, at_ms=server.clock.now_ms())


@pytest.mark.parametrize("bound", [True, False])
async def test_a_renewal_needs_no_challenge_but_an_identity_in_use(server: Server, bound: bool) -> None:
    identity = await scep_identity(server, scep_payload(await fetched(server)))
    if bound:
        await server.enrolled(identity=identity)
    assert (await renewal(server, identity, KEYS.take()) is not None) is bound


async def test_a_restarted_server_draws_no_serial_and_no_uuid_twice(tmp_path: object) -> None:
    server = Server(database=f"{tmp_path}/server.sqlite")
    device = await server.enrolled()
    seen = []
    for _ in range(2):
        payload = scep_payload(await minted(server, devices=None))
        certificate = (await scep_identity(server, payload)).certificate
        seen += [serial(certificate), payload.challenge, await server.queue(device)]
        server.app.close()
        server.start()
    assert len(set(seen)) == 6


async def test_serial_numbers_never_repeat(server: Server) -> None:
    payload = scep_payload(await minted(server, devices=None))
    serials = {hashlib.sha256((await scep_identity(server, payload)).certificate).digest() for _ in range(20)}
    assert len(serials) == 20


@pytest.mark.parametrize(
    "query",
    ["", "operation=", "operation=Nonsense", "operation=GetNextCACert", "operation=GetCACert&operation=GetCACaps"],
)
async def test_what_is_no_scep_operation_is_400(server: Server, query: str) -> None:
    assert (await server.request("GET", f"/scep?{query}")).status == 400


@pytest.mark.parametrize("body", [b"", b"x", b"0\x80", b"\x30\x82\xff\xff" + b"\x00" * 500, b"0\x80" * 5000])
async def test_broken_messages_are_400_and_not_500(server: Server, body: bytes) -> None:
    posted = await server.request("POST", "/scep?operation=PKIOperation", body)
    got = await server.request("GET", f"/scep?operation=PKIOperation&message={base64.b64encode(body).decode()}")
    assert (posted.status, got.status) == (400, 400)


async def test_a_huge_message_is_413_unread(server: Server) -> None:
    answer = await server.request("POST", "/scep?operation=PKIOperation", declare=100 * 2**20)
    assert answer.status == 413
    assert server.unread == 1
