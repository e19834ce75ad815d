"""The documentation as data: fenced blocks, links, headings, and the commands that are named."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

#: The pages whose every example is run, in the order of their lines, as a reader would.
STORIES = (
    "README.md",
    "docs/first-ten-minutes.md",
    "docs/fake-apns.md",
    "docs/looking-inside-apns.md",
    "docs/testing-your-own-server.md",
    "docs/writing-a-scenario.md",
    "docs/writing-a-pytest-test.md",
    "docs/load-testing.md",
    "docs/command-line.md",
)

_FENCE = re.compile(r"^(\s*)```(.*)$")
_NOTE = re.compile(r"^\s*<!-- test: (.*?) -->\s*$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `line`: of its first line of text. `note`: what an HTML comment right above says of its test."""

    page: str
    line: int
    language: str
    text: str
    note: str = ""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def shown(self) -> bool:
        """Only to be looked at: `<!-- test: shown, because ... -->`."""
        return self.note.startswith("shown")


@dataclass(frozen=True, slots=True)
class Line:
    """A command of a shell block, continuation lines joined, without comment and prompt."""

    where: str
    text: str

    @property
    def words(self) -> list[str]:
        words = shlex.split(self.text, comments=True)
        if words and words[-1] == "&":
            words.pop()
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words and words[0].endswith("/mdmsim"):
            words[0] = "mdmsim"
        return words


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def blocks(name: str) -> tuple[Block, ...]:
    """The fenced blocks of a page, in order. Raises ValueError for a fence that is never closed."""
    found: list[Block] = []
    opened: tuple[int, str, str, str] | None = None
    inside: list[str] = []
    note = ""
    for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, inside = (number + 1, fence[2].strip(), note, fence[1]), []
                note = ""
            elif said := _NOTE.match(line):
                note = said[1]
            elif line.strip():
                note = ""
        elif fence and not fence[2].strip():
            start, language, told, indent = opened
            text = "".join(f"{text.removeprefix(indent)}\n" for text in inside)
            found.append(Block(name, start, language, text, told))
            opened = None
        else:
            inside.append(line)
    if opened is not None:
        raise ValueError(f"{name}:{opened[0]}: the block is never closed")
    return tuple(found)


def commands(block: Block) -> list[Line]:
    """The commands of a shell block."""
    found: list[Line] = []
    joined, start = "", 0
    for offset, line in enumerate(block.text.splitlines()):
        start = start if joined else block.line + offset
        joined += line.removeprefix("$ ")
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        if joined.strip() and not joined.lstrip().startswith("#"):
            found.append(Line(f"{block.page}:{start}", joined.strip()))
        joined = ""
    return found


def prose(name: str) -> list[tuple[int, str]]:
    """The lines outside of fenced blocks, numbered."""
    fenced = {
        number for block in blocks(name) for number in range(block.line - 1, block.line + block.text.count("\n") + 1)
    }
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [(number, line) for number, line in enumerate(lines, 1) if number not in fenced]


def links(name: str) -> list[tuple[str, str]]:
    """Where a link stands, and where it leads."""
    return [(f"{name}:{number}", target) for number, line in prose(name) for target in _LINK.findall(line)]


def spans(name: str) -> list[tuple[str, str]]:
    """Pieces of code within text."""
    return [(f"{name}:{number}", code) for number, line in prose(name) for code in _SPAN.findall(line)]


def anchors(name: str) -> set[str]:
    """What a link may name after #, as GitHub makes it of headings."""
    headings = [line.lstrip("#").strip() for _, line in prose(name) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def tree() -> dict[str, Any]:
    """The subcommands of `mdmsim`, as click knows them."""
    import typer.main

    from mdmsim.cli.app import app

    found: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    return found


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `mdmsim WORDS` runs, which may be one of a group's, and the words that are left for it."""
    command, rest = tree()[words[0]], words[1:]
    inner = getattr(command, "commands", {})
    return (inner[rest[0]], rest[1:]) if rest and rest[0] in inner else (command, rest)


def options_of(*words: str) -> set[str]:
    """All spellings of a subcommand's options: of `connect`, or of `apns certificate`."""
    command, _ = resolved(list(words))
    declared = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return {name for name in declared if name.startswith("-")} | {"--help"}


def complaint(words: list[str]) -> str | None:
    """What is wrong with a whole command line `mdmsim ...`; None for one that could be run."""
    if len(words) == 1 or words[1].startswith("-"):
        return None if words[1:] in ([], ["--help"], ["--version"]) else f"no such option: {words[1]}"
    if words[1] not in tree():
        return f'no such subcommand: "{words[1]}"'
    if "--help" in words:
        return None
    try:
        command, rest = resolved(words[1:])
        command.make_context(words[1], rest)
    except Exception as error:
        return getattr(error, "format_message", error.__str__)() or type(error).__name__
    return None
