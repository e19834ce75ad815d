"""Locking and unlocking as people do it: what the lock screen shows, and which attempts fail."""

from __future__ import annotations

import pytest

from mdmsim.device.locking import WrongPasscode, engage_pin_lock, enter_pin, lock_screen, set_passcode, unlock_screen
from mdmsim.device.power import shut_down, switch_on
from mdmsim.device.state import PinLock
from tests.device.bench import Bench

PASSCODE = "246810"


def locked(**state: object) -> Bench:
    bench = Bench(state={"passcode": PASSCODE, **state})
    bench.device.change(lambda work: lock_screen(work, by="command", message="Found me?", phone="555"))
    return bench


def test_message_and_number_leave_the_lock_screen_with_the_lock() -> None:
    bench = locked()
    bench.device.change(lambda work: unlock_screen(work, PASSCODE))
    state = bench.device.state
    assert (state.screen_locked, state.lock_message, state.lock_phone) == (False, "", "")


def test_a_wrong_passcode_is_an_event_and_opens_nothing() -> None:
    bench = locked()
    with pytest.raises(WrongPasscode):
        bench.device.change(lambda work: unlock_screen(work, "000000"))
    bench.device.save()
    assert [event.data["by"] for event in bench.log.of("device.lock-refused")] == ["passcode"]
    assert (bench.device.state.screen_locked, bench.device.state.lock_message) == (True, "Found me?")


def test_a_device_that_is_off_takes_no_passcode() -> None:
    bench = locked()
    bench.device.change(lambda work: shut_down(work, why="user"))
    with pytest.raises(WrongPasscode, match="off"):
        bench.device.change(lambda work: unlock_screen(work, PASSCODE))
    assert bench.device.state.screen_locked


def test_a_device_whose_passcode_is_taken_away_is_open() -> None:
    bench = locked()
    bench.device.change(lambda work: set_passcode(work, ""))
    assert (bench.device.state.screen_locked, bench.device.state.passcode) == (False, "")


@pytest.mark.parametrize("opened", [lambda w: unlock_screen(w, PASSCODE), lambda w: set_passcode(w, "")])
def test_the_first_opening_after_a_boot_gives_an_ipad_its_wifi_back(opened: object) -> None:
    bench = Bench("ipad", model="iPad14,8", state={"passcode": PASSCODE})
    bench.device.change(lambda work: shut_down(work, why="user"))
    bench.device.change(switch_on)
    before = bench.device.state.returns
    assert not bench.device.reachable
    bench.device.change(opened)  # type: ignore[arg-type]
    assert (bench.device.reachable, bench.device.state.returns) == (True, before + 1)


def test_a_pin_that_was_engaged_does_not_come_back_once_it_was_typed() -> None:
    bench = Bench("mac-silicon", state={"pin_pending": PinLock(pin="135790")})
    bench.device.change(engage_pin_lock)
    bench.later(120)
    bench.device.change(lambda work: enter_pin(work, "135790"))
    bench.device.change(engage_pin_lock)
    assert bench.device.state.pin_lock is None
