"""EraseDevice and ShutDownDevice: the answer first, then nothing of the old life is left."""

from __future__ import annotations

import pytest

from mdmsim.clock import DAY
from mdmsim.device.locking import WrongPasscode, enter_pin, lock_screen
from mdmsim.device.power import switch_on
from mdmsim.http import ExchangeCut, Request
from mdmsim.protocol.connect import Status
from tests.device.bench import Bench, managed_profile

MOBILE = ["iphone", "ipad", "appletv"]


def enrolled(kind: str, **options: object) -> Bench:
    bench = Bench(kind, **options)  # type: ignore[arg-type]
    bench.enroll()
    return bench


@pytest.mark.parametrize("kind", [*MOBILE, "mac-silicon", "mac-t2"])
def test_an_erased_device_keeps_its_udid_and_nothing_else(kind: str) -> None:
    bench = enrolled(kind)
    bench.ask("InstallProfile", Payload=managed_profile())
    udid = bench.device.persona.udid
    assert bench.ask("EraseDevice").status is Status.ACKNOWLEDGED
    bench.later(120)
    state = bench.device.state
    assert (state.profiles, state.keychain, state.enrollment, state.passcode) == ([], [], None, "")
    assert (state.setup, bench.device.persona.udid) == ("welcome", udid)
    assert bench.device.registrations() == frozenset()
    assert [e.data["reason"] for e in bench.log.of("device.unenrolled")] == ["erased"]


@pytest.mark.parametrize("kind", ["iphone", "mac-silicon"])
def test_no_check_out_is_sent_and_the_device_is_silent_from_then_on(kind: str) -> None:
    bench = enrolled(kind)
    magic = bench.device.voice().push_magic
    bench.ask("EraseDevice")
    bench.server.requests.clear()
    for _ in range(5):
        bench.push(magic)
        bench.later(DAY / 1000)
    assert bench.server.requests == []


def test_an_erase_whose_answer_is_lost_still_erases_and_is_never_reported_again() -> None:
    bench = enrolled("iphone")
    bench.queue("EraseDevice")

    def lose(request: Request) -> ExchangeCut | None:
        return ExchangeCut("cut", sent=True) if request.label == "connect:Acknowledged" else None

    bench.server.interfere = lose
    bench.push()
    bench.act()
    assert bench.device.state.setup == "welcome"
    bench.server.requests.clear()
    bench.later(7200)
    assert bench.server.requests == []


def test_an_erase_works_while_the_iphone_is_locked() -> None:
    bench = enrolled("iphone", passcode="123456")
    bench.device.change(lambda work: lock_screen(work, by="button"))
    assert bench.ask("EraseDevice").status is Status.ACKNOWLEDGED


def test_a_killed_device_erases_after_its_restart() -> None:
    bench = enrolled("iphone")
    bench.queue("EraseDevice")

    class Killed(Exception):
        pass

    def kill(request: Request) -> Killed | None:
        return Killed() if request.label == "connect:Acknowledged" else None

    bench.server.interfere = kill
    bench.push()
    with pytest.raises(Killed):
        bench.act()
    bench.server.interfere = None
    bench.restart()
    bench.later(120)
    assert bench.device.state.setup == "welcome"


def test_an_intel_mac_without_security_chip_needs_a_pin_and_stands_behind_it_after() -> None:
    bench = enrolled("mac-intel")
    assert [i.code for i in bench.ask("EraseDevice").error_chain] == [97]
    assert [i.code for i in bench.ask("EraseDevice", PIN="12345").error_chain] == [97]
    assert bench.ask("EraseDevice", PIN="a1b2c3").status is Status.ACKNOWLEDGED
    bench.later(120)
    assert bench.device.state.pin_lock is not None
    with pytest.raises(WrongPasscode):
        bench.device.change(lambda work: enter_pin(work, "000000"))
    bench.device.change(lambda work: enter_pin(work, "a1b2c3"))
    assert bench.device.state.present


@pytest.mark.parametrize(
    ("behavior", "status", "erased"),
    [
        ("Default", Status.ERROR, True),
        ("DoNotObliterate", Status.ERROR, False),
        ("ObliterateWithWarning", Status.ACKNOWLEDGED, True),
        ("Always", Status.ACKNOWLEDGED, True),
        ("Perhaps", Status.COMMAND_FORMAT_ERROR, False),
    ],
)
def test_what_a_mac_does_when_it_cannot_erase_its_content_alone(behavior: str, status: Status, erased: bool) -> None:
    bench = enrolled("mac-silicon", state={"can_erase_content": False})
    assert bench.ask("EraseDevice", ObliterationBehavior=behavior).status is status
    assert (bench.device.state.setup == "welcome") == erased


def test_return_to_service_asks_for_what_it_needs() -> None:
    bench = enrolled("iphone", os_version="18.1")
    assert bench.ask("EraseDevice", ReturnToService={"Enabled": "yes"}).status is Status.COMMAND_FORMAT_ERROR
    assert bench.ask("EraseDevice", ReturnToService={"Enabled": True}).status is Status.COMMAND_FORMAT_ERROR
    assert bench.device.enrolled


@pytest.mark.parametrize("kind", ["iphone", "mac-intel"])
def test_a_shut_down_device_stays_off_until_someone_switches_it_on(kind: str) -> None:
    bench = enrolled(kind, state={"supervised": True}, passcode=False)
    assert bench.ask("ShutDownDevice").status is Status.ACKNOWLEDGED
    bench.push()
    bench.server.requests.clear()
    bench.later(DAY / 1000)
    assert (bench.device.state.power, bench.server.requests) == ("off", [])
    bench.device.change(switch_on)
    bench.act()
    assert bench.server.labels() == ["connect:Idle"]


def test_an_apple_tv_cannot_be_shut_down() -> None:
    report = enrolled("appletv").ask("ShutDownDevice")
    assert [i.code for i in report.error_chain] == [12021]


def test_device_configured_for_a_device_that_does_not_wait_is_an_error() -> None:
    bench = enrolled("mac-silicon")
    assert bench.ask("DeviceConfigured").status is Status.ERROR
