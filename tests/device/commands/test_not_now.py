"""What a device puts off with NotNow, and when it asks again by itself."""

from __future__ import annotations

import pytest

from mdmsim.device.commands.not_now import not_now
from mdmsim.device.locking import unlock_screen
from mdmsim.protocol.connect import Status
from tests.device.bench import Bench, managed_profile

LOCKED = {"passcode": "123456", "screen_locked": True}


def iphone(**state: object) -> Bench:
    bench = Bench("iphone", state={**LOCKED, **state})
    bench.enroll()
    bench.device.change(lambda work: setattr(work.state, "screen_locked", True))
    return bench


# Apple, "Handling NotNow status responses": the list of commands that iOS never answers with NotNow.
@pytest.mark.parametrize(
    "request_type",
    [
        "DeviceInformation",
        "ProfileList",
        "DeviceLock",
        "EraseDevice",
        "ClearPasscode",
        "ProvisioningProfileList",
        "InstalledApplicationList",
        "Restrictions",
    ],
)
def test_an_iphone_carries_these_out_before_its_first_unlock(request_type: str) -> None:
    state = Bench("iphone", state={**LOCKED, "unlocked_since_boot": False}).device.state
    assert not_now(state, request_type) is None
    assert not_now(state, "CertificateList") == "first-unlock"


def test_an_iphone_that_said_notnow_last_asks_again_when_it_is_unlocked() -> None:
    bench = iphone()
    assert bench.ask("InstallProfile", Payload=managed_profile()).status is Status.NOT_NOW
    bench.server.requests.clear()
    bench.device.change(lambda work: unlock_screen(work, "123456"))
    bench.act()
    assert bench.server.labels() == ["connect:Idle", "connect:Acknowledged"]


def test_a_later_answer_of_another_kind_means_that_it_does_not_ask_by_itself() -> None:
    """Apple, "Handling NotNow status responses": whoever sends another command after NotNow has to push again."""
    bench = iphone()
    bench.queue("InstallProfile", Payload=managed_profile())
    assert bench.ask("DeviceInformation", Queries=["SerialNumber"]).status is Status.ACKNOWLEDGED
    assert [report.status for report in bench.server.reports[-2:]] == [Status.NOT_NOW, Status.ACKNOWLEDGED]
    bench.server.requests.clear()
    bench.device.change(lambda work: unlock_screen(work, "123456"))
    bench.act()
    assert bench.server.requests == []
