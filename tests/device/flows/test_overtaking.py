"""What happens while something else is on its way: nothing of it is lost, and nothing of it happens twice."""

from __future__ import annotations

import pytest

from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.wake import next_flow
from mdmsim.device.locking import WrongPasscode, enter_pin, lock_screen, set_passcode, unlock_screen
from mdmsim.device.power import set_power_nap, shut_down, switch_on
from mdmsim.http import ConnectFailed, ExchangeCut, Request, Response, TLSFailed
from mdmsim.protocol.connect import Status
from tests.device.bench import Bench, TokenUpdate


def enrolled(kind: str = "iphone", **options: object) -> Bench:
    bench = Bench(kind, **options)  # type: ignore[arg-type]
    bench.enroll()
    return bench


def during(bench: Bench, label: str, act: object, then: Response | BaseException | None = None) -> None:
    """Have `act` happen once, while a request of that label is on its way."""
    done: list[bool] = []

    def interfere(request: Request) -> Response | BaseException | None:
        if request.label == label and not done:
            done.append(True)
            bench.device.change(act)  # type: ignore[arg-type]
            return then
        return None

    bench.server.interfere = interfere


def test_an_unlock_while_the_not_now_is_on_its_way_makes_the_device_poll_all_the_same() -> None:
    bench = enrolled(passcode="123456")
    bench.device.change(lambda work: lock_screen(work, by="button"))
    uuid = bench.queue("SecurityInfo")
    during(bench, "connect:NotNow", lambda work: unlock_screen(work, "123456"))
    bench.push()
    bench.act()
    assert [r.status for r in bench.server.reports] == [
        Status.IDLE,
        Status.NOT_NOW,
        Status.IDLE,
        Status.ACKNOWLEDGED,
    ]
    assert bench.server.reports[-1].command_uuid == uuid


def test_an_unlock_before_a_lost_not_now_went_out_again_makes_the_device_poll_after_it() -> None:
    bench = enrolled(passcode="123456")
    bench.device.change(lambda work: lock_screen(work, by="button"))
    bench.queue("SecurityInfo")
    lost = [ExchangeCut("cut", sent=True)]
    bench.server.interfere = lambda r: lost.pop() if r.label == "connect:NotNow" and lost else None
    bench.push()
    bench.act()
    bench.server.reports.clear()
    bench.device.change(lambda work: unlock_screen(work, "123456"))
    bench.act()
    assert [r.status for r in bench.server.reports] == [Status.NOT_NOW, Status.IDLE, Status.ACKNOWLEDGED]


def test_a_mac_that_said_not_now_in_power_nap_polls_after_a_restart_too() -> None:
    bench = enrolled("mac-silicon")
    bench.device.change(lambda work: set_power_nap(work, napping=True))
    bench.queue("SecurityInfo")
    bench.push()
    bench.act()
    bench.device.change(lambda work: shut_down(work, why="user"))
    bench.device.change(switch_on)
    bench.act()
    assert bench.server.reports[-1].status is Status.ACKNOWLEDGED


def test_a_passcode_that_changes_while_token_update_is_on_its_way_is_told_in_another() -> None:
    bench = enrolled(passcode="123456")
    bench.device.change(lambda work: work.wake("token-update", work.now_ms))
    during(bench, "checkin:TokenUpdate", lambda work: set_passcode(work, "654321"))
    bench.act()
    tokens = [update.unlock_token for update in bench.server.of(TokenUpdate)]
    assert len(tokens) == 3
    assert tokens[-1] == bench.device.voice().unlock_token != tokens[-2]


@pytest.mark.parametrize("answer", [Response(500), Response(403), Response(200), Response(204)])
@pytest.mark.parametrize(("request_type", "power"), [("RestartDevice", "restarting"), ("ShutDownDevice", "off")])
def test_what_follows_a_report_follows_its_sending_whatever_the_answer(
    answer: Response, request_type: str, power: str
) -> None:
    bench = enrolled("mac-intel")
    bench.queue(request_type)
    bench.server.interfere = lambda r: answer if r.label == "connect:Acknowledged" else None
    bench.push()
    bench.act()
    assert bench.device.state.power == power


def test_a_report_that_was_refused_for_now_goes_again_after_the_restart_and_restarts_nothing() -> None:
    bench = enrolled("mac-intel")
    uuid = bench.queue("RestartDevice")
    answers = [Response(500)]
    bench.server.interfere = lambda r: answers.pop() if r.label == "connect:Acknowledged" and answers else None
    bench.push()
    bench.later(3600)
    assert [r.command_uuid for r in bench.server.reports if r.command_uuid] == [uuid]
    assert [e.data["state"] for e in bench.log.of("device.power")] == ["restarting", "on"]


def test_two_restarts_in_the_queue_are_two_restarts() -> None:
    bench = enrolled("mac-silicon")
    bench.queue("RestartDevice", uuid="first")
    bench.queue("RestartDevice", uuid="second")
    for _ in range(3):
        bench.push()
        bench.later(60)
    assert [e.data["state"] for e in bench.log.of("device.power")] == ["restarting", "on"] * 2
    assert bench.server.queue == []


def test_a_kill_between_the_answer_and_the_restart_restarts_once_after_the_report_went_again() -> None:
    bench = enrolled("mac-intel")
    uuid = bench.queue("RestartDevice")
    bench.push()
    flow = next_flow(bench.device)
    assert flow is not None
    answer: Response | None = None
    while True:
        wish = flow.send(answer)
        bench.device.save()
        assert isinstance(wish, Request)
        answer = bench.server(wish)
        if wish.label == "connect:Acknowledged":
            break  # the server has the report, the device never hears of it
    flow.close()
    bench.restart()
    bench.later(600)
    assert [r.command_uuid for r in bench.server.reports if r.command_uuid] == [uuid, uuid]
    assert [e.data["state"] for e in bench.log.of("device.power")] == ["restarting", "on"]


