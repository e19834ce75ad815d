"""The summary answers first whether every device got it, and how late."""

from __future__ import annotations

from mdmsim.load.criteria import Verdict, parse
from mdmsim.load.errors import FAILED, INTERRUPTED, NOT_CARRIED_OUT, PASSED
from mdmsim.load.figures import Account, Entry, Figures
from mdmsim.load.summary import Cost, exit_code, tell

QUEUED = Entry(
    name="command:queued-to-answered", requests=20, mean=300.0, shortest=100.0, longest=1304.0, times={200: 18, 1300: 2}
)
TOTAL = Entry(name="Aggregated", requests=60)


def figures(account: Account, **changes: object) -> Figures:
    values: dict[str, object] = {
        "entries": (QUEUED,),
        "total": TOTAL,
        "account": account,
        "wanted": 10,
        "seconds": 12.0,
    }
    return Figures(**(values | changes))  # type: ignore[arg-type]


def good(**changes: int) -> Account:
    values = {"devices": 10, "enrolled": 10, "asked": 20, "answered": 20, "asked_devices": 10, "exchanges": 60}
    return Account(**(values | changes))  # type: ignore[arg-type]


def lines(of: Figures, verdicts: tuple[Verdict, ...] = (), **changes: object) -> list[str]:
    code = exit_code(of, verdicts, cut_short=False)
    told = tell(of, verdicts, code=code, shape="Storm", costs=[Cost("reference server", 6.0)], seed=None, store="s")
    return [line for line in told if line]


def test_the_first_line_says_that_every_device_got_it_and_how_late() -> None:
    assert lines(figures(good()))[0] == (
        "  ✓ every device got it: 10 devices answered 20 commands: half within 200 ms, 99% within 1.3 s, the last after 1.3 s"
    )


def test_the_first_line_names_devices_that_did_not_get_it() -> None:
    first = lines(figures(good(answered=18, behind=2, names=["load-000003", "load-000007"])))[0]
    assert first.startswith("  ✗ 8 of 10 devices got it, 2 did not (load-000003, load-000007)")


def test_commands_that_the_server_did_not_take_are_told_apart() -> None:
    text = "\n".join(lines(figures(good(answered=17, not_asked=1, behind=3))))
    assert "1 commands were not taken by the server's API" in text
    assert "2 commands were queued and not answered" in text


def test_a_lost_worker_comes_before_everything_else() -> None:
    alive = good(devices=5, enrolled=5, asked=10, answered=10, asked_devices=5)
    gone = Account(devices=5, enrolled=5, asked=5, answered=4)
    told = lines(figures(alive, gone=gone, workers=2, lost=1))
    assert told[0] == (
        "  ✗ 5 of 10 devices were lost with their worker (1 of 2 workers); "
        "when last heard of, they had answered 4 of 5 commands"
    )
    assert told[1].startswith("  ✓ every other device got it: 5 devices answered 10 commands")


def test_devices_that_others_took_over_are_not_called_lost() -> None:
    told = lines(figures(good(), gone=Account(devices=5), workers=2, lost=1))
    assert told[0] == "  ✗ 1 of 2 workers were lost; the others took their devices over"


def test_devices_that_are_not_enrolled_are_counted() -> None:
    text = "\n".join(lines(figures(good(enrolled=7, unenrolled=2))))
    assert "✗ 3 of 10 devices are not enrolled, 2 of them turned away by the server" in text


def test_the_cost_of_the_simulator_and_of_the_server_is_told() -> None:
    text = "\n".join(lines(figures(good(seconds=3.0))))
    assert "CPU: simulator 3.0 s, 50.00 ms per exchange, 25% of a core; reference server 6.0 s (50%)" in text


def test_failures_come_with_their_meaning_and_the_most_frequent_first() -> None:
    told = figures(good(), errors=(("connect:Idle", "503: overloaded", 7), ("connect:Idle", "TimedOut: late", 1)))
    text = "\n".join(lines(told))
    assert text.index("7 x connect:Idle: 503: overloaded") < text.index("1 x connect:Idle: TimedOut: late")


def test_the_last_line_is_the_verdict() -> None:
    assert lines(figures(good()))[-1].startswith("  ✓ passed in 12 s")


def test_a_run_without_a_single_request_was_not_carried_out() -> None:
    nothing = figures(Account(), total=Entry(name="Aggregated"), entries=())
    assert exit_code(nothing, (), cut_short=False) == NOT_CARRIED_OUT
    assert lines(nothing)[0] == "  ✗ nothing was measured: no device sent anything"


def test_the_exit_code_follows_criteria_lost_workers_and_ctrl_c() -> None:
    run = figures(good())
    bad = parse("max(command:queued-to-answered)>1s").judge(run)
    assert exit_code(run, (), cut_short=False) == PASSED
    assert exit_code(run, (bad,), cut_short=False) == FAILED
    assert exit_code(run, (bad,), cut_short=True) == INTERRUPTED
    assert exit_code(figures(good(), lost=1, workers=2), (), cut_short=False) == NOT_CARRIED_OUT


def test_exchanges_that_this_machine_could_not_send_are_not_the_servers() -> None:
    of = figures(good(not_sent=10_470))
    assert exit_code(of, (Verdict("failures>0", False, "10470"),), cut_short=False) == NOT_CARRIED_OUT
    assert lines(of)[0].startswith("  ✗ 10470 exchanges were never sent: this machine had no open file")


def test_a_saturated_generator_says_so() -> None:
    told = [line for line in lines(figures(good(), workers=2, seconds=10.0)) if "saturated" in line]
    assert told == []
    busy = Account(devices=10, enrolled=10, exchanges=60, seconds=19.0)
    (line,) = [line for line in lines(figures(busy, workers=2, seconds=10.0)) if "saturated" in line]
    assert "each process used 95% of a core" in line
