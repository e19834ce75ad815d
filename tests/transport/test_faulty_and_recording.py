"""Both wrappers on all three transports."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.events import Event, EventLog, Events, from_json_line, to_json_line
from mdmsim.faults import FaultPlan
from mdmsim.http import ConnectFailed, ExchangeCut, Request, Response, TimedOut, TLSFailed, TransportError
from mdmsim.transport.faulty import NAMES, Faulty, FaultyBlocking
from mdmsim.transport.recording import Recording, RecordingBlocking
from mdmsim.transport.wire import Tap
from tests.transport.certs import HOST, ROOT, leaf
from tests.transport.script import Ask, Hush, Script, ok, status
from tests.transport.shells import SHELLS, SOON, Shell, playing, put, run

DEVICE = leaf(ROOT, purpose="client", common_name="device", rsa_key=True)


@pytest.fixture(params=SHELLS)
def kind(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def plan() -> FaultPlan:
    return FaultPlan(chance=Chance(1))


def send(
    kind: str, script: Script, plan: FaultPlan, *requests: Request, recorded: bool = True
) -> tuple[list[Response | TransportError], list[Event]]:
    """Each request's outcome through Recording(Faulty(transport)), and the events."""
    events, log = Events(ManualClock()), EventLog()
    events.subscribe(log)
    outcomes: list[Response | TransportError] = []

    async def main() -> None:
        async with playing(kind, script) as shell:
            wrapped = _wrap(shell, plan, events)
            for request in requests:
                try:
                    outcomes.append(await wrapped(request))
                except TransportError as error:
                    outcomes.append(error)

    run(kind, main)
    return outcomes, log.events


def _wrap(shell: Shell, plan: FaultPlan, events: Events) -> Any:
    clock = ManualClock()
    if shell.kind == "blocking":
        faulty = FaultyBlocking(shell.client, plan, events=events, device="phone")
        recording = RecordingBlocking(faulty, events, clock=clock, device="phone")

        async def call(request: Request) -> Response:
            return await trio.to_thread.run_sync(recording.send, request)

        return call
    inner = Faulty(shell.client, plan, events=events, device="phone")
    return Recording(inner, events, clock=clock, device="phone").send


# faults


@pytest.mark.parametrize(
    ("name", "error"),
    [("network.down", ConnectFailed), ("connection.refused", ConnectFailed), ("tls.untrusted", TLSFailed)],
)
def test_a_fault_before_the_request_keeps_it_at_home(
    kind: str, plan: FaultPlan, name: str, error: type[TransportError]
) -> None:
    plan.add(name, why="networks fail")
    script = Script([[Ask(), ok()]])
    (outcome,), _ = send(kind, script, plan, put())
    assert type(outcome) is error and not outcome.sent and not script.played.requests


def test_a_cut_request_reaches_the_server_in_part(kind: str, plan: FaultPlan) -> None:
    plan.add("request.cut", why="phones go through tunnels", answer=20)
    script = Script([[Hush()]])
    (outcome,), _ = send(kind, script, plan, put())
    assert type(outcome) is ExchangeCut and script.played.endings == [b"PUT /mdm HTTP/1.1\r\nH"]


def test_a_cut_request_is_cut_in_half_unless_told_otherwise(kind: str, plan: FaultPlan) -> None:
    plan.add("request.cut", why="phones go through tunnels")
    script = Script([[Hush()]])
    send(kind, script, plan, put())
    assert len(script.played.endings[0]) == 36


def test_a_cut_answer_lets_the_server_act(kind: str, plan: FaultPlan) -> None:
    plan.add("response.cut", why="phones go through tunnels")
    script = Script([[Ask(), ok(), Hush()]])
    (outcome,), _ = send(kind, script, plan, put())
    assert type(outcome) is ExchangeCut and outcome.sent and len(script.played.all_requests) == 1


def test_a_stall_times_out(kind: str, plan: FaultPlan) -> None:
    plan.add("stall", why="phones fall asleep")
    script = Script([[Ask(), ok(), Hush()]])
    (outcome,), _ = send(kind, script, plan, put(timeout=SOON))
    assert type(outcome) is TimedOut and len(script.played.all_requests) == 1


def test_a_stall_can_come_in_the_middle_of_the_request(kind: str, plan: FaultPlan) -> None:
    plan.add("stall", why="phones fall asleep", answer={"after": 20})
    script = Script([[Hush()]])
    (outcome,), _ = send(kind, script, plan, put(timeout=SOON))
    assert type(outcome) is TimedOut and not outcome.sent and script.played.endings == [b"PUT /mdm HTTP/1.1\r\nH"]


def test_a_request_goes_on_after_a_short_stall(kind: str, plan: FaultPlan) -> None:
    plan.add("stall", why="phones fall asleep", answer={"after": 20, "seconds": 0.05})
    script = Script([[Ask(), ok(b"late")]])
    (outcome,), _ = send(kind, script, plan, put(b"<x/>"))
    assert isinstance(outcome, Response) and script.played.all_requests[0].endswith(b"<x/>")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(503, (503, b"")), ((502, b"<html/>"), (502, b"<html/>")), (Response(418, (), b"tea"), (418, b"tea"))],
)
def test_an_answer_can_come_from_in_between(
    kind: str, plan: FaultPlan, answer: Any, expected: tuple[int, bytes]
) -> None:
    plan.add("answer.status", why="proxies answer for servers", answer=answer)
    script = Script([])
    (outcome,), _ = send(kind, script, plan, put())
    assert isinstance(outcome, Response) and (outcome.status, outcome.body) == expected
    assert outcome.url == f"https://{HOST}/mdm" and not script.played.requests


