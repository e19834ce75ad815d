from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import CommandLine, process


@pytest.fixture
def mdmsim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Runs command lines in this process. They see no terminal, and a bug in them is told as users see it."""
    monkeypatch.delenv("MDMSIM_DEBUG", raising=False)
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def up() -> Iterator[dict[str, Any]]:
    """What `mdmsim up --json` says, while it runs."""
    with process("up", "--json") as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        assert said, running.stderr.read() if running.stderr is not None else ""
        yield json.loads(said)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


@pytest.fixture
def keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key pool of this test's own, empty."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache / "mdmsim" / "keys"
