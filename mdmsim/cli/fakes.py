"""`mdmsim apns`, `mdmsim dep` and `mdmsim proxy`: one stand-in for Apple alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from mdmsim.cli.exits import PASSED, Mistake
from mdmsim.cli.options import Catalogue, ContentMetadata, Events, Host, HostsPort, ReadyJson, Routes, option, port

if TYPE_CHECKING:
    import msgspec

    from mdmsim.fakeapns.fault_spec import FaultSpec
    from mdmsim.fakedep.admin.values import NewFault

T = TypeVar("T", bound="msgspec.Struct")


def apns(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Annotated[int, port("push providers")] = 0,
    sandbox_port: Annotated[
        int | None, option("Port for push providers of the sandbox; 0: any free one (default: none).", "PORT")
    ] = None,
    plain_port: Annotated[
        int | None,
        option("Port for push providers with an http:// URL, whose credential is not judged (default: none).", "PORT"),
    ] = None,
    courier_port: Annotated[int, port("simulated devices")] = 0,
    admin_port: Annotated[int, port("the admin API")] = 0,
    admin_key: Annotated[str | None, option("Bearer key of the admin API (default: a random one).", "KEY")] = None,
    certificate: Annotated[list[Path] | None, option("Push certificate to accept, PEM. Repeatable.", "FILE")] = None,
    server_identity: Annotated[
        Path | None, option("Server certificate and key, PEM (default: made at start).", "FILE")
    ] = None,
    ca_file: Annotated[Path | None, option("Where to write the certificate that clients must trust.", "FILE")] = None,
    events: Events = None,
    seed: Annotated[str | None, option("Makes push tokens repeatable (default: random).", "SEED")] = None,
    fault: Annotated[
        list[str] | None, option("A fault from the start, e.g. push.lost,rate=0.05. Repeatable.", "FAULT")
    ] = None,
    store: Annotated[
        Path | None, option("Tokens, pending pushes and certificates outlive the process in this file.", "FILE")
    ] = None,
    portal: Annotated[
        Path | None, option("The push certificate portal keeps its lists and its CA's key in this file.", "FILE")
    ] = None,
    vendor_ca: Annotated[
        list[Path] | None, option("The portal believes MDM vendors under this CA only, PEM. Repeatable.", "FILE")
    ] = None,
    sha1_requests: Annotated[
        bool, option("The portal takes requests signed with SHA-1, as before 2017.", None, "--sha1-requests")
    ] = False,
    log_level: Annotated[
        Literal["off", "warning", "info", "debug"] | None,
        option(
            "off, warning, info or debug; SIGUSR1 turns debug on, SIGUSR2 back (default: off, or info with --log-file).",
            "LEVEL",
        ),
    ] = None,
    log_file: Annotated[
        Path | None, option("Where the log goes; it rotates. - for standard error (default: mdmsim-apns.log).", "FILE")
    ] = None,
    metrics_open: Annotated[bool, option("/metrics of the admin API needs no key.", None, "--metrics-open")] = False,
    settings: Annotated[str, option("Switches of the service, as a JSON object.", "JSON")] = "{}",
    front: Annotated[str, option("Switches of its HTTP/2 side, as a JSON object.", "JSON")] = "{}",
    as_json: ReadyJson = False,
) -> int:
    """The fake APNs alone: HTTP/2 for push providers, a courier for devices, an admin API."""
    if context.invoked_subcommand is not None:
        return PASSED

    import trio

    from mdmsim.cli.output import line
    from mdmsim.cli.running import run_trio, until_told
    from mdmsim.cli.words import open_to_network, push_certificates, url_host
    from mdmsim.fakeapns.debug_log import log_wishes
    from mdmsim.fakeapns.front.settings import FrontSettings
    from mdmsim.fakeapns.serve import Ready, ServeSettings, serve
    from mdmsim.fakeapns.settings import ApnsSettings
    from mdmsim.startup import different_ports

    different_ports(
        {
            "--port": port,
            "--sandbox-port": sandbox_port,
            "--plain-port": plain_port,
            "--courier-port": courier_port,
            "--admin-port": admin_port,
        }
    )
    level, log = log_wishes(log_level, log_file)
    wishes = ServeSettings(
        host=host,
        port=port,
        sandbox_port=sandbox_port,
        plain_port=plain_port,
        courier_port=courier_port,
        admin_port=admin_port,
        admin_key=admin_key,
        seed=seed,
        store=store,
        faults=_faults(fault or []),
        server_identity=server_identity,
        ca_file=ca_file,
        certificates=push_certificates(certificate or [], "--certificate"),
        events=events,
        portal=portal,
        vendor_cas=tuple(vendor_ca or ()),
        sha1_requests=sha1_requests,
        ready_line=as_json,
        log_level=level,
        log_file=log,
        log_signals=True,
        metrics_open=metrics_open,
        apns=_switches(settings, ApnsSettings, '{"auto_register": false}'),
        front=_switches(front, FrontSettings, '{"idle_timeout": 60}', "--front"),
    )

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            ready: Ready = await nursery.start(lambda task_status: serve(wishes, task_status=task_status))
            if not as_json and events != "-":
                line(f"  fake APNs   {ready.url}")
                if ready.sandbox_url:
                    line(f"  sandbox     {ready.sandbox_url}")
                if ready.plain_url:
                    line(f"  plain       {ready.plain_url}")
                line(f"  courier     {url_host(host)}:{ready.courier_port}")
                line(f"  admin API   {ready.admin_url}   key {ready.admin_key}")
                line(f"  look inside {ready.admin_url}/#key={ready.admin_key}")
                line(f"  portal      {ready.admin_url}/portal   for push certificates, with the same key")
                if ready.ca_file:
                    line(f"  CA file     {ready.ca_file}")
                if log is not None:
                    line(f"  log         {log}   {level}")
                for warning in open_to_network(host):
                    line(warning)
                line("  Ctrl-C ends it.")
            await until_told()

    run_trio(main, serving=True)
    return PASSED


def _faults(lines: list[str]) -> tuple[FaultSpec, ...]:
    from mdmsim.fakeapns.errors import FaultMistake
    from mdmsim.fakeapns.fault_spec import parse_fault

    try:
        return tuple(map(parse_fault, lines))
    except FaultMistake as error:
        raise Mistake(f"--fault: {error}") from None


def _switches(text: str, kind: type[T], example: str, name: str = "--settings") -> T:
    import msgspec

    from mdmsim.mistakes import explain

    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Mistake(f"{name}: {explain(error, kind)}. Write a JSON object, e.g. {example}.") from None


def _dep_fault(text: str) -> NewFault:
    from mdmsim.fakedep.admin.values import parse_fault

    try:
        return parse_fault(text)
    except ValueError as error:
        raise Mistake(f"--fault: {error}") from None


def dep(
    host: Host = "127.0.0.1",
    port: Annotated[int, port("MDM servers")] = 0,
    activation_port: Annotated[int, port("devices that activate")] = 0,
    admin_port: Annotated[int, port("the portal and admin API")] = 0,
    admin_key: Annotated[str | None, option("Bearer key of the admin API (default: a random one).", "KEY")] = None,
    tls: Annotated[bool, option("Speak TLS, for servers that dial mdmenrollment.apple.com.", None, "--tls")] = False,
    server_identity: Annotated[
        Path | None, option("Server certificate and key, PEM (default: made at start). Implies --tls.", "FILE")
    ] = None,
    ca_file: Annotated[
        Path | None, option("Where to write the certificate that clients must trust, with --tls.", "FILE")
    ] = None,
    events: Events = None,
    seed: Annotated[str | None, option("Makes tokens, UUIDs and cursors repeatable (default: random).", "SEED")] = None,
    fault: Annotated[
        list[str] | None, option("A fault from the start, e.g. assign.omitted,times=1. Repeatable.", "FAULT")
    ] = None,
    settings: Annotated[str, option("Switches of the service, as a JSON object.", "JSON")] = "{}",
    as_json: ReadyJson = False,
) -> int:
    """The fake DEP alone: the web service for MDM servers, activation for devices, a portal as an admin API."""
    import trio

    from mdmsim.cli.output import line
    from mdmsim.cli.running import run_trio, until_told
    from mdmsim.cli.words import open_to_network
    from mdmsim.fakedep.serve import Ready, ServeSettings, serve
    from mdmsim.fakedep.settings import DepSettings
    from mdmsim.startup import different_ports

    different_ports({"--port": port, "--activation-port": activation_port, "--admin-port": admin_port})
    wishes = ServeSettings(
        host=host,
        port=port,
        activation_port=activation_port,
        admin_port=admin_port,
        admin_key=admin_key,
        seed=seed,
        tls=tls,
        server_identity=server_identity,
        ca_file=ca_file,
        events=events,
        ready_line=as_json,
        dep=_switches(settings, DepSettings, '{"default_limit": 50}'),
        faults=tuple(map(_dep_fault, fault or [])),
    )

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            ready: Ready = await nursery.start(lambda task_status: serve(wishes, task_status=task_status))
            if not as_json and events != "-":
                line(f"  fake DEP    {ready.url}")
                line(f"  activation  {ready.activation_url}")
                line(f"  admin API   {ready.admin_url}   key {ready.admin_key}")
                if ready.ca_file:
                    line(f"  CA file     {ready.ca_file}")
                line(f'  a server with a base URL takes {ready.url}, e.g. NanoDEP: {{"base_url": "{ready.url}"}}')
                for warning in open_to_network(host):
                    line(warning)
                line("  Ctrl-C ends it.")
            await until_told()

    run_trio(main, serving=True)
    return PASSED


def proxy(
    apns: Annotated[
        str | None, option("HOST:PORT of the fake APNs that answers for Apple's push hosts.", "ADDRESS")
    ] = None,
    route: Routes = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, port("the proxy")] = 0,
    hosts_port: HostsPort = None,
    data: Annotated[
        Path | None,
        option(
            "Folder of a CA, made if it is not there: with it the OS catalogue and app metadata are answered.", "DIR"
        ),
    ] = None,
    catalogue: Catalogue = None,
    content_metadata: ContentMetadata = None,
    as_json: ReadyJson = False,
) -> int:
    """The CONNECT proxy alone: takes connections to Apple's hosts to the fakes, and refuses every other host."""
    import trio

    from mdmsim.cli.output import json_line, line
    from mdmsim.cli.running import run_trio
    from mdmsim.cli.universe import Answers, start_answers, start_proxy
    from mdmsim.cli.words import folder
    from mdmsim.startup import different_ports

    different_ports({"--port": port} | {f"--hosts-port {each}": each for each in hosts_port or ()})
    routes = _routes(apns, route or [], answering=data is not None)
    folder(data, "--data")
    if data is None and (catalogue or content_metadata):
        raise Mistake("--catalogue, --content-metadata: servers must trust what answers. Add --data DIR for its CA.")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            told: dict[str, Any] = {}
            leads = routes
            if data is not None:
                told, answered = await start_answers(nursery, data, Answers(catalogue, content_metadata), host)
                leads = answered | routes
            told |= await start_proxy(nursery, leads, host, port, hosts_port or (), setting="port")
            if as_json:
                json_line(told)
                return
            line(f"  proxy   {told['url']}   for {', '.join(told['hosts'])}")
            line(f"  an unmodified server takes it from HTTPS_PROXY={told['url']}")
            if "ca_file" in told:
                line(f"  CA for what it answers itself  {told['ca_file']}")
                line(f"  OS catalogue over plain HTTP   {told['catalogue']}/v2/pmv")
            if told["hosts_ports"]:
                line(f"  for a hosts file: ports {', '.join(map(str, told['hosts_ports']))}")
            line("  Ctrl-C ends it.")

    run_trio(main, serving=True)
    return PASSED


def _routes(apns: str | None, extra: list[str], *, answering: bool) -> dict[str, tuple[str, int]]:
    from mdmsim.cli.words import address, routes
    from mdmsim.fakeapns.front.context import APPLE_HOSTS

    found = dict.fromkeys(APPLE_HOSTS, address(apns, "--apns")) if apns is not None else {}
    found |= routes(extra)
    if not found and not answering:
        raise Mistake(
            "mdmsim proxy: nowhere to lead to. Name a fake with --apns HOST:PORT, or start everything with mdmsim up."
        )
    return found
