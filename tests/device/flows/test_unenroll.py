"""How an enrollment ends, and how silent the device is after it."""

from __future__ import annotations

import pytest
from msgspec import structs

from mdmsim.clock import DAY
from mdmsim.device.flows.unenroll import leave
from mdmsim.http import ConnectFailed, Request, Response
from mdmsim.protocol.connect import Status
from tests.device.bench import SERVER, Bench, CheckOut, managed_profile


def enrolled(kind: str = "iphone", **profile: object) -> Bench:
    bench = Bench(kind)
    bench.enroll(**profile)
    return bench


def test_a_401_to_idle_removes_everything_managed_and_tries_one_check_out() -> None:
    bench = enrolled()
    bench.ask("InstallProfile", Payload=managed_profile())
    bench.server.interfere = lambda r: Response(401) if r.label == "connect:Idle" else None
    bench.server.requests.clear()
    bench.push()
    bench.act()
    assert bench.server.labels() == ["connect:Idle", "checkin:CheckOut"]
    assert (bench.device.state.profiles, bench.device.state.keychain, bench.device.enrolled) == ([], [], False)
    assert bench.log.of("device.unenrolled")[0].data == {"reason": "refused", "url": f"{SERVER}/connect", "status": 401}


def test_an_unenrolled_device_stays_silent_for_a_month_of_pushes() -> None:
    bench = enrolled()
    magic = bench.device.voice().push_magic
    bench.server.interfere = lambda r: Response(401)
    bench.push()
    bench.act()
    bench.server.requests.clear()
    for _ in range(30):
        bench.push(magic)
        bench.later(DAY / 1000)
    assert bench.server.requests == []


@pytest.mark.parametrize("outcome", [Response(401), Response(500), ConnectFailed("gone")])
def test_check_out_is_tried_once_whatever_comes_of_it(outcome: Response | Exception) -> None:
    bench = enrolled()

    def interfere(request: Request) -> Response | Exception:
        return outcome if request.label == "checkin:CheckOut" else Response(401)

    bench.server.interfere = interfere
    bench.push()
    bench.later(86400)
    assert bench.server.labels().count("checkin:CheckOut") == 1
    assert not bench.device.enrolled


def test_without_check_out_when_removed_nothing_more_is_sent() -> None:
    bench = enrolled(check_out_when_removed=False)
    bench.server.interfere = lambda r: Response(401)
    bench.push()
    bench.act()
    assert bench.server.labels() == ["connect:Idle"]


# mdm/errors/unrecognized.device.yaml of Apple's schema: introduced in iOS and tvOS 17.0, macOS 14.0.
@pytest.mark.parametrize(
    ("kind", "version", "unenrols"),
    [
        ("iphone", "17.0", True),
        ("iphone", "16.7.10", False),
        ("ipad", "17.0", True),
        ("ipad", "16.7.10", False),
        ("mac-silicon", "14.0", True),
        ("mac-silicon", "13.7.8", False),
        ("appletv", "17.0", True),
        ("appletv", "16.6", False),
    ],
)
def test_403_unrecognized_device_unenrols_the_systems_that_know_it(kind: str, version: str, unenrols: bool) -> None:
    bench = Bench(kind)
    bench.enroll()
    # The last version before, too, which the personas need not know.
    bench.device.state.persona = structs.replace(bench.device.persona, os_version=version)
    body = b'{"code": "com.apple.unrecognized.device", "description": "not ours"}'
    bench.server.interfere = lambda r: Response(403, (("Content-Type", "application/json"),), body)
    bench.push()
    bench.act()
    assert bench.device.enrolled is not unenrols


def test_remove_profile_of_the_enrollment_is_acknowledged_first_and_then_checked_out() -> None:
    bench = enrolled("mac-intel")
    bench.queue("RemoveProfile", Identifier="test.enrollment")
    bench.push()
    bench.act()
    assert bench.server.labels() == ["connect:Idle", "connect:Acknowledged", "checkin:CheckOut"]
    assert bench.server.reports[-1].status is Status.ACKNOWLEDGED
    assert bench.log.of("device.unenrolled")[0].data["reason"] == "command"


def test_a_user_who_removes_the_profile_checks_out() -> None:
    bench = enrolled()
    bench.run(leave(bench.device, reason="user"))
    assert bench.server.labels() == ["checkin:CheckOut"]
    assert len(bench.server.of(CheckOut)) == 1
    assert not bench.device.enrolled


def test_a_device_that_left_can_enrol_again_with_new_magic_and_token() -> None:
    bench = enrolled()
    magic, token = bench.device.voice().push_magic, bench.device.voice().push_token
    bench.run(leave(bench.device, reason="user"))
    bench.enroll()
    assert bench.device.voice().push_magic != magic
    assert bench.device.voice().push_token != token
    bench.queue("ProfileList")
    bench.push()
    assert bench.act() == 1
