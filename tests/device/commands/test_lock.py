"""DeviceLock and RestartDevice: what happens once the report was sent, and who can undo it."""

from __future__ import annotations

import pytest

from mdmsim.device.locking import WrongPasscode, enter_pin, unlock_screen
from mdmsim.device.power import switch_on
from mdmsim.http import ExchangeCut, Request
from mdmsim.protocol.connect import Status
from tests.device.bench import Bench


def enrolled(kind: str, **options: object) -> Bench:
    bench = Bench(kind, **options)  # type: ignore[arg-type]
    bench.enroll()
    return bench


@pytest.mark.parametrize(("kind", "power"), [("mac-intel", "off"), ("mac-silicon", "restarting")])
def test_a_locked_mac_reports_first_and_is_then_gone_until_the_pin_is_typed(kind: str, power: str) -> None:
    bench = enrolled(kind)
    assert bench.ask("DeviceLock", PIN="135790").status is Status.ACKNOWLEDGED
    assert bench.device.state.power == power
    assert bench.device.subscriptions() == frozenset()
    bench.server.requests.clear()
    bench.push()
    bench.later(86400)
    assert bench.server.requests == []
    with pytest.raises(WrongPasscode):
        bench.device.change(lambda work: enter_pin(work, "000000"))
    bench.later(60)
    assert bench.server.requests == []
    bench.device.change(lambda work: enter_pin(work, "135790"))
    bench.later(60)
    assert bench.server.labels() == ["connect:Idle"]


@pytest.mark.parametrize("kind", ["mac-intel", "mac-silicon"])
def test_switching_a_locked_mac_on_is_not_enough(kind: str) -> None:
    bench = enrolled(kind)
    bench.ask("DeviceLock", PIN="135790")
    bench.device.change(switch_on)
    bench.server.requests.clear()
    bench.push()
    bench.later(600)
    assert bench.server.requests == []


@pytest.mark.parametrize("pin", ["12345", "1234567", "abcdef", "12 456", ""])
def test_a_pin_of_the_wrong_form_is_an_error_and_locks_nothing(pin: str) -> None:
    bench = enrolled("mac-intel")
    assert bench.ask("DeviceLock", PIN=pin).status is Status.ERROR
    assert bench.device.state.present


def test_a_mac_without_a_pin_in_the_command_says_so() -> None:
    report = enrolled("mac-intel").ask("DeviceLock")
    assert [(i.domain, i.code) for i in report.error_chain] == [("MDMClientError", 97)]


def test_a_lock_whose_answer_is_lost_still_locks() -> None:
    bench = enrolled("mac-intel")

    def lose(request: Request) -> ExchangeCut | None:
        return ExchangeCut("cut", sent=True) if request.label == "connect:Acknowledged" else None

    bench.server.interfere = lose
    uuid = bench.queue("DeviceLock", PIN="135790")
    bench.push()
    bench.act()
    assert bench.device.state.pin_lock is not None
    bench.server.interfere = None
    bench.server.reports.clear()
    bench.device.change(lambda work: enter_pin(work, "135790"))
    bench.later(120)
    assert [(r.status, r.command_uuid) for r in bench.server.reports] == [(Status.ACKNOWLEDGED, uuid)]


def test_a_lock_whose_report_never_left_has_not_locked_yet() -> None:
    bench = enrolled("mac-intel")
    failures = [ExchangeCut("cut before a byte was sent", sent=False)]
    bench.server.interfere = lambda r: failures.pop() if r.label == "connect:Acknowledged" and failures else None
    bench.queue("DeviceLock", PIN="135790")
    bench.push()
    bench.act()
    assert bench.device.state.pin_lock is None
    bench.later(61)
    assert bench.device.state.pin_lock is not None


def test_an_iphone_locks_at_once_and_shows_the_message() -> None:
    bench = enrolled("iphone", passcode="123456")
    report = bench.ask("DeviceLock", Message="Call us", PhoneNumber="555")
    assert report.response == {"MessageResult": "Success"}
    assert (bench.device.state.screen_locked, bench.device.state.lock_message) == (True, "Call us")


def test_an_iphone_without_passcode_says_so() -> None:
    bench = enrolled("iphone", passcode=False)
    assert bench.ask("DeviceLock", Message="Call us").response == {"MessageResult": "NoPasscodeSet"}


def test_an_apple_tv_has_no_lock() -> None:
    report = enrolled("appletv").ask("DeviceLock")
    assert [(i.code, i.localized) for i in report.error_chain] == [(12021, "“DeviceLock” is not a valid request type.")]


def test_a_lock_command_makes_later_profile_installs_not_now_in_the_same_session() -> None:
    bench = enrolled("iphone", passcode="123456")
    bench.queue("DeviceLock")
    bench.queue("SecurityInfo")
    bench.push()
    bench.act()
    assert [r.status for r in bench.server.reports[-2:]] == [Status.ACKNOWLEDGED, Status.NOT_NOW]


@pytest.mark.parametrize("kind", ["iphone", "mac-silicon", "appletv"])
def test_a_restart_happens_after_the_report_and_the_device_comes_back_by_itself(kind: str) -> None:
    bench = enrolled(kind, state={"supervised": True}, passcode=False)
    assert bench.ask("RestartDevice").status is Status.ACKNOWLEDGED
    assert bench.device.state.power == "restarting"
    bench.later(60)
    assert bench.device.state.power == "on"
    assert bench.ask("ProfileList").status is Status.ACKNOWLEDGED


def test_a_cellular_iphone_before_first_unlock_says_not_now_to_all_but_a_few() -> None:
    bench = enrolled("iphone", state={"supervised": True}, passcode="123456")
    bench.ask("RestartDevice")
    bench.later(60)
    assert bench.device.persona.is_cellular
    assert bench.ask("CertificateList").status is Status.NOT_NOW
    assert bench.ask("DeviceInformation", Queries=["UDID"]).status is Status.ACKNOWLEDGED
    bench.server.reports.clear()
    bench.ask("CertificateList")
    bench.device.change(lambda work: unlock_screen(work, "123456"))
    bench.act()
    assert bench.server.reports[-1].status is Status.ACKNOWLEDGED


def test_commands_after_a_restart_in_the_queue_wait_for_the_next_connect() -> None:
    bench = enrolled("mac-silicon")
    bench.queue("RestartDevice")
    later = bench.queue("ProfileList")
    bench.push()
    bench.act()
    assert later not in [r.command_uuid for r in bench.server.reports]
    bench.later(60)
    bench.push()
    bench.act()
    assert bench.server.reports[-1].command_uuid == later


def test_an_iphone_without_passcode_goes_dark_all_the_same() -> None:
    bench = enrolled("iphone", passcode=False)
    bench.ask("DeviceLock")
    assert bench.device.state.screen_locked
    assert [event.data["by"] for event in bench.log.of("device.locked")] == ["command"]
