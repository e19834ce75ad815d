"""Options that several subcommands share, and how all of them are described."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def option(text: str, metavar: str | None = None, *names: str, **settings: Any) -> Any:
    """An option with its help. `metavar`: what its value is called; `names`: where the parameter's own would not do."""
    return typer.Option(*names, help=text, metavar=metavar, **settings)


def port(of: str) -> Any:
    return option(f"Port for {of}; 0: any free one.", "PORT", min=0, max=65535)


Host = Annotated[str, option("Address to listen on.", "ADDRESS")]
ReadyJson = Annotated[bool, option("Print one line of JSON as soon as it answers.", None, "--json")]
Events = Annotated[str | None, option('File for events as JSON lines; "-": standard output.', "FILE")]
HostsPort = Annotated[
    list[int] | None,
    option(
        "Port that answers for all of Apple's names without a proxy, for a hosts file: 443, 2197. Repeatable.",
        "PORT",
        min=0,
        max=65535,
    ),
]
EnrollAccess = Annotated[
    Literal["loopback", "token", "login", "anyone"] | None,
    option(
        "Who gets a profile at the reference server's /enroll: programs on this machine (loopback, the default), whoever "
        "has the token, users who sign in, anyone.",
        "WHO",
    ),
]
EnrollToken = Annotated[
    str | None, option("The token for --enroll-access token: devices fetch /enroll?token=TOKEN.", "TOKEN")
]
ContentType = Annotated[
    Literal["required", "optional"] | None,
    option(
        "Whether requests of devices must have a Content-Type; optional lets mdmb in, whose reports have none "
        "(default: required).",
        "HOW",
    ),
]
Users = Annotated[Path | None, option("Who may sign in: a JSON object, name to password.", "FILE")]
Routes = Annotated[
    list[str] | None,
    option("Where connections to one more of Apple's names go: NAME=HOST:PORT. Repeatable.", "ROUTE"),
]
Catalogue = Annotated[
    Path | None, option("What gdmf.apple.com answers, as JSON (default: the releases that devices here run).", "FILE")
]
ContentMetadata = Annotated[
    Path | None, option("What the lookup of app metadata answers: JSON, adamId to answer (default: nothing).", "FILE")
]
