"""Faults on demand: each does what its description says, once it was planned, and the service is itself again after."""

from __future__ import annotations

from pathlib import Path

import httpx
import msgspec
import pytest
import trio
import trio.testing

from mdmsim.asgi import Dropped
from mdmsim.chance import Chance
from mdmsim.clock import VirtualClock
from mdmsim.fakedep.admin.values import parse_fault
from mdmsim.fakedep.core import FAULTS
from mdmsim.fakedep.errors import DepError
from mdmsim.fakedep.inprocess import InProcessDep
from mdmsim.fakedep.service import DepService
from mdmsim.fakedep.settings import DepSettings
from mdmsim.http import ExchangeCut, Request, TimedOut, Trust
from mdmsim.transport.inprocess import Network
from tests.fakedep.support import BASE, NAME, PROFILE, Bench, header

DOCS = Path(__file__).parents[2] / "docs" / "fake-dep.md"
AGENT = (("User-Agent", "bench"),)


def test_a_fault_on_the_command_line_is_planned_as_over_the_admin_api(bench: Bench) -> None:
    bench.order("S1", "S2")
    parse_fault("assign.omitted, serial=S1, times=1").plan(bench.service.faults)
    assert bench.client.post("/profile", {**PROFILE, "devices": ["S1", "S2"]})["devices"] == {"S2": "SUCCESS"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("assign.lost", "no such fault. Allowed:"),
        ("assign.omitted,serial", "is no KEY=VALUE"),
        ("assign.omitted,serail=S1", "serial"),
        ("assign.omitted,times=0", "times"),
        ("assign.omitted,status=500", "for request.refused only"),
    ],
)
def test_a_fault_that_cannot_be_is_told_why(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_fault(line)


def test_every_fault_and_every_switch_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    names = [*FAULTS, *(field.name for field in msgspec.structs.fields(DepSettings))]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_a_request_can_be_refused_with_any_status_and_body(bench: Bench) -> None:
    bench.client.login()
    bench.fault("request.refused", DepError.of("T_C_NOT_SIGNED"), times=1)
    bench.fault("request.refused", DepError(429, "TOO_MANY_REQUESTS", retry_after_s=30), times=1)
    bench.fault("request.refused", times=1)
    answers = [bench.client.answer("GET", "/account") for _ in range(4)]
    assert [answer.status for answer in answers] == [403, 429, 503, 200]
    assert [header(answer, "retry-after") for answer in answers] == [None, "30", "60", None]


def test_a_fault_can_be_meant_for_one_endpoint_of_one_server(bench: Bench) -> None:
    bench.portal.add_server("other")
    other = bench.client_of("other")
    bench.fault(
        "request.refused",
        match=lambda facts: (facts["endpoint"], facts["server"], facts["method"]) == ("/account", NAME, "GET"),
    )
    found = (other.call("GET", "/account")[0], bench.client.call("POST", "/server/devices", {})[0])
    assert (*found, bench.client.call("GET", "/account")[0]) == (200, 200, 503)


def test_a_session_can_be_refused_by_its_servers_name(bench: Bench) -> None:
    bench.fault("request.refused", DepError.of("ACCESS_DENIED"), match=lambda facts: facts["server"] == NAME, times=1)
    assert bench.client.login() == (403, "ACCESS_DENIED")
    assert bench.client.login()[0] == 200


def test_a_session_can_end_in_the_middle_of_a_fetch(bench: Bench) -> None:
    bench.order("S1", "S2", "S3")
    page = bench.client.post("/server/devices", {"limit": 1})
    bench.fault("session.expired", times=1)
    body = {"limit": 1, "cursor": page["cursor"]}
    assert bench.client.call("POST", "/server/devices", body) == (401, "UNAUTHORIZED")
    bench.client.login()
    assert bench.client.call("POST", "/server/devices", body)[1]["devices"][0]["serial_number"] == "S2"
    bench.fault("session.forgotten", times=1)
    assert bench.client.call("GET", "/account") == (403, "FORBIDDEN")
    assert bench.client.call("GET", "/account") == (403, "FORBIDDEN"), "the token stays unknown"


@pytest.mark.parametrize("word", ["EXPIRED", "INVALID", "EXHAUSTED"])
def test_a_cursor_can_be_refused_though_it_is_good(bench: Bench, word: str) -> None:
    _, cursor = bench.client.fetch_all()
    bench.fault(f"cursor.{word.lower()}", times=1)
    assert bench.client.call("POST", "/devices/sync", {"cursor": cursor}) == (400, f"{word}_CURSOR")
    assert bench.client.call("POST", "/devices/sync", {"cursor": cursor})[0] == 200


def test_a_cursor_can_stand_still(bench: Bench) -> None:
    _, cursor = bench.client.fetch_all()
    bench.fault("cursor.stuck", times=2)
    for more in (True, True, False):
        page = bench.client.post("/devices/sync", {"cursor": cursor})
        assert (page["cursor"] == cursor, page["more_to_follow"]) == (more, more) or not more


def test_operations_can_come_twice_in_any_order_or_not_at_all(bench: Bench) -> None:
    _, cursor = bench.client.fetch_all()
    serials = [f"S{number}" for number in range(8)]
    bench.order(*serials)

    def seen() -> list[str]:
        return [each["serial_number"] for each in bench.client.sync_all(cursor)[0]]

    assert seen() == serials
    bench.fault("sync.duplicated", times=1)
    assert seen() == [serial for serial in serials for _ in range(2)]
    bench.fault("sync.reordered", times=1)
    found = seen()
    assert found != serials and sorted(found) == serials
    bench.fault("sync.omitted", match=lambda facts: facts["serial"] == "S3" and facts["operation"] == "added")
    assert seen() == [serial for serial in serials if serial != "S3"]
    assert len(bench.client.fetch_all()[0]) == 8, "a full fetch still finds it"


def test_records_can_lack_keys_and_have_new_ones(bench: Bench) -> None:
    bench.order("S1", "S2")
    bench.fault("record.sparse", times=1)
    bench.fault("record.sparse", ["model", "os"], match=lambda facts: facts["serial"] == "S2", times=1)
    bench.fault("record.extended", {"moon_phase": "full"}, match=lambda facts: facts["serial"] == "S2")
    first, second = bench.client.fetch_all()[0]
    assert first == {"serial_number": "S1"}
    assert "model" not in second and "os" not in second and second["moon_phase"] == "full"
    details = bench.client.post("/devices", {"devices": ["S2"]})["devices"]["S2"]
    assert details["moon_phase"] == "full" and details["response_status"] == "SUCCESS"


def test_every_injection_is_told(bench: Bench) -> None:
    bench.fault("request.refused", times=1)
    bench.handle("GET", "/account")
    (event,) = bench.log.of("fault.injected")
    assert (event.source, event.data["fault"], event.data["why"]) == ("dep", "request.refused", "a test wants it")


# what needs a connection


def _network_case(name: str, answer: object = None) -> tuple[object, int, float]:
    """What becomes of a GET /account in the in-process network under one fault, whether it counts, and how long it took."""
    start_ms = 1_767_225_600_000
    mock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> tuple[object, int, float]:
        clock = VirtualClock(mock, start_ms)
        service = DepService(clock, Chance(1), None, None, DepSettings())
        service.faults.add(name, why="a test wants it", answer=answer, times=1)
        network = Network(clock)
        dep = InProcessDep(service)
        async with network.serving("localhost", 80, dep.asgi) as host:
            client = network.client("server")
            request = Request("GET", "http://localhost/account", AGENT, trust=Trust(allow_http=True), timeout=40.0)
            outcome: object
            try:
                outcome = (await client.send(request)).status
            except (ExchangeCut, TimedOut) as error:
                outcome = type(error)
            assert host.errors == []
        return outcome, service.faults.planned[0].injected, (clock.now_ms() - start_ms) / 1000

    return trio.run(main, clock=mock)


def test_a_connection_can_be_cut_instead_of_an_answer() -> None:
    assert _network_case("answer.cut")[:2] == (ExchangeCut, 1)


def test_an_answer_can_never_come() -> None:
    assert _network_case("answer.stalled") == (TimedOut, 1, 40.0)


@pytest.mark.parametrize(("answer", "seconds"), [(None, 30.0), (12.5, 12.5)])
def test_an_answer_can_come_late(answer: object, seconds: float) -> None:
    assert _network_case("answer.slow", answer) == (403, 1, seconds)


@pytest.mark.anyio
async def test_the_in_process_call_is_the_same_service(bench: Bench) -> None:
    dep = InProcessDep(bench.service)
    request = Request("GET", f"{BASE}/session", (*AGENT, ("Authorization", bench.client.authorization())))
    assert (await dep.handle(request)).status == 200
    bench.fault("answer.cut", times=1)
    with pytest.raises(Dropped):
        await dep.handle(request)
    bench.fault("answer.stalled", times=1)
    with pytest.raises(TimedOut):
        await dep.handle(request)


@pytest.mark.anyio
async def test_the_url_is_signed_as_it_was_dialled(bench: Bench) -> None:
    """Host header, port and path as the client wrote them, whatever the app is called inside."""
    base = "http://dep.test:8443"
    headers = {"User-Agent": "bench", "Authorization": bench.client.authorization(url=f"{base}/session")}
    transport = httpx.ASGITransport(InProcessDep(bench.service).asgi)
    async with httpx.AsyncClient(transport=transport, base_url=base) as client:
        assert (await client.get("/session", headers=headers)).status_code == 200
