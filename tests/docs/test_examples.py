"""Every example of the documentation does what the page says, against a server on this machine."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import process
from tests.docs.pages import STORIES, Block, blocks
from tests.docs.reader import Reader, Wrong

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def world(data: Path) -> Iterator[dict[str, Any]]:
    """What `mdmsim up --json` says, while it runs."""
    with process("up", "--data", data, "--json") as running:
        assert running.stdout is not None and running.stderr is not None
        said = running.stdout.readline()
        assert said, running.stderr.read()
        yield json.loads(said)
        running.send_signal(signal.SIGTERM)
        running.wait(20)


@pytest.fixture
def reader(world: dict[str, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDM_API_KEY", world["server"]["api_key"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(data))  # the reader's own keys stay theirs
    monkeypatch.delenv("MDMSIM_DEBUG", raising=False)
    return Reader(world, data, tmp_path)


@pytest.mark.parametrize("page", STORIES)
def test_whoever_does_what_a_page_says_gets_what_it_promises(reader: Reader, page: str) -> None:
    for block in blocks(page):
        reader.read(block)
    reader.try_tests(blocks(page))
    assert reader.ran or page == "docs/command-line.md", f"{page}: nothing of it was tried"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sh", "mdmsim devices --store nothing.sqlite\n"),
        ("sh", "pytest nothing.py\n"),
        ("sh", "rm -rf everything\n"),
        ("yaml", "scenario: a/b\ntitle: c\ndevices: {d: {}}\nsteps: [{jump: {}}]\n"),
    ],
)
def test_an_example_that_does_not_work_is_named_by_its_line(reader: Reader, language: str, text: str) -> None:
    with pytest.raises(Wrong, match=r"^docs/page\.md:7: "):
        reader.read(Block("docs/page.md", 7, language, text))


def test_a_test_that_does_not_pass_is_named_by_its_line(reader: Reader) -> None:
    block = Block("docs/page.md", 7, "python", "def test_nothing():\n    assert False\n")
    reader.read(block)
    with pytest.raises(Wrong, match=r"^docs/page\.md:7: did not pass"):
        reader.try_tests((block,))
