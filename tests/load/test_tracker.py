"""Commands and their answers, whichever comes first."""

from __future__ import annotations

from mdmsim.load.tracker import EARLY, Tracker


class Told(list[tuple[int, str]]):
    def __call__(self, took_ms: int, status: str) -> None:
        self.append((took_ms, status))


def test_a_command_is_late_from_when_it_was_asked_for() -> None:
    told = Told()
    tracker = Tracker(told)
    tracker.ask("d1", "u1", 1000)
    assert tracker.behind == ["d1"]
    tracker.delivered("u1", "Acknowledged", 1250)
    assert (told, tracker.answered, tracker.behind) == ([(250, "Acknowledged")], 1, [])


def test_an_answer_may_come_before_the_api_has_told_which_command_it_was() -> None:
    told = Told()
    tracker = Tracker(told)
    tracker.delivered("u1", "Acknowledged", 1010)
    tracker.ask("d1", "u1", 1000)
    assert (told, tracker.asked, tracker.answered, tracker.behind) == ([(10, "Acknowledged")], 1, 1, [])


def test_not_now_is_no_answer() -> None:
    tracker = Tracker(Told())
    tracker.ask("d1", "u1", 0)
    tracker.delivered("u1", "NotNow", 5)
    assert (tracker.answered, tracker.behind) == (0, ["d1"])


def test_a_device_that_was_away_is_late_from_its_return() -> None:
    told = Told()
    tracker = Tracker(told)
    tracker.ask("d1", "u1", 0)
    tracker.back("d1", 60_000)
    tracker.delivered("u1", "Acknowledged", 60_400)
    assert told == [(400, "Acknowledged")]


def test_a_second_delivery_of_a_report_counts_once() -> None:
    told = Told()
    tracker = Tracker(told)
    tracker.ask("d1", "u1", 0)
    tracker.delivered("u1", "Acknowledged", 1)
    tracker.delivered("u1", "Acknowledged", 2)
    assert (len(told), tracker.answered) == (1, 1)


def test_a_command_that_the_server_refused_leaves_its_device_behind() -> None:
    tracker = Tracker(Told())
    tracker.refused("d1")
    assert (tracker.asked, tracker.not_asked, tracker.behind) == (1, 1, ["d1"])


def test_answers_to_commands_of_others_do_not_pile_up() -> None:
    tracker = Tracker(Told())
    for number in range(2 * EARLY):
        tracker.delivered(f"other-{number}", "Acknowledged", 0)
    tracker.ask("d1", "other-0", 0)
    assert tracker.answered == 0
