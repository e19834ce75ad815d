"""`mdmsim connect` and `mdmsim remove`: stored devices act, or are taken away from their server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdmsim.cli.devices import STORE, Store
from mdmsim.cli.options import option

Devices = Annotated[
    list[str] | None,
    typer.Argument(metavar="[DEVICE...]", help="Their ids, as mdmsim devices lists them. Default: all."),
]
Concurrency = Annotated[int, option("How many act at the same time.", "N", min=1)]
Trust = Annotated[
    list[Path] | None, option("PEM file of CAs that devices trust besides the system's. Repeatable.", "FILE")
]
AllowHttp = Annotated[
    bool,
    option(
        "Accept http:// to this machine as ServerURL and CheckInURL, which real devices never do.", None, "--allow-http"
    ),
]
AllowHost = Annotated[
    list[str] | None, option("A host of Apple's that may be connected to all the same. Repeatable.", "HOST")
]
Courier = Annotated[str | None, option("HOST:PORT of a fake APNs' courier, which knows the push tokens.", "ADDRESS")]
AsJson = Annotated[bool, option("One line of JSON at the end, and nothing else on stdout.", None, "--json")]


def connect(
    devices: Devices = None,
    store: Store = STORE,
    concurrency: Concurrency = 8,
    listen: Annotated[
        bool, option("Stay, and wake on pushes until Ctrl-C; needs --courier.", None, "--listen")
    ] = False,
    courier: Courier = None,
    trust: Trust = None,
    allow_http: AllowHttp = False,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
) -> int:
    """Have stored devices connect now: deliver what is undelivered, then answer every queued command.

    Exit code 1 when the server refuses a device, 3 when it cannot be reached.
    """
    from mdmsim.cli.exits import Mistake
    from mdmsim.cli.stored.connecting import Wishes, carry_out
    from mdmsim.cli.words import address, certificates

    if listen and courier is None:
        raise Mistake("--listen: pushes come through a courier. Add --courier HOST:PORT, as mdmsim up prints it.")
    if listen and as_json:
        raise Mistake("--json tells how a connect ended, and --listen has no end. Leave one of them out.")
    wishes = Wishes(
        store=store,
        devices=tuple(devices or ()),
        concurrency=concurrency,
        listen=listen,
        courier=address(courier, "--courier") if courier is not None else None,
        anchors=certificates(trust or [], "--trust"),
        allow_http=allow_http,
        allow_hosts=frozenset(host.strip().lower() for host in allow_host or ()),
        as_json=as_json,
    )
    return carry_out(wishes)


def remove(
    devices: Annotated[list[str], typer.Argument(metavar="DEVICE...", help="Their ids, as mdmsim devices lists them.")],
    store: Store = STORE,
    erase: Annotated[
        bool, option("Erase the device instead: nothing is sent, the server is not told.", None, "--erase")
    ] = False,
    forget: Annotated[bool, option("Drop the device from the store afterwards.", None, "--forget")] = False,
    concurrency: Concurrency = 8,
    courier: Courier = None,
    trust: Trust = None,
    allow_http: AllowHttp = False,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
) -> int:
    """A person removes the enrollment profile: the device says CheckOut once, and is managed no more.

    As on real devices the profile goes whether or not CheckOut gets through. Exit code 1 where it may not be removed.
    """
    from mdmsim.cli.stored.removing import Wishes, carry_out
    from mdmsim.cli.words import address, certificates

    wishes = Wishes(
        store=store,
        devices=tuple(devices),
        concurrency=concurrency,
        erase=erase,
        forget=forget,
        courier=address(courier, "--courier") if courier is not None else None,
        anchors=certificates(trust or [], "--trust"),
        allow_http=allow_http,
        allow_hosts=frozenset(host.strip().lower() for host in allow_host or ()),
        as_json=as_json,
    )
    return carry_out(wishes)
