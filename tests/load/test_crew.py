"""Devices of a crew, with a server made of plain functions in place of the network, and without Locust."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdmsim.device.device import Work
from mdmsim.device.tokens import renew_push_token
from mdmsim.fakeapns.errors import CourierRefused
from mdmsim.http import ConnectFailed, OwnLimit, Request, Response
from mdmsim.load.crew import Crew
from mdmsim.load.given import Given
from mdmsim.load.life import Gone, Life
from mdmsim.pki.keys import SharedKeys
from mdmsim.transport.wire import Tap
from tests.device.bench import SERVER, Bench, BenchServer

KEYS = SharedKeys(4)


class Reports(list[tuple[str, str, str | None]]):
    """What Locust would count: kind, name, failure."""

    def __call__(self, kind: str, name: str, ms: float, length: int, error: Exception | None, /) -> None:
        self.append((kind, name, None if error is None else str(error)))

    def names(self) -> list[str]:
        return [name for _, name, _ in self]

    def failures(self) -> list[tuple[str, str]]:
        return [(name, failure) for _, name, failure in self if failure is not None]


class FunctionTransport:
    """The bench's server as a transport."""

    def __init__(self, server: BenchServer) -> None:
        self._server = server

    def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        return self._server(request)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def crew(bench: Bench, reports: Reports, tmp_path: Path) -> Iterator[Crew]:
    crew = make(bench, reports, tmp_path)
    yield crew
    crew.close()


def make(bench: Bench, reports: Reports, tmp_path: Path) -> Crew:
    given = Given(server_url=f"{SERVER}/connect", profile=bench.profile())
    crew = Crew(given, store=tmp_path / "d.sqlite", keys=KEYS, report=reports, seed=7)
    crew.transport = FunctionTransport(bench.server)  # type: ignore[assignment]
    return crew


def test_a_new_device_enrols_and_every_exchange_has_its_name(crew: Crew, reports: Reports) -> None:
    life = crew.recruit()
    life.enroll()
    assert reports.names() == [
        "scep:GetCACaps",
        "scep:GetCACert",
        "scep:PKIOperation",
        "checkin:Authenticate",
        "checkin:TokenUpdate",
        "device:enrolled",
    ]
    assert reports.failures() == []
    assert (crew.account().enrolled, crew.account().made) == (1, 1)


def test_a_connect_answers_what_is_queued(crew: Crew, bench: Bench, reports: Reports) -> None:
    life = crew.recruit()
    life.enroll()
    bench.queue("DeviceInformation", Queries=["SerialNumber"])
    life.connect()
    assert reports.names()[-2:] == ["connect:Idle", "connect:Acknowledged"]


def test_a_command_that_is_not_simulated_is_counted_apart_and_is_no_failure(
    crew: Crew, bench: Bench, reports: Reports
) -> None:
    life = crew.recruit()
    life.enroll()
    for request_type in ("InstallApplication", "MakeCoffee"):
        crew.tracker.ask(life.device.device_id, bench.queue(request_type, uuid=request_type), crew.clock.now_ms())
    life.connect()
    told = [(name, failure) for kind, name, failure in reports if name.startswith("command:")]
    assert told == [("command:not-simulated", None), ("command:queued-to-answered", "the device answered Error")]
    assert (crew.account().asked, crew.account().answered) == (2, 2)


def test_the_next_run_drives_the_same_devices_and_enrols_none(bench: Bench, reports: Reports, tmp_path: Path) -> None:
    first = make(bench, reports, tmp_path)
    udids = set()
    for _ in range(3):
        life = first.recruit()
        life.enroll()
        udids.add(life.device.persona.udid)
    first.close()
    reports.clear()
    second = make(bench, reports, tmp_path)
    lives = [second.recruit() for _ in range(3)]
    for life in lives:
        life.enroll()
        life.connect()
    assert {life.device.persona.udid for life in lives} == udids
    assert set(reports.names()) == {"connect:Idle"}
    second.close()


def test_devices_of_another_server_are_left_alone(bench: Bench, reports: Reports, tmp_path: Path) -> None:
    first = make(bench, reports, tmp_path)
    first.recruit().enroll()
    first.close()
    second = make(bench, reports, tmp_path)
    second.given = Given(server_url="https://elsewhere.example.test/mdm", profile=bench.profile())
    life = second.recruit()
    assert (life.device.device_id, life.enrolled) == ("load-000002", False)
    second.close()


def test_fresh_devices_are_new_whatever_the_store_holds(bench: Bench, reports: Reports, tmp_path: Path) -> None:
    first = make(bench, reports, tmp_path)
    first.recruit().enroll()
    first.close()
    second = make(bench, reports, tmp_path)
    assert not second.recruit(fresh=True).enrolled
    second.close()


def test_a_device_that_its_user_left_is_the_next_one_taken(crew: Crew) -> None:
    first, second = crew.recruit(), crew.recruit()
    assert first is not second
    first.driven = False
    assert crew.recruit() is first


def enrolled(crew: Crew, reports: Reports) -> Life:
    life = crew.recruit()
    life.enroll()
    reports.clear()
    return life