def test_a_fault_can_be_meant_for_some_requests_only(kind: str, plan: FaultPlan) -> None:
    plan.add(
        "network.down", why="x", match=lambda facts: facts["label"] == "connect:Idle" and facts["device"] == "phone"
    )
    script = Script([[Ask(), ok(b"fine")]])
    outcomes, _ = send(kind, script, plan, put(label="connect:Idle"), put(label="checkin:TokenUpdate"))
    assert [type(outcome) for outcome in outcomes] == [ConnectFailed, Response]


def test_without_faults_nothing_changes(kind: str, plan: FaultPlan) -> None:
    (outcome,), events = send(kind, Script([[Ask(), ok(b"fine")]]), plan, put())
    assert isinstance(outcome, Response) and outcome.body == b"fine" and [e.kind for e in events] == ["exchange"]


def test_an_injected_fault_is_an_event_with_its_reason(kind: str, plan: FaultPlan) -> None:
    plan.add("network.down", why="networks fail", times=1)
    _, events = send(kind, Script([[Ask(), ok()]]), plan, put(label="connect:Idle"))
    data = {"fault": "network.down", "why": "networks fail", "target": "connect:Idle"}
    assert (events[0].kind, events[0].device, events[0].data) == ("fault.injected", "phone", data)


@pytest.mark.parametrize("name", NAMES)
def test_the_record_names_the_fault(plan: FaultPlan, name: str) -> None:
    plan.add(name, why="x", answer=500 if name == "answer.status" else None)
    script = Script([[Ask(), ok(), Hush()]])
    _, events = send("in-process", script, plan, put())
    assert [event.data["fault"] for event in events if event.kind == "exchange"] == [name]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("answer.status", "503"),
        ("answer.status", None),
        ("request.cut", 1.5),
        ("request.cut", -1),
        ("request.cut", "half"),
        ("response.cut", -1),
        ("response.cut", True),
        ("stall", "long"),
        ("stall", {"after": -1}),
        ("stall", {"from": 3}),
    ],
)
def test_a_fault_with_an_answer_that_makes_no_sense_is_refused(plan: FaultPlan, name: str, answer: Any) -> None:
    plan.add(name, why="x", answer=answer)

    class Nobody:
        def send(self, request: Request, *, tap: Tap | None = None) -> Response:
            raise AssertionError("nothing should be sent")

    with pytest.raises(ValueError, match=name):
        FaultyBlocking(Nobody(), plan).send(put())


# records


def test_a_record_holds_all_of_an_exchange(kind: str, plan: FaultPlan) -> None:
    script = Script([[Ask(), status(307, "Location: /b"), Ask(), ok(b"hi", "X-A: 1")]])
    request = put(b"<x/>", label="connect:Idle", headers=(("User-Agent", "MDM/1.0"),), identity=DEVICE)
    _, (event,) = send(kind, script, plan, request)
    now = ManualClock().now_ms()
    assert (event.source, event.device) == ("wire", "phone")
    assert event.data == {
        "label": "connect:Idle",
        "method": "PUT",
        "url": f"https://{HOST}/mdm",
        "host": HOST,
        "request_headers": [["User-Agent", "MDM/1.0"]],
        "request_body": b"<x/>",
        "status": 200,
        "response_url": f"https://{HOST}/b",
        "response_headers": [["X-A", "1"], ["Content-Length", "2"]],
        "response_body": b"hi",
        "error": None,
        "error_class": None,
        "sent": True,
        "started_ms": now,
        "ended_ms": now,
        "identity": DEVICE.fingerprint,
        "connection": 1,
        "reused": True,
        "hops": [[307, f"https://{HOST}/b"]],
        "fault": None,
    }


def test_a_record_survives_its_trip_as_a_line(plan: FaultPlan) -> None:
    _, (event,) = send("in-process", Script([[Ask(), ok(bytes(range(256)))]]), plan, put())
    assert from_json_line(to_json_line(event)) == event


def test_a_failure_is_recorded_with_its_kind_and_reason(kind: str, plan: FaultPlan) -> None:
    _, (event,) = send(kind, Script([]), plan, put(url="https://nobody.invalid/"))
    assert (event.data["status"], event.data["error_class"], event.data["sent"]) == (None, "ConnectFailed", False)
    assert "nobody.invalid" in event.data["error"]


def test_a_url_that_is_none_is_recorded_too(plan: FaultPlan) -> None:
    _, (event,) = send("in-process", Script([]), plan, put(url="nonsense"))
    assert (event.data["host"], event.data["error_class"]) == (None, "NotAsked")


def test_a_cancelled_exchange_is_recorded() -> None:
    events, log = Events(ManualClock()), EventLog()
    events.subscribe(log)

    async def main() -> None:
        async with playing("in-process", Script([[Ask(), Hush()]])) as shell:
            recording = Recording(shell.client, events, clock=ManualClock())
            with trio.move_on_after(1):
                await recording.send(put())

    run("in-process", main)
    assert [event.data["error_class"] for event in log.events] == ["Cancelled"]
