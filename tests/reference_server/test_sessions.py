"""The queue: what is served when, how often, and what becomes of it."""

from __future__ import annotations

import base64

import anyio
import pytest

from mdmsim.protocol.checkin import Ids
from mdmsim.protocol.connect import ErrorItem, Status
from tests.reference_server.kit import Device, Server

pytestmark = pytest.mark.anyio


async def test_an_empty_queue_is_an_empty_200(server: Server) -> None:
    device = await server.enrolled()
    answer = await device.idle()
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert "content-type" not in answer.headers


async def test_commands_come_in_the_order_in_which_they_were_queued(server: Server) -> None:
    device = await server.enrolled()
    for request_type in ("DeviceInformation", "SecurityInfo", "ProfileList"):
        await server.queue(device, request_type)
    assert await device.drain() == ["DeviceInformation", "SecurityInfo", "ProfileList"]
    assert await device.drain() == []


async def test_an_urgent_command_goes_before_a_backlog(server: Server) -> None:
    device = await server.enrolled()
    await server.queue(device, "DeviceInformation")
    await server.queue(device, "DeviceLock", urgent=True)
    assert await device.drain() == ["DeviceLock", "DeviceInformation"]


async def test_the_command_uuid_served_is_the_one_that_the_api_returned(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    command = (await device.idle()).command
    assert command is not None and command.command_uuid == uuid != device.udid


async def test_a_plist_is_served_byte_for_byte(server: Server) -> None:
    device = await server.enrolled()
    plist = (
        b'<?xml version="1.0"?><plist version="1.0"><dict><key>CommandUUID</key><string>0001_X</string>'
        b"<key>Command</key><dict><key>RequestType</key><string>SecurityInfo</string></dict></dict></plist>"
    )
    answer = await server.api("POST", f"/devices/{device.udid}/commands", {"plist": base64.b64encode(plist).decode()})
    assert answer.status == 201
    assert (await device.idle()).body == plist


@pytest.mark.parametrize(("status", "state"), [(Status.ERROR, "error"), (Status.COMMAND_FORMAT_ERROR, "format-error")])
async def test_an_error_closes_its_command_and_the_session_goes_on(server: Server, status: Status, state: str) -> None:
    device = await server.enrolled()
    first, second = await server.queue(device), await server.queue(device, "ProfileList")
    await device.idle()
    chain = (ErrorItem(12021, "MCMDMErrorDomain", "no"),) if status is Status.ERROR else ()
    command = (await device.report(status, first, chain)).command
    assert command is not None and command.command_uuid == second
    record = await server.command(device, first)
    assert record["state"] == state
    assert [item["ErrorCode"] for item in record["results"][0]["error_chain"]] == ([12021] if chain else [])


async def test_each_command_is_offered_once_per_session_and_again_in_the_next(server: Server) -> None:
    device = await server.enrolled()
    uuids = [await server.queue(device), await server.queue(device, "ProfileList")]
    for _ in range(3):
        offered, answer = [], await device.idle()
        # A server that offers them without end is to fail here, not to hang.
        while (command := answer.command) is not None and len(offered) <= len(uuids):
            offered.append(command.command_uuid)
            answer = await device.not_now(command.command_uuid)
        assert offered == uuids
    assert (await server.command(device, uuids[0]))["not_now"] == 3


async def test_notnow_does_not_keep_other_commands_waiting(server: Server) -> None:
    device = await server.enrolled()
    blocked, free = await server.queue(device, "InstallProfile"), await server.queue(device)
    await device.idle()
    command = (await device.not_now(blocked)).command
    assert command is not None and command.command_uuid == free
    assert (await device.acknowledge(free)).body == b""
    assert (await server.command(device, blocked))["state"] == "notnow"


async def test_notnow_as_the_first_report_of_a_session_is_not_answered_with_the_same_command(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    assert (await device.not_now(uuid)).body == b""
    command = (await device.idle()).command
    assert command is not None and command.command_uuid == uuid


async def test_a_report_after_the_empty_200_begins_a_session(server: Server) -> None:
    device = await server.enrolled()
    blocked, answered = await server.queue(device), await server.queue(device, "ProfileList")
    await device.idle()
    await device.not_now(blocked)
    assert (await device.not_now(answered)).body == b""
    command = (await device.acknowledge(answered)).command
    assert command is not None and command.command_uuid == blocked


async def test_a_command_whose_answer_was_lost_is_served_again_at_the_next_idle(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    for _ in range(2):
        command = (await device.idle()).command
        assert command is not None and command.command_uuid == uuid


async def test_a_command_that_is_never_answered_does_not_starve_the_others(server: Server) -> None:
    device = await server.enrolled()
    deadly, other = await server.queue(device), await server.queue(device, "ProfileList")
    offered = []
    for _ in range(4):
        command = (await device.idle()).command
        assert command is not None
        offered.append(command.command_uuid)
    assert offered == [deadly, deadly, deadly, other]


async def test_the_same_report_twice_is_counted_once(server: Server) -> None:
    device = await server.enrolled()
    first, second = await server.queue(device), await server.queue(device, "ProfileList")
    await device.idle()
    for _ in range(2):
        answer = await device.acknowledge(first, SecurityInfo={"PasscodePresent": True})
        assert answer.status == 200
    assert len((await server.command(device, first))["results"]) == 1
    command = (await device.idle()).command
    assert command is not None and command.command_uuid == second


async def test_a_second_and_different_answer_is_kept_as_late(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    await device.idle()
    await device.acknowledge(uuid)
    assert (await device.report(Status.ERROR, uuid)).status == 200
    record = await server.command(device, uuid)
    assert record["state"] == "acknowledged"
    assert [(result["status"], result["late"]) for result in record["results"]] == [
        ("Acknowledged", False),
        ("Error", True),
    ]


async def test_a_report_about_an_unknown_command_is_accepted(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    command = (await device.acknowledge("never-heard-of")).command
    assert command is not None and command.command_uuid == uuid


async def test_a_report_about_another_devices_command_changes_nothing_there(server: Server) -> None:
    one, other = await server.enrolled("UDID-1"), await server.enrolled("UDID-2")
    uuid = await server.queue(one)
    await other.acknowledge(uuid)
    assert (await server.command(one, uuid))["state"] == "queued"


async def test_a_result_of_a_megabyte_is_kept_whole(server: Server) -> None:
    device = await server.enrolled()
    uuid, following = await server.queue(device, "InstalledApplicationList"), await server.queue(device)
    await device.idle()
    command = (await device.acknowledge(uuid, InstalledApplicationList=["x" * 100] * 10_000)).command
    assert command is not None and command.command_uuid == following
    record = await server.command(device, uuid)
    assert len(record["results"][0]["response"]["InstalledApplicationList"]) == 10_000


async def test_a_cancelled_command_is_not_served(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    assert (await server.api("DELETE", f"/devices/{device.udid}/commands/{uuid}")).json()["state"] == "cancelled"
    assert (await device.idle()).body == b""


async def test_first_commands_are_queued_at_the_first_tokenupdate_only() -> None:
    server = Server(first_commands=({"RequestType": "DeviceInformation", "Queries": ["UDID"]},))
    device = Device(server)
    await device.authenticate()
    await device.token_update()
    await device.token_update()
    assert await device.drain() == ["DeviceInformation"]


async def test_a_user_channel_is_declined_with_410(server: Server) -> None:
    device = await server.enrolled()

    class User(Device):
        @property
        def ids(self) -> Ids:
            return Ids(udid=self.udid, user_id="AAAAAAAA-0000-0000-0000-000000000000", user_short_name="jane")

    user = User(server, identity=device.identity)
    assert (await user.token_update()).status == 410
    assert (await user.idle()).status == 410
    assert len((await server.api("GET", "/devices")).json()["devices"]) == 1


async def test_two_connections_of_one_device_answer_each_command_once_and_lose_none(server: Server) -> None:
    device = await server.enrolled()
    first, second = await server.queue(device), await server.queue(device)
    one = (await device.idle()).command
    two = (await device.idle()).command  # a second connection, such as a copy of the device: a session of its own
    assert one is not None and two is not None and one.command_uuid == two.command_uuid == first
    after_one = (await device.acknowledge(first, By="one")).command
    after_two = (await device.acknowledge(first, By="two")).command
    assert after_one is not None and after_one.command_uuid == second
    assert after_two is None
    assert (await device.acknowledge(second)).command is None
    record = await server.command(device, first)
    assert [(r["response"], r["late"]) for r in record["results"]] == [({"By": "one"}, False), ({"By": "two"}, True)]
    assert (await server.command(device, second))["state"] == "acknowledged"


async def test_what_is_queued_while_a_device_connects_is_served_once_each(server: Server) -> None:
    device = await server.enrolled()
    queued: list[str] = []
    served: list[str] = []

    async def administrator() -> None:
        for _ in range(30):
            queued.append(await server.queue(device))
            await anyio.lowlevel.checkpoint()

    async def connects() -> None:
        while len(served) < 30:
            answer = await device.idle()
            while (command := answer.command) is not None:
                served.append(command.command_uuid)
                answer = await device.acknowledge(command.command_uuid)

    async with anyio.create_task_group() as group:
        group.start_soon(connects)
        group.start_soon(administrator)
    assert served == queued
