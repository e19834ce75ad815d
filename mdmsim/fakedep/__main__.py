"""`python -m mdmsim.fakedep`: the fake DEP alone, until Ctrl-C.

Exit codes: 0 after Ctrl-C or SIGTERM (130 before it was ready), 2 for a mistake in the options, 3 where a port is taken.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import msgspec

from mdmsim.fakedep.serve import Ready, ServeSettings, serve
from mdmsim.fakedep.settings import DepSettings
from mdmsim.mistakes import explain
from mdmsim.startup import complain, run_alone


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdmsim.fakedep",
        description="A fake Device Enrollment Program: the web service for MDM servers, what devices get at activation,"
        " and an admin API that stands for Apple Business Manager.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name, what in (("port", "MDM servers"), ("activation-port", "devices"), ("admin-port", "the admin API")):
        parser.add_argument(f"--{name}", type=int, default=0, help=f"port for {what} (default: any free one)")
    parser.add_argument("--admin-key", help="bearer key of the admin API (default: a random one)")
    parser.add_argument("--seed", help="makes tokens, UUIDs and cursors repeatable (default: random)")
    parser.add_argument("--tls", action="store_true", help="speak TLS, for MDM servers that dial Apple's name")
    parser.add_argument("--server-identity", type=Path, help="server certificate and key (PEM; default: made at start)")
    parser.add_argument("--ca-file", type=Path, help="where to write the certificate that clients must trust (PEM)")
    parser.add_argument("--events", metavar="FILE", help='where to write events as JSON lines; "-": standard output')
    parser.add_argument("--settings", metavar="JSON", default="{}", help="switches of the service, as a JSON object")
    parser.add_argument("--json", action="store_true", help="one line of JSON with all addresses when ready")
    return parser


def _greet(settings: ServeSettings, ready: Ready) -> None:
    if not settings.ready_line and settings.events != "-":
        sys.stdout.write(
            f"fake DEP     {ready.url}\nactivation   {ready.activation_url}\n"
            f"admin API    {ready.admin_url}   key {ready.admin_key}\n"
        )
        sys.stdout.flush()


def main() -> int:
    """Run with the options of the command line; the exit code."""
    given = _arguments().parse_args()
    try:
        settings = ServeSettings(
            host=given.host,
            port=given.port,
            activation_port=given.activation_port,
            admin_port=given.admin_port,
            admin_key=given.admin_key,
            seed=given.seed,
            tls=given.tls,
            server_identity=given.server_identity,
            ca_file=given.ca_file,
            events=given.events,
            ready_line=given.json,
            dep=msgspec.json.decode(given.settings, type=DepSettings),
        )
    except (msgspec.MsgspecError, ValueError) as error:
        return complain(f"--settings: {explain(error, DepSettings)}", 2)
    return run_alone(lambda status: serve(settings, task_status=status), partial(_greet, settings))


if __name__ == "__main__":
    sys.exit(main())
