"""How an enrollment changes hands, ends, and begins again."""

from __future__ import annotations

import pytest

from mdmsim.protocol.checkin import Authenticate, Ids
from tests.reference_server.kit import TOPIC, Device, Server, fresh_identity

pytestmark = pytest.mark.anyio


async def _replaced(server: Server) -> tuple[Device, Device]:
    """A device and itself with a new identity that has authenticated, but not yet sent its TokenUpdate."""
    old = await server.enrolled("UDID-1")
    new = Device(server, "UDID-1")
    assert (await new.authenticate()).status == 200
    return old, new


async def test_an_enrollment_is_pending_until_its_tokenupdate(server: Server) -> None:
    device = Device(server)
    await device.authenticate()
    assert (await server.device(device.udid))["status"] == "pending"
    assert (await device.idle()).status == 403
    await device.token_update()
    record = await server.device(device.udid)
    assert (record["status"], record["identity"]) == ("enrolled", device.identity.fingerprint)


async def test_until_the_new_tokenupdate_the_old_identity_goes_on_working(server: Server) -> None:
    old, new = await _replaced(server)
    uuid = await server.queue(old)
    command = (await old.idle()).command
    assert command is not None and command.command_uuid == uuid
    assert (await old.acknowledge(uuid)).status == 200
    assert (await old.token_update()).status == 200
    assert (await new.idle()).status == 403


async def test_after_the_new_tokenupdate_the_old_identity_is_403(server: Server) -> None:
    old, new = await _replaced(server)
    assert (await new.token_update()).status == 200
    assert [(await old.idle()).status, (await old.token_update()).status] == [403, 403]
    assert (await new.idle()).status == 200


async def test_a_device_that_rolls_back_needs_nothing_from_the_server(server: Server) -> None:
    old, _ = await _replaced(server)
    await server.queue(old)
    third = Device(server, "UDID-1")
    assert (await third.authenticate()).status == 200
    assert await old.drain() == ["SecurityInfo"]


async def test_a_pending_identity_that_was_given_up_may_not_finish(server: Server) -> None:
    _, second = await _replaced(server)
    third = Device(server, "UDID-1")
    await third.authenticate()
    assert (await second.token_update()).status == 403
    assert (await third.token_update()).status == 200


async def test_commands_from_before_the_authenticate_are_superseded(server: Server) -> None:
    device = await server.enrolled()
    stale = await server.queue(device, "RemoveProfile")
    await device.authenticate()
    fresh = await server.queue(device, "SecurityInfo")
    await device.token_update()
    assert await device.drain() == ["SecurityInfo"]
    assert (await server.command(device, stale))["state"] == "superseded"
    assert (await server.command(device, fresh))["state"] == "acknowledged"


async def test_a_late_result_of_a_superseded_command_is_kept(server: Server) -> None:
    old = await server.enrolled()
    renewal = await server.queue(old, "InstallProfile")
    await old.idle()
    new = Device(server, old.udid)
    await new.enrol()
    assert (await new.acknowledge(renewal)).status == 200
    record = await server.command(new, renewal)
    assert (record["state"], record["results"][0]["late"]) == ("superseded", True)


async def test_push_token_and_magic_change_hands_at_the_tokenupdate_only(server: Server) -> None:
    old, new = await _replaced(server)
    new.token = b"\x02" * 32
    await server.api("POST", f"/devices/{old.udid}/push")
    await new.token_update()
    await server.api("POST", f"/devices/{old.udid}/push")
    assert [request.url.rpartition("/")[2] for request in server.apns.requests] == ["01" * 32, "02" * 32]


async def test_reenrolling_never_makes_a_second_device(server: Server) -> None:
    for _ in range(3):
        await server.enrolled("UDID-1")
    assert [device["id"] for device in (await server.api("GET", "/devices")).json()["devices"]] == ["UDID-1"]


async def test_the_same_identity_may_enrol_again(server: Server) -> None:
    device = await server.enrolled()
    stale = await server.queue(device)
    await device.enrol()
    assert (await device.idle()).body == b""
    assert (await server.command(device, stale))["state"] == "superseded"


