"""A device killed at every yield of every flow: nothing is lost, nothing happens twice.

The yields are counted from a clean run of a story that goes through all flows. Each is then killed in three ways: its
flow closed, its task cancelled, its process ended with SIGKILL; before the server saw the request, and after.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from mdmsim.device.flow import Flow
from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.wake import next_flow
from mdmsim.device.locking import enter_pin
from mdmsim.device.state import DEVICE_CHANNEL
from mdmsim.events import Event, from_json_line, to_json_line
from mdmsim.fleet.store import SqliteStore
from mdmsim.http import Request, Response
from mdmsim.protocol.connect import Status
from mdmsim.protocol.payloads import ScepPayload
from mdmsim.protocol.profile import build_profile
from mdmsim.transport.driver import run_flow
from tests.device.bench import SERVER, Bench, settings_payload


class Killed(BaseException):
    """The device's process is gone."""


def wifi_profile() -> bytes:
    scep = ScepPayload(url=f"{SERVER}/scep", subject=((("CN", "wifi"),),), key_size=2048)
    identity = scep.to_payload(identifier="test.wifi.scep", uuid="SCEP-2")
    return build_profile(identifier="test.wifi", uuid="WIFI-1", payloads=(settings_payload(), identity))


COMMANDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("DeviceInformation", {"Queries": ["SerialNumber"]}),
    ("InstallProfile", {"Payload": wifi_profile()}),
    ("MakeCoffee", {}),
    ("RestartDevice", {}),
    ("RemoveProfile", {"Identifier": "test.wifi"}),
    ("DeviceLock", {"PIN": "246810"}),
    ("ProfileList", {}),
    ("RemoveProfile", {"Identifier": "test.enrollment"}),
)


class Story:
    """A Mac's life from enrollment to removal, told so that it can go on after a kill at any point."""

    def __init__(self, store: SqliteStore) -> None:
        self.bench = Bench("mac-intel", store=store)
        self.uuids = [self.bench.queue(name, **keys) for name, keys in COMMANDS]
        self.waiting, self.bench.server.queue = self.bench.server.queue, []

    def steps(self, run: Callable[[Flow[None]], None]) -> None:
        """Everything that is left of the story. `run` carries out one flow."""
        bench = self.bench
        if not bench.log.count("device.enrolled") and not bench.device.enrolled:
            run(install_profile(bench.device, bench.profile()))
        if self.waiting:
            bench.server.queue, self.waiting = self.waiting, []
        for _ in range(40):
            if not bench.device.enrolled and bench.device.state.leaving is None:
                break
            if bench.device.state.pin_lock is not None:
                bench.device.change(lambda work: enter_pin(work, "246810"))
            while (flow := next_flow(bench.device)) is not None:
                run(flow)
            bench.clock.advance(60_000)
            if bench.device.enrolled and bench.server.queue:
                bench.push()

    def check(self) -> None:
        """Every command has one outcome, every effect happened once, and the enrollment ended once."""
        bench = self.bench
        expected = [Status.ERROR if name == "MakeCoffee" else Status.ACKNOWLEDGED for name, _ in COMMANDS]
        final = {r.command_uuid: r.status for r in bench.server.reports if r.command_uuid}
        assert [final.get(uuid) for uuid in self.uuids] == expected
        answered = [e.data["command_uuid"] for e in bench.log.of("device.command-answered")]
        assert sorted(answered) == sorted(self.uuids)
        for uuid in self.uuids:
            bodies = {r.body for r in bench.server.requests if uuid.encode() in r.body}
            assert len(bodies) == 1, f"{uuid} was reported in {len(bodies)} different ways"
        for kind, times in (
            ("device.enrolled", 1),
            ("device.unenrolled", 1),
            ("device.profile-installed", 2),
            ("device.profile-removed", 2),
            ("device.identity-enrolled", 2),
        ):
            assert bench.log.count(kind) == times, kind
        assert bench.server.labels().count("checkin:CheckOut") <= 1
        assert (bench.device.state.profiles, bench.device.state.keychain) == ([], [])


def count_yields(path: Path) -> int:
    with SqliteStore(path) as store:
        story = Story(store)
        story.steps(story.bench.run)
        story.check()
        return len(story.bench.server.requests)


@pytest.fixture(scope="module")
def yields(tmp_path_factory: pytest.TempPathFactory) -> int:
    return count_yields(tmp_path_factory.mktemp("clean") / "devices.sqlite")


def every_kill(yields: int) -> Iterator[tuple[int, bool]]:
    for number in range(1, yields + 1):
        yield number, False
        yield number, True


def kill_at(story: Story, number: int, after: bool) -> None:
    """Have the server raise Killed at that request, before or after it has acted on it."""
    serve = story.bench.server
    original = serve.interfere
    seen = [0]

    def interfere(request: Request) -> None:
        seen[0] += 1
        if seen[0] == number:
            serve.interfere = original
            if after:
                serve.requests.pop()
                serve(request)
            raise Killed

    serve.interfere = interfere


def run_and_close(story: Story, flow: Flow[None]) -> None:
    """Drive a flow; when killed, the flow is closed and nothing more is saved."""
    bench = story.bench
    answer: Response | None = None
    try:
        while True:
            try:
                wish = flow.send(answer)
            except StopIteration:
                bench.device.save()
                return
            bench.device.save()
            answer = bench.server(wish) if isinstance(wish, Request) else None
    finally:
        flow.close()


