"""`mdmsim schema`: what Apple's schema says, and what of it is simulated."""

from __future__ import annotations

from typing import Annotated

import typer

from mdmsim.cli.exits import PASSED, Mistake
from mdmsim.cli.options import option

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, context_settings={"max_content_width": 110})


@app.callback()
def schema() -> None:
    """What Apple's device-management schema has, and what of it is simulated."""


@app.command("coverage", short_help="What is simulated, found by running devices of each platform.")
def coverage(
    as_json: Annotated[
        bool, option("A JSON list of {kind, platform, command, state}, and nothing else on stdout.", None, "--json")
    ] = False,
    markdown: Annotated[bool, option("The page docs/coverage.md.", None, "--markdown")] = False,
) -> int:
    """List every command, query, check-in message, payload type, declaration and status item with its state.

    answered: simulated. stored: installed without effect. refused: real devices of the platform do not have it either.
    unknown: real devices have it, and it is not simulated.
    """
    from mdmsim.cli.output import json_line, line
    from mdmsim.cli.stored.account import table
    from mdmsim.scenario.coverage import STATES, page, tables
    from mdmsim.scenario.coverage import coverage as found

    if as_json and markdown:
        raise Mistake("--json and --markdown are two forms of one list. Leave one of them out.")
    rows = found()
    if as_json:
        json_line([row._asdict() for row in rows])
    elif markdown:
        typer.echo(page(rows), nl=False)
    else:
        for heading, lines in tables(rows).items():
            line(heading)
            for text in table([tuple(cells) for cells in lines]):
                line(text)
            line()
        for state, meaning in STATES.items():
            line(f"{sum(row.state == state for row in rows):>5} {state:<9} {meaning}")
    return PASSED
