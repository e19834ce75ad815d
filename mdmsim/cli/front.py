"""`mdmsim front`: TLS with client certificates in front of a server that speaks only plain HTTP."""

from __future__ import annotations

import re
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mdmsim.cli.exits import PASSED, Mistake
from mdmsim.cli.options import Events, Host, ReadyJson, option, port

if TYPE_CHECKING:
    from mdmsim.proxy.serve_front import FrontReady

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
#: What a request and its way need themselves: the certificate would take its place, or be left out.
_TAKEN = frozenset(
    [
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "mdm-signature",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-forwarded-for",
    ]
)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")

_TOLD = {"nginx": "URL-escaped PEM", "rfc9440": "RFC 9440"}


def front(
    upstream: Annotated[
        str, typer.Argument(help="The server behind: http://HOST:PORT. It need not be up yet.", metavar="SERVER")
    ],
    client_ca: Annotated[
        list[Path] | None,
        option(
            "CA of the devices' identities, PEM: their certificates are asked for, and no others taken. Repeatable. "
            "Default: no certificate is asked for, and devices must sign (SignMessage).",
            "FILE",
        ),
    ] = None,
    header: Annotated[
        str | None,
        option("The header for the client certificate (default: X-Client-Cert, or Client-Cert for rfc9440).", "NAME"),
    ] = None,
    form: Annotated[
        Literal["pem", "rfc9440"],
        option("How it stands there: pem, which is URL-escaped PEM as nginx writes it, or rfc9440.", "FORM"),
    ] = "pem",
    host: Host = "127.0.0.1",
    port: Annotated[int, port("devices")] = 0,
    name: Annotated[
        list[str] | None, option("A host name for the certificate, besides localhost. Repeatable.", "NAME")
    ] = None,
    data: Annotated[
        Path | None, option("Folder of the CA that devices trust (default: a temporary one, new each time).", "DIR")
    ] = None,
    server_identity: Annotated[Path | None, option("Certificate and key to show instead, PEM.", "FILE")] = None,
    events: Events = None,
    as_json: ReadyJson = False,
) -> int:
    """TLS with client certificates in front of a server that speaks only plain HTTP, until Ctrl-C."""
    import trio

    from mdmsim.cli.output import json_line, line
    from mdmsim.cli.running import run_trio
    from mdmsim.cli.words import address, certificates, folder
    from mdmsim.proxy.serve_front import FrontSettings, serve

    if upstream.startswith("https:"):
        raise Mistake(f"{upstream}: a server that speaks TLS needs no front. Write http://HOST:PORT.")
    if "://" in upstream and not upstream.startswith("http://"):
        raise Mistake(f"{upstream}: the server behind speaks plain HTTP. Write http://HOST:PORT.")
    if header is not None and not _HEADER_NAME.fullmatch(header):
        raise Mistake(f"--header {header}: not a header's name. Write letters, digits and dashes.")
    # Servers that hand headers on as variables (RFC 3875) cannot tell an underscore from a dash.
    if header is not None and header.lower().replace("_", "-") in _TAKEN:
        raise Mistake(f"--header {header}: that header has a meaning of its own. Choose another, e.g. X-Client-Cert.")
    for each in name or ():
        if not _HOST_NAME.fullmatch(each):
            raise Mistake(f'--name {each}: not a host name. Write it without scheme and port, e.g. "mdm.example.com".')
    with ExitStack() as stack:
        directory = folder(data, "--data") or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mdmsim-")))
        settings = FrontSettings(
            upstream=address(upstream, "SERVER", example="http://127.0.0.1:9000"),
            directory=directory,
            host=host,
            port=port,
            names=tuple(name or ()),
            client_authorities=certificates(client_ca or [], "--client-ca"),
            form="rfc9440" if form == "rfc9440" else "nginx",
            header=header,
            identity=server_identity,
            events=events,
        )

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                ready: FrontReady = await nursery.start(lambda task_status: serve(settings, task_status=task_status))
                if as_json:
                    json_line(_facts(ready))
                elif events != "-":
                    for each in _lines(ready):
                        line(each)

        run_trio(main, serving=True)
    return PASSED


def _facts(ready: FrontReady) -> dict[str, object]:
    import msgspec

    facts: dict[str, object] = msgspec.structs.asdict(ready)
    return facts | {"form": "rfc9440" if ready.form == "rfc9440" else "pem"}


def _lines(ready: FrontReady) -> list[str]:
    """What a person needs to know to use it."""
    lines = [f"  TLS front   {ready.url}   to {ready.upstream}"]
    if ready.ca_file is not None:
        lines.append(f"  CA file     {ready.ca_file}   for devices to trust")
    if ready.client_certificates:
        lines.append(f"  header      {ready.header}: the client certificate as {_TOLD[ready.form]}")
    else:
        lines.append("  header      none: no --client-ca, so no certificate is asked for, and devices must sign")
    if ready.client_certificates:
        lines.append(
            "  whoever reaches the server past this front can write that header: let only this machine reach it"
        )
    if not ready.upstream_answers:
        lines.append(f"  ! nothing answers at {ready.upstream} yet: until it does, devices get 502")
    lines.append("  Ctrl-C ends it.")
    return lines
