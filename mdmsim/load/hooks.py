"""Where mdmsim hangs on to Locust: options, the start and the end of a run, reports between workers and master."""

from __future__ import annotations

import json
import logging
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import gevent
import locust
import msgspec
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import StatsEntry

from mdmsim.chance import Chance
from mdmsim.clock import SECOND, WallClock
from mdmsim.device.personas import make_persona
from mdmsim.fleet.store import StoreError
from mdmsim.load.crew import Crew
from mdmsim.load.criteria import Verdict
from mdmsim.load.errors import NOT_CARRIED_OUT, LoadError
from mdmsim.load.figures import Account, Entry, Figures, together
from mdmsim.load.given import Given, make_ready
from mdmsim.load.launch import PROCESSES, RESULT, files_for
from mdmsim.load.options import SHARED, Plan, add_to, criteria_of, plan_of
from mdmsim.load.progress import Progress
from mdmsim.load.summary import Cost, exit_code, tell
from mdmsim.pki.key_pool import KeyPool
from mdmsim.pki.keys import SharedKeys
from mdmsim.printable import printable, printable_lines

#: Seconds between two writes of the store.
FLUSH = 1.0

#: Messages from the shape to all processes: queue a command everywhere; no more commands; lose the network; come back.
ASK, LAST_ORDERS, EVENING, MORNING = "mdmsim-ask", "mdmsim-last-orders", "mdmsim-evening", "mdmsim-morning"

#: Criteria where neither the options nor the shape have any.
DEFAULT_CRITERIA = ("failures>0", "missed>0")

_log = logging.getLogger("mdmsim.load")


def install() -> None:
    """Register everything with Locust, once."""
    events: Any = locust.events
    if not hasattr(events, "mdmsim"):
        events.mdmsim = True
        events.init_command_line_parser.add_listener(_add_options)
        events.init.add_listener(_init)


def crew_of(environment: Any) -> Crew:
    """The crew of this process. Raises RuntimeError outside a run."""
    crew = campaign_of(environment).crew
    if crew is None:
        raise RuntimeError("no run is under way in this process")
    return crew


def campaign_of(environment: Any) -> Campaign:
    campaign: Campaign = environment.mdmsim
    return campaign


def _add_options(parser: Any, **_: Any) -> None:
    add_to(parser)


def _init(environment: Any, runner: Any, web_ui: Any = None, **_: Any) -> None:
    if runner is None:
        return
    try:
        environment.mdmsim = Campaign(environment, runner)
    except LoadError as error:
        _give_up(error)


def _give_up(error: LoadError) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{printable_lines(str(error))}\n")
    sys.exit(error.code)