def test_a_mac_that_is_locked_and_disowned_by_one_answer_is_both() -> None:
    bench = enrolled("mac-intel")
    bench.queue("DeviceLock", PIN="135790")
    bench.server.interfere = lambda r: Response(401) if r.label == "connect:Acknowledged" else None
    bench.push()
    bench.act()
    assert bench.device.state.pin_lock is not None
    assert "checkin:CheckOut" not in bench.server.labels()
    bench.device.change(lambda work: enter_pin(work, "135790"))
    bench.act()
    assert bench.server.labels().count("checkin:CheckOut") == 1
    assert bench.log.of("device.unenrolled")[0].data["reason"] == "refused"


@pytest.mark.parametrize("answer", [Response(401), Response(500), ExchangeCut("cut", sent=True)])
def test_an_erase_happens_once_its_report_was_sent_and_leaves_no_wish_behind(answer: Response | Exception) -> None:
    bench = enrolled("iphone")
    bench.queue("EraseDevice")
    bench.server.interfere = lambda r: answer if r.label == "connect:Acknowledged" else None
    bench.push()
    bench.act()
    assert not bench.device.enrolled
    assert [e.data["reason"] for e in bench.log.of("device.unenrolled")] == ["erased"]
    bench.later(60)
    assert bench.device.next_wake_ms() is None
    assert all(not voice.wakes for voice in bench.device.state.channels.values())
    assert "checkin:CheckOut" not in bench.server.labels()


def test_remove_profile_of_the_enrollment_whose_report_is_lost_still_ends_it_with_one_check_out() -> None:
    bench = enrolled("mac-intel")
    bench.queue("RemoveProfile", Identifier="test.enrollment")
    bench.server.interfere = lambda r: ExchangeCut("cut", sent=True) if r.label == "connect:Acknowledged" else None
    bench.push()
    bench.later(86400)
    assert bench.server.labels() == ["connect:Idle", "connect:Acknowledged", "checkin:CheckOut"]
    assert bench.log.of("device.unenrolled")[0].data["reason"] == "command"


def test_a_replaced_enrollment_tells_its_tokens_before_it_reports_and_reports_with_the_new_identity() -> None:
    bench = enrolled()
    old = bench.device.state.enrollment
    bench.queue("InstallProfile", uuid="renew", Payload=bench.profile())
    bench.push()
    bench.act()
    assert bench.server.labels() == [
        "connect:Idle",
        "scep:GetCACaps",
        "scep:GetCACert",
        "scep:PKIOperation",
        "checkin:Authenticate",
        "checkin:TokenUpdate",
        "connect:Acknowledged",
    ]
    used = [r.identity.certificate for r in bench.server.requests if r.identity]
    assert old is not None
    assert [der == bench.store.get(old.identity.certificate) for der in used] == [True, False, False, False]


def test_a_replacement_whose_token_update_is_lost_reports_after_it_succeeded() -> None:
    bench = enrolled()
    bench.queue("InstallProfile", uuid="renew", Payload=bench.profile())
    lost = [ConnectFailed("down"), ConnectFailed("down")]
    bench.server.interfere = lambda r: lost.pop() if r.label == "checkin:TokenUpdate" and lost else None
    bench.push()
    bench.later(3600)
    labels = bench.server.labels()
    assert labels[-2:] == ["checkin:TokenUpdate", "connect:Acknowledged"]
    assert [r.command_uuid for r in bench.server.reports if r.command_uuid] == ["renew"]
    assert bench.log.count("device.enrolled") == 2


def test_an_enrollment_profile_installed_again_by_hand_does_not_forget_an_undelivered_report() -> None:
    bench = enrolled()
    uuid = bench.queue("ProfileList")
    bench.server.interfere = lambda r: ConnectFailed("down") if r.label == "connect:Acknowledged" else None
    bench.push()
    bench.act()
    bench.server.interfere = None
    bench.run(install_profile(bench.device, bench.profile()))
    bench.later(120)
    assert [r.command_uuid for r in bench.server.reports if r.command_uuid] == [uuid]


@pytest.mark.parametrize("error", [TLSFailed("certificate expired"), TLSFailed("no pinned certificate in the chain")])
def test_a_server_that_is_not_trusted_any_more_is_a_network_error_for_a_month(error: TLSFailed) -> None:
    bench = enrolled()
    uuid = bench.queue("ProfileList")
    bench.server.interfere = lambda r: error
    bench.push()
    bench.later(30 * 86400)
    assert bench.device.enrolled
    assert bench.log.count("device.unenrolled") == 0
    assert 700 < len(bench.server.requests) < 800, "the ladder ends at an hour"
    bench.server.interfere = None
    bench.later(3601)
    assert [r.command_uuid for r in bench.server.reports if r.command_uuid] == [uuid]


def test_a_wrong_passcode_and_a_wrong_pin_are_events() -> None:
    phone = enrolled("iphone", passcode="123456")
    phone.device.change(lambda work: lock_screen(work, by="button"))
    with pytest.raises(WrongPasscode):
        phone.device.change(lambda work: unlock_screen(work, "000000"))
    mac = enrolled("mac-intel")
    mac.ask("DeviceLock", PIN="135790")
    with pytest.raises(WrongPasscode):
        mac.device.change(lambda work: enter_pin(work, "000000"))
    for bench, by in ((phone, "passcode"), (mac, "pin")):
        bench.device.save()
        assert [e.data for e in bench.log.of("device.lock-refused")] == [{"by": by}]
