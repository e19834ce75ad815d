"""`mdmsim enroll`: devices enrol into any MDM server, from its enrollment profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdmsim.cli.devices import STORE
from mdmsim.cli.options import option


def enroll(
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE_OR_URL", help='A .mobileconfig, the URL that hands it out, or "-".')
    ],
    count: Annotated[int, option("How many devices.", "N", min=1)] = 1,
    platform: Annotated[
        list[str] | None, option("ios, ipados, macos, tvos; several by commas, taken in turn. Default: ios.", "NAMES")
    ] = None,
    store: Annotated[Path, option("File that keeps the devices.", "FILE")] = STORE,
    concurrency: Annotated[int, option("How many enrol at the same time.", "N", min=1)] = 8,
    trust: Annotated[
        list[Path] | None, option("PEM file of CAs that devices trust besides the system's. Repeatable.", "FILE")
    ] = None,
    allow_http: Annotated[
        bool,
        option(
            "Accept http:// to this machine as ServerURL and CheckInURL, which real devices never do.",
            None,
            "--allow-http",
        ),
    ] = False,
    allow_host: Annotated[
        list[str] | None, option("A host of Apple's that may be connected to all the same. Repeatable.", "HOST")
    ] = None,
    courier: Annotated[
        str | None, option("HOST:PORT of a fake APNs' courier, which then knows the push tokens.", "ADDRESS")
    ] = None,
    seed: Annotated[str | None, option("The same seed makes the same devices (default: a random one).", "SEED")] = None,
    report: Annotated[
        Path | None,
        option("Write report.html, report.json, junit.xml and transcript.har with every exchange there.", "DIR"),
    ] = None,
    as_json: Annotated[bool, option("One line of JSON at the end, and nothing else on stdout.", None, "--json")] = (
        False
    ),
) -> int:
    """Enrol simulated devices into an MDM server, from a profile file or URL of any server.

    The devices stay in the store. What stands in the way is told with what was seen and what to do about it.

    Exit code 1 when the server refuses a device, 3 when it cannot be reached.
    """
    from mdmsim.cli.enrollment.command import Wishes, carry_out
    from mdmsim.cli.words import address, certificates, listed

    wishes = Wishes(
        profile=profile,
        count=count,
        platforms=tuple(listed(platform or ["ios"])),
        store=store,
        concurrency=concurrency,
        anchors=certificates(trust or [], "--trust"),
        allow_http=allow_http,
        allow_hosts=frozenset(host.strip().lower() for host in allow_host or ()),
        courier=address(courier, "--courier") if courier is not None else None,
        seed=seed,
        report=report,
        as_json=as_json,
    )
    return carry_out(wishes)
