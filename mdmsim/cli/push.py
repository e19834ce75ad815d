"""`mdmsim apns` and its subcommands: the fake APNs, and the push certificates that servers need for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mdmsim.cli import fakes
from mdmsim.cli.exits import PASSED, Mistake
from mdmsim.cli.options import option

app = typer.Typer(rich_markup_mode=None, context_settings={"max_content_width": 110})
app.callback(invoke_without_command=True)(fakes.apns)


@app.command("certificate", short_help="Make a throw-away push certificate that servers and this fake accept.")
def certificate(
    out: Annotated[Path, option("Where to write certificate and key, PEM.", "FILE")],
    topic: Annotated[str, option('The topic; "new": a new one, as Apple\'s portal makes them.', "TOPIC")] = "new",
    days: Annotated[
        int,
        option("How long it is valid; a negative number: it ended so long ago.", "N", min=-3650, max=3650),
    ] = 365,
    environment: Annotated[
        Literal["production", "sandbox", "both"], option("Where it may push: Apple's marks in it.")
    ] = "production",
    key: Annotated[Literal["pkcs8", "pkcs1"], option("Form of the private key.")] = "pkcs8",
    also: Annotated[
        list[str] | None,
        option("One more topic: makes a certificate for several, as apps have; not for MDM. Repeatable.", "TOPIC"),
    ] = None,
    as_json: Annotated[bool, option("One line of JSON, and nothing else on stdout.", None, "--json")] = False,
) -> int:
    """Make a push certificate as Apple's portal makes them, from an authority that is thrown away.

    Servers take it for one of Apple's, and the fake APNs once it knows it (apns --certificate, up --push-certificate).
    Apple itself refuses it.
    """
    from mdmsim.chance import Chance
    from mdmsim.cli.output import json_line, line
    from mdmsim.clock import WallClock, iso
    from mdmsim.pki.authority import Authority
    from mdmsim.pki.certificate import identity_to_pem, not_after_ms
    from mdmsim.pki.errors import MalformedName
    from mdmsim.pki.keys import FreshKeys
    from mdmsim.pki.push_certificate import PushEnvironment, new_topic
    from mdmsim.startup import write_private

    if out.exists():
        raise Mistake(f"--out {out}: is there already, and may hold a key that is in use. Name another file.")
    chance = Chance.of_machine()
    named = new_topic(chance) if topic == "new" else topic
    if not named.isprintable() or not named.strip():
        raise Mistake(f'--topic "{topic}": not a topic. Write one such as com.apple.mgmt.External.UUID, or "new".')
    environments: tuple[PushEnvironment, ...] = ("production", "sandbox") if environment == "both" else (environment,)
    authority = Authority.create("mdmsim push CA", keys=FreshKeys(), clock=WallClock(), chance=chance)
    try:
        made = authority.issue_push(named, days=days, environments=environments, topics=(named, *also) if also else ())
    except MalformedName as error:
        raise Mistake(f"--topic: {error}. What follows com.apple.mgmt.External. is a UUID.") from None
    write_private(out, identity_to_pem(made, key))
    ends = iso(not_after_ms(made.certificate))
    if as_json:
        json_line({"file": str(out), "topic": named, "environments": list(environments), "not_after": ends})
        return PASSED
    line(f"  push certificate   {out}   (certificate and key, PEM, mode 0600)")
    line(f"  topic              {named}")
    line(f"  may push to        {' and '.join(environments)}, until {ends}")
    if not named.startswith("com.apple.mgmt."):
        line("  MDM servers refuse a topic that does not begin with com.apple.mgmt.")
    line("  make a fake know it:")
    line(f"    mdmsim up --push-certificate {out}")
    line(f"    mdmsim apns --certificate {out}")
    line("  or, while one runs (URL and key of its admin API are in what it printed):")
    line(f'    openssl x509 -in {out} | curl -H "Authorization: Bearer KEY" --data-binary @- ADMIN_URL/certificates')
    return PASSED
