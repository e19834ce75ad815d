"""`mdmsim devices` and `mdmsim show`: what is in a store. Nothing is changed, and nothing is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdmsim.cli.exits import PASSED
from mdmsim.cli.options import option

#: The store that `mdmsim enroll` makes where none is named.
STORE = Path("mdmsim-devices.sqlite")

Store = Annotated[Path, option("File that keeps the devices.", "FILE")]


def devices(
    store: Store = STORE,
    as_json: Annotated[bool, option("One line of JSON, and nothing else on stdout.", None, "--json")] = False,
) -> int:
    """List the devices of a store: what they are, where they are enrolled, and what they are about to do."""
    from mdmsim.cli.exits import CommandFailed
    from mdmsim.cli.output import json_line, line
    from mdmsim.cli.stored.account import HEADINGS, Account, table
    from mdmsim.cli.stored.opening import existing, read
    from mdmsim.clock import WallClock

    clock = WallClock()
    accounts: list[Account] = []
    unreadable: list[str] = []
    with existing(store) as opened:
        for device_id in opened.device_ids():
            try:
                accounts.append(Account.of(read(device_id, opened, clock)))
            except CommandFailed as error:
                unreadable.append(str(error))
    if as_json:
        rows = [account.as_json() for account in accounts]
        json_line({"store": str(store), "devices": rows, "unreadable": unreadable})
        return PASSED
    if accounts:
        for text in table([HEADINGS, *(account.columns for account in accounts)]):
            line(text)
    for text in unreadable:
        line(f"  ✗ {text}")
    enrolled = sum(account.server is not None for account in accounts)
    count = len(accounts) + len(unreadable)
    line(f"  {count} device{'' if count == 1 else 's'}, {enrolled} enrolled      store: {store}")
    return PASSED


def show(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Its id, as mdmsim devices lists it.")],
    store: Store = STORE,
    as_json: Annotated[bool, option("One line of JSON, and nothing else on stdout.", None, "--json")] = False,
) -> int:
    """Show one device: enrollment, profiles, certificates, apps, and what it wants to do next.

    Secrets are shown by their first characters only, private keys not at all.
    """
    from mdmsim.cli.output import json_line, line
    from mdmsim.cli.stored.account import Account
    from mdmsim.cli.stored.detail import detail, lines
    from mdmsim.cli.stored.opening import chosen, existing, read
    from mdmsim.clock import WallClock

    with existing(store) as opened:
        (device_id,) = chosen(opened, [device])
        found = read(device_id, opened, WallClock())
        told = detail(found)
        if as_json:
            json_line(told)
            return PASSED
        for text in lines(told, Account.of(found)):
            line(text)
    return PASSED
