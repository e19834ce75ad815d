"""`python -m benchmarks.locust_cost plain|locust PORT ISSUER_PEM`: CPU milliseconds of one signed connect, printed.

`plain` is the device's flow under the blocking driver in an ordinary process, without gevent, Locust or statistics;
`locust` the same flow of the same devices, with the same store and transport, as Locust users run it.
"""

from __future__ import annotations

import sys

if sys.argv[1:2] == ["locust"]:
    import locust.env  # gevent patches before anything else is imported

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.load import CONNECTS, DEVICES
from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.device.device import Device
from mdmsim.device.flow import Flow
from mdmsim.device.flows.connect import drain_queue
from mdmsim.device.flows.wake import guarded
from mdmsim.device.personas import make_persona
from mdmsim.device.state import DeviceState, Enrollment, IdentityRef
from mdmsim.http import Request, Response
from mdmsim.load.crew import Crew
from mdmsim.load.given import Given
from mdmsim.load.life import Life
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import SharedKeys, public_key_of
from mdmsim.transport.driver import run_flow_blocking


class _IO:
    """The least that a driver needs."""

    def __init__(self, life: Life) -> None:
        self._device, self._transport = life.device, life.crew.transport

    def send(self, request: Request) -> Response:
        return self._transport.send(request)

    def pause(self, seconds: float) -> None:
        raise AssertionError("a connect does not pause")

    def save(self) -> None:
        self._device.save()


def _connect(device: Device) -> Flow[None]:
    yield from drain_queue(device)


def plain(crew: Crew, lives: list[Life]) -> float:
    """CPU seconds of CONNECTS connects of each device, one after the other."""
    ios = [_IO(life) for life in lives]

    def everyone() -> None:
        for life, io in zip(lives, ios, strict=True):
            run_flow_blocking(guarded(life.device, "connect", _connect(life.device)), io)

    everyone()  # connections are made, keys are warm
    began = time.process_time()
    for _ in range(CONNECTS):
        everyone()
    return time.process_time() - began


def with_locust(crew: Crew, lives: list[Life]) -> float:
    """The same, each device a Locust user in a greenlet of its own, each exchange in Locust's statistics."""
    import gevent
    from locust.exception import StopUser

    environment = locust.env.Environment(events=locust.events)
    environment.create_local_runner()
    request: Any = environment.events.request

    def report(kind: str, name: str, ms: float, length: int, error: Exception | None, /) -> None:
        request.fire(
            request_type=kind, name=name, response_time=ms, response_length=length, exception=error, context={}
        )

    class User(locust.User):
        life: Life
        left = 0

        @locust.task
        def connect(self) -> None:
            self.life.connect()
            self.left -= 1
            if not self.left:
                raise StopUser

    def everyone(times: int) -> None:
        users = []
        for life in lives:
            user = User(environment)
            user.life, user.left = life, times
            users.append(user)
        gevent.joinall([gevent.spawn(user.run) for user in users], raise_error=True)

    crew.report = report
    everyone(1)
    began = time.process_time()
    everyone(CONNECTS)
    spent = time.process_time() - began
    if environment.stats.num_failures or environment.stats.num_requests != len(lives) * (CONNECTS + 1):
        sys.exit(f"{environment.stats.num_failures} of {environment.stats.num_requests} connects failed")
    return spent


def main(mode: str, port: str, issuer: Path) -> None:
    keys = SharedKeys(4)
    authority = Authority.from_pem(issuer.read_bytes(), keys=keys, clock=WallClock(), chance=Chance(1))
    url = f"https://127.0.0.1:{port}/mdm"
    with tempfile.TemporaryDirectory() as directory:
        crew = Crew(Given(server_url=url), store=Path(directory) / "d.sqlite", keys=keys, report=_nobody, seed=1)
        lives = [_life(crew, authority, url, number, keys) for number in range(DEVICES)]
        spent = (with_locust if mode == "locust" else plain)(crew, lives)
        crew.close()
    print(spent / (DEVICES * CONNECTS) * 1000)


def _nobody(kind: str, name: str, ms: float, length: int, error: Exception | None, /) -> None:
    """Nobody counts."""


def _life(crew: Crew, authority: Authority, url: str, number: int, keys: SharedKeys) -> Life:
    key, store = keys.take(), crew.store
    certificate = authority.issue_client(f"bench {number}", public_key=public_key_of(key))
    enrollment = Enrollment(
        profile="bench",
        server_url=url,
        checkin_url=url,
        topic="com.apple.mgmt.External.bench",
        access_rights=8191,
        identity=IdentityRef(certificate=store.put(certificate), key=store.put(key)),
        sign_message=True,
        checkout_when_removed=True,
        anchors=[store.put(authority.certificate)],
        confirmed=True,
    )
    persona = make_persona("iphone", chance=Chance(number))
    state = DeviceState(device_id=f"bench-{number}", persona=persona, enrollment=enrollment)
    return Life(crew, Device(state, store=store, clock=crew.clock, chance=crew.chance, keys=keys, events=crew.events))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
