"""`python -m mdmsim.fakeapns`: the fake APNs alone, until Ctrl-C.

Exit codes: 0 after Ctrl-C or SIGTERM (130 before it was ready), 2 for a mistake in the options, 3 where a port is taken.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import msgspec
import trio

from mdmsim.fakeapns.serve import PortTaken, Ready, ServeError, ServeSettings, serve
from mdmsim.fakeapns.settings import ApnsSettings


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdmsim.fakeapns",
        description="A fake APNs: HTTP/2 for push providers, a courier for simulated devices, an admin API.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name, what in (("port", "push providers"), ("courier-port", "devices"), ("admin-port", "the admin API")):
        parser.add_argument(f"--{name}", type=int, default=0, help=f"port for {what} (default: any free one)")
    parser.add_argument("--admin-key", help="bearer key of the admin API (default: a random one)")
    parser.add_argument("--seed", help="makes tokens and generated apns-ids repeatable (default: random)")
    parser.add_argument(
        "--certificate", type=Path, action="append", default=[], help="push certificate to accept (PEM)"
    )
    parser.add_argument("--server-identity", type=Path, help="server certificate and key (PEM; default: made at start)")
    parser.add_argument("--ca-file", type=Path, help="where to write the certificate that clients must trust (PEM)")
    parser.add_argument("--events", metavar="FILE", help='where to write events as JSON lines; "-": standard output')
    parser.add_argument("--settings", metavar="JSON", default="{}", help="switches of the service, as a JSON object")
    parser.add_argument("--json", action="store_true", help="one line of JSON with all addresses when ready")
    return parser


async def _run(settings: ServeSettings) -> None:
    # From here on a signal is a wish, not an exception: it would come out of the nursery in a group.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            ready: Ready = await nursery.start(lambda task_status: serve(settings, task_status=task_status))
            if not settings.ready_line and settings.events != "-":
                sys.stdout.write(
                    f"fake APNs   {ready.url}\ncourier     {settings.host}:{ready.courier_port}\n"
                    f"admin API   {ready.admin_url}   key {ready.admin_key}\n"
                )
                sys.stdout.flush()
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


def main() -> int:
    """Run with the options of the command line; the exit code."""
    given = _arguments().parse_args()
    try:
        settings = ServeSettings(
            host=given.host,
            port=given.port,
            courier_port=given.courier_port,
            admin_port=given.admin_port,
            admin_key=given.admin_key,
            seed=given.seed,
            server_identity=given.server_identity,
            ca_file=given.ca_file,
            certificates=tuple(given.certificate),
            events=given.events,
            ready_line=given.json,
            apns=msgspec.json.decode(given.settings, type=ApnsSettings),
        )
    except (msgspec.MsgspecError, ValueError) as error:
        return _say(f"--settings: {error}", 2)
    try:
        trio.run(_run, settings)
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup as group:
        taken, other = group.split(PortTaken)
        mistakes, rest = other.split(ServeError) if other is not None else (None, None)
        if rest is not None:
            raise
        return _say(str(_first(taken or mistakes)), 3 if taken is not None else 2)
    return 0


def _first(group: BaseException | None) -> BaseException | None:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _say(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
