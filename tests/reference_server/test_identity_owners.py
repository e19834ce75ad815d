"""What is issued on the strength of an enrollment belongs to it: nobody else can use it, and it ends with it."""

from __future__ import annotations

import pytest

from mdmsim.http import Identity
from mdmsim.pki.cms import verify
from mdmsim.pki.pkcs12 import open_pkcs12
from mdmsim.pki.scep import client as scep
from mdmsim.pki.scep.errors import RefusedByCA
from mdmsim.pki.scep.message import MessageType
from mdmsim.protocol.payloads import PKCS12, CertificatePayload
from mdmsim.protocol.profile import Profile, parse_profile
from tests.reference_server.apple import AppleServer, machine_info, signed_info
from tests.reference_server.kit import KEYS, Device, Server, fresh_identity
from tests.reference_server.scep_client import begin, post, renewal, scep_identity, scep_payload

pytestmark = pytest.mark.anyio

SOURCES = ["scep", "renewal profile", "renewal pkcs12", "automated"]


async def _refused(server: Server, profile: Profile) -> bool:
    """Whether SCEP refuses the profile's challenge."""
    transaction = await begin(server, scep_payload(profile), KEYS.take())
    try:
        scep.read_reply(transaction, (await post(server, transaction)).body, at_ms=server.clock.now_ms())
    except RefusedByCA:
        return True
    return False


async def _renewal_profile(server: Server, device: Device, **wishes: object) -> Profile:
    """The profile in the InstallProfile that `renew` queues."""
    record = (await server.api("POST", f"/devices/{device.udid}/renew", wishes or None)).json()
    command = (await device.idle()).command
    assert command is not None and command.command_uuid == record["command_uuid"]
    await device.acknowledge(command.command_uuid)
    return parse_profile(verify(command.keys["Payload"]).content)


def _pkcs12(profile: Profile) -> Identity:
    view = CertificatePayload.of(profile.of_type(PKCS12)[0])
    return open_pkcs12(view.content, view.password or "")


async def _automated_profile(server: AppleServer, device: Device) -> Profile:
    await server.connect_dep("SERIAL1")
    await server.synced()
    answer = await server.request("POST", "/enroll/automated", signed_info(machine_info("SERIAL1", device.udid)))
    assert answer.status == 200, answer.body
    return parse_profile(verify(answer.body).content)


async def _issued_for(server: AppleServer, device: Device, source: str) -> Identity:
    """An identity that the device was given because it is enrolled (or is the device that Apple names)."""
    match source:
        case "scep":
            identity = await renewal(server, device.identity, KEYS.take())
            assert identity is not None
            return identity
        case "renewal profile":
            return await scep_identity(server, scep_payload(await _renewal_profile(server, device)))
        case "renewal pkcs12":
            return _pkcs12(await _renewal_profile(server, device, identity="pkcs12"))
        case _:
            return await scep_identity(server, scep_payload(await _automated_profile(server, device)))


@pytest.fixture
def apple() -> AppleServer:
    return AppleServer()


# ---- nobody else


@pytest.mark.parametrize("source", SOURCES)
async def test_what_is_issued_for_an_enrollment_opens_no_other(apple: AppleServer, source: str) -> None:
    victim = await apple.enrolled("UDID-2")
    stolen = await _issued_for(apple, await apple.enrolled("UDID-1"), source)
    assert (await Device(apple, "UDID-2", identity=stolen).authenticate()).status == 403
    assert (await Device(apple, "UDID-3", identity=stolen).authenticate()).status == 403
    assert (await victim.idle()).status == 200


@pytest.mark.parametrize("source", SOURCES)
async def test_what_is_issued_for_an_enrollment_replaces_its_identity(apple: AppleServer, source: str) -> None:
    device = await apple.enrolled("UDID-1")
    old, device.identity = device.identity, await _issued_for(apple, device, source)
    assert (await device.idle()).status == 403, "no Authenticate yet"
    await device.enrol()
    assert (await device.idle()).status == 200
    assert (await Device(apple, "UDID-1", identity=old).idle()).status == 403


async def test_a_request_without_challenge_signed_by_an_identity_is_a_renewal_whatever_it_calls_itself(
    server: Server,
) -> None:
    # Apple's clients renew by PKCSReq (step-ca's comment on macOS), other clients by RenewalReq.
    device = await server.enrolled("UDID-1")
    stolen = await renewal(server, device.identity, KEYS.take(), kind=MessageType.PKCS_REQ)
    assert stolen is not None
    assert (await Device(server, "UDID-2", identity=stolen).authenticate()).status == 403


@pytest.mark.parametrize("mode", ["static", "none"])
async def test_a_renewal_is_tied_to_its_enrollment_where_devices_share_a_challenge(mode: str) -> None:
    server = Server(scep_challenge=mode, scep_static_challenge="shared" if mode == "static" else None)
    profile = await _renewal_profile(server, await server.enrolled("UDID-1"))
    stolen = await scep_identity(server, scep_payload(profile))
    assert (await Device(server, "UDID-2", identity=stolen).authenticate()).status == 403


# ---- one at a time


