"""Pushes: what they look like, when they are sent, and what ends them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from mdmsim.clock import DAY, MINUTE, SECOND, VirtualClock
from mdmsim.http import ConnectFailed, Request, Response
from reference_server.ladder import Ladder, begin, climb, guard, restart, resume
from tests.reference_server.kit import TOPIC, Server, push_identity

START = 1_767_225_600_000
LADDER = Ladder((0, 30, 120, 480, 1800), 86_400)


def in_virtual_time(story: Callable[[Server], Awaitable[None]], **settings: object) -> Server:
    """Run a story against a running server; waiting costs nothing."""
    mock = trio.testing.MockClock(autojump_threshold=0)
    server = Server(clock=VirtualClock(mock, START), **settings)

    async def main() -> None:
        async with server.running():
            await story(server)

    trio.run(main, clock=mock)
    return server


def _times(server: Server) -> list[int]:
    """Seconds after the start at which pushes were sent."""
    return [(event.at_ms - START) // SECOND for event in server.seen.of("server.push-sent")]


def _refuse(status: int, reason: str) -> Callable[[Request], Response]:
    return lambda request: Response(status, (), json.dumps({"reason": reason, "timestamp": START}).encode())


def test_a_push_is_what_apns_wants() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(1)

    (push,) = in_virtual_time(story).apns.requests
    assert (push.method, push.url) == ("POST", f"https://api.push.apple.com/3/device/{'01' * 32}")
    assert json.loads(push.body) == {"mdm": "MAGIC-UDID-1"}
    assert (push.header("apns-topic"), push.header("apns-push-type")) == (TOPIC, "mdm")
    assert (push.header("apns-priority"), push.header("apns-expiration")) == ("10", str(START // 1000 + 86_400))
    assert push.identity == push_identity()


def test_a_silent_device_is_pushed_to_by_the_ladder_and_then_daily() -> None:
    async def story(server: Server) -> None:
        await server.queue(await server.enrolled())
        await trio.sleep(3.5 * 86_400)

    assert _times(in_virtual_time(story)) == [0, 30, 120, 480, 1800, 88_200, 174_600, 261_000]


def test_nothing_is_pushed_while_nothing_is_queued() -> None:
    async def story(server: Server) -> None:
        await server.enrolled()
        await trio.sleep(86_400)

    assert _times(in_virtual_time(story)) == []


def test_an_emptied_queue_ends_the_ladder() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(40)
        await device.drain()
        await trio.sleep(86_400)

    assert _times(in_virtual_time(story)) == [0, 30]


def test_a_cancelled_queue_ends_the_ladder() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(1)
        await server.api("DELETE", f"/devices/{device.udid}/commands")
        await trio.sleep(86_400)

    assert _times(in_virtual_time(story)) == [0]


def test_a_device_lost_in_the_middle_of_a_session_is_pushed_to_anew() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(1000)
        assert (await device.idle()).command is not None
        await trio.sleep(3000)

    assert _times(in_virtual_time(story)) == [0, 30, 120, 480, 1030, 1120, 1480, 2800]


def test_a_session_that_leaves_nothing_but_notnow_does_not_restart_the_ladder() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        uuid = await server.queue(device)
        for wait in (200, 300, 400):
            await trio.sleep(wait)
            await device.idle()
            assert (await device.not_now(uuid)).body == b""
        await trio.sleep(2000)

    assert _times(in_virtual_time(story)) == [0, 30, 120, 480, 1800]


def test_a_command_refused_with_notnow_is_pushed_for_again() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        uuid = await server.queue(device, push=False)
        await device.idle()
        await device.not_now(uuid)
        await trio.sleep(60)

    assert _times(in_virtual_time(story)) == [30]


def test_queueing_begins_the_ladder_anew() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(1000)
        await server.queue(device)
        await trio.sleep(200)

    assert _times(in_virtual_time(story)) == [0, 30, 120, 480, 1000, 1030, 1120]


def test_410_ends_all_pushing_until_a_tokenupdate() -> None:
    async def story(server: Server) -> None:
        server.apns.answer = _refuse(410, "Unregistered")
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(500)
        await server.queue(device)
        await trio.sleep(500)
        assert (await server.api("POST", f"/devices/{device.udid}/push")).status == 409
        server.apns.answer = lambda request: Response(200)
        await device.token_update(token=b"\x05" * 32)
        await trio.sleep(10)

    assert _times(in_virtual_time(story)) == [0, 1000]


def test_a_new_push_token_begins_the_ladder_anew() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(1000)
        await device.token_update()
        await device.token_update(token=b"\x05" * 32)
        await trio.sleep(10)

    server = in_virtual_time(story)
    assert _times(server) == [0, 30, 120, 480, 1000]
    assert server.apns.requests[-1].url.endswith("05" * 32)


def test_a_410_for_a_token_that_was_replaced_meanwhile_changes_nothing() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        answered = trio.Event()

        async def send(request: Request) -> Response:
            answered.set()
            await trio.sleep(5)
            return _refuse(410, "Unregistered")(request) if "01" * 32 in request.url else Response(200)

        server.apns.send = send  # type: ignore[method-assign]
        await server.queue(device)
        await answered.wait()
        await device.token_update(token=b"\x05" * 32)
        await trio.sleep(10)
        push = (await server.device(device.udid))["push"]
        assert (push["dead"], push["last_status"], push["last_reason"]) == (False, 200, None)

    in_virtual_time(story)


def test_a_new_token_starts_without_the_record_of_the_one_before() -> None:
    async def story(server: Server) -> None:
        server.apns.answer = _refuse(410, "Unregistered")
        device = await server.enrolled()
        await server.api("POST", f"/devices/{device.udid}/push")
        await device.token_update(token=b"\x05" * 32)
        push = (await server.device(device.udid))["push"]
        assert (push["dead"], push["last_status"], push["last_reason"], push["last_ms"]) == (False, None, None, None)
        assert push["sent"] == 1

    in_virtual_time(story)


# Apple, "Handling notification responses from APNs": both say that this token is no good for this topic.
@pytest.mark.parametrize("reason", ["BadDeviceToken", "DeviceTokenNotForTopic"])
def test_a_token_that_apns_calls_bad_is_not_pushed_to_again_until_something_is_queued(reason: str) -> None:
    async def story(server: Server) -> None:
        server.apns.answer = _refuse(400, reason)
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(5000)
        await server.queue(device)
        await trio.sleep(5000)

    assert _times(in_virtual_time(story)) == [0, 5000]


@pytest.mark.parametrize(("status", "reason"), [(429, "TooManyRequests"), (503, "Shutdown"), (400, "TopicDisallowed")])
def test_other_refusals_leave_the_ladder_as_it_is(status: int, reason: str) -> None:
    async def story(server: Server) -> None:
        server.apns.answer = _refuse(status, reason)
        await server.queue(await server.enrolled())
        await trio.sleep(200)

    server = in_virtual_time(story)
    assert _times(server) == [0, 30, 120]
    assert {event.data["reason"] for event in server.seen.of("server.push-sent")} == {reason}


def test_an_apns_that_cannot_be_reached_is_tried_again_by_the_ladder() -> None:
    def unreachable(request: Request) -> Response:
        raise ConnectFailed("nobody there")

    async def story(server: Server) -> None:
        server.apns.answer = unreachable
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(40)
        push = (await server.device(device.udid))["push"]
        assert (push["last_status"], push["last_reason"]) == (0, "ConnectFailed: nobody there")

    assert _times(in_virtual_time(story)) == [0, 30]


def test_a_push_that_failed_does_not_tell_the_token() -> None:
    def unreachable(request: Request) -> Response:
        raise ConnectFailed(f"push POST {request.url}: nobody there")

    async def story(server: Server) -> None:
        server.apns.answer = unreachable
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(1)
        told = str(await server.device(device.udid)) + str(server.log) + str([e.data for e in server.seen.events])
        assert "nobody there" in told
        assert device.token.hex() not in told

    in_virtual_time(story)


@pytest.mark.parametrize("ending", ["checkout", "removal"])
def test_checkout_and_removal_end_the_ladder(ending: str) -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(1)
        if ending == "checkout":
            await device.check_out()
        else:
            await server.api("POST", f"/devices/{device.udid}/remove")
        await trio.sleep(86_400)

    assert _times(in_virtual_time(story)) == [0]


def test_the_ladder_outlives_a_restart(tmp_path: object) -> None:
    mock = trio.testing.MockClock(autojump_threshold=0)
    server = Server(clock=VirtualClock(mock, START), database=f"{tmp_path}/server.sqlite")

    async def main() -> None:
        async with server.running():
            await server.queue(await server.enrolled())
            await trio.sleep(60)
        await trio.sleep(1000)
        server.start()
        async with server.running():
            await trio.sleep(1000)

    trio.run(main, clock=mock)
    assert _times(server) == [0, 30, 1060, 1800]


def test_a_stalled_apns_does_not_keep_other_devices_waiting() -> None:
    async def story(server: Server) -> None:
        async def send(request: Request) -> Response:
            if request.url.endswith("02" * 32):
                await trio.sleep(3600)
            return Response(200)

        server.apns.send = send  # type: ignore[method-assign]
        stalled, quick = await server.enrolled("UDID-1"), await server.enrolled("UDID-2")
        await stalled.token_update(token=b"\x02" * 32)
        await server.queue(stalled)
        await server.queue(quick)
        await trio.sleep(1)
        assert [event.data["enrollment_id"] for event in server.seen.of("server.push-sent")] == ["UDID-2"]

    in_virtual_time(story)


def test_a_push_by_hand_is_sent_at_once_and_its_answer_told() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        answer = await server.api("POST", f"/devices/{device.udid}/push")
        assert answer.json() == {"status": 200, "reason": None, "apns_id": "11111111-AAAA"}

    in_virtual_time(story)


def test_a_job_that_dies_is_restarted_and_reddens_readyz() -> None:
    async def story(server: Server) -> None:
        def broken(request: Request) -> Response:
            raise RuntimeError("a bug")

        server.apns.answer = broken
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(0.5)
        red = await server.request("GET", "/readyz")
        assert (red.status, red.json()["troubles"]) == (503, {"pushes": "died: ExceptionGroup"})
        assert (await server.request("GET", "/healthz")).status == 200
        server.apns.answer = lambda request: Response(200)
        await trio.sleep(40)
        assert (await server.request("GET", "/readyz")).status == 200

    server = in_virtual_time(story)
    assert _times(server) == [30]
    assert any(line["message"] == "background job died" for line in server.log)


def test_without_an_apns_nothing_leaves_the_server() -> None:
    async def story(server: Server) -> None:
        device = await server.enrolled()
        await server.queue(device)
        await trio.sleep(86_400)
        answer = (await server.api("POST", f"/devices/{device.udid}/push")).json()
        assert (answer["status"], answer["reason"]) == (0, "no APNs is set: apns_url")

    assert in_virtual_time(story, apns_url=None).apns.requests == []


def test_the_rungs_of_the_ladder() -> None:
    assert [LADDER.at(0, step) // SECOND for step in range(8)] == [0, 30, 120, 480, 1800, 88_200, 174_600, 261_000]


def test_a_ladder_skips_what_passed_while_nobody_was_there() -> None:
    assert climb(LADDER, begin(LADDER, 0), 10 * DAY, lost_since_ms=None).due_ms == 10 * DAY + 30 * MINUTE


def test_a_guard_keeps_the_place_on_the_ladder() -> None:
    rung = climb(LADDER, begin(LADDER, 0), 0, lost_since_ms=None)
    guarded = guard(LADDER, rung, 10 * SECOND)
    assert (guarded.start_ms, guarded.step, guarded.due_ms) == (0, 1, 40 * SECOND)
    assert resume(LADDER, guarded, 11 * SECOND) == rung
    assert restart(LADDER, 11 * SECOND).due_ms == 41 * SECOND
