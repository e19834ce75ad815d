"""A reader who does what a page says, from its first line to its last, in a folder of their own."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdmsim.cli.entry import run
from tests.cli.commands import process
from tests.docs.pages import ROOT, Block, Line, commands

#: Commands that serve until they are stopped: started, waited for, and stopped again.
SERVERS = ("up", "serve", "apns", "dep", "proxy")

#: Commands that are tried elsewhere and would take too long here; `test_pages` checks their options.
ELSEWHERE = ("demo", "load", "keys")

#: Programs that change the reader's machine, or that stand for the whole of another test run.
NOT_RUN = ("make", "cd", "pip", "locust")

#: Stands for the scenarios that the reader has; the real ones are played elsewhere.
STORY = """\
scenario: enrollment/short
title: A device enrols
platforms: [ios]
devices: {device: {}}
steps:
  - enroll: {device: device}
"""


class Wrong(AssertionError):
    """An example did not do what the page says; the text begins with file:line."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")


class Reader:
    """`world`: what `mdmsim up --json` said, and `data`: its folder. `folder`: where the reader is."""

    def __init__(self, world: dict[str, Any], data: Path, folder: Path) -> None:
        self._world, self._data, self._folder = world, data, folder
        self._served = 0
        self._tested: set[str] = set()
        self.ran: list[str] = []
        """What was tried, as file:line."""
        self._material()

    def _material(self) -> None:
        """What a reader has: a CA, a push certificate, a world's folder, and `mdmsim` on the path."""
        folder = self._folder
        shutil.copy(self._world["server"]["ca_file"], folder / "lab-ca.pem")
        shutil.copy(self._world["apns"]["push_file"], folder / "push.pem")
        (folder / "world").symlink_to(self._data)
        self._write("scenarios/enrollment.yaml", STORY)
        programs = folder / "bin"
        programs.mkdir()
        for name, words in (("mdmsim", "mdmsim.cli"), ("python3", "")):
            program = programs / name
            module = f"-m {words} " if words else ""
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
            program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        paths = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
        return os.environ | {
            "PATH": f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": paths.rstrip(os.pathsep),
            "MDM_API_KEY": self._world["server"]["api_key"],
            "ADMIN": self._world["apns"]["admin_url"],
            "KEY": self._world["apns"]["admin_key"],
        }

    def real(self, text: str) -> str:
        """A text of the page, with the addresses of this world in place of the page's."""
        server, courier = self._world["server"], self._world["courier"]
        for shown, meant in (
            ("https://mdm.example.com/enroll", server["enroll_url"]),
            ("https://your.server/enroll", server["enroll_url"]),
            ("https://127.0.0.1:8443", server["url"]),
            ("127.0.0.1:5223", courier["url"].partition("://")[2]),
        ):
            text = text.replace(shown, meant)
        return text

    # --- blocks -------------------------------------------------------------------------------------------------

    def read(self, block: Block) -> None:
        """Do what a block says. Raises Wrong."""
        act: Callable[[Block], None] | None = {"sh": self._shell, "yaml": self._yaml, "python": self._python}.get(
            block.language
        )
        if act is None or block.shown:
            return
        act(block)
        self.ran.append(block.where)

    def _shell(self, block: Block) -> None:
        if block.note == "run with sh":
            if shutil.which("curl") is None and "curl" in block.text:
                return
            self._ended(block.where, self._process(["sh", "-e", "-c", self.real(block.text)]))
            return
        for line in commands(block):
            self._command(line)

    def _yaml(self, block: Block) -> None:
        name = self._keep(block)
        if "scenario:" in block.text and not name:
            self._told(f"{block.where}", *self._mdmsim("run", str(self._write("example.yaml", block.text))))

    def _python(self, block: Block) -> None:
        if "locust" in block.text:
            compile(block.text, block.where, "exec")  # Locust would patch this process: tests/load runs them
            return
        if "def test_" not in block.text:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), {})  # noqa: S102 - an example
            return
        self._keep(block) or self._write(f"test_line_{block.line}.py", block.text)

    def _keep(self, block: Block) -> str | None:
        """A block whose first line is a comment with a file's name is that file."""
        first = block.text.partition("\n")[0]
        name = first.removeprefix("# ")
        if first == name or " " in name or "." not in name:
            return None
        self._write(name, self.real(block.text))
        return name

    def _write(self, name: str, text: str) -> Path:
        file = self._folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    # --- commands -----------------------------------------------------------------------------------------------

    def _command(self, line: Line) -> None:
        words = [self.real(word) for word in line.words]
        match words:
            case ["mdmsim", command, *_] if command in ELSEWHERE:
                return
            case ["mdmsim", "apns", "certificate", *_]:
                self._told(line.where, *self._mdmsim(*words[1:]))
            case ["mdmsim", command, *rest] if command in SERVERS or "--listen" in rest:
                self._serve(line.where, [command, *rest])
            case ["mdmsim", *rest]:
                if "enroll.mobileconfig" in rest:
                    self._fetch_profile()
                if rest[0] == "enroll" and "--trust" not in rest and "enroll.mobileconfig" not in rest:
                    rest += ["--trust", "lab-ca.pem"]  # the reader's server has a certificate that everybody trusts
                self._told(line.where, *self._mdmsim(*rest))
            case ["pytest", *rest]:
                self._ended(line.where, self._pytest(*rest))
                self._tested |= set(rest)
            case [program, *_] if program in NOT_RUN:
                return
            case _:
                raise Wrong(line.where, f'nobody knows how to try "{line.text}"; say "shown, because" or "run with sh"')

    def _mdmsim(self, *words: str) -> tuple[int, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(words)
        return code, f"mdmsim {' '.join(words)} ended with {code}\n{out.getvalue()}{err.getvalue()}"

    def _told(self, where: str, code: int, said: str) -> None:
        if code != 0:
            raise Wrong(where, said)

    def _fetch_profile(self) -> None:
        """What a person downloads from their server: its challenge is good for one device."""
        server = self._world["server"]
        context = ssl.create_default_context(cafile=server["ca_file"])
        with urllib.request.urlopen(server["enroll_url"], context=context, timeout=20) as answer:
            (self._folder / "enroll.mobileconfig").write_bytes(answer.read())

    def _serve(self, where: str, words: list[str]) -> None:
        """Start it as it is written, but for its ports and its folder, and stop it when it is ready."""
        self._served += 1
        kept: list[str] = []
        for number, word in enumerate(words):
            previous = words[number - 1] if number else ""
            if word.endswith("port") and word.startswith("--"):
                continue
            if previous.startswith("--") and previous.endswith("port"):
                continue
            kept.append(str(self._folder / f"served-{self._served}") if previous == "--data" else word)
        with process(*kept) as running:
            assert running.stdout is not None and running.stderr is not None
            said = ""
            while "Ctrl-C ends it" not in said and not said.startswith("{"):  # the line of --json
                more = running.stdout.readline()
                if not more:
                    raise Wrong(where, f"mdmsim {' '.join(kept)} ended\n{said}{running.stderr.read()}")
                said += more
            running.send_signal(signal.SIGTERM)
            if running.wait(20) != 0:
                raise Wrong(where, f"mdmsim {' '.join(kept)} ended with {running.returncode}\n{running.stderr.read()}")

    def _pytest(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._process([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words])

    def _process(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, capture_output=True, text=True, timeout=120, cwd=self._folder, env=self.environment, check=False
        )

    def _ended(self, where: str, ended: subprocess.CompletedProcess[str], code: int = 0) -> None:
        if ended.returncode != code:
            raise Wrong(where, f"ended with {ended.returncode}, not {code}\n{ended.stdout}{ended.stderr}")

    # --- tests --------------------------------------------------------------------------------------------------

    def try_tests(self, page: tuple[Block, ...]) -> None:
        """Run every test that the page shows and has not run yet, all in one go. Raises Wrong for the block that went another way."""
        shown = {
            (
                block.text.partition("\n")[0].removeprefix("# ")
                if block.text.startswith("# ")
                else f"test_line_{block.line}.py"
            ): block
            for block in page
            if block.language == "python" and "def test_" in block.text and not block.shown
        }
        for good, files in (
            (True, [name for name, block in shown.items() if block.note != "run exit=1" and name not in self._tested]),
            (False, [name for name, block in shown.items() if block.note == "run exit=1"]),
        ):
            if not files:
                continue
            ended = self._pytest("-rA", *files)
            said = ended.stdout + ended.stderr
            for name in files:
                if (f"FAILED {name}" in said or f"ERROR {name}" in said or f"PASSED {name}" not in said) is good:
                    raise Wrong(shown[name].where, f"{'did not pass' if good else 'passed'}\n{said}")
            if not good:
                self._as_shown(page, shown[files[0]], said)

    def _as_shown(self, page: tuple[Block, ...], block: Block, said: str) -> None:
        """The block after a failing test shows how it fails."""
        shown = next(other for other in page if other.line > block.line and not other.language)
        for line in filter(str.strip, shown.text.splitlines()):
            if line not in said:
                raise Wrong(shown.where, f'pytest does not say "{line}"\n{said}')
