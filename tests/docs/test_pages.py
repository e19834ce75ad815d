"""Links lead somewhere, commands and options exist, and every example says whether it is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import (
    PAGES,
    ROOT,
    STORIES,
    anchors,
    blocks,
    commands,
    complaint,
    links,
    name_of,
    options_of,
    prose,
    spans,
    tree,
)

NAMES = [name_of(page) for page in PAGES]

#: Blocks in these languages are examples that someone would type; the others show output or layouts.
EXAMPLES = ("sh", "python", "yaml")


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    wrong = []
    for where, target in links(name):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists():
            wrong.append(f"{where}: {target} is not there")
        elif anchor and file.suffix == ".md" and anchor not in anchors(name_of(file.resolve())):
            wrong.append(f"{where}: {path or name} has no heading #{anchor}")
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_in_a_block_could_be_run(name: str) -> None:
    wrong = [
        f"{line.where}: {line.text}: {said}"
        for block in blocks(name)
        if block.language == "sh"
        for line in commands(block)
        if line.words[:1] == ["mdmsim"] and (said := complaint(line.words))
    ]
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_named_in_the_text_exists(name: str) -> None:
    wrong = []
    for where, code in spans(name):
        words = code.split()
        if words[:1] != ["mdmsim"] or len(words) < 2:
            continue
        if words[1].startswith("-") or not re.fullmatch(r"[a-z]+", words[1]):
            continue  # mdmsim --version, mdmsim COMMAND --help
        if words[1] not in tree():
            wrong.append(f'{where}: `{code}`: no subcommand "{words[1]}"')
            continue
        named = [word.partition("=")[0] for word in words[2:] if word.startswith("--") and word != "--"]
        wrong += [f"{where}: `{code}`: no {option}" for option in named if option not in options_of(*words[1:3])]
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_that_is_named_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [(where, code.split()[1]) for where, code in spans(name) if re.fullmatch(r"make [a-z]+", code)]
    for block in blocks(name):
        if block.language == "sh":
            named += [(line.where, line.words[1]) for line in commands(block) if line.words[:1] == ["make"]]
    assert [f"{where}: make {target}" for where, target in named if target not in targets] == []


@pytest.mark.parametrize("name", STORIES)
def test_what_is_only_shown_says_why(name: str) -> None:
    wrong = [
        block.where
        for block in blocks(name)
        if block.note and not re.fullmatch(r"(run with sh|run exit=1|shown, because .{10,})", block.note)
    ]
    assert wrong == []


def test_every_subcommand_has_its_place_in_the_reference() -> None:
    headings = " ".join(line for _, line in prose("docs/command-line.md") if line.startswith("## "))
    assert [name for name in tree() if not re.search(rf"`(mdmsim )?{name}\b", headings)] == []


def test_the_reference_lists_options_that_exist_and_forgets_none() -> None:
    """Sections with a table of options: what the table names, and what the command has."""
    wrong = []
    section = ""
    tables: dict[str, set[str]] = {}
    for number, line in prose("docs/command-line.md"):
        if line.startswith("## "):
            found = re.match(r"## `mdmsim ([a-z]+(?: [a-z-]+)?)", line)
            section = found[1] if found else ""
        elif section and line.startswith("| `--"):
            cell = line.split("|")[1]
            for option in re.findall(r"--[a-z-]+", cell):
                tables.setdefault(section, set()).add(option)
                if option not in options_of(*section.split()):
                    wrong.append(f"docs/command-line.md:{number}: mdmsim {section} has no {option}")
    for command, listed in tables.items():
        wrong += [
            f"mdmsim {command} {option} is not listed" for option in options_of(*command.split()) - listed - {"--help"}
        ]
    assert wrong == []


def test_no_page_names_a_path_of_this_machine() -> None:
    assert [name for name in NAMES if re.search(r"/(work|root)/", Path(ROOT / name).read_text(encoding="utf-8"))] == []
