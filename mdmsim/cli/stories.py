"""`mdmsim demo` and `mdmsim run`: scenarios, told as they happen, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdmsim.cli.exits import Mistake
from mdmsim.cli.options import option

REPORT = Path("mdmsim-report")

#: The seed where none is asked for; a copy of the runner's, which is heavy to import. A test compares the two.
DEFAULT_SEED = 2026

#: In which order the demo tells its stories.
DEMO = ("enrollment", "automated-enrollment", "replacement", "restore", "401-unenroll", "lock", "wipe")

#: What whoever has seen the demo wants to try next.
AFTER_DEMO = "mdmsim enroll https://your.server/enroll --count 3        docs/testing-your-own-server.md"


def demo(
    seed: Annotated[int, option("The same seed makes the same devices and the same chances.", "N")] = DEFAULT_SEED,
    report: Annotated[Path, option("Where report.html, report.json, junit.xml and transcript.har go.", "DIR")] = REPORT,
) -> int:
    """The whole story on loopback: devices enrol with a real server, obey, are restored, turned away, locked and wiped.

    Plays the scenarios that are marked `demo: true` against the reference server, the fake APNs and the fake DEP, all
    as processes on this machine. Nothing of Apple's is touched. Exit code 0 only if all passed.
    """
    from mdmsim.cli.playing import Wishes, play

    return play(
        Wishes(
            paths=(stories(),),
            live=True,
            seed=seed,
            report=report,
            command=f"mdmsim demo --seed {seed}",
            next_step=AFTER_DEMO,
            story_order=DEMO,
        )
    )


def run(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Scenario files, or folders of them.")],
    seed: Annotated[
        int | None, option(f"The same seed makes the same run (default: the file's own, or {DEFAULT_SEED}).", "N")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live/--in-process", help="Server processes and sockets, or all in here in virtual time.")
    ] = False,
    target: Annotated[
        Path | None, option("Target file of the server to run against (default: the reference server).", "FILE")
    ] = None,
    report: Annotated[
        Path | None, option("Write report.html, report.json, junit.xml and transcript.har there.", "DIR")
    ] = None,
    as_json: Annotated[
        bool, option("One line of JSON at the end, and nothing else on stdout.", None, "--json")
    ] = False,
) -> int:
    """Play scenarios and judge them. Exit code 0 only if all passed."""
    import shlex

    from mdmsim.cli.playing import Wishes, play

    words = ["mdmsim", "run", *(str(path) for path in paths)]
    if seed is not None:
        words += ["--seed", str(seed)]
    if target is not None:
        words += ["--target", str(target)]
    elif live:
        words += ["--live"]
    return play(
        Wishes(
            paths=tuple(paths),
            live=live or target is not None,
            seed=seed,
            target=target,
            report=report,
            as_json=as_json,
            command=shlex.join(words),
        )
    )


def stories() -> Path:
    """The scenarios that come with mdmsim: beside the package in a source tree, inside it in a wheel."""
    import mdmsim

    package = Path(mdmsim.__file__).parent
    for folder in (package / "stories", package.parent / "scenarios"):
        if folder.is_dir():
            here = Path.cwd()
            return folder.relative_to(here) if folder.is_relative_to(here) else folder
    raise Mistake(f"{package}: the scenarios are missing from this installation. Install mdmsim again.")