class Campaign:
    """One Locust process's part in runs: it opens a crew where users run, and sums up where they are led from."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self.environment = environment
        self.runner = runner
        self.crew: Crew | None = None
        self.leads = not isinstance(runner, WorkerRunner)
        self.drives = not isinstance(runner, MasterRunner)
        self.shape = environment.shape_class
        self._accounts: dict[str, Account] = {}
        self._lost: set[str] = set()
        self._began_ms = 0
        self._ended_ms: int | None = None
        self._spent: list[float] = []
        self._progress = Progress()
        options: Namespace = environment.parsed_options
        if self.leads:
            if self.drives:
                # Workers are told by the master how many devices are theirs, and look then.
                files_for(options.num_users or getattr(self.shape, "devices", None) or 1, 1)
            # Locust fills in 1 and 1 where nothing was asked for; a shape has better ideas.
            self.devices: int | None = options.num_users
            self.spawn_rate: float | None = options.spawn_rate
            self.plan: Plan = plan_of(options)
            own = getattr(self.shape, "fail_if", None) if self.shape is not None else None
            self.criteria = criteria_of(self.plan.criteria or list(own or DEFAULT_CRITERIA))
            self.given: Given = make_ready(self.plan.wishes, Chance.of_machine())
            self._check_shape()
            # Both travel to the workers with every job.
            options.mdmsim_given = self.given.dumps()
        self.clock = WallClock()
        # Made before a run begins: a key takes 55 ms or more, and greenlets share one thread.
        self._shared = _shared_keys() if self.drives else None
        if self.drives:
            # The first persona loads catalogues and word lists.
            make_persona("iphone", chance=Chance(0))
        self._listen()

    def _check_shape(self) -> None:
        if getattr(self.shape, "needs_pushes", False) and self.given.courier is None:
            raise LoadError(
                f"{type(self.shape).__name__} pushes, and devices hear pushes through a fake APNs: "
                "name its courier with --courier HOST:PORT, or in the target file."
            )
        if getattr(self.shape, "needs_api", False) and self.given.adapter is None:
            raise LoadError(
                f"{type(self.shape).__name__} queues commands through the server's API: name it with --target FILE."
            )

    def _listen(self) -> None:
        hooks = self.environment.events
        hooks.test_start.add_listener(self._start)
        hooks.test_stop.add_listener(self._stop)
        hooks.report_to_master.add_listener(self._report)
        hooks.worker_report.add_listener(self._reported)
        hooks.quitting.add_listener(self._quit)
        if self.drives:
            self.runner.register_message(ASK, self._ask)
            self.runner.register_message(LAST_ORDERS, self._last_orders)
            self.runner.register_message(EVENING, self._evening)
            self.runner.register_message(MORNING, self._morning)

    # --- a run --------------------------------------------------------------------------------------------------

    def _start(self, **_: Any) -> None:
        self._began_ms, self._ended_ms = self.clock.now_ms(), None
        self._accounts.clear()
        self._lost.clear()
        self._spent = [_cpu_of(pid) for pid in _processes().values()]
        if self.leads and os.environ.get(RESULT):
            gevent.spawn(self._show_progress)
        if not self.drives:
            return
        options = self.environment.parsed_options
        try:
            plan = plan_of(options) if not self.leads else self.plan
            given = self.given if self.leads else Given.loads(options.mdmsim_given)
            self.crew = Crew(
                given,
                store=Path(plan.store),
                keys=KeyPool() if plan.keys == "pool" or self._shared is None else self._shared,
                report=self._measured,
                seed=plan.seed,
                platforms=plan.platforms,
                concurrency=plan.concurrency,
            )
        except LoadError as error:
            # Raised from here it would be logged and passed over, and the run would go on without devices.
            _log.error("%s", printable(str(error)))
            os._exit(error.code)
        except Exception:
            _log.exception("a bug in mdmsim: no devices can be driven")
            os._exit(NOT_CARRIED_OUT)
        gevent.spawn(self._flush, self.crew)
        if self.leads and self.shape is not None:
            self.shape.reset_time()  # the time that opening took is not the shape's

    def _show_progress(self) -> None:
        progress = self._progress
        while self._ended_ms is None:
            gevent.sleep(1.0)
            if self._ended_ms is None:
                seconds = (self.clock.now_ms() - self._began_ms) / SECOND
                progress.at(seconds, self.account(), self.wanted(), self.environment.stats.num_failures)

    def _flush(self, crew: Crew) -> None:
        while not crew.closed:
            gevent.sleep(FLUSH)
            if not crew.closed:
                try:
                    crew.store.flush()
                except StoreError as error:
                    _log.warning("%s It is tried again.", printable(str(error)))

    def _stop(self, **_: Any) -> None:
        self._ended_ms = self.clock.now_ms()
        if self.crew is not None:
            try:
                self.crew.close()
            except StoreError as error:
                _log.error("%s", printable(str(error)))

    def _measured(self, kind: str, name: str, ms: float, length: int, error: Exception | None, /) -> None:
        self.environment.events.request.fire(
            request_type=kind, name=name, response_time=ms, response_length=length, exception=error, context={}
        )

    # --- between processes --------------------------------------------------------------------------------------

    def tell_all(self, message: str, data: dict[str, Any]) -> None:
        """Send a message to every process that drives devices, this one included where it does."""
        self.runner.send_message(message, data)

    def _ask(self, msg: Any, **_: Any) -> None:
        if self.crew is not None:
            self.crew.ask_all(msg.data["request_type"], msg.data["keys"])

    def _last_orders(self, msg: Any, **_: Any) -> None:
        if self.crew is not None:
            self.crew.last_orders = True

    def _evening(self, msg: Any, **_: Any) -> None:
        if self.crew is not None:
            self.crew.evening()

    def _morning(self, msg: Any, **_: Any) -> None:
        if self.crew is not None:
            self.crew.morning(msg.data["seconds"])

    def _report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if self.crew is not None:
            data["mdmsim"] = msgspec.to_builtins(self.crew.account())

    def _reported(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if "mdmsim" in data:
            self._accounts[client_id] = msgspec.convert(data["mdmsim"], Account)

    def account(self) -> Account:
        """How it stands with all devices of all processes; without those of workers that went missing."""
        if self.crew is not None:
            return self.crew.account()
        self._look_for_lost()
        return together(account for client, account in self._accounts.items() if client not in self._lost)

    @property
    def lost(self) -> int:
        """How many workers went missing."""
        return len(self._lost)

    def lost_account(self) -> Account:
        """What workers that went missing had last told."""
        return together(self._accounts[client] for client in self._lost if client in self._accounts)

    def _look_for_lost(self) -> None:
        if isinstance(self.runner, MasterRunner):
            self._lost |= {client.id for client in self.runner.clients.missing}

    # --- the end ------------------------------------------------------------------------------------------------

    def wanted(self) -> int:
        """How many devices there shall be."""
        devices = getattr(self.shape, "devices", None)
        return devices if isinstance(devices, int) else int(self.runner.target_user_count or 0)

    def figures(self) -> Figures:
        """All that was measured."""
        stats, account = self.environment.stats, self.account()
        ended = self._ended_ms if self._ended_ms is not None else self.clock.now_ms()
        return Figures(
            entries=tuple(_entry(entry) for _, entry in sorted(stats.entries.items()) if entry.num_requests),
            total=_entry(stats.total),
            account=account,
            gone=self.lost_account(),
            wanted=max(account.devices, self.wanted()),
            seconds=max(0.001, (ended - self._began_ms) / 1000) if self._began_ms else 0.0,
            workers=len(self._accounts.keys() | self._lost),
            lost=len(self._lost),
            errors=tuple(
                (error.name, _reason(error.error), error.occurrences)
                for error in sorted(stats.errors.values(), key=lambda error: -error.occurrences)
            ),
        )

    def _quit(self, **_: Any) -> None:
        if self.crew is not None and not self.crew.closed:
            self._stop()
        if not self.leads or not self._began_ms:
            return
        figures = self.figures()
        verdicts: list[Verdict] = [criterion.judge(figures) for criterion in self.criteria]
        cut_short = self.environment.parsed_options.headless and getattr(self.shape, "finished", True) is False
        code = exit_code(figures, verdicts, cut_short=cut_short)
        shape = type(self.shape).__name__ if self.shape is not None else ""
        spent = [_cpu_of(pid) for pid in _processes().values()]
        costs = [
            Cost(name, max(0.0, after - before))
            for name, before, after in zip(_processes(), self._spent, spent, strict=False)
            if after
        ]
        seed = self.plan.seed
        self._progress.done()
        for line in tell(figures, verdicts, code=code, shape=shape, costs=costs, seed=seed, store=self.plan.store):
            sys.stdout.write(f"{printable(line)}\n")
        sys.stdout.flush()
        self.environment.process_exit_code = code
        if where := os.environ.get(RESULT):
            # `mdmsim load` shows one summary, not two.
            logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)
            Path(where).write_text(json.dumps({"code": code, "met": [v.met for v in verdicts]}))


def _shared_keys() -> SharedKeys:
    keys = SharedKeys(SHARED)
    for _ in range(SHARED):
        keys.take()
    return keys


def _entry(entry: StatsEntry) -> Entry:
    return Entry(
        name=entry.name,
        requests=entry.num_requests,
        failures=entry.num_failures,
        mean=float(entry.avg_response_time),
        shortest=float(entry.min_response_time or 0),
        longest=float(entry.max_response_time or 0),
        times=dict(entry.response_times),
    )


def _reason(error: Any) -> str:
    """The text of a failure; Locust keeps exceptions as their repr where they came from a worker."""
    text = str(error)
    if text.startswith("ExchangeFailed(") and text.endswith(")"):
        text = text[len("ExchangeFailed(") + 1 : -2]
    return text


def _processes() -> dict[str, int]:
    given: dict[str, int] = json.loads(os.environ.get(PROCESSES) or "{}")
    return given


def _cpu_of(pid: int) -> float:
    """CPU seconds of a process so far, where the system tells; else 0."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
