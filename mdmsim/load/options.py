"""The options that mdmsim adds to Locust's own command line, and what they must not be."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import msgspec

from mdmsim.device.personas import PersonaError, kind_of
from mdmsim.load.crew import CONCURRENCY
from mdmsim.load.criteria import Criterion, parse
from mdmsim.load.errors import LoadError
from mdmsim.load.given import Wishes

STORE = Path("mdmsim-load") / "devices.sqlite"

#: RSA keys that devices share unless told otherwise.
SHARED = 8


def add_to(parser: Any) -> None:
    """Add the options to Locust's parser."""
    group = parser.add_argument_group("mdmsim options")
    add = group.add_argument
    add("--enroll", metavar="<profile>", help="Enrollment profile: a .mobileconfig, or the URL that hands it out.")
    add("--target", metavar="<file>", help="Target file of the server: its API, for commands and pushes.")
    add("--courier", metavar="<host:port>", help="Courier of the fake APNs, for devices to hear pushes.")
    add(
        "--trust", metavar="<file>", action="append", default=[], help="PEM file of CAs that devices trust. Repeatable."
    )
    add(
        "--allow-http",
        action="store_true",
        help="Accept http:// to this machine as ServerURL and CheckInURL, which real devices never do.",
    )
    add(
        "--allow-host",
        metavar="<host>",
        action="append",
        default=[],
        help="A host of Apple's to connect to all the same.",
    )
    add("--store", metavar="<file>", default=str(STORE), help="File that keeps enrolled devices (%(default)s).")
    add("--fresh", action="store_true", help="New devices, whatever the store holds.")
    add("--platforms", metavar="<names>", default="ios", help="ios, ipados, macos, tvos; by commas (%(default)s).")
    add("--keys", choices=("shared", "pool"), default="shared", help="RSA keys: a few for all, or the key pool.")
    add(
        "--concurrency",
        metavar="<n>",
        type=int,
        default=CONCURRENCY,
        help="How many devices of a process enrol at once (%(default)s).",
    )
    add("--every", metavar="<seconds>", type=float, help="Rhythm of the shape: connects, or waves.")
    add("--patience", metavar="<seconds>", type=float, default=30.0, help="How long late devices are waited for.")
    add("--seed", metavar="<seed>", help="The same seed makes the same new devices in an empty store.")
    add(
        "--fail-if",
        metavar="<expression>",
        action="append",
        default=[],
        help='What must not be, e.g. "p99(connect:Idle)>500ms". Repeatable; in place of the shape\'s own criteria.',
    )


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The options, read and found good. `criteria`: expressions from the command line, if there were any."""

    wishes: Wishes
    store: str
    platforms: list[str]
    keys: str
    seed: str | None
    concurrency: int
    criteria: list[str]


def plan_of(options: Namespace) -> Plan:
    """What the options ask for. Raises LoadError."""
    for name, value in (("users", options.num_users), ("spawn-rate", options.spawn_rate), ("every", options.every)):
        if value is not None and value <= 0:
            raise LoadError(f"--{name} {value:g}: must be more than 0.")
    if options.run_time is not None and _seconds(options.run_time) <= 0:
        raise LoadError(f"--run-time {options.run_time}: must be more than 0.")
    if options.patience < 0:
        raise LoadError(f"--patience {options.patience:g}: must not be negative.")
    if options.concurrency < 1:
        raise LoadError(f"--concurrency {options.concurrency}: must be 1 or more.")
    for text in options.fail_if:
        parse(text)
    return Plan(
        wishes=Wishes(
            enroll=options.enroll,
            target=options.target,
            courier=options.courier,
            trust=list(options.trust),
            allow_http=options.allow_http,
            allow_host=list(options.allow_host),
        ),
        store=options.store,
        platforms=platforms_of(options.platforms),
        keys=options.keys,
        seed=options.seed,
        concurrency=options.concurrency,
        criteria=list(options.fail_if),
    )


def _seconds(run_time: Any) -> float:
    """Locust turns `1m30s` into seconds by itself, later."""
    return float(run_time) if isinstance(run_time, int | float) else 1.0


def platforms_of(text: str) -> list[str]:
    """The platforms in a list by commas. Raises LoadError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        for name in names:
            kind_of(name)
    except PersonaError as error:
        raise LoadError(f"--platforms {text}: {error}.") from None
    if not names:
        raise LoadError("--platforms: name at least one of ios, ipados, macos, tvos.")
    return names


def criteria_of(texts: list[str]) -> list[Criterion]:
    """Expressions as criteria. Raises LoadError."""
    return [parse(text) for text in texts]
