"""pytest plays scenario files, and gives Python tests a world of simulated devices: `world`, `device`, `server`.

For tests of push clients and of servers outside of any world there is a fake APNs alone: `fake_apns`.

    pytest scenarios/                                  every case a test, in process, in virtual time
    pytest scenarios/ --mdmsim-live                    the same against server processes on loopback
    def test_it(device): device.enroll()               three lines to a device that enrols

Loaded with every pytest run where mdmsim is installed: nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mdmsim.printable import printable

if TYPE_CHECKING:
    from mdmsim.fakeapns import FakeApns
    from mdmsim.pki.keys import KeySource
    from mdmsim.report.model import Case as CaseResult
    from mdmsim.scenario.blocking import Device, Server, World
    from mdmsim.scenario.live import LiveSession
    from mdmsim.scenario.model import Case
    from mdmsim.scenario.pytest_report import Diary

#: A file in a folder of this name is taken for scenarios if it looks like them; any file named on the command line is.
FOLDER = "scenarios"
_LOOKS_LIKE_SCENARIOS = re.compile(rb"^(-\s+)?(scenario|steps)\s*:", re.MULTILINE)

MARKERS = (
    "mdmsim(kind, os, model, supervised, passcode): what the fixture `device` is, e.g. mdmsim(kind='mac-intel')",
    "mdmsim_scenario: a case of a scenario file",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mdmsim", "mdmsim: simulated Apple devices")
    group.addoption("--mdmsim-live", action="store_true", help="play scenarios against server processes on loopback")
    group.addoption("--mdmsim-seed", metavar="N", default=None, help="the seed of every random choice (default: 2026)")
    group.addoption(
        "--mdmsim-report",
        metavar="DIR",
        default=None,
        help="write report.html, report.json, junit.xml and transcript.har there",
    )


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[_SESSION] = _Session(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip a test that came to something which cannot be judged here: that is no fault of the server under test."""
    try:
        return (yield)
    except Exception as error:
        if "mdmsim.scenario.verdict" in sys.modules:
            from mdmsim.scenario.verdict import NotApplicable

            if isinstance(error, NotApplicable):
                pytest.skip(str(error))
        raise


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    ours = session.config.stash[_SESSION]
    ours.close()
    if not ours.finish():
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    said = config.stash[_SESSION].said
    if said is not None:
        terminalreporter.write_line(said)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    session = parent.session
    if not session.isinitpath(file_path):
        if FOLDER not in file_path.parent.parts:
            return None
        try:
            if not _LOOKS_LIKE_SCENARIOS.search(file_path.read_bytes()):
                return None
        except OSError:
            return None
    collected: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path)
    return collected


class ScenarioFile(pytest.File):
    """A YAML file of scenarios; each case is a test."""

    def collect(self) -> Iterable[pytest.Item]:
        from mdmsim.scenario.errors import ScenarioError
        from mdmsim.scenario.load import load_file

        try:
            scenarios = load_file(self.path, _shown(self.path, self.config))
        except ScenarioError as error:
            raise self.CollectError(str(error)) from None
        for scenario in scenarios:
            for case in scenario.cases:
                yield CaseItem.from_parent(self, name=case.id, case=case)


