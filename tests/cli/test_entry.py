"""From the words of a command line to an exit code and one message."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import mdmsim.cli.app
from mdmsim import __version__
from mdmsim.cli.entry import run
from tests.cli.commands import COMMAND, CommandLine, process

SUBCOMMANDS = (
    *("demo", "run", "enroll", "devices", "show", "connect", "remove", "up", "serve", "apns", "dep", "proxy", "load"),
    *("keys", "doctor"),
)

#: What takes long to import, and has no business in a help text.
HEAVY = ("trio", "cryptography", "httpx", "uvicorn", "starlette", "rich", "msgspec", "yaml", "faker")


def test_help_names_every_subcommand_and_the_exit_codes(mdmsim: CommandLine) -> None:
    ended = mdmsim("--help")
    assert ended.code == 0
    assert [name for name in SUBCOMMANDS if f"\n  {name} " not in ended.out] == []
    assert "Exit codes" in ended.out


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_explains_its_options(mdmsim: CommandLine, name: str) -> None:
    ended = mdmsim(name, "--help")
    assert ended.code == 0
    # typer's own words for types that nobody named would be noise.
    assert re.findall(r"--[a-z-]+ <[^>]*>", ended.out) == []


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from mdmsim.cli.entry import run; run(['enroll', '--help']);"
        f"sys.exit(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.stderr == "\n" or ended.stderr == ""


def test_version_is_the_packages(mdmsim: CommandLine) -> None:
    assert mdmsim("--version").out == f"mdmsim {__version__}\n"


def test_the_module_runs_as_the_command_does() -> None:
    ended = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, f"mdmsim {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("upp",), "mdmsim: No such command 'upp'"),
        (("up", "--colour"), "mdmsim up: No such option: --colour"),
        (("up", "--server-port", "many"), "mdmsim up: --server-port "),
        (("up", "--server-port", "70000"), "mdmsim up: --server-port "),
        (("enroll",), "mdmsim enroll: Missing argument 'PROFILE_OR_URL'"),
        (("run",), "mdmsim run: Missing argument 'PATH...'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    mdmsim: CommandLine, arguments: tuple[str, ...], says: str
) -> None:
    ended = mdmsim(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(says)
    assert ended.err.count("\n") == 1
    assert "--help" in ended.err


def test_without_a_subcommand_the_help_is_shown(mdmsim: CommandLine) -> None:
    ended = mdmsim()
    assert ended.code == 2
    assert "Usage: mdmsim" in ended.err


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def app(*arguments: object, **settings: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(mdmsim.cli.app, "app", app)


@pytest.mark.usefixtures("bug")
def test_a_bug_is_a_short_message_that_says_how_to_get_the_traceback(mdmsim: CommandLine) -> None:
    ended = mdmsim("up")
    assert ended.code == 3
    assert ended.err == (
        "a bug in mdmsim: ZeroDivisionError: division by zero. MDMSIM_DEBUG=1 before the command shows where\n"
    )


@pytest.mark.usefixtures("bug")
def test_a_bug_shows_its_traceback_where_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDMSIM_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["up"])


def test_output_that_nobody_reads_any_more_is_no_bug() -> None:
    with process("apns") as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.wait(30) == 130
        assert running.stderr.read() == ""
        running.stdout = None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("apns", "--port", "x"), "mdmsim apns: --port x: takes a whole number from 0 to 65535."),
        (("up", "--server-port", "70000"), "mdmsim up: --server-port 70000: takes a whole number from 0 to 65535."),
        (
            ("apns", "certificate", "--out", "x", "--days", "1.5"),
            "mdmsim apns certificate: --days 1.5: takes a whole number from -3650 to 3650.",
        ),
        (
            ("apns", "certificate", "--out", "x", "--environment", "staging"),
            "mdmsim apns certificate: --environment staging: takes production, sandbox or both.",
        ),
        (("keys", "--count", "-1"), "mdmsim keys: --count -1: takes a whole number, 0 or more."),
        (("apns", "--settings", '{"json_payload": 3}'), "--settings: json_payload: takes true or false, not a whole"),
        (("apns", "--front", "{"), "--front: not JSON: it ends too early. Write a JSON object, e.g. "),
        (("dep", "--settings", "[]"), "--settings: takes an object, not a list. Write a JSON object, e.g. "),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(mdmsim: CommandLine, words: tuple[str, ...], says: str) -> None:
    ended = mdmsim(*words)
    assert (ended.code, ended.err.startswith(says)) == (2, True), ended.err
