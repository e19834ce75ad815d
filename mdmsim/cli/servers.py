"""`mdmsim serve` and `mdmsim up`: servers without devices."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from mdmsim.cli.exits import INTERRUPTED, PASSED, Interrupted, Mistake
from mdmsim.cli.options import (
    Catalogue,
    ContentMetadata,
    ContentType,
    EnrollAccess,
    EnrollToken,
    Events,
    Host,
    HostsPort,
    ReadyJson,
    Routes,
    Users,
    option,
    port,
)
from mdmsim.cli.recipes import NAMES, PAGE
from mdmsim.printable import printable_json

if TYPE_CHECKING:
    from mdmsim.cli.universe import Universe

APPLE = "https://api.push.apple.com"


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, port("the server")] = 0,
    data: Annotated[Path, option("Folder for keys and database.", "DIR")] = Path("mdm-server-data"),
    public_url: Annotated[str | None, option("Where devices find it, if not at host and port.", "URL")] = None,
    plain_http: Annotated[bool, option("No TLS, for behind a proxy on this machine.", None, "--plain-http")] = False,
    apns_url: Annotated[
        str | None, option('Where pushes go, e.g. what mdmsim apns says; "apple": Apple. Default: nowhere.', "URL")
    ] = None,
    apns_ca: Annotated[Path | None, option("PEM certificates to trust there (default: the system's).", "FILE")] = None,
    dep_url: Annotated[
        str | None, option("Where Apple's device enrollment service answers, e.g. what mdmsim dep says.", "URL")
    ] = None,
    dep_ca: Annotated[Path | None, option("PEM certificates to trust there (default: the system's).", "FILE")] = None,
    trust_proxy: Annotated[
        list[str] | None, option("Address of a proxy whose certificate header counts.", "ADDRESS")
    ] = None,
    proxy_header: Annotated[
        str | None, option("The header in which it hands the client certificate on.", "NAME")
    ] = None,
    organization: Annotated[str | None, option("Name shown in the enrollment profile.", "NAME")] = None,
    enroll_access: EnrollAccess = None,
    enroll_token: EnrollToken = None,
    users: Users = None,
    content_type: ContentType = None,
    events: Events = None,
    log: Annotated[str, option('File for the log as JSON lines; "-": standard error.', "FILE")] = "-",
    as_json: ReadyJson = False,
) -> int:
    """The reference MDM server alone, until Ctrl-C."""
    import signal
    from types import FrameType

    import msgspec

    from mdmsim.cli.output import line
    from reference_server.serve import Ready, ServeOptions, chosen_settings
    from reference_server.serve import serve as run_server

    interrupted = True  # until it answers; after that what the signal says

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = number == signal.SIGINT
        handler = handlers[number]
        if callable(handler):
            handler(number, frame)

    def ready(record: Ready) -> None:
        nonlocal interrupted
        interrupted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            # The server's own handlers stop it; what is asked here is only which signal it was.
            handlers[number] = signal.signal(number, note)
        if as_json:
            sys.stdout.write(printable_json(msgspec.json.encode(record)).decode() + "\n")
            sys.stdout.flush()
            return
        line(f"  reference server      {record.url}")
        line(f"  enrollment profile    {record.enroll_url}")
        line(f"  CA file               {record.ca_file}")
        line(f"  API key in            {data / 'api-key'}")
        line(f"  pushes go to          {apns_url or 'nowhere: start mdmsim apns, or mdmsim up for both'}")
        line(f"  enrol devices:        mdmsim enroll {record.enroll_url} --trust {record.ca_file}")
        line("  Ctrl-C ends it.")

    handlers: dict[int, object] = {}
    with contextlib.ExitStack() as stack:
        run_server(
            ServeOptions(
                data=data,
                host=host,
                port=port,
                public_url=public_url,
                tls=not plain_http,
                apns_url=APPLE if apns_url == "apple" else apns_url,
                apns_ca=apns_ca,
                dep_url=dep_url,
                dep_ca=dep_ca,
                trusted_proxies=tuple(trust_proxy or ()),
                proxy_header=proxy_header,
                events=_stream(stack, events, sys.stdout.buffer) if events else None,
                log=_stream(stack, log, sys.stderr.buffer),
                ready=ready,
                settings=chosen_settings(
                    organization=organization,
                    enroll_access=enroll_access,
                    enroll_token=enroll_token,
                    users=users,
                    content_type=content_type,
                ),
            )
        )
    raise Interrupted(INTERRUPTED if interrupted else PASSED)


def _stream(stack: contextlib.ExitStack, name: str, standard: IO[bytes]) -> IO[bytes]:
    if name == "-":
        return standard
    try:
        return stack.enter_context(Path(name).open("ab"))
    except OSError as error:
        raise Mistake(f"{name}: {(error.strerror or str(error)).lower()}. Name a file that can be written.") from None


def _server_arguments(
    access: str | None, token: str | None, users: Path | None, content_type: str | None
) -> dict[str, str]:
    """What the reference server is told as a process of its own; it is judged here, before anything starts."""
    if (access == "token") != (token is not None):
        raise Mistake("--enroll-access, --enroll-token: write both, as --enroll-access token --enroll-token TOKEN.")
    if access == "login" and users is None:
        raise Mistake("--enroll-access login: nobody could sign in. Add --users FILE, a JSON object: name to password.")
    if users is not None:
        from reference_server.serve import chosen_settings

        chosen_settings(users=users)
    given = {
        "--enroll-access": access,
        "--enroll-token": token,
        "--users": str(users.resolve()) if users else None,
        "--content-type": content_type,
    }
    return {name: value for name, value in given.items() if value is not None}


def up(
    only: Annotated[
        list[str] | None,
        option("Parts to start, of server, apns, dep, proxy; separated by commas. Default: all.", "PARTS"),
    ] = None,
    host: Host = "127.0.0.1",
    server_port: Annotated[int, port("the reference server")] = 0,
    apns_port: Annotated[int, port("the fake APNs")] = 0,
    courier_port: Annotated[int, port("the courier, for devices")] = 0,
    dep_port: Annotated[int, port("the fake DEP")] = 0,
    activation_port: Annotated[int, port("the fake DEP's activation, for devices")] = 0,
    proxy_port: Annotated[int, port("the proxy")] = 0,
    catalogue_port: Annotated[int, port("the OS catalogue over plain HTTP")] = 0,
    hosts_port: HostsPort = None,
    data: Annotated[
        Path | None, option("Folder for keys, certificates, database, logs (default: a temporary one).", "DIR")
    ] = None,
    push_certificate: Annotated[
        list[Path] | None,
        option("Push certificate of your server, PEM, for the fake APNs to accept. Repeatable.", "FILE"),
    ] = None,
    enroll_access: EnrollAccess = None,
    enroll_token: EnrollToken = None,
    users: Users = None,
    content_type: ContentType = None,
    route: Routes = None,
    catalogue: Catalogue = None,
    content_metadata: ContentMetadata = None,
    for_: Annotated[
        str | None,
        option(f"Print what one kind of server needs: {', '.join(NAMES)}.", "NAME", "--for"),
    ] = None,
    as_json: Annotated[
        bool, option("One line of JSON as soon as everything answers, and nothing else on stdout.", None, "--json")
    ] = False,
) -> int:
    """The world without devices, until Ctrl-C: reference server, fake APNs, fake DEP, and the proxy for unmodified servers."""
    from mdmsim.cli.output import json_line
    from mdmsim.cli.recipes import every, places
    from mdmsim.cli.running import run_trio, until_told
    from mdmsim.cli.universe import PARTS, Answers, Ports, parts_of, universe
    from mdmsim.cli.words import folder, listed, open_to_network, push_certificates, routes
    from mdmsim.startup import different_ports

    wanted = listed(only or [])
    if only and not wanted:
        raise Mistake(f"--only: names no part. Parts: {', '.join(PARTS)}; without --only all of them start.")
    parts = parts_of(wanted)
    further = routes(route or [])
    for name, given in (
        ("--route", further),
        ("--hosts-port", hosts_port),
        ("--catalogue", catalogue),
        ("--content-metadata", content_metadata),
    ):
        if given and "proxy" not in parts:
            raise Mistake(f"{name}: that is the proxy's business. Add proxy to --only.")
    if for_ == "mdmb" and "server" in parts:
        content_type = content_type or "optional"
    server_arguments = _server_arguments(enroll_access, enroll_token, users, content_type)
    if server_arguments and "server" not in parts:
        raise Mistake(f"{next(iter(server_arguments))}: that is the reference server's business. Add server to --only.")
    if for_ is not None and for_ not in NAMES:
        raise Mistake(f"--for {for_}: no such recipe. There are: {', '.join(NAMES)}.")
    known = push_certificates(push_certificate or [], "--push-certificate")
    folder(data, "--data")
    fixed = {
        "--server-port": server_port,
        "--apns-port": apns_port,
        "--courier-port": courier_port,
        "--dep-port": dep_port,
        "--activation-port": activation_port,
        "--proxy-port": proxy_port,
        "--catalogue-port": catalogue_port,
    }
    different_ports(fixed | {f"--hosts-port {each}": each for each in hosts_port or ()})
    ports = Ports(
        host=host,
        server=server_port,
        apns=apns_port,
        courier=courier_port,
        dep=dep_port,
        activation=activation_port,
        proxy=proxy_port,
        catalogue=catalogue_port,
        hosts=tuple(hosts_port or ()),
    )

    async def main() -> None:
        async with universe(
            parts,
            ports=ports,
            directory=data,
            push_certificates=known,
            server_arguments=server_arguments,
            routes=further,
            answered=Answers(catalogue, content_metadata),
            on_ready=None if as_json else _ready,
        ) as started:
            recipes = every(places(started.facts(), started.names, ports.host))
            if as_json:
                json_line(started.facts() | ({"recipes": recipes} if recipes else {}))
            else:
                _tell(started, recipes, for_, open_to_network(host))
            await until_told()

    run_trio(main, serving=True)
    return PASSED


def _ready(name: str, url: str, seconds: float) -> None:
    from mdmsim.cli.output import line

    line(f"  {name:<18} {url:<27} ready in {seconds:.1f} s")


def _tell(started: Universe, recipes: dict[str, dict[str, Any]], wanted: str | None, warnings: list[str]) -> None:
    """What a person needs to know to use it. `wanted`: the recipe asked for."""
    from mdmsim.cli.output import line

    facts = started.facts()
    server, apns, dep, proxy, courier = (facts.get(part) for part in ("server", "apns", "dep", "proxy", "courier"))
    if server is not None:
        line()
        line(f"  enrollment profile {server['enroll_url']}")
        line(f"  API                {server['url']}/api/v1   Authorization: Bearer {server['api_key']}")
        line(f"  server's CA        {server['ca_file']}")
    if apns is not None:
        line()
        line(f"  push certificate   {apns['push_file']}   topic {apns['topic']}")
        line(f"  APNs' admin API    {apns['admin_url']}   Authorization: Bearer {apns['admin_key']}")
        line(f"  look inside APNs   {apns['admin_url']}/#key={apns['admin_key']}")
        line(f"  push portal        {apns['portal_url']}   with the same key")
    if dep is not None:
        line()
        line(f"  activation         {dep['activation_url']}")
        line(f"  DEP's admin API    {dep['admin_url']}   Authorization: Bearer {dep['admin_key']}")
        line(f"  for a server with a base URL, e.g. NanoDEP: PUT /v1/config/NAME with {_base_url(dep)}")
    if apns is not None or dep is not None:
        line()
        line(f"  CA for Apple's names  {(apns or dep or {})['ca_file']}")
    if (answers := facts.get("catalogue")) is not None:
        line(f"  OS catalogue          {answers['url']}/v2/pmv")
    if proxy is not None and proxy["hosts_ports"]:
        line(f"  for a hosts file      ports {', '.join(map(str, proxy['hosts_ports']))}")
    recipe = recipes.get(wanted or "generic")
    if recipe is not None:
        line()
        named = wanted is not None
        whose = f"an unmodified server that {_business(apns, dep)}" if proxy is not None else "a server with a base URL"
        line(f"  for {recipe['title'] if named else whose}:")
        for step in recipe["steps"]:
            line(f"    {step}")
        for note in recipe["notes"]:
            line(f"  {note}")
        line(f"  other servers and languages: --for {'|'.join(NAMES)}, or {PAGE}")
    elif wanted is not None:
        line()
        line(f"  for {wanted} there is nothing to set with only {', '.join(facts)}")
    if server is not None:
        line()
        toward = f" --courier {courier['url'].partition('://')[2]}" if courier is not None else ""
        line(f"  next: mdmsim enroll {server['enroll_url']} --trust {server['ca_file']} --count 3{toward}")
    elif courier is not None:
        line()
        line(f"  next: mdmsim enroll PROFILE_OR_URL --courier {courier['url'].partition('://')[2]}")
    for warning in warnings if apns is not None or dep is not None else []:
        line(warning)
    line("  Ctrl-C ends it.")


def _base_url(dep: dict[str, Any]) -> str:
    """What NanoDEP's configuration of a DEP name takes."""
    return json.dumps({"base_url": dep["url"]})


def _business(apns: dict[str, Any] | None, dep: dict[str, Any] | None) -> str:
    """What a server has to do with Apple, of what is simulated here."""
    does = ["pushes to Apple"] if apns is not None else []
    if dep is not None:
        does.append("asks Apple for its devices")
    return " or ".join(does)