async def test_of_several_renewals_only_the_last_can_be_used(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    issued = [await renewal(server, device.identity, KEYS.take()) for _ in range(3)]
    statuses = [(await Device(server, "UDID-1", identity=each).authenticate()).status for each in issued]
    assert statuses == [403, 403, 200]


async def test_an_identity_does_not_renew_itself_without_end(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    issued = [await renewal(server, device.identity, KEYS.take()) for _ in range(11)]
    assert [each is not None for each in issued] == [True] * 10 + [False]


async def test_a_renewed_identity_can_be_renewed_again_once_it_is_in_use(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    renewed = await renewal(server, device.identity, KEYS.take())
    assert renewed is not None
    assert await renewal(server, renewed, KEYS.take()) is None, "nobody uses it yet"
    old, device.identity = device.identity, renewed
    await device.enrol()
    assert await renewal(server, renewed, KEYS.take()) is not None
    assert await renewal(server, old, KEYS.take()) is None


async def test_a_second_renewal_over_management_takes_the_place_of_the_first(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    first = (await server.api("POST", "/devices/UDID-1/renew")).json()
    second = (await server.api("POST", "/devices/UDID-1/renew")).json()
    states = [(await server.command(device, each["command_uuid"]))["state"] for each in (first, second)]
    assert states == ["cancelled", "queued"]


async def test_the_challenge_of_the_renewal_before_is_refused(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    profiles = [await _renewal_profile(server, device) for _ in range(2)]
    assert [await _refused(server, profile) for profile in profiles] == [True, False]


async def test_a_new_enrollment_ends_what_was_issued_for_the_one_before(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    of_the_first_life = await renewal(server, device.identity, KEYS.take())
    device.identity = fresh_identity("after the wipe")
    await device.enrol()
    assert (await Device(server, "UDID-1", identity=of_the_first_life).authenticate()).status == 403
    assert (await device.idle()).status == 200


# ---- an identity that waits for its TokenUpdate


async def test_a_pending_identity_that_another_replaced_finishes_nothing(server: Server) -> None:
    first, second = Device(server), Device(server)
    assert [(await device.authenticate()).status for device in (first, second)] == [200, 200]
    answers = [await first.token_update(), await first.idle(), await first.check_out()]
    assert [answer.status for answer in answers] == [403, 403, 403]
    assert all(b"(abandoned)" in answer.body for answer in answers)
    assert (await server.device("UDID-1"))["pending_identity"] == second.identity.fingerprint
    assert [(await second.token_update()).status, (await second.idle()).status] == [200, 200]


async def test_an_identity_in_use_stays_so_when_it_authenticates_and_another_does_after_it(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    assert (await device.authenticate()).status == 200
    assert (await Device(server, "UDID-1").authenticate()).status == 200
    assert (await device.idle()).status == 200
    assert await renewal(server, device.identity, KEYS.take()) is not None


# ---- to the end


@pytest.mark.parametrize("source", SOURCES)
async def test_what_is_issued_for_an_enrollment_is_removed_with_it(apple: AppleServer, source: str) -> None:
    device = await apple.enrolled("UDID-1")
    device.identity = await _issued_for(apple, device, source)
    await apple.api("POST", "/devices/UDID-1/remove")
    answers = [await device.authenticate(), await device.idle()]
    assert [answer.status for answer in answers] == [401, 401]


@pytest.mark.parametrize("source", SOURCES)
async def test_what_is_issued_for_an_enrollment_ends_with_its_check_out(apple: AppleServer, source: str) -> None:
    device = await apple.enrolled("UDID-1")
    issued = await _issued_for(apple, device, source)
    await device.check_out()
    assert (await Device(apple, "UDID-1", identity=issued).authenticate()).status == 403


@pytest.mark.parametrize("end", ["removal", "check-out"])
@pytest.mark.parametrize("source", ["renewal profile", "automated"])
async def test_a_challenge_for_an_enrollment_ends_with_it(apple: AppleServer, source: str, end: str) -> None:
    device = await apple.enrolled("UDID-1")
    profile = await (_automated_profile if source == "automated" else _renewal_profile)(apple, device)
    await (apple.api("POST", "/devices/UDID-1/remove") if end == "removal" else device.check_out())
    assert await _refused(apple, profile)


@pytest.mark.parametrize("end", ["removal", "check-out"])
async def test_the_identity_of_an_ended_enrollment_renews_nothing(server: Server, end: str) -> None:
    device = await server.enrolled("UDID-1")
    await (server.api("POST", "/devices/UDID-1/remove") if end == "removal" else device.check_out())
    assert await renewal(server, device.identity, KEYS.take()) is None


async def test_a_device_that_was_removed_enrols_again_with_a_fresh_automated_profile(apple: AppleServer) -> None:
    device = await apple.enrolled("UDID-1")
    await apple.api("POST", "/devices/UDID-1/remove")
    device.identity = await scep_identity(apple, scep_payload(await _automated_profile(apple, device)))
    await device.enrol()
    assert (await device.idle()).status == 200


async def test_a_removal_while_a_renewal_is_under_way_wins(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    device = await server.enrolled("UDID-1")
    storage = server.app._storage
    asked = storage.is_renewable

    async def asked_and_removed(identity: str) -> bool:
        renewable = await asked(identity)
        await storage.remove("UDID-1", now_ms=server.clock.now_ms())
        return renewable

    monkeypatch.setattr(storage, "is_renewable", asked_and_removed)
    assert await renewal(server, device.identity, KEYS.take()) is None
    assert storage.execute("SELECT COUNT(*) FROM issued WHERE renewal_of IS NOT NULL").fetchone() == (0,)
