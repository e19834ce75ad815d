"""A profile that waits for its CA, and everything that may come in between."""

from __future__ import annotations

from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.unenroll import leave
from mdmsim.http import ConnectFailed, Request, Response
from mdmsim.pki.cms import sign
from mdmsim.pki.scep.server import ScepService
from mdmsim.protocol.connect import Status
from tests.device.bench import Bench, managed_profile, pki_message
from tests.device.life import SlowCa, scep_profile

SLOW = scep_profile("test.slow", "slow", retry_delay=600)


def waiting(kind: str = "iphone") -> tuple[Bench, SlowCa]:
    """A bench whose device has an InstallProfile that waits ten minutes for its CA."""
    bench = Bench(kind)
    bench.enroll()
    slow = SlowCa(ScepService(bench.authority, clock=bench.clock, chance=bench.chance.stream("slow"), pending=True))
    bench.server.interfere = lambda request: slow.answer(request) if "/slow" in request.url else None
    bench.queue("InstallProfile", uuid="slow", Payload=SLOW)
    bench.push()
    bench.act()
    assert bench.device.state.installation is not None
    return bench, slow


def decide(slow: SlowCa) -> None:
    slow.service.approve(slow.transactions[-1])


def outcomes(bench: Bench) -> list[tuple[str | None, Status]]:
    return [(r.command_uuid, r.status) for r in bench.server.reports if r.command_uuid]


def test_a_push_while_a_command_waits_does_not_start_that_command_a_second_time() -> None:
    bench, slow = waiting()
    asked = len(slow.transactions)
    bench.push()
    bench.later(300)
    assert len(slow.transactions) == asked
    decide(slow)
    bench.later(600)
    assert outcomes(bench) == [("slow", Status.ACKNOWLEDGED)]


def test_commands_behind_one_that_waits_are_answered_after_it_and_in_order() -> None:
    bench, slow = waiting()
    bench.queue("ProfileList", uuid="list")
    decide(slow)
    bench.later(601)
    assert outcomes(bench) == [("slow", Status.ACKNOWLEDGED), ("list", Status.ACKNOWLEDGED)]


def test_a_profile_that_a_person_installs_meanwhile_does_not_make_the_waiting_command_forgotten() -> None:
    bench, slow = waiting()
    bench.run(install_profile(bench.device, managed_profile("test.own")))
    decide(slow)
    bench.later(601)
    assert outcomes(bench) == [("slow", Status.ACKNOWLEDGED)]


def test_a_person_whose_profile_waits_makes_a_command_that_would_wait_an_error() -> None:
    bench = Bench()
    bench.enroll()
    slow = SlowCa(ScepService(bench.authority, clock=bench.clock, chance=bench.chance.stream("slow"), pending=True))
    bench.server.interfere = lambda request: slow.answer(request) if "/slow" in request.url else None
    bench.run(install_profile(bench.device, scep_profile("test.own", "slow", retry_delay=600)))
    mine = slow.transactions[-1]
    report = bench.ask("InstallProfile", Payload=SLOW)
    assert [item.code for item in report.error_chain] == [4001, 4001, 1009, 4003]
    slow.service.approve(mine)
    bench.later(601)
    assert "test.own" in [p.identifier for p in bench.device.state.profiles]


def test_a_lost_report_of_a_command_that_had_waited_is_sent_again_on_the_ladder_and_the_device_rests() -> None:
    bench, slow = waiting()
    decide(slow)
    answer = bench.server.interfere
    assert answer is not None
    lost: list[int] = []

    def lose(request: Request) -> Response | BaseException | None:
        if request.label.startswith("connect:"):
            lost.append(bench.clock.now_ms())
            return ConnectFailed("down")
        return answer(request)

    bench.server.interfere = lose
    bench.later(600 + 5 * 60)
    assert [(b - lost[0]) // 60_000 for b in lost] == [0, 1, 3]
    bench.server.interfere = answer
    bench.later(3600)
    assert outcomes(bench) == [("slow", Status.ACKNOWLEDGED)]
    assert bench.device.next_wake_ms() is None


def test_a_profile_that_waited_keeps_its_signature() -> None:
    bench, slow = waiting("mac-silicon")
    decide(slow)
    bench.later(601)
    signed = sign(
        scep_profile("test.signed", "slow", retry_delay=600),
        bench.authority.identity,
        form="der",
        attributes=True,
        signed_at_ms=bench.clock.now_ms(),
    )
    bench.queue("InstallProfile", Payload=signed)
    bench.push()
    bench.act()
    decide(slow)
    bench.later(601)
    entries = bench.ask("ProfileList").response["ProfileList"]
    [entry] = [e for e in entries if e["PayloadIdentifier"] == "test.signed"]
    assert entry["SignerCertificates"] == [bench.authority.certificate]


def test_the_end_of_the_enrollment_ends_what_its_server_had_begun() -> None:
    bench, _ = waiting()
    bench.run(leave(bench.device, reason="user"))
    bench.server.requests.clear()
    bench.later(3600)
    assert bench.server.requests == []
    assert bench.device.state.installation is None


def test_the_end_of_the_enrollment_leaves_what_a_person_had_begun() -> None:
    bench = Bench()
    bench.enroll()
    slow = SlowCa(ScepService(bench.authority, clock=bench.clock, chance=bench.chance.stream("slow"), pending=True))
    bench.server.interfere = lambda request: slow.answer(request) if "/slow" in request.url else None
    bench.run(install_profile(bench.device, scep_profile("test.own", "slow", retry_delay=600)))
    bench.run(leave(bench.device, reason="user"))
    decide(slow)
    bench.later(601)
    assert [p.identifier for p in bench.device.state.profiles] == ["test.own"]


def test_a_profile_installed_after_the_end_of_an_enrollment_was_decided_waits_for_that_end() -> None:
    bench = Bench()
    bench.enroll()
    removal = leave(bench.device, reason="user")
    next(removal)
    bench.device.save()
    removal.close()
    bench.restart()
    bench.enroll()
    assert bench.log.count("device.unenrolled") == 1
    assert bench.device.enrolled


def test_a_push_does_not_hurry_the_questions_to_a_ca() -> None:
    """The pause of a fleet ends early when a push comes; the delay of the payload is kept all the same."""
    bench = Bench()
    slow = SlowCa(ScepService(bench.authority, clock=bench.clock, chance=bench.chance.stream("slow"), pending=True))
    flow = install_profile(bench.device, scep_profile("test.own", "slow", retry_delay=10))
    asked: list[int] = []
    answer: Response | None = None
    while True:
        try:
            wish = flow.send(answer)
        except Exception as error:
            assert "22002" in str(error)
            break
        answer = None
        if isinstance(wish, Request):
            if wish.label == "scep:PKIOperation":
                asked.append(bench.clock.now_ms())
                pki_message(wish)
            answer = slow.answer(wish)
        else:
            bench.clock.advance(min(4000, round(wish.seconds * 1000)))  # a push every four seconds
    assert [b - asked[0] for b in asked] == [0, 0, 10_000, 20_000]
