"""What is in a sequence diagram, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from mdmsim.clock import DAY
from mdmsim.protocol import plist
from mdmsim.report import Collector
from mdmsim.report.document import Document, build
from mdmsim.report.model import Run
from tests.report.synthetic import START, Maker, Story, demo_run


def run() -> Run:
    return Run(version="1", seed=1, target="t", started_ms=START, ended_ms=START, mode="live", command="c")


class Drawn:
    """One case, told by a test, and its diagram."""

    def __init__(self) -> None:
        self.maker = Maker(3)
        self.events: list[Any] = []
        self.story = Story(self.maker, self.events)
        self.phone = self.maker.phone("ios")
        self.story.emit("case.started", "scenario", case="a/b[ios]", title="t", platform="ios")

    def diagram(self) -> dict[str, Any]:
        self.story.emit("case.finished", "scenario", case="a/b[ios]", grade="passed")
        collector = Collector()
        for event in self.events:
            collector(event)
        return build(run(), collector.cases).diagrams[0]


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


def lanes(diagram: dict[str, Any]) -> list[str]:
    return [lane["label"] for lane in diagram["lanes"]]


def test_lanes_that_do_nothing_are_left_out(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm", b"")
    assert lanes(drawn.diagram()) == ["iphone-01", "server"]


def test_an_exchange_goes_from_device_to_server_with_its_status(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm", b"", status=401)
    (row,) = drawn.diagram()["rows"]
    assert (row["k"], row["a"], row["b"], row["label"], row["status"], row["tone"]) == (
        "exchange",
        0,
        1,
        "connect:Idle",
        401,
        "bad",
    )


def test_an_exchange_without_an_answer_says_why(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm", status=None, error=("ExchangeCut", "cut"))
    (row,) = drawn.diagram()["rows"]
    assert "status" not in row
    assert row["back"] == "ExchangeCut"


def test_who_drives_the_server_stands_left_of_the_devices(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm")
    drawn.story.api(drawn.phone)
    assert lanes(drawn.diagram()) == ["scenario", "iphone-01", "server"]


def test_an_injected_fault_is_named_on_the_answer(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm", status=401)
    drawn.events[-1].data["fault"] = "answer.401"
    (row,) = drawn.diagram()["rows"]
    assert (row["status"], row["back"]) == (401, "fault: answer.401")


def test_a_command_is_named_on_its_way_there_and_back(drawn: Drawn) -> None:
    command = plist.dumps({"CommandUUID": "u", "Command": {"RequestType": "DeviceLock"}})
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm", plist.dumps({"Status": "Idle"}), answer=command)
    report = plist.dumps({"Status": "Acknowledged", "CommandUUID": "u"})
    drawn.story.exchange(drawn.phone, "connect:Acknowledged", "/mdm", report)
    first, second = drawn.diagram()["rows"]
    assert (first["back"], second["label"]) == ("DeviceLock", "connect:Acknowledged · DeviceLock")


def test_a_push_goes_from_server_to_apns_to_the_device_with_that_token(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "checkin:TokenUpdate", "/checkin")
    drawn.story.emit("device.token-updated", device=drawn.phone.name, push_token=drawn.phone.token, first=True)
    drawn.story.push(drawn.phone)
    diagram = drawn.diagram()
    assert lanes(diagram) == ["iphone-01", "server", "APNs"]
    assert [(row["a"], row["b"]) for row in diagram["rows"] if row["k"] == "push"] == [(1, 2), (2, 0)]


def test_without_apnss_own_account_the_servers_is_drawn(drawn: Drawn) -> None:
    drawn.story.emit("server.push-sent", "server", enrollment_id="e", status=410, reason="Unregistered", attempt=1)
    (row,) = drawn.diagram()["rows"]
    assert (row["label"], row["tone"]) == ("push: 410 Unregistered", "bad")


def test_quiet_time_is_compressed_and_labelled(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm")
    drawn.story.clock.advance(3 * DAY)
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm")
    assert [row.get("label") for row in drawn.diagram()["rows"] if row["k"] == "gap"] == ["3 days later"]


def test_a_long_exchange_is_not_a_gap(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm", took=30_000)
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm")
    assert not [row for row in drawn.diagram()["rows"] if row["k"] == "gap"]


def test_another_host_has_a_lane_of_its_own(drawn: Drawn) -> None:
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm")
    drawn.events[-1].data["url"] = "https://scep.acme.example/scep"
    drawn.events[-1].data["label"] = "scep:GetCACaps"
    drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm")
    assert lanes(drawn.diagram()) == ["iphone-01", "scep.acme.example", "server"]


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("device.enrolled", {"server_url": "u", "topic": "t"}, "enrolled"),
        ("device.unenrolled", {"reason": "refused", "status": 401}, "unenrolled: refused (401)"),
        (
            "device.enrollment-failed",
            {"stage": "scep", "error_chain": [{"ErrorDomain": "D", "ErrorCode": 7}]},
            "enrollment failed: D 7",
        ),
        ("device.locked", {"by": "command", "pin": True}, "locked behind a PIN"),
        ("device.unlocked", {"by": "passcode"}, "unlocked by passcode"),
        ("device.identity-enrolled", {"by": "scep", "fingerprint": "00"}, "identity: from SCEP"),
        ("device.power", {"state": "off", "why": "lock"}, "shut down"),
        ("device.profile-installed", {"identifier": "com.acme"}, "profile installed: com.acme"),
        ("device.push-heard", {"number": 1, "connects": True}, "heard a push"),
        ("device.push-ignored", {"why": "not enrolled"}, "ignored a push: not enrolled"),
        ("device.retry-scheduled", {"at_ms": START + 60_000, "attempt": 1}, "tries again in 1 minute"),
        ("device.checkout", {"delivered": False}, "CheckOut not delivered"),
    ],
)
def test_what_a_device_tells_is_a_note_in_its_lane(drawn: Drawn, kind: str, data: dict[str, Any], said: str) -> None:
    drawn.story.emit(kind, device="iphone-01", **data)
    (row,) = drawn.diagram()["rows"]
    assert (row["k"], row["l"], row["label"]) == ("note", 0, said)


def test_what_an_arrow_tells_already_is_no_note(drawn: Drawn) -> None:
    drawn.story.emit("device.checkout", device="iphone-01", delivered=True, status=200)
    drawn.story.emit("device.connected", device="iphone-01", answered=2)
    assert drawn.diagram()["rows"] == []


def test_a_failed_step_shows_what_it_saw_where_it_ended(drawn: Drawn) -> None:
    with drawn.story.step("silence", grade="failed", expected="nothing", observed="connect:Idle"):
        drawn.story.exchange(drawn.phone, "connect:Idle", "/mdm")
    assert [(row["k"], row["label"]) for row in drawn.diagram()["rows"]] == [
        ("step", "silence"),
        ("exchange", "connect:Idle"),
        ("seen", "connect:Idle"),
    ]


def test_a_fault_stands_in_the_lane_of_its_target(drawn: Drawn) -> None:
    drawn.story.emit("fault.injected", "scenario", fault="push.lost", why="APNs may drop one", target="fakeapns")
    diagram = drawn.diagram()
    assert (lanes(diagram), diagram["rows"][0]["label"]) == (["APNs"], "fault: push.lost")


def test_every_row_of_a_whole_run_points_at_what_it_opens(document: Document) -> None:
    for case, diagram in zip(document.cases, document.diagrams, strict=True):
        for row in diagram["rows"]:
            if row["k"] == "exchange":
                assert row["label"].startswith(case["exchanges"][row["x"]]["label"])
            elif row["k"] in ("push", "note"):
                assert case["events"][row["e"]]["kind"].partition(".")[0] in (
                    "push",
                    "device",
                    "server",
                    "fault",
                    "token",
                )
            for end in ("a", "b", "l"):
                assert row.get(end, 0) < len(diagram["lanes"])


def test_the_same_seed_draws_the_same() -> None:
    assert build(*demo_run(seed=5)).diagrams == build(*demo_run(seed=5)).diagrams
