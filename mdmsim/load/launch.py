"""`mdmsim load`: servers where none are named, then Locust as a process of its own, then its exit code.

Locust's process is patched by gevent and this one is not, so nothing of Locust is imported here.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mdmsim.load.criteria import parse
from mdmsim.load.errors import FAILED, INTERRUPTED, MISTAKE, NOT_CARRIED_OUT, PASSED, LoadError
from mdmsim.load.servers import OnReady, Started, reference_servers
from mdmsim.pki.key_pool import KEYS_PER_DEVICE, KeyPool
from mdmsim.transport.descriptors import SPARE, make_room, most_files

#: What Locust's process learns beside its options; see `mdmsim.load.hooks`.
PROCESSES, RESULT = "MDMSIM_LOAD_PROCESSES", "MDMSIM_LOAD_RESULT"

#: Locust's options whose value is a number that cannot be less than one: what it does with them is no help.
_COUNTS = ("--users", "-u", "--spawn-rate", "-r", "--processes", "--expect-workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked for; see `mdmsim load --help`. `locust`: options that go to Locust as they are."""

    shape: str
    devices: int | None = None
    time: str | None = None
    rate: float | None = None
    every: float | None = None
    enroll: str | None = None
    target: Path | None = None
    courier: str | None = None
    trust: tuple[Path, ...] = ()
    allow_http: bool = False
    allow_host: tuple[str, ...] = ()
    store: Path
    fresh: bool = False
    platforms: str | None = None
    keys: str | None = None
    patience: float | None = None
    seed: str | None = None
    concurrency: int | None = None
    fail_if: tuple[str, ...] = ()
    web: bool = False
    locust: tuple[str, ...] = field(default=())

    @property
    def worker(self) -> bool:
        return "--worker" in self.locust


def shapes() -> dict[str, Path]:
    """The locustfiles that come with mdmsim, by name: beside the package in a source tree, inside it in a wheel."""
    import mdmsim

    package = Path(mdmsim.__file__).parent
    for folder in (package / "loadtests", package.parent / "loadtests"):
        if folder.is_dir():
            return {file.stem: file for file in sorted(folder.glob("*.py"))}
    return {}


def locustfile(name: str) -> Path:
    """The file of a shape, or the file itself. Raises LoadError."""
    known = shapes()
    wanted = name.replace("-", "_")
    if wanted in known:
        return known[wanted]
    if name.endswith(".py") or "/" in name:
        path = Path(name)
        if not path.is_file():
            raise LoadError(f"{name}: no such locustfile.")
        return path
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"Shapes: {', '.join(known)}; or name a locustfile (.py)."
    raise LoadError(f'no shape "{name}". {hint}')


def run(wishes: Wishes, *, on_ready: OnReady) -> int:
    """Carry out a load test; the exit code. Raises LoadError, KeyboardInterrupt."""
    file = locustfile(wishes.shape)
    for text in wishes.fail_if:
        parse(text)
    _check(wishes.locust)
    if importlib.util.find_spec("locust") is None:
        raise LoadError("Locust is not installed. Install it: pip install 'mdmsim[load]'")
    if not wishes.worker and "--master" not in wishes.locust and wishes.devices:
        files_for(wishes.devices, _processes(wishes.locust))
    with contextlib.ExitStack() as stack:
        started: Started | None = None
        if not wishes.worker and wishes.enroll is None and wishes.target is None:
            started = stack.enter_context(reference_servers(wishes.store.parent, on_ready=on_ready))
        if wishes.keys == "pool" and wishes.devices and not wishes.worker:
            KeyPool().fill(KEYS_PER_DEVICE * wishes.devices, workers=os.cpu_count() or 1)
        result = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mdmsim-"))) / "result.json"
        environment = {**os.environ, RESULT: str(result)}
        if started is not None:
            environment[PROCESSES] = json.dumps(started.processes)
        command = [sys.executable, "-m", "locust", *_arguments(wishes, file, started)]
        code = stack.enter_context(_locust(command, environment))()
        return _judged(code, result.exists(), wishes)


