"""Shapes: how many devices there are, and what happens to all of them at once. Locustfiles subclass one.

    --users       how many devices
    --spawn-rate  how many of them come per second
    --run-time    how long the part takes that the shape is about

A shape is asked once a second, in the process that leads the run.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any, ClassVar

from locust import LoadTestShape

from mdmsim.load.hooks import ASK, EVENING, LAST_ORDERS, MORNING, Campaign, campaign_of

#: Seconds that devices may take to enrol before the part begins that a shape is about.
GATHERING = 300.0

Tick = tuple[int, float] | None


class Shape(LoadTestShape):
    """What all shapes have in common. `fail_if`: see `mdmsim.load.criteria`; the options replace it."""

    abstract = True
    use_common_options = True
    runner: Any = None

    #: What is taken where the options say nothing.
    default_devices: ClassVar[int] = 50
    default_seconds: ClassVar[float] = 60.0
    default_spawn_rate: ClassVar[float] = 25.0
    fail_if: ClassVar[tuple[str, ...]] = ("failures>0", "missed>0")
    needs_pushes: ClassVar[bool] = False
    needs_api: ClassVar[bool] = False

    #: False until the shape has run to its end.
    finished = False
    _drained_since: float | None = None

    @property
    def campaign(self) -> Campaign:
        return campaign_of(self.runner.environment)

    @property
    def options(self) -> Any:
        return self.runner.environment.parsed_options

    @property
    def devices(self) -> int:
        """How many devices there shall be."""
        asked = self.options.num_users if self.runner.environment.web_ui else self.campaign.devices
        return asked or self.default_devices

    @property
    def spawn_rate(self) -> float:
        asked = self.options.spawn_rate if self.runner.environment.web_ui else self.campaign.spawn_rate
        return asked or self.default_spawn_rate

    @property
    def seconds(self) -> float:
        """How long the part takes that the shape is about."""
        return float(self.options.run_time or self.default_seconds)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.start_time

    def reset_time(self) -> None:
        """Locust calls this when a run begins."""
        self.start_time = time.perf_counter()
        self.finished = False
        self._drained_since = None
        self.begin()

    def begin(self) -> None:
        """A run begins, perhaps not the first of this process."""

    def end(self) -> Tick:
        """What `tick` returns when the run is over."""
        self.finished = True
        return None

    def drain(self) -> Tick:
        """No new commands; wait for devices that are late, as long as patience lasts; then it is over."""
        now = self.elapsed
        if self._drained_since is None:
            self._drained_since = now
            self.campaign.tell_all(LAST_ORDERS, {})
        account = self.campaign.account()
        # Reports of workers are up to three seconds old: what they say must be newer than the last command.
        waited = now - self._drained_since
        answered = account.asked == account.answered + account.not_asked
        there = account.devices >= self.devices or self.campaign.lost > 0
        enrolled = there and account.enrolled + account.unenrolled >= account.devices
        settled = (waited >= self.delay or not account.asked) and answered and enrolled
        if settled or waited > self.options.patience:
            return self.end()
        return self.devices, self.spawn_rate

    @property
    def delay(self) -> float:
        """Seconds until what happened in a worker is known here."""
        return 1.0 if self.campaign.drives else 4.0

    def ask(self, request_type: str, **keys: Any) -> None:
        """Have the server queue a command for every device, in all processes at once."""
        self.campaign.tell_all(ASK, {"request_type": request_type, "keys": keys})


class Rollout(Shape):
    """Rollout day: devices come one after the other and enrol, over two thirds of the time; then they live on."""

    abstract = True
    fail_if: ClassVar[tuple[str, ...]] = ("failures>0", "missed>0", "p95(device:enrolled)>30s")

    @property
    def spawn_rate(self) -> float:
        asked = self.options.spawn_rate if self.runner.environment.web_ui else self.campaign.spawn_rate
        return asked or max(0.1, self.devices / (self.seconds * 2 / 3))

    def tick(self) -> Tick:
        if self.elapsed > self.seconds:
            return self.drain()
        return self.devices, self.spawn_rate


class _Gathered(Shape):
    """All devices are there and enrolled first; then it begins."""

    abstract = True
    needs_pushes = True
    needs_api = True

    #: What the server sends to everyone.
    request_type: ClassVar[str] = "DeviceInformation"
    queries: ClassVar[tuple[str, ...]] = ("DeviceName", "OSVersion", "SerialNumber")

    def ask_everyone(self) -> None:
        """Queue `request_type` for every device. Override it for a command with other keys, and call `self.ask`."""
        self.ask(self.request_type, **({"Queries": list(self.queries)} if self.queries else {}))

    def begin(self) -> None:
        self._since: float | None = None

    def tick(self) -> Tick:
        if self._since is None:
            ready = self.campaign.account().enrolled >= self.devices
            if not ready and self.elapsed < GATHERING:
                return self.devices, self.spawn_rate
            self._since = self.elapsed
        return self.act(self.elapsed - self._since)

    @abstractmethod
    def act(self, seconds: float) -> Tick:
        """What happens, that long after all devices were there."""


class PushStorm(_Gathered):
    """Push storm: every device gets a command at the same moment, in waves, and must answer."""

    abstract = True
    default_seconds = 20.0

    #: Seconds between two waves; `--every` says otherwise.
    every: ClassVar[float] = 5.0

    def begin(self) -> None:
        super().begin()
        self._waves = 0

    def act(self, seconds: float) -> Tick:
        every = self.options.every or self.every
        if seconds < self.seconds:
            if seconds >= self._waves * every:
                self._waves += 1
                self.ask_everyone()
            return self.devices, self.spawn_rate
        return self.drain()


class MondayMorning(_Gathered):
    """Monday morning: devices were away, commands have piled up; then everyone comes back, most around the middle."""

    abstract = True
    default_seconds = 20.0

    #: How many commands wait for each device.
    commands: ClassVar[int] = 3

    def begin(self) -> None:
        super().begin()
        self._step = "friday"
        self._morning = 0.0

    def act(self, seconds: float) -> Tick:
        account = self.campaign.account()
        stay = self.devices, self.spawn_rate
        if self._step == "friday":
            self.campaign.tell_all(EVENING, {})
            self._step = "leaving"
        elif self._step == "leaving":
            if account.away >= account.enrolled or seconds > GATHERING:
                for _ in range(self.commands):
                    self.ask_everyone()
                self._step = "weekend"
        elif self._step == "weekend":
            if account.asked >= self.commands * account.enrolled or seconds > 2 * GATHERING:
                self.campaign.tell_all(MORNING, {"seconds": self.seconds})
                self._step, self._morning = "monday", seconds
        elif seconds - self._morning > self.seconds:
            return self.drain()
        return stay