def test_a_401_ends_the_device_and_says_so(crew: Crew, bench: Bench, reports: Reports) -> None:
    life = enrolled(crew, reports)
    bench.server.interfere = lambda request: Response(401) if request.label == "connect:Idle" else None
    with pytest.raises(Gone):
        life.connect()
    assert reports.failures() == [
        ("connect:Idle", "401: the server disowns the device, which removes its profile"),
        ("device:unenrolled", "the enrollment ended, and the device removed its profile"),
    ]
    account = crew.account()
    assert (account.enrolled, account.unenrolled) == (0, 1)


def test_a_503_leaves_the_device_enrolled(crew: Crew, bench: Bench, reports: Reports) -> None:
    life = enrolled(crew, reports)
    bench.server.interfere = lambda request: Response(503)
    life.connect()
    assert reports.failures() == [
        ("connect:Idle", "503: the server is overloaded or down; the device tries again later")
    ]
    assert crew.account().enrolled == 1


def test_a_server_that_is_gone_is_a_failure_with_its_class(crew: Crew, bench: Bench, reports: Reports) -> None:
    life = enrolled(crew, reports)
    bench.server.interfere = lambda request: ConnectFailed("refused")
    life.connect()
    assert reports.failures() == [("connect:Idle", "ConnectFailed: nobody listens there")]


def test_an_enrollment_that_fails_is_tried_again(crew: Crew, bench: Bench, reports: Reports) -> None:
    refusals = [Response(500), None]

    def once(request: Request) -> Response | None:
        return refusals.pop(0) if request.label == "checkin:Authenticate" else None

    bench.server.interfere = once
    life = crew.recruit()
    waited: list[float] = []
    life.pause = waited.append  # type: ignore[method-assign]
    life.enroll()
    assert [name for name, _ in reports.failures()] == ["checkin:Authenticate", "device:enrolled"]
    assert "nothing was installed" in reports.failures()[1][1]
    assert (waited, life.enrolled) == ([5.0], True)


def test_a_push_is_heard_and_its_way_to_idle_is_measured(crew: Crew, reports: Reports) -> None:
    from mdmsim.protocol.mdm_push import build_payload

    life = enrolled(crew, reports)
    voice = life.device.voice()
    crew.route(life, life.device.registrations())
    enrollment = life.device.state.enrollment
    assert enrollment is not None
    crew._on_push(enrollment.topic, voice.push_token, build_payload(voice.push_magic))
    life.listen(0)
    assert reports.names() == ["connect:Idle", "push:to-idle"]


def test_a_device_that_is_away_is_counted_and_comes_back(crew: Crew, reports: Reports) -> None:
    life = enrolled(crew, reports)
    crew.evening()
    life.listen(0)
    assert crew.account().away == 1
    life.come_back(0)
    life.listen(0)
    assert crew.account().away == 0


class ForgetfulCourier:
    """A courier of a fake that was started again without a store; what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def subscribe(self, pairs: list[tuple[str, bytes]], device: str, channel: str) -> None:
        self.asked += [("subscribe", channel, token.hex()) for _, token in pairs]

    def unsubscribe(self, pairs: list[tuple[str, bytes]]) -> None:
        self.asked += [("unsubscribe", token.hex()) for _, token in pairs]

    def retire(self, topic: str, token: bytes) -> None:
        self.asked.append(("retire", token.hex()))
        raise CourierRefused("unknown-token", "the fake APNs was started again")

    def close(self) -> None:
        """Nothing is open."""


def test_the_courier_is_told_of_every_channel_and_need_not_know_what_is_retired(crew: Crew, reports: Reports) -> None:
    life = crew.recruit()
    life.enroll()
    old = life.device.voice().push_token.hex()
    courier = ForgetfulCourier()
    crew.courier = courier  # type: ignore[assignment]

    def renew(work: Work) -> None:
        renew_push_token(work)
        renew_push_token(work, "alice")

    life.device.change(renew)
    life.sync()
    tokens = {name: voice.push_token.hex() for name, voice in life.device.state.channels.items()}
    assert courier.asked[:2] == [("unsubscribe", old), ("retire", old)]
    assert sorted(courier.asked[2:]) == [("subscribe", name, tokens[name]) for name in ("alice", "device")]
    assert reports.failures() == []


def test_what_this_machine_could_not_send_is_counted_apart(crew: Crew, reports: Reports) -> None:
    sent = crew.transport.send

    def none_left(request: Request, **_: object) -> Response:
        raise OwnLimit("no connection to a:443 could be opened: Too many open files")

    life = crew.recruit()
    crew.transport.send = none_left  # type: ignore[method-assign]
    life.pause = lambda seconds: setattr(crew.transport, "send", sent)  # type: ignore[method-assign]
    life.enroll()
    (failure,) = reports.failures()
    assert failure == (
        "generator:not-sent",
        "OwnLimit: this machine has no open file, port or memory left to connect with",
    )
    assert (crew.account().not_sent, reports.names().count("device:enrolled")) == (1, 1)


def test_only_so_many_devices_enrol_at_the_same_time(crew: Crew) -> None:
    crew.enrolling = threading.BoundedSemaphore(2)
    lives = [crew.recruit() for _ in range(5)]
    at_once, most = [0], [0]
    lock = threading.Lock()
    begin = Life._try_to_enroll

    def counted(life: Life) -> object:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        try:
            with lock:
                return begin(life)
        finally:
            with lock:
                at_once[0] -= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Life, "_try_to_enroll", counted)
        threads = [threading.Thread(target=life.enroll) for life in lives]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert all(life.enrolled for life in lives)
    assert most[0] <= 2
