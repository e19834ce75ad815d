"""Ctrl-C at any moment: a clear message, exit code 130, and no process left behind. Real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mdmsim.cli.stories import stories
from tests.cli.commands import alive, descendants, process

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("keys")]

#: Commands, the words after whose coming they are interrupted, and whether as by a terminal, which tells all processes.
MOMENTS = [
    ("demo", " cases of ", False),
    ("demo", "fake APNs", True),
    ("demo", "reference server", True),
    ("demo", "Authenticate", False),
    ("up", "fake APNs", True),
    ("up", "Ctrl-C ends it.", True),
    ("run", "Authenticate", False),
]


def arguments(command: str, folder: Path) -> list[str]:
    if command == "run":
        return ["run", str(stories().resolve())]
    return ["demo", "--report", str(folder / "report")] if command == "demo" else ["up"]


def wait_for(running: subprocess.Popen[str], words: str) -> None:
    assert running.stdout is not None
    for line in running.stdout:
        if words in line:
            return
    raise AssertionError(f"{words!r} never came")


@pytest.mark.parametrize(("command", "words", "whole_group"), MOMENTS)
def test_ctrl_c_ends_everything(command: str, words: str, whole_group: bool, tmp_path: Path) -> None:
    with process(*arguments(command, tmp_path), TMPDIR=str(tmp_path)) as running:
        wait_for(running, words)
        children = descendants(running.pid)
        if whole_group:
            os.killpg(running.pid, signal.SIGINT)
        else:
            running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
        assert (running.returncode, said) == (130, "interrupted\n")
        assert alive(children) == set()
    assert list(tmp_path.glob("mdmsim-*")) == []  # keys and databases are gone, too


@pytest.mark.parametrize("command", ["demo", "up", "run"])
def test_ctrl_c_before_anything_was_opened_is_as_clear(command: str, tmp_path: Path) -> None:
    # As soon as Python has got as far as this package: the signal comes in the middle of an import. A shell without job
    # control has its background jobs ignore SIGINT, which children inherit, so the test asks for it first.
    program = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import mdmsim.cli; from importlib.abc import MetaPathFinder\n"
        "class Interrupt(MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ipaddress' or name == 'mdmsim.clock':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt()); sys.modules.pop('ipaddress', None)\n"
        f"sys.argv = ['mdmsim', *{arguments(command, tmp_path)!r}]; sys.exit(mdmsim.cli.main())"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path: Path) -> None:
    with process(*arguments("demo", tmp_path), TMPDIR=str(tmp_path)) as running:
        wait_for(running, "reference server")
        children = descendants(running.pid)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=30)
        assert (running.returncode, said) == (130, "interrupted\n")
        assert alive(children) == set()
