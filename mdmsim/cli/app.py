"""The command and its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from mdmsim.cli import connect, devices, doctor, enroll, fakes, front, keys, load, push, schema, servers, stories

app = typer.Typer(
    name="mdmsim",
    help="An Apple device fleet in front of any MDM server: devices that enrol, obey and misbehave, and fakes of "
    "Apple's services.",
    epilog="Exit codes: 0 all passed, 1 something failed or was refused, 2 your mistake, 3 could not be carried out, "
    "130 interrupted.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        from mdmsim import __version__

        typer.echo(f"mdmsim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = (
        False
    ),
) -> None:
    pass


app.command("demo", short_help="The whole story on loopback in about a minute, with a report to look at.")(stories.demo)
app.command("run", short_help="Play scenarios: files or folders.")(stories.run)
app.command("enroll", short_help="Enrol devices into any MDM server, from its profile or URL.")(enroll.enroll)
app.command("devices", short_help="List the devices of a store.")(devices.devices)
app.command("show", short_help="Show one stored device: profiles, certificates, what it does next.")(devices.show)
app.command("connect", short_help="Stored devices connect now, and answer what is queued.")(connect.connect)
app.command("remove", short_help="A person removes the enrollment, erases the device, or forgets it.")(connect.remove)
app.command("up", short_help="The world without devices: reference server, fake APNs, fake DEP, proxy.")(servers.up)
app.command("serve", short_help="The reference MDM server alone.")(servers.serve)
app.add_typer(
    push.app, name="apns", short_help="The fake APNs alone, with its courier and admin API; push certificates."
)
app.command("dep", short_help="The fake DEP alone, with activation, portal and admin API.")(fakes.dep)
app.command("proxy", short_help="The CONNECT proxy alone, from Apple's hosts to the fakes.")(fakes.proxy)
app.command("front", short_help="TLS with client certificates in front of a server of plain HTTP.")(front.front)
app.command("load", short_help="A load test with Locust: devices that enrol, connect and hear pushes.")(load.load)
app.add_typer(schema.app, name="schema", short_help="What of Apple's schema is simulated.")
app.command("keys", short_help="Make RSA keys ahead of time, so that enrolling is quick.")(keys.keys)
app.command("doctor", short_help="What this machine lacks, and what to do about it.")(doctor.doctor)
