"""Devices that are held in Setup Assistant: whether they wait is known, not known, or denied; and who is released when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mdmsim.protocol.connect import ErrorItem, Status
from tests.reference_server.kit import Device, Server

pytestmark = pytest.mark.anyio

RELEASE = "DeviceConfigured"
TWO = ({"RequestType": "DeviceInformation", "Queries": ["UDID"]}, {"RequestType": "SecurityInfo"})


async def _held(server: Server, **more: Any) -> Device:
    device = Device(server)
    assert (await device.authenticate()).status == 200
    assert (await device.token_update(**({"awaiting_configuration": True} | more))).status == 200
    return device


async def _awaiting(server: Server) -> Any:
    return (await server.device("UDID-1"))["awaiting_configuration"]


@pytest.mark.parametrize("said", [True, False, None])
async def test_what_the_device_says_is_kept_as_it_says_it(server: Server, said: bool | None) -> None:
    await _held(server, awaiting_configuration=said)
    assert await _awaiting(server) is said


async def test_a_tokenupdate_that_says_nothing_changes_nothing(server: Server) -> None:
    device = await _held(server)
    await device.token_update()
    assert await _awaiting(server) is True
    assert await device.drain() == [RELEASE]


async def test_a_held_device_is_released_once_it_has_answered_its_first_commands() -> None:
    server = Server(first_commands=TWO)
    device = await _held(server)
    assert await device.drain() == ["DeviceInformation", "SecurityInfo", RELEASE]
    assert await _awaiting(server) is False
    assert await device.drain() == []


async def test_without_first_commands_it_is_released_at_once_and_pushed_to(server: Server) -> None:
    device = await _held(server)
    assert (await server.device("UDID-1"))["push"]["due_ms"] is not None
    assert await device.drain() == [RELEASE]


@pytest.mark.parametrize("said", [False, None])
async def test_a_device_that_does_not_wait_is_not_released(said: bool | None) -> None:
    server = Server(first_commands=TWO)
    device = await _held(server, awaiting_configuration=said)
    assert RELEASE not in await device.drain()


async def test_a_first_command_that_is_put_off_puts_the_release_off() -> None:
    server = Server(first_commands=TWO)
    device = await _held(server)
    first = (await device.idle()).command
    assert first is not None
    second = (await device.not_now(first.command_uuid)).command
    assert second is not None and second.request_type == "SecurityInfo"
    assert (await device.acknowledge(second.command_uuid)).command is None
    assert await device.drain() == ["DeviceInformation", RELEASE]


@pytest.mark.parametrize("status", [Status.ERROR, Status.COMMAND_FORMAT_ERROR])
async def test_a_first_command_that_failed_is_answered_too(status: Status) -> None:
    server = Server(first_commands=TWO[:1])
    device = await _held(server)
    first = (await device.idle()).command
    assert first is not None
    chain = (ErrorItem(12021, "MCMDMErrorDomain", "no"),) if status is Status.ERROR else ()
    command = (await device.report(status, first.command_uuid, chain)).command
    assert command is not None and command.request_type == RELEASE


async def test_what_is_queued_later_does_not_hold_a_device() -> None:
    server = Server(first_commands=TWO[:1])
    device = await _held(server)
    await server.queue(device, "ProfileList")
    first = (await device.idle()).command
    assert first is not None
    await device.acknowledge(first.command_uuid)
    waiting = (await server.api("GET", "/devices/UDID-1/commands?state=queued")).json()["commands"]
    assert sorted(command["request_type"] for command in waiting) == [RELEASE, "ProfileList"]


async def test_a_device_is_released_once_even_if_it_says_no(server: Server) -> None:
    device = await _held(server)
    command = (await device.idle()).command
    assert command is not None and command.request_type == RELEASE
    chain = (ErrorItem(12021, "MCMDMErrorDomain", "not waiting"),)
    assert (await device.report(Status.ERROR, command.command_uuid, chain)).command is None
    assert await device.drain() == []


async def test_a_release_that_was_not_answered_comes_again(server: Server) -> None:
    device = await _held(server)
    first, second = (await device.idle()).command, (await device.idle()).command
    assert first is not None and second is not None
    assert first.command_uuid == second.command_uuid


async def test_a_release_survives_a_restart(tmp_path: Path) -> None:
    server = Server(database=str(tmp_path / "x.sqlite"), first_commands=TWO[:1])
    device = await _held(server)
    await device.idle()
    server.app.close()
    server.start()
    assert await device.drain() == ["DeviceInformation", RELEASE]


async def test_a_device_that_waits_no_more_gets_no_release() -> None:
    server = Server()
    device = await _held(server)
    await device.token_update(awaiting_configuration=False)
    assert await device.drain() == []


async def test_a_second_enrollment_of_a_held_device_is_released_again(server: Server) -> None:
    device = await _held(server)
    await device.authenticate()
    await device.token_update(awaiting_configuration=True)
    assert await device.drain() == [RELEASE]


async def test_the_administrator_may_keep_the_release_to_himself() -> None:
    server = Server(device_configured="manual")
    device = await _held(server)
    assert await device.drain() == []
    await server.queue(device, RELEASE)
    assert await device.drain() == [RELEASE]
    assert await _awaiting(server) is False


@pytest.mark.parametrize("said", [False, None])
async def test_nobody_can_release_a_device_that_does_not_wait(server: Server, said: bool | None) -> None:
    await _held(server, awaiting_configuration=said)
    answer = await server.api("POST", "/devices/UDID-1/commands", {"request_type": RELEASE})
    assert (answer.status, answer.json()["error"]) == (409, "not-awaiting")


async def test_two_releases_in_the_queue_are_served_as_one() -> None:
    server = Server(device_configured="manual")
    device = await _held(server)
    for _ in range(2):
        await server.queue(device, RELEASE)
    assert await device.drain() == [RELEASE]


async def test_a_device_that_checked_out_waits_for_nothing(server: Server) -> None:
    device = await _held(server)
    await device.check_out()
    assert await _awaiting(server) is None
