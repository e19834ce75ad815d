"""`python -m mdmsim.fakeapns`: the fake APNs alone, until Ctrl-C.

Exit codes: 0 after Ctrl-C or SIGTERM (130 before it was ready), 2 for a mistake in the options, 3 where a port is taken.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from mdmsim.fakeapns.debug_log import LEVELS, log_wishes
from mdmsim.fakeapns.errors import FaultMistake
from mdmsim.fakeapns.fault_spec import parse_fault
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.serve import Ready, ServeSettings, serve
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.mistakes import explain
from mdmsim.startup import complain, run_alone

T = TypeVar("T", bound=msgspec.Struct)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdmsim.fakeapns",
        description="A fake APNs: HTTP/2 for push providers, a courier for simulated devices, an admin API.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name, what in (("port", "push providers"), ("courier-port", "devices"), ("admin-port", "the admin API")):
        parser.add_argument(f"--{name}", type=int, default=0, help=f"port for {what} (default: any free one)")
    parser.add_argument("--sandbox-port", type=int, help="port for push providers of the sandbox (default: none)")
    parser.add_argument(
        "--plain-port", type=int, help="port for push providers without TLS or credential (default: none)"
    )
    parser.add_argument("--admin-key", help="bearer key of the admin API (default: a random one)")
    parser.add_argument("--seed", help="makes tokens and generated apns-ids repeatable (default: random)")
    parser.add_argument("--store", type=Path, metavar="FILE", help="tokens and pushes outlive the process in this file")
    parser.add_argument(
        "--certificate", type=Path, action="append", default=[], help="push certificate to accept (PEM)"
    )
    parser.add_argument("--portal", type=Path, metavar="FILE", help="the push certificate portal keeps its lists here")
    parser.add_argument(
        "--vendor-ca", type=Path, action="append", default=[], help="CA of the vendors it believes (PEM)"
    )
    parser.add_argument("--sha1-requests", action="store_true", help="it takes requests signed with SHA-1")
    parser.add_argument("--server-identity", type=Path, help="server certificate and key (PEM; default: made at start)")
    parser.add_argument("--ca-file", type=Path, help="where to write the certificate that clients must trust (PEM)")
    parser.add_argument("--events", metavar="FILE", help='where to write events as JSON lines; "-": standard output')
    parser.add_argument(
        "--log-level", choices=LEVELS, help="how much is logged (default: off, or info with --log-file)"
    )
    parser.add_argument("--log-file", type=Path, help="where the log goes; it rotates (default: standard error)")
    parser.add_argument("--metrics-open", action="store_true", help="/metrics of the admin API needs no key")
    parser.add_argument("--settings", metavar="JSON", default="{}", help="switches of the service, as a JSON object")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="FAULT", help="e.g. push.lost,rate=0.05; repeatable"
    )
    parser.add_argument("--front", metavar="JSON", default="{}", help="switches of its HTTP/2 side, as a JSON object")
    parser.add_argument("--json", action="store_true", help="one line of JSON with all addresses when ready")
    return parser


def _greet(settings: ServeSettings, ready: Ready) -> None:
    if not settings.ready_line and settings.events != "-":
        sandbox = f"sandbox     {ready.sandbox_url}\n" if ready.sandbox_url else ""
        sys.stdout.write(
            f"fake APNs   {ready.url}\n{sandbox}courier     {settings.host}:{ready.courier_port}\n"
            f"admin API   {ready.admin_url}   key {ready.admin_key}\n"
            f"look inside {ready.admin_url}/#key={ready.admin_key}\n"
        )
        sys.stdout.flush()


def _switches(option: str, text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"{option}: {explain(error, kind)}") from None


def main() -> int:
    """Run with the options of the command line; the exit code."""
    given = _arguments().parse_args()
    level, log = log_wishes(given.log_level, given.log_file)
    try:
        settings = ServeSettings(
            host=given.host,
            port=given.port,
            sandbox_port=given.sandbox_port,
            plain_port=given.plain_port,
            courier_port=given.courier_port,
            admin_port=given.admin_port,
            admin_key=given.admin_key,
            seed=given.seed,
            store=given.store,
            portal=given.portal,
            vendor_cas=tuple(given.vendor_ca),
            sha1_requests=given.sha1_requests,
            server_identity=given.server_identity,
            ca_file=given.ca_file,
            certificates=tuple(given.certificate),
            events=given.events,
            ready_line=given.json,
            log_level=level,
            log_file=log,
            log_signals=True,
            metrics_open=given.metrics_open,
            faults=tuple(map(parse_fault, given.fault)),
            apns=_switches("--settings", given.settings, ApnsSettings),
            front=_switches("--front", given.front, FrontSettings),
        )
    except FaultMistake as error:
        return complain(f"--fault: {error}", 2)
    except ValueError as error:
        return complain(str(error), 2)
    return run_alone(lambda status: serve(settings, task_status=status), partial(_greet, settings))


if __name__ == "__main__":
    sys.exit(main())
