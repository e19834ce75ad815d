"""All devices that one Locust process drives, and what they share: store, transport, courier, keys, administrator.

Blocking code for gevent's greenlets; Locust itself comes in as one function, `Report`, so this can run without it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mdmsim.chance import Chance
from mdmsim.clock import SECOND, WallClock
from mdmsim.device.device import Behaviour, Device
from mdmsim.device.personas import fetch_headers, kind_of, make_persona
from mdmsim.device.state import DEVICE_CHANNEL, DeviceState, UnreadableState, decode
from mdmsim.events import Event, Events
from mdmsim.fakeapns.courier.blocking import BlockingCourier
from mdmsim.fakeapns.errors import CourierError
from mdmsim.fleet.store import StoreError
from mdmsim.http import OwnLimit, Request, Response, TransportError
from mdmsim.load.errors import NOT_CARRIED_OUT, LoadError
from mdmsim.load.figures import Account
from mdmsim.load.given import Given, finish, open_api
from mdmsim.load.life import Life
from mdmsim.load.meanings import GENERATOR, ExchangeFailed, of_answer, of_error
from mdmsim.load.store import Claims, LoadStore, device_id, number_of
from mdmsim.load.tracker import Tracker
from mdmsim.pki.keys import KeySource
from mdmsim.target.adapter import AdapterError
from mdmsim.transport.blocking import BlockingTransport
from mdmsim.transport.descriptors import make_room

#: How many calls to the administrator's API are under way at a time, in each process.
API_CALLS = 8

#: How many devices enrol at the same time, in each process, unless told otherwise: each takes several exchanges and a key.
CONCURRENCY = 50

#: In place of the status of an answer to a command that mdmsim does not simulate.
NOT_SIMULATED = "not simulated"

#: Connections kept open, and for how long: as many as a process has devices, as real devices keep theirs.
KEPT = 8192
KEPT_SECONDS = 60.0


class Report(Protocol):
    """Takes one measured thing: kind (an HTTP method or "device"), name, milliseconds, bytes, and what went wrong."""

    def __call__(self, kind: str, name: str, ms: float, length: int, error: Exception | None, /) -> None: ...


class NoProfile(Exception):
    """The server handed out no enrollment profile."""


class Crew:
    """Opened with the run, closed with it. Raises LoadError when courier, store or API cannot be reached."""

    def __init__(
        self,
        given: Given,
        *,
        store: Path,
        keys: KeySource,
        report: Report,
        seed: int | str | None = None,
        platforms: Sequence[str] = ("ios",),
        concurrency: int = CONCURRENCY,
    ) -> None:
        self.given = given
        self.report = report
        self.clock = WallClock()
        self.chance = Chance(seed) if seed is not None else Chance.of_machine()
        self.events = Events(self.clock)
        self.events.subscribe(self._happened)
        self.tracker = Tracker(self._answered)
        self._not_simulated: set[str] = set()
        self.transport = BlockingTransport(
            allow_hosts=given.allow_hosts, keep=KEPT, keep_seconds=KEPT_SECONDS, clock=self.clock
        )
        make_room(KEPT)
        self.courier: BlockingCourier | None = None
        self.lives: dict[str, Life] = {}
        self._routes: dict[tuple[str, bytes], Life] = {}
        self._kinds = [kind_of(platform) for platform in platforms]
        self._keys = keys
        self._behaviour = Behaviour(allow_http=given.allow_http, system_roots=True, anchors=tuple(given.anchors))
        self._made = 0
        self.last_orders = False
        self._pushes = 0
        self._exchanges = 0
        self._not_sent = 0
        #: Held by each device while it enrols.
        self.enrolling = threading.BoundedSemaphore(concurrency)
        self._began = time.process_time()
        self._closed: Account | None = None
        self._candidates: deque[str] | None = None
        self._unusable: set[str] = set()
        self._highest = 0
        self.api = open_api(given, self.transport, self.chance.stream("commands"))
        try:
            self.store = LoadStore(store)
            self._claims = Claims(store.with_name(f"{store.name}.lock"))
        except StoreError as error:
            raise LoadError(str(error)) from None
        if given.courier is not None:
            host, port = given.courier
            courier = BlockingCourier(host, port, on_push=self._on_push, chance=self.chance.stream("courier"))
            try:
                self.courier = courier.__enter__()
            except CourierError as error:
                self._claims.close()
                self.store.close()
                raise LoadError(str(error), code=NOT_CARRIED_OUT) from None

    def close(self) -> None:
        """Write everything down and let go of the devices; the account stays. Raises StoreError."""
        if self._closed is not None:
            return
        self._closed = self.account()
        if self.courier is not None:
            self.courier.close()
        self.transport.close()
        try:
            for life in self.lives.values():
                life.device.save()
            self.store.close()
        finally:
            self._claims.close()

    @property
    def closed(self) -> bool:
        return self._closed is not None

    # --- devices ------------------------------------------------------------------------------------------------

    def recruit(self, *, fresh: bool = False) -> Life:
        """A device that nobody drives: one from the store that is enrolled here, or a new one.

        `fresh`: new in any case.
        """
        if not fresh:
            for life in self.lives.values():
                if not life.driven:
                    life.driven = True
                    return life
            known = self._from_store()
            if known is not None:
                return known
        return self._new()

    def _from_store(self) -> Life | None:
        if self._candidates is None:
            self._candidates = deque(self.store.device_ids())
        while self._candidates:
            identifier = self._candidates.popleft()
            number = number_of(identifier)
            if number is None or identifier in self._unusable or not self._claims.take(number):
                continue
            try:
                data = self.store.load(identifier)
                state = decode(data) if data is not None else None
            except UnreadableState:
                state = None
            if state is None or state.enrollment is None or state.enrollment.server_url != self.given.server_url:
                self._unusable.add(identifier)
                self._claims.release(number)
                continue
            life = self._add(Device.load(identifier, store=self.store, **self._around()), number)
            life.wake_up()
            return life
        # Looked through. Devices that another worker loses later are found by a new look, when there is need again.
        self._candidates = None
        return None

    def _new(self) -> Life:
        if not self._highest:
            self._highest = max((number_of(known) or 0 for known in self.store.device_ids()), default=0)
        number = self._highest + 1
        while not self._claims.take(number) or self.store.load(device_id(number)) is not None:
            number += 1
        self._highest = number
        identifier = device_id(number)
        kind = self._kinds[number % len(self._kinds)]
        persona = make_persona(kind, chance=self.chance.stream(f"persona/{identifier}"))
        state = DeviceState(
            device_id=identifier,
            persona=persona,
            supervised=persona.supervised,
            passcode=persona.passcode or "",
            device_name=persona.device_name,
        )
        return self._add(Device(state, store=self.store, **self._around()), number)

    def _add(self, device: Device, number: int) -> Life:
        life = self.lives[device.device_id] = Life(self, device)
        return life

    def _around(self) -> dict[str, Any]:
        return {
            "clock": self.clock,
            "chance": self.chance,
            "keys": self._keys,
            "events": self.events,
            "behaviour": self._behaviour,
        }

    def profile(self, life: Life) -> bytes:
        """An enrollment profile for this device. Raises NoProfile, TransportError."""
        if self.given.profile is not None:
            return self.given.profile
        persona, url = life.device.persona, self.given.profile_url
        if url is not None:
            request = Request("GET", url, fetch_headers(persona), label="profile:fetch", trust=self.given.trust)
            response = self.exchange(request)
            if not response.is_success:
                raise NoProfile(f"the server answered {response.status} in place of a profile")
            return response.body
        if self.api is None:
            raise NoProfile("nobody hands out profiles")
        began = time.perf_counter()
        try:
            data = finish(self.api.enrollment_profile())
        except AdapterError as error:
            self._api_call("api:profile", began, error)
            raise NoProfile(str(error)) from None
        self._api_call("api:profile", began, None)
        return data

    # --- exchanges ----------------------------------------------------------------------------------------------

    def exchange(self, request: Request) -> Response:
        """Send a request and report how that went. Raises TransportError."""
        began = time.perf_counter()
        self._exchanges += 1
        try:
            response = self.transport.send(request)
        except OwnLimit as error:
            self._not_sent += 1
            self.report("generator", GENERATOR, _since(began), 0, of_error(error))
            raise
        except TransportError as error:
            self.report(request.method, request.label, _since(began), 0, of_error(error))
            raise
        failed = None if response.is_success else of_answer(request.label, response)
        self.report(request.method, request.label, _since(began), len(response.body), failed)
        return response

    def _api_call(self, name: str, began: float, error: AdapterError | None) -> None:
        self.report("API", name, _since(began), 0, None if error is None else ExchangeFailed(str(error)[:200]))

    # --- the administrator --------------------------------------------------------------------------------------

    def ask(self, life: Life, request_type: str, keys: Mapping[str, Any] | None = None) -> None:
        """Have the server queue a command for this device, and push. Raises LoadError where there is no API.

        Without effect after `last_orders`, so that a run can end with everything answered.
        """
        if self.api is None:
            raise LoadError("commands need the server's API: name a target file with --target.")
        if self.last_orders:
            return
        began, since_ms = time.perf_counter(), self.clock.now_ms()
        try:
            command_uuid = finish(self.api.queue(life.device.persona.udid, request_type, keys or {}))
        except AdapterError as error:
            self._api_call("api:queue", began, error)
            self.tracker.refused(life.device.device_id)
            return
        self._api_call("api:queue", began, None)
        self.tracker.ask(life.device.device_id, command_uuid, since_ms)

    def ask_all(self, request_type: str, keys: Mapping[str, Any] | None = None) -> None:
        """Have the server queue a command for every device that is driven and enrolled. Returns at once."""
        waiting = deque(life for life in self.lives.values() if life.driven and life.enrolled)

        def call() -> None:
            while waiting and not self.closed:
                self.ask(waiting.popleft(), request_type, keys)

        for _ in range(min(API_CALLS, len(waiting))):
            threading.Thread(target=call, name="administrator", daemon=True).start()

    def evening(self) -> None:
        """Every device loses its network, as laptops and phones do that are switched off or go out of reach."""
        for life in self.lives.values():
            life.go_away()
        self.transport.close()

    def morning(self, seconds: float) -> None:
        """They come back within that time, most of them around its middle."""
        chance, now = self.chance.stream("morning"), self.clock.now_ms()
        for life in self.lives.values():
            # The mean of four draws: a bell without tails beyond the two ends.
            share = sum(chance.random() for _ in range(4)) / 4
            life.come_back(now + round(share * seconds * SECOND))

    # --- pushes -------------------------------------------------------------------------------------------------

    def route(self, life: Life, registrations: frozenset[tuple[str, bytes]]) -> None:
        """Pushes for these tokens go to this device."""
        for registration in registrations:
            self._routes[registration] = life

    def _on_push(self, topic: str, token: bytes, payload: bytes) -> None:
        life = self._routes.get((topic, token))
        if life is None or self.closed:
            return
        self._pushes += 1
        life.pushed(self.store.pushed(life.device.device_id, DEVICE_CHANNEL, payload))

    # --- the account --------------------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        if event.kind == "device.command-answered" and not event.data["simulated"]:
            self._not_simulated.add(event.data["command_uuid"])
        elif event.kind == "device.report-delivered":
            command_uuid, status = event.data["command_uuid"], event.data["status"]
            if command_uuid in self._not_simulated:
                self._not_simulated.remove(command_uuid)
                status = NOT_SIMULATED
            self.tracker.delivered(command_uuid, status, self.clock.now_ms())
        elif event.kind == "device.session-endless":
            self.report("device", "device:session-endless", 0.0, 0, ExchangeFailed(event.data["why"]))
        elif event.kind == "device.enrolled":
            self._made += 1

    def _answered(self, took_ms: int, status: str) -> None:
        if status == NOT_SIMULATED:  # the Error is mdmsim's: no failure of the server, and counted apart
            self.report("device", "command:not-simulated", float(took_ms), 0, None)
            return
        error = None if status == "Acknowledged" else ExchangeFailed(f"the device answered {status}")
        self.report("device", "command:queued-to-answered", float(took_ms), 0, error)

    def account(self) -> Account:
        """How it stands."""
        if self._closed is not None:
            return self._closed
        lives, tracker, behind = self.lives.values(), self.tracker, self.tracker.behind
        return Account(
            devices=len(lives),
            enrolled=sum(life.enrolled for life in lives),
            away=sum(life.enrolled and not life.device.state.network for life in lives),
            unenrolled=sum(life.left for life in lives),
            made=self._made,
            asked=tracker.asked,
            answered=tracker.answered,
            not_asked=tracker.not_asked,
            asked_devices=tracker.asked_devices,
            behind=len(behind),
            names=behind[:5],
            pushes=self._pushes,
            exchanges=self._exchanges,
            not_sent=self._not_sent,
            seconds=time.process_time() - self._began,
        )


def _since(began: float) -> float:
    """Milliseconds; a duration, not a time of day, so it does not come from the world's clock."""
    return (time.perf_counter() - began) * 1000