def test_closed_at_every_yield(yields: int, tmp_path: Path) -> None:
    for number, after in every_kill(yields):
        with SqliteStore(tmp_path / f"{number}{after}.sqlite") as store:
            story = Story(store)
            kill_at(story, number, after)
            with pytest.raises(Killed):
                story.steps(lambda flow, story=story: run_and_close(story, flow))  # type: ignore[misc]
            story.bench.restart()
            story.steps(story.bench.run)
            story.check()


class CancelIO:
    """Carries out a flow under trio; the kill cancels it while it waits for its answer."""

    def __init__(self, story: Story, scope: trio.CancelScope) -> None:
        self.story, self.scope = story, scope

    async def send(self, request: Request) -> Response:
        try:
            return self.story.bench.server(request)
        except Killed:
            self.scope.cancel()
            await trio.sleep_forever()
            raise AssertionError("a cancelled sleep came back") from None

    async def pause(self, seconds: float) -> None:
        self.story.bench.clock.advance(round(seconds * 1000))

    def save(self) -> None:
        self.story.bench.device.save()


def test_cancelled_at_every_yield(yields: int, tmp_path: Path) -> None:
    for number, after in every_kill(yields):
        with SqliteStore(tmp_path / f"{number}{after}.sqlite") as store:
            story = Story(store)
            kill_at(story, number, after)

            def run(flow: Flow[None], story: Story = story) -> None:
                async def main() -> None:
                    with trio.CancelScope() as scope:
                        await run_flow(flow, CancelIO(story, scope))
                    if scope.cancelled_caught:
                        raise Killed

                trio.run(main)

            with pytest.raises(Killed):
                story.steps(run)
            story.bench.restart()
            story.steps(story.bench.run)
            story.check()


@contextmanager
def forked(child: Callable[[socket.socket], None]) -> Iterator[tuple[int, socket.socket]]:
    """A child process that runs `child` with its end of a socket pair and then exits; the parent's end and its pid."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            child(theirs)
        finally:
            os._exit(0)
    theirs.close()
    try:
        yield pid, ours
    finally:
        ours.close()
        os.waitpid(pid, 0)


def send_frame(sock: socket.socket, value: object) -> None:
    data = pickle.dumps(value)
    sock.sendall(len(data).to_bytes(4, "big") + data)


def receive_frame(sock: socket.socket) -> object:
    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = sock.recv(count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    return pickle.loads(exactly(int.from_bytes(exactly(4), "big")))  # noqa: S301 - our own child wrote it


def life_until_killed(story: Story, path: Path, number: int, after: bool, sock: socket.socket) -> None:
    """In the child: live the story against the server in the parent, and die by SIGKILL at that request."""
    with SqliteStore(path) as store:
        bench = story.bench
        bench.store = store
        bench.device.store = store
        bench.events.subscribe(lambda event: send_frame(sock, ("event", to_json_line(event))))
        seen = [0]

        def ask(request: Request) -> Response:
            seen[0] += 1
            if seen[0] == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            send_frame(sock, ("request", request))
            answer = receive_frame(sock)
            if seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            assert isinstance(answer, Response)
            return answer

        def run(flow: Flow[None]) -> None:
            answer: Response | None = None
            while True:
                try:
                    wish = flow.send(answer)
                except StopIteration:
                    bench.device.save()
                    return
                bench.device.save()
                answer = ask(wish) if isinstance(wish, Request) else None

        original_push = bench.push

        def push(magic: str | None = None) -> None:
            original_push(magic)
            send_frame(sock, ("clock", bench.clock.now_ms()))

        bench.push = push  # type: ignore[method-assign]
        while True:
            story.steps(run)


def serve_until_killed(story: Story, sock: socket.socket) -> None:
    """In the parent: answer the child, and take its events in as a live world does."""
    published: list[Event] = []
    while True:
        try:
            kind, value = receive_frame(sock)  # type: ignore[misc]
        except (EOFError, ConnectionError):
            break
        if kind == "event":
            published.append(from_json_line(value))
        elif kind == "clock":
            story.bench.clock.advance(max(0, value - story.bench.clock.now_ms()))
        else:
            if value.label.startswith("connect") and story.waiting:
                story.bench.server.queue, story.waiting = story.waiting, []
            try:
                send_frame(sock, story.bench.server(value))
            except (BrokenPipeError, ConnectionError):
                break
    story.bench.events.publish(published)


def sigkill_every(yields: int, tmp_path: Path, *, step: int) -> None:
    for number, after in list(every_kill(yields))[::step]:
        path = tmp_path / f"{number}{after}.sqlite"
        with SqliteStore(path) as store:
            story = Story(store)
        with forked(lambda sock, s=story, p=path, n=number, a=after: life_until_killed(s, p, n, a, sock)) as (
            _pid,
            sock,
        ):  # type: ignore[misc]
            serve_until_killed(story, sock)
        with SqliteStore(path) as store:
            story.bench.store = store
            story.bench.restart()
            story.bench.clock.advance(60_000)
            story.steps(story.bench.run)
            story.check()


def test_sigkilled_at_every_yield(yields: int, tmp_path: Path) -> None:
    sigkill_every(yields, tmp_path, step=1)


def test_the_story_goes_through_every_kind_of_request(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "devices.sqlite") as store:
        story = Story(store)
        story.steps(story.bench.run)
        assert {label.partition(":")[0] for label in story.bench.server.labels()} == {"scep", "checkin", "connect"}
        assert story.bench.store.last_push("d1", DEVICE_CHANNEL) is not None
