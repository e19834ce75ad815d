"""`python -m reference_server`: the reference server alone, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, get_args

import msgspec

from reference_server.serve import PortTaken, Ready, ServeOptions, chosen_settings, serve
from reference_server.settings import AccessMode, BadSettings, ContentTypeMode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reference_server", description="The mdmsim reference MDM server.")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0 for any (default: %(default)s)")
    add(
        "--data", type=Path, default=Path("mdm-server-data"), help="folder for keys and database (default: %(default)s)"
    )
    add("--public-url", help="where devices find the server, if not at host and port")
    add("--plain-http", action="store_true", help="no TLS, for behind a proxy on this machine")
    add("--apns-url", help="where pushes go (default: nowhere)")
    add("--apns-ca", type=Path, metavar="FILE", help="PEM certificates to trust there (default: the system's)")
    add(
        "--dep-url",
        help="where Apple's device enrollment service answers; Apple itself is asked only where it is named here",
    )
    add("--dep-ca", type=Path, metavar="FILE", help="PEM certificates to trust there (default: the system's)")
    add("--automated-ca", type=Path, metavar="FILE", help="PEM certificates of the CA that signs MachineInfo")
    add("--trust-proxy", action="append", default=[], metavar="ADDRESS", help="proxy whose certificate header counts")
    add("--proxy-header", metavar="NAME", help="the header in which it hands the client certificate on")
    add("--organization", help="name shown in the enrollment profile")
    add(
        "--enroll-access",
        choices=get_args(AccessMode),
        help="who gets a profile at /enroll: programs on this machine, whoever has the token, users, anyone (default: loopback)",
    )
    add("--enroll-token", metavar="TOKEN", help="the token for --enroll-access token: /enroll?token=TOKEN")
    add("--users", type=Path, metavar="FILE", help="who may sign in: a JSON object, name to password")
    add(
        "--content-type",
        choices=get_args(ContentTypeMode),
        help="whether devices' requests must have a Content-Type; optional lets mdmb in (default: required)",
    )
    add("--grace", type=int, default=5, metavar="SECONDS", help="for requests still running at a stop (%(default)s)")
    add("--events", metavar="FILE", help="write events there as lines of JSON; - for standard output")
    add("--log", metavar="FILE", default="-", help="write the log there; - for standard error (default: %(default)s)")
    add("--ready-json", action="store_true", help="print one line of JSON on standard output once it answers")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code: 0 stopped, 2 a user's mistake, 3 the port is taken."""
    wishes = _parser().parse_args(arguments)

    def ready(record: Ready) -> None:
        if wishes.ready_json:
            sys.stdout.buffer.write(msgspec.json.encode(record) + b"\n")
        else:
            sys.stdout.write(
                f"reference server at {record.url}\n  enrollment profile  {record.enroll_url}\n"
                f"  API key in          {wishes.data / 'api-key'}\n  certificate to trust {record.ca_file}\n"
            )
        sys.stdout.flush()

    with contextlib.ExitStack() as stack:
        try:
            events = _stream(stack, wishes.events, sys.stdout.buffer) if wishes.events else None
            log = _stream(stack, wishes.log, sys.stderr.buffer)
            serve(
                ServeOptions(
                    data=wishes.data,
                    host=wishes.host,
                    port=wishes.port,
                    public_url=wishes.public_url,
                    tls=not wishes.plain_http,
                    apns_url=wishes.apns_url,
                    apns_ca=wishes.apns_ca,
                    dep_url=wishes.dep_url,
                    dep_ca=wishes.dep_ca,
                    automated_ca=wishes.automated_ca,
                    trusted_proxies=tuple(wishes.trust_proxy),
                    proxy_header=wishes.proxy_header,
                    grace_s=wishes.grace,
                    events=events,
                    log=log,
                    ready=ready,
                    settings=chosen_settings(
                        organization=wishes.organization,
                        enroll_access=wishes.enroll_access,
                        enroll_token=wishes.enroll_token,
                        users=wishes.users,
                        content_type=wishes.content_type,
                    ),
                )
            )
        except BadSettings as error:
            sys.stderr.write(f"{error}\n")
            return 2
        except PortTaken as error:
            sys.stderr.write(f"{error}\n")
            return 3
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            return 2
    return 0


def _stream(stack: contextlib.ExitStack, name: str, standard: IO[bytes]) -> IO[bytes]:
    return standard if name == "-" else stack.enter_context(Path(name).open("ab"))


if __name__ == "__main__":
    sys.exit(main())