class CaseItem(pytest.Item):
    """A scenario on one platform."""

    def __init__(self, *, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case
        self.add_marker(pytest.mark.mdmsim_scenario)
        self.extra_keyword_matches.update((case.platform, case.scenario.story, *case.scenario.text.needs))

    def runtest(self) -> None:
        result = self.config.stash[_SESSION].play(self.case)
        if result.grade == "not-applicable":
            pytest.skip(printable(result.observed or "not applicable"))
        if not result.ok:
            raise CaseFailed(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, CaseFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.case.scenario.line - 1, self.case.id


class CaseFailed(Exception):
    """A case that did not pass; the text is the six lines that say why."""

    def __init__(self, result: CaseResult) -> None:
        from mdmsim.scenario.failure import failure_text

        super().__init__(failure_text(result))
        self.result = result


class _Session:
    """What the tests of one pytest process share: keys, one live world, the results for the report."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._results: list[CaseResult] = []
        self._keys: KeySource | None = None
        self._live: LiveSession | None = None
        self._diary: Diary | None = None
        self.said: str | None = None

    @property
    def live(self) -> bool:
        return bool(self._config.getoption("--mdmsim-live"))

    @property
    def seed(self) -> int | str | None:
        asked = self._config.getoption("--mdmsim-seed")
        return int(asked) if asked is not None and re.fullmatch(r"-?[0-9]{1,18}", asked) else asked

    @property
    def directory(self) -> Path | None:
        """Where the report goes, if one was asked for."""
        asked = self._config.getoption("--mdmsim-report")
        return self._config.invocation_params.dir / asked if asked else None

    @property
    def keys(self) -> KeySource:
        """A few keys for all devices: a test run should not make a thousand."""
        from mdmsim.pki.keys import SharedKeys

        if self._keys is None:
            self._keys = SharedKeys(8)
        return self._keys

    def play(self, case: Case) -> CaseResult:
        from mdmsim.scenario.runner import DEFAULT_SEED, run_in_process

        if not self.live or case.scenario.in_process_only:
            result = run_in_process(
                case, seed=self.seed, keys=self.keys, observers=self._observers(), among_live=self.live
            )
        else:
            if self._live is None:
                from mdmsim.scenario.live import LiveSession

                seed = DEFAULT_SEED if self.seed is None else self.seed
                self._live = LiveSession(seed=seed, keys=self.keys, observers=self._observers())
            result = self._live.run(case)
        if self.directory is not None:
            self._results.append(result)
        return result

    def _observers(self) -> tuple[Diary, ...]:
        """In a worker of pytest-xdist: the diary from which the main process makes the report."""
        worker = getattr(self._config, "workerinput", None)
        if worker is None or self.directory is None:
            return ()
        if self._diary is None:
            from mdmsim.scenario.pytest_report import Diary

            self._diary = Diary(self.directory, str(worker["workerid"]))
        return (self._diary,)

    def close(self) -> None:
        """End the live world, if there is one."""
        live, self._live = self._live, None
        if live is not None:
            live.close()

    def finish(self) -> bool:
        """Write the report, if one was asked for; whether that went well."""
        if self._diary is not None:
            self._diary.close()
        if self.directory is None or hasattr(self._config, "workerinput"):
            return True
        from mdmsim.scenario.pytest_report import finish

        command = " ".join(("pytest", *map(str, self._config.invocation_params.args)))
        good, self.said = finish(self.directory, self._results, seed=self.seed, live=self.live, command=command)
        return good


_SESSION = pytest.StashKey[_Session]()


def _shown(path: Path, config: pytest.Config) -> str:
    """A file as people would type it: relative to where they are."""
    try:
        return str(path.relative_to(config.invocation_params.dir))
    except ValueError:
        return str(path)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A world with a reference server and a fake APNs, in virtual time; live with --mdmsim-live."""
    from mdmsim.scenario.blocking import open_world
    from mdmsim.scenario.runner import DEFAULT_SEED

    session = request.config.stash[_SESSION]
    seed = DEFAULT_SEED if session.seed is None else session.seed
    with open_world(seed=seed, live=session.live, keys=session.keys) as opened:
        yield opened


@pytest.fixture
def server(world: World) -> Server:
    """The world's MDM server, as its administrator sees it."""
    return world.server


@pytest.fixture
def device(world: World, request: pytest.FixtureRequest) -> Device:
    """A device out of the box: an iPhone, or what the marker `mdmsim` says."""
    marker = request.node.get_closest_marker("mdmsim")
    return world.device(**(marker.kwargs if marker is not None else {}))


@pytest.fixture
def fake_apns(request: pytest.FixtureRequest) -> Iterator[FakeApns]:
    """A fake APNs on loopback, over TLS and HTTP/2, new for each test: it starts in a hundredth of a second."""
    from mdmsim.fakeapns import FakeApns

    seed = request.config.stash[_SESSION].seed
    with FakeApns(seed=None if seed is None else str(seed)) as apns:
        yield apns