async def test_a_tokenupdate_sent_twice_is_a_refresh(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    assert (await device.token_update()).status == 200
    assert (await server.command(device, uuid))["state"] == "queued"
    assert (await server.device(device.udid))["token_updates"] == 2


async def test_a_tokenupdate_without_unlock_token_keeps_the_one_that_is_there(server: Server) -> None:
    device = Device(server)
    await device.authenticate()
    await device.token_update(unlock_token=b"escrow", awaiting_configuration=True)
    await device.token_update()
    record = await server.device(device.udid)
    assert (record["has_unlock_token"], record["awaiting_configuration"]) == (True, True)
    await device.token_update(awaiting_configuration=False)
    assert (await server.device(device.udid))["awaiting_configuration"] is False


async def test_checkout_ends_the_enrollment_and_may_come_twice(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    assert [(await device.check_out()).status, (await device.check_out()).status] == [200, 200]
    record = await server.device(device.udid)
    assert (record["status"], record["push"]["token"], record["open_commands"]) == ("checked-out", False, 0)
    assert (await server.command(device, uuid))["state"] == "cancelled"
    assert (await device.idle()).status == 403


async def test_a_checked_out_device_enrols_anew_with_a_new_identity(server: Server) -> None:
    await (await server.enrolled()).check_out()
    device = await server.enrolled()
    assert (await device.idle()).status == 200


async def test_a_removed_identity_gets_401_on_every_request(server: Server) -> None:
    device = await server.enrolled()
    answer = await server.api("POST", f"/devices/{device.udid}/remove")
    assert answer.json()["status"] == "removed"
    answers = [
        await device.idle(),
        await device.acknowledge("X"),
        await device.token_update(),
        await device.check_out(),
        await device.authenticate(),
    ]
    assert [answer.status for answer in answers] == [401] * 5


async def test_the_tombstone_is_the_identitys_and_not_the_udids(server: Server) -> None:
    device = await server.enrolled()
    await server.api("POST", f"/devices/{device.udid}/remove")
    again = await server.enrolled(device.udid)
    assert (await again.idle()).status == 200
    assert (await device.idle()).status == 401


async def test_removing_a_replacement_half_way_removes_both_identities(server: Server) -> None:
    old, new = await _replaced(server)
    await server.api("POST", f"/devices/{old.udid}/remove")
    assert [(await old.idle()).status, (await new.token_update()).status] == [401, 401]


@pytest.mark.parametrize("by", ["udid", "serial"])
@pytest.mark.parametrize(
    ("at", "authenticate", "token_update", "idle"),
    [("authenticate", 401, 200, 200), ("tokenupdate", 200, 401, 200), ("any", 401, 401, 401)],
)
async def test_refusal_rules_answer_401_at_their_moment_only(
    server: Server, by: str, at: str, authenticate: int, token_update: int, idle: int
) -> None:
    device = await server.enrolled()
    rule = (
        await server.api("POST", "/refusals", {by: device.udid if by == "udid" else device.serial, "at": at})
    ).json()
    assert (await device.token_update()).status == token_update
    assert (await device.idle()).status == idle
    assert (await device.authenticate()).status == authenticate
    await server.api("DELETE", f"/refusals/{rule['id']}")
    assert (await device.idle()).status == 200


@pytest.mark.parametrize("by", ["udid", "serial"])
async def test_a_refusal_rule_leaves_other_devices_alone(server: Server, by: str) -> None:
    device, other = await server.enrolled("UDID-1"), await server.enrolled("UDID-2")
    await server.api("POST", "/refusals", {by: device.udid if by == "udid" else device.serial, "at": "any"})
    assert [(await one.idle()).status for one in (device, other)] == [401, 200]


async def test_a_refusal_is_no_answer_to_somebody_elses_identity(server: Server) -> None:
    device, other = await server.enrolled("UDID-1"), await server.enrolled("UDID-2")
    await server.api("POST", "/refusals", {"udid": device.udid})
    assert (await Device(server, "UDID-1", identity=other.identity).idle()).status == 403


async def test_refusal_rules_outlive_a_restart(tmp_path: object) -> None:
    server = Server(database=f"{tmp_path}/server.sqlite")
    device = await server.enrolled()
    await server.api("POST", "/refusals", {"udid": device.udid})
    server.app.close()
    server.start()
    assert (await device.idle()).status == 401


async def test_a_user_enrollment_is_known_by_its_enrollmentid(server: Server) -> None:
    class ByEnrollmentId(Device):
        @property
        def ids(self) -> Ids:
            return Ids(enrollment_id=self.udid)

    device = ByEnrollmentId(server, "5B6C0C4E-0000-4000-8000-000000000000")
    assert (await device.checkin(Authenticate(ids=device.ids, topic=TOPIC))).status == 200
    assert (await device.token_update()).status == 200
    record = await server.device(device.udid)
    assert (record["id"], record["udid"], record["serial_number"]) == (device.udid, None, None)


async def test_everything_acknowledged_survives_a_restart(tmp_path: object) -> None:
    server = Server(database=f"{tmp_path}/server.sqlite")
    device = await server.enrolled()
    answered, open_one = await server.queue(device), await server.queue(device, "ProfileList")
    await device.idle()
    await device.acknowledge(answered)
    server.app.close()
    server.start()
    assert (await server.command(device, answered))["state"] == "acknowledged"
    command = (await device.idle()).command
    assert command is not None and command.command_uuid == open_one


async def test_an_identity_from_before_its_removal_is_not_revived_by_another_ones_enrollment(server: Server) -> None:
    first = await server.enrolled()
    second = Device(server, first.udid, identity=fresh_identity())
    await second.enrol()
    await server.api("POST", f"/devices/{first.udid}/remove")
    assert (await first.idle()).status == 401