def files_for(devices: int, processes: int) -> None:
    """Have the limit of open files let each device have its connection. Raises LoadError where the system does not."""
    each = -(-devices // processes)
    if (most := make_room(each)) is None:
        return
    enough = -(-devices // most) if most else 0
    spread = f", or spread the devices over processes: -- --processes {enough}" if enough > 1 else ""
    raise LoadError(
        f"--devices {devices}: {each} devices in a process need {each + SPARE} open files, and this system allows "
        f"{most_files()} (ulimit -Hn). Raise the limit{spread}.",
        code=NOT_CARRIED_OUT,
    )


def _processes(options: Sequence[str]) -> int:
    """How many processes Locust drives the devices with."""
    for option, value in zip(options, (*options[1:], ""), strict=False):
        name, joined, inner = option.partition("=")
        if name == "--processes" and (number := inner if joined else value).lstrip("-").isdigit():
            return int(number) if int(number) > 0 else os.cpu_count() or 1
    return 1


def _check(options: Sequence[str]) -> None:
    for option, value in zip(options, (*options[1:], ""), strict=False):
        name, joined, inner = option.partition("=")
        number = inner if joined else value
        if name in _COUNTS and number.lstrip("-").replace(".", "", 1).isdigit() and float(number) <= 0:
            if name == "--processes" and number == "-1":
                continue  # one for each core
            raise LoadError(f"{name} {number}: must be more than 0.")


def _arguments(wishes: Wishes, file: Path, started: Started | None) -> Iterator[str]:
    yield from ("-f", str(file))
    if wishes.worker:
        # Everything else comes from the master.
        yield from wishes.locust
        return
    given = {option.partition("=")[0] for option in wishes.locust}
    # Locust listens on all addresses unless told.
    if wishes.web and "--web-host" not in given and "LOCUST_WEB_HOST" not in os.environ:
        yield "--web-host=127.0.0.1"
    if "--processes" in given and "--master-bind-host" not in given and "LOCUST_MASTER_BIND_HOST" not in os.environ:
        yield "--master-bind-host=127.0.0.1"
    if not wishes.web:
        yield from ("--headless", "--only-summary")
        if not any(option.partition("=")[0] in ("--loglevel", "-L") for option in wishes.locust):
            yield from ("--loglevel", "WARNING")
    target = started.target if started is not None else wishes.target
    values = {
        "--users": wishes.devices,
        "--run-time": wishes.time,
        "--spawn-rate": wishes.rate,
        "--every": wishes.every,
        "--enroll": wishes.enroll,
        "--target": target,
        "--courier": wishes.courier,
        "--store": wishes.store,
        "--platforms": wishes.platforms,
        "--keys": wishes.keys,
        "--patience": wishes.patience,
        "--seed": wishes.seed,
        "--concurrency": wishes.concurrency,
    }
    for option, value in values.items():
        if value is not None:
            yield f"{option}={value}"
    for option, several in (
        ("--trust", wishes.trust),
        ("--allow-host", wishes.allow_host),
        ("--fail-if", wishes.fail_if),
    ):
        for entry in several:
            yield f"{option}={entry}"
    if wishes.allow_http:
        yield "--allow-http"
    if wishes.fresh:
        yield "--fresh"
    yield from wishes.locust


@contextlib.contextmanager
def _locust(command: Sequence[str], environment: dict[str, str]) -> Iterator[Callable[[], int]]:
    """Run Locust; call what this yields to wait for its end. Ctrl-C is Locust's to answer, SIGTERM is passed on."""
    process = subprocess.Popen(command, env=environment)

    def ignore(number: int, frame: FrameType | None) -> None:
        """The terminal has sent it to Locust, too, which ends in good order and says how far it came."""

    def forward(number: int, frame: FrameType | None) -> None:
        process.terminate()

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, ignore),
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
    }
    try:
        yield process.wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.kill()
            process.wait()


def _judged(code: int, finished: bool, wishes: Wishes) -> int:
    """Our exit code for Locust's: it ends with 1 for much that is no verdict, such as workers that never came."""
    if code in (PASSED, MISTAKE, NOT_CARRIED_OUT, INTERRUPTED):
        return code
    if -code in (signal.SIGINT, signal.SIGTERM):
        return INTERRUPTED
    return FAILED if finished and code == FAILED and not wishes.worker else NOT_CARRIED_OUT
