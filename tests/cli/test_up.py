"""`mdmsim up`, `serve`, `apns`, `dep` and `proxy`: servers without devices, as real processes."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer

from mdmsim.cli.app import app
from mdmsim.cli.entry import run
from mdmsim.cli.universe import parts_of
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.pki.push_certificate import topic_of
from tests.cli.commands import CommandLine, alive, descendants, process

pytestmark = pytest.mark.live


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which someone listens already."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def answer(url: str, ca_file: str, **headers: str) -> Any:
    context = ssl.create_default_context(cafile=ca_file)
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context, timeout=20) as response:
        return json.loads(response.read())


def post(url: str, key: str, body: dict[str, Any] | None = None, ca_file: str | None = None) -> Any:
    """What an API answers to its administrator."""
    context = ssl.create_default_context(cafile=ca_file) if ca_file is not None else None
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body or {}).encode(), headers, method="POST")
    with urllib.request.urlopen(request, context=context, timeout=20) as response:
        return json.loads(response.read() or b"null")


def devices_taken(server: dict[str, Any], dep: dict[str, Any]) -> list[str]:
    """The serial numbers that the reference server has after one was bought for it, and it asked the fake DEP."""
    post(f"{dep['admin_url']}/servers", dep["admin_key"], {"name": "acme"})
    post(f"{dep['admin_url']}/devices", dep["admin_key"], {"devices": ["C02XK1ABCD"], "server": "acme"})
    token = post(f"{dep['admin_url']}/servers/acme/plain-token", dep["admin_key"])
    api = f"{server['url']}/api/v1/dep"
    for path, body in (("", {"name": "acme"}), ("/acme/token", {"plain": token}), ("/acme/sync", {})):
        post(f"{api}{path}", server["api_key"], body, server["ca_file"])
    listed = answer(f"{api}/acme/devices", server["ca_file"], Authorization=f"Bearer {server['api_key']}")
    return [device["serial_number"] for device in listed["devices"]]


def connect_through(proxy_url: str, authority: str) -> bytes:
    """What the proxy answers to CONNECT."""
    parts = urlsplit(proxy_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        return connection.recv(4096).partition(b"\r\n")[0]


def test_the_json_names_every_part(up: dict[str, Any]) -> None:
    assert set(up) == {"server", "apns", "dep", "proxy", "catalogue", "courier", "recipes"}
    assert set(up["server"]) == {"url", "api_key", "ca_file", "enroll_url"}
    assert {"url", "topic"} <= set(up["apns"])
    assert set(up["dep"]) == {"url", "activation_url", "ca_file", "admin_url", "admin_key"}
    assert {"url", "ca_file"} <= set(up["proxy"])
    assert set(up["courier"]) == {"url"}


def test_the_server_answers_its_administrator(up: dict[str, Any]) -> None:
    server = up["server"]
    url = f"{server['url']}/api/v1/devices"
    assert answer(url, server["ca_file"], Authorization=f"Bearer {server['api_key']}")["devices"] == []


def test_the_fake_apns_knows_the_servers_push_certificate(up: dict[str, Any]) -> None:
    assert topic_of(certificates_from_pem(Path(up["apns"]["push_file"]).read_bytes())[0]) == up["apns"]["topic"]


def test_the_environment_is_what_an_unmodified_server_needs(up: dict[str, Any]) -> None:
    wanted = {"HTTPS_PROXY": up["proxy"]["url"], "SSL_CERT_FILE": up["proxy"]["ca_file"]}
    assert up["proxy"]["environment"] == wanted


@pytest.mark.parametrize(
    ("authority", "status"),
    [("api.push.apple.com:443", b"200"), ("api.push.apple.com:2197", b"200"), ("www.apple.com:443", b"403")],
)
def test_the_proxy_leads_to_the_fake_apns_and_nowhere_else(up: dict[str, Any], authority: str, status: bytes) -> None:
    assert connect_through(up["proxy"]["url"], authority).split(b" ")[1] == status


def told_through(proxy: dict[str, Any], host: str, path: str) -> int:
    """The status of a GET that a client makes with the environment `up` prints."""
    parts = urlsplit(proxy["url"])
    context = ssl.create_default_context(cafile=proxy["ca_file"])
    connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, context=context, timeout=20)
    connection.set_tunnel(host, 443)
    try:
        connection.request("GET", path, headers={"User-Agent": "bench"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("host", "path", "status"),
    # The fake DEP knows no session of this client; its activation wants a POST.
    [("mdmenrollment.apple.com", "/account", 403), ("iprofiles.apple.com", "/v1/configuration", 405)],
)
def test_apples_names_lead_through_the_proxy_to_the_fake_dep(
    up: dict[str, Any], host: str, path: str, status: int
) -> None:
    assert told_through(up["proxy"], host, path) == status


def test_the_proxys_ca_file_trusts_the_fake_apns_too(up: dict[str, Any]) -> None:
    apns = urlsplit(up["apns"]["url"])
    context = ssl.create_default_context(cafile=up["proxy"]["ca_file"])
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((apns.hostname, apns.port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname="api.push.apple.com") as tls,
    ):
        assert tls.selected_alpn_protocol() == "h2"


def test_the_reference_server_takes_its_devices_from_the_fake_dep(up: dict[str, Any]) -> None:
    assert devices_taken(up["server"], up["dep"]) == ["C02XK1ABCD"]


def test_the_courier_listens(up: dict[str, Any]) -> None:
    parts = urlsplit(up["courier"]["url"])
    with socket.create_connection((parts.hostname, parts.port), timeout=20):
        pass


def test_parts_that_were_not_asked_for_are_absent(tmp_path: Path) -> None:
    with process("up", "--only", "proxy,apns", "--data", tmp_path / "data", "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert set(facts) == {"apns", "proxy", "catalogue", "courier", "recipes"}
        assert facts["apns"]["push_file"] == str(tmp_path / "data" / "push.pem")
        assert Path(facts["apns"]["push_file"]).stat().st_mode & 0o077 == 0
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
        assert running.stdout.read() == ""


def test_the_fake_dep_is_there_without_the_fake_apns(tmp_path: Path) -> None:
    with process("up", "--only", "dep,proxy", "--data", tmp_path / "data", "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert set(facts) == {"dep", "proxy", "catalogue", "recipes"}
        assert facts["proxy"]["ca_file"] == facts["dep"]["ca_file"] == str(tmp_path / "data" / "apple-ca.pem")
        assert connect_through(facts["proxy"]["url"], "mdmenrollment.apple.com:443").split(b" ")[1] == b"200"
        assert connect_through(facts["proxy"]["url"], "api.push.apple.com:443").split(b" ")[1] == b"403"


def test_the_proxy_answers_for_the_catalogue(up: dict[str, Any]) -> None:
    assert told_through(up["proxy"], "gdmf.apple.com", "/v2/pmv") == 200
    with urllib.request.urlopen(f"{up['catalogue']['url']}/v2/pmv", timeout=20) as response:
        assert "18.1" in [asset["ProductVersion"] for asset in json.loads(response.read())["AssetSets"]["iOS"]]


def test_a_hosts_port_answers_for_all_names(tmp_path: Path) -> None:
    with process("up", "--only", "apns,dep,proxy", "--hosts-port", "0", "--hosts-port", "0", "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        context = ssl.create_default_context(cafile=facts["proxy"]["ca_file"])
        assert len(set(facts["proxy"]["hosts_ports"])) == 2
        for port in facts["proxy"]["hosts_ports"]:
            for host in ("api.push.apple.com", "mdmenrollment.apple.com", "gdmf.apple.com"):
                with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                    context.wrap_socket(connection, server_hostname=host).close()


def test_one_ca_stands_for_all_of_apples(up: dict[str, Any]) -> None:
    assert up["apns"]["ca_file"] == up["dep"]["ca_file"] == up["proxy"]["ca_file"]
    assert len(certificates_from_pem(Path(up["proxy"]["ca_file"]).read_bytes())) == 1


def test_the_ca_stays_in_the_data_folder_and_its_key_is_private(tmp_path: Path) -> None:
    trusted = []
    for _ in range(2):
        with process("up", "--only", "apns,proxy", "--data", tmp_path / "data", "--json") as running:
            assert running.stdout is not None
            facts = json.loads(running.stdout.readline())
            trusted.append(Path(facts["proxy"]["ca_file"]).read_bytes())
            context = ssl.create_default_context(cadata=trusted[0].decode())
            context.set_alpn_protocols(["h2"])
            port = urlsplit(facts["apns"]["url"]).port
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                context.wrap_socket(connection, server_hostname="api.push.apple.com").close()
    assert trusted[0] == trusted[1]
    private = [file for file in (tmp_path / "data").iterdir() if b"PRIVATE KEY" in file.read_bytes()]
    assert {file.name for file in private} == {"apple-ca.key.pem", "apns-identity.pem", "push.pem"}
    assert [file.name for file in private if file.stat().st_mode & 0o077] == []


def test_what_the_fake_apns_knows_stays_in_the_data_folder(tmp_path: Path) -> None:
    request = tmp_path / "request"
    assert run(["apns", "vendor-request", "--key-out", str(tmp_path / "key"), "--out", str(request)]) == 0
    known: list[Any] = []
    for _ in range(2):
        with process("up", "--only", "apns", "--data", tmp_path / "data", "--json") as running:
            assert running.stdout is not None
            apns = json.loads(running.stdout.readline())["apns"]
            bearer = {"Authorization": f"Bearer {apns['admin_key']}"}
            if not known:
                post(f"{apns['admin_url']}/tokens", apns["admin_key"], {"device": "mac-1", "topic": apns["topic"]})
                create = urllib.request.Request(f"{apns['portal_url']}/certificates", request.read_bytes(), bearer)
                urllib.request.urlopen(create, timeout=20).close()
            told = []
            for path in ("/tokens", "/portal/certificates"):
                asked = urllib.request.Request(f"{apns['admin_url']}{path}", headers=bearer)
                with urllib.request.urlopen(asked, timeout=20) as response:
                    told.append(json.loads(response.read()))
            known.append(told)
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0
    assert known[0] == known[1]
    assert known[0][0] and known[0][1]["certificates"]


def test_a_route_leads_one_more_name_through_the_proxy(taken: int) -> None:
    route = f"vpp.itunes.apple.com=127.0.0.1:{taken}"
    with process("up", "--only", "apns,proxy", "--route", route, "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert connect_through(facts["proxy"]["url"], "vpp.itunes.apple.com:443").split(b" ")[1] == b"200"


def test_people_are_told_what_a_server_with_a_base_url_takes() -> None:
    with process("up", "--only", "dep") as running:
        said = told(running)
    assert 'NanoDEP: PUT /v1/config/NAME with {"base_url": "https://127.0.0.1:' in said
    assert "export SSL_CERT_FILE=" in said
    assert "HTTPS_PROXY" not in said


def test_people_are_told_what_to_do_next() -> None:
    with process("up") as running:
        said = told(running)
    for what in (
        "fake APNs",
        "fake DEP",
        "activation  ",
        "reference server",
        "ready in",
        "export HTTPS_PROXY=",
        "export SSL_CERT_FILE=",
        "Bearer",
    ):
        assert what in said
    assert "  next: mdmsim enroll https://127.0.0.1:" in said
    assert "\x1b" not in said


def told(running: subprocess.Popen[str]) -> str:
    """What it says until it serves."""
    assert running.stdout is not None and running.stderr is not None
    said = ""
    while "Ctrl-C" not in said:
        line = running.stdout.readline()
        assert line, running.stderr.read()
        said += line
    return said


def test_nothing_is_left_of_a_command_that_was_killed() -> None:
    with process("up", "--only", "server", "--json") as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        children = descendants(running.pid)
        assert children
        running.kill()
        running.wait(20)
        for child in children:
            gone(child)


def gone(pid: int) -> None:
    """Wait until a process has ended."""
    import os
    import select

    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([watched], [], [], 20)[0], f"process {pid} still runs"
    finally:
        os.close(watched)
    assert alive({pid}) == set()


def port_options() -> list[tuple[str, str]]:
    """Every command's options that take a port to listen on."""
    group: Any = typer.main.get_command(app)
    return [
        (name, option)
        for name, command in group.commands.items()
        for parameter in command.params
        for option in parameter.opts
        if option.endswith("port") and parameter.metavar == "PORT"
    ]


#: What a command needs besides, before it listens.
NEEDED = {"proxy": ("--apns", "127.0.0.1:1"), "front": ("127.0.0.1:1",)}


@pytest.mark.parametrize(("command", "option"), port_options())
def test_a_taken_port_is_told_by_the_option_that_named_it(
    mdmsim: CommandLine, taken: int, tmp_path: Path, command: str, option: str
) -> None:
    data = ("--data", tmp_path) if command in ("serve", "up") else ()
    ended = mdmsim(command, option, taken, *data, *NEEDED.get(command, ()))
    assert ended.code == 3
    assert "ddress already in use" in ended.err
    assert str(taken) in ended.err
    assert re.findall(r"--[a-z-]+", ended.err) == [option]
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [
        ("up", "--apns-port", "--courier-port"),
        ("apns", "--port", "--courier-port"),
        ("dep", "--port", "--admin-port"),
        ("proxy", "--port", "--hosts-port"),
    ],
)
def test_two_options_with_one_port_are_both_named(
    mdmsim: CommandLine, taken: int, command: str, first: str, second: str
) -> None:
    ended = mdmsim(command, first, taken, second, taken, *NEEDED.get(command, ()))
    assert ended.code == 2
    assert re.findall(r"--[a-z-]+", ended.err) == [first, second]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "server,vpn"), "--only vpn: no such part. Parts: server, apns, dep, proxy."),
        (("--only", "proxy,server"), "--only proxy: it leads to the fakes."),
        (("--push-certificate", "/nowhere/push.pem", "--only", "apns"), "/nowhere/push.pem"),
        (("--data", "/proc/nothing"), "/proc/nothing"),
        (("--route", "vpp.itunes.apple.com"), "--route vpp.itunes.apple.com: not a route"),
        (("--only", "apns", "--route", "vpp.itunes.apple.com=127.0.0.1:1"), "--route: that is the proxy's business"),
        (("--only", "apns", "--hosts-port", "443"), "--hosts-port: that is the proxy's business"),
        (("--catalogue", "/nowhere.json"), "/nowhere.json: cannot be read"),
        (("--only", "apns", "--enroll-access", "anyone"), "--enroll-access: that is the reference server's business"),
        (("--enroll-access", "token"), "--enroll-access, --enroll-token: write both"),
        (("--enroll-token", "a-long-token"), "--enroll-access, --enroll-token: write both"),
        (("--enroll-access", "login"), "--enroll-access login: nobody could sign in"),
        (("--enroll-access", "login", "--users", "/nowhere.json"), "/nowhere.json"),
        (("--for", "perl"), "--for perl: no such recipe. There are: nanomdm, "),
    ],
)
def test_what_cannot_be_started_is_the_users_mistake(
    mdmsim: CommandLine, arguments: tuple[str, ...], says: str
) -> None:
    ended = mdmsim("up", *arguments)
    assert ended.code == 2
    assert says in ended.err
    assert ended.err.count("\n") == 1


def test_all_parts_are_started_where_none_is_named() -> None:
    assert parts_of([]) == ("server", "apns", "dep", "proxy")


def test_serve_is_the_reference_server_alone(tmp_path: Path) -> None:
    with process("serve", "--data", tmp_path / "mdm", "--log", tmp_path / "log", "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert answer(f"{facts['url']}/healthz", facts["ca_file"])
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def test_devices_enrol_with_the_token_that_the_server_asks_for(mdmsim: CommandLine, tmp_path: Path) -> None:
    words = ("--enroll-access", "token", "--enroll-token", "enrol-with-this")
    with process("serve", "--data", tmp_path / "mdm", "--log", tmp_path / "log", "--json", *words) as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert facts["enroll_url"] == f"{facts['url']}/enroll?token=enrol-with-this"
        store = ("--trust", facts["ca_file"], "--store", tmp_path / "devices.sqlite")
        assert mdmsim("enroll", f"{facts['url']}/enroll", *store).code == 1
        assert mdmsim("enroll", facts["enroll_url"], *store).code == 0
    assert "enrol-with-this" not in (tmp_path / "log").read_text()


def test_serve_ends_with_130_at_ctrl_c(tmp_path: Path) -> None:
    with process("serve", "--data", tmp_path / "mdm", "--log", tmp_path / "log") as running:
        assert running.stdout is not None and running.stderr is not None
        said = [running.stdout.readline() for _ in range(7)]
        assert "enrol devices: " in said[5]
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
        assert running.stderr.read() == "interrupted\n"


def test_serve_on_a_taken_port_is_exit_code_3(mdmsim: CommandLine, taken: int, tmp_path: Path) -> None:
    ended = mdmsim("serve", "--port", taken, "--data", tmp_path)
    assert (ended.code, ended.out) == (3, "")
    assert f"127.0.0.1:{taken}" in ended.err


def test_apns_alone_says_where_it_is(tmp_path: Path) -> None:
    with process("apns", "--ca-file", tmp_path / "ca.pem", "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert urlsplit(facts["url"]).port == facts["port"]
        assert certificates_from_pem((tmp_path / "ca.pem").read_bytes())
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--settings", "{"), 2, "--settings: "),
        (("--settings", '{"autoregister": true}'), 2, "--settings: "),
        (("--fault", "push.loost"), 2, "--fault: "),
        (("--certificate", "/nowhere.pem"), 2, "--certificate /nowhere.pem: "),
        (("--ca-file", "/proc/ca.pem"), 2, "/proc/ca.pem: "),
    ],
)
def test_apns_names_the_option_that_is_wrong(
    mdmsim: CommandLine, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = mdmsim("apns", *arguments)
    assert ended.code == code
    assert ended.err.startswith(says)


@pytest.mark.parametrize("tls", [False, True])
def test_dep_alone_says_where_it_is(tmp_path: Path, tls: bool) -> None:
    options = ("--tls", "--ca-file", tmp_path / "ca.pem") if tls else ()
    with process("dep", *options, "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        parts = urlsplit(facts["url"])
        assert (parts.scheme, parts.port) == ("https" if tls else "http", facts["port"])
        assert facts["ca_file"] == (str(tmp_path / "ca.pem") if tls else None)
        assert post(f"{facts['admin_url']}/servers", facts["admin_key"], {"name": "acme"})["name"] == "acme"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


def test_dep_alone_tells_people_what_a_server_takes() -> None:
    with process("dep", "--admin-key", "k") as running:
        said = told(running)
    for what in ("  fake DEP    http://", "  activation  http://", "   key k\n", 'NanoDEP: {"base_url": "http://'):
        assert what in said


@pytest.mark.parametrize("option", ["--port", "--activation-port", "--admin-port"])
def test_dep_on_a_taken_port_is_exit_code_3(mdmsim: CommandLine, taken: int, option: str) -> None:
    ended = mdmsim("dep", option, taken)
    assert (ended.code, ended.out) == (3, "")
    assert f"{option} {taken} on 127.0.0.1" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--settings", "{"), "--settings: "),
        (("--settings", '{"default_limits": 5}'), "--settings: "),
        (("--settings", '{"default_limit": 0}'), "--settings: default_limit=0"),
        (("--server-identity", "/nowhere.pem"), "/nowhere.pem: "),
        (("--ca-file", "ca.pem"), "ca.pem: without TLS"),
        (("--tls", "--ca-file", "/proc/ca.pem"), "/proc/ca.pem: "),
    ],
)
def test_dep_names_the_option_that_is_wrong(mdmsim: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    ended = mdmsim("dep", *arguments)
    assert ended.code == 2
    assert ended.err.startswith(says)


def test_serve_and_dep_alone_find_each_other(tmp_path: Path) -> None:
    with process("dep", "--json") as dep:
        assert dep.stdout is not None
        fake = json.loads(dep.stdout.readline())
        options = ("--data", tmp_path / "mdm", "--log", tmp_path / "log", "--dep-url", fake["url"], "--json")
        with process("serve", *options) as serve:
            assert serve.stdout is not None
            facts = json.loads(serve.stdout.readline())
            assert devices_taken(facts, fake) == ["C02XK1ABCD"]


def test_proxy_alone_leads_where_it_is_told(up: dict[str, Any]) -> None:
    apns = urlsplit(up["apns"]["url"]).netloc
    with process("proxy", "--apns", apns, "--route", f"mdmenrollment.apple.com={apns}", "--json") as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert "mdmenrollment.apple.com" in facts["hosts"]
        assert connect_through(facts["url"], "api.push.apple.com:443").split(b" ")[1] == b"200"
        assert connect_through(facts["url"], "example.com:443").split(b" ")[1] == b"403"


def test_proxy_alone_answers_for_the_catalogue_under_a_ca_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "apps.json").write_text('{"361309726": {"name": "Pages"}}')
    options = ("--data", tmp_path / "ca", "--content-metadata", tmp_path / "apps.json", "--json")
    with process("proxy", *options) as running:
        assert running.stdout is not None
        facts = json.loads(running.stdout.readline())
        assert facts["hosts"] == ["gdmf.apple.com", "uclient-api.itunes.apple.com", "vpp.itunes.apple.com"]
        assert told_through(facts, "gdmf.apple.com", "/v2/pmv") == 200
        lookup = f"{facts['catalogue']}/WebObjects/MZStorePlatform.woa/wa/lookup?id=361309726"
        with urllib.request.urlopen(lookup, timeout=20) as response:
            assert json.loads(response.read()) == {"results": {"361309726": {"name": "Pages"}}}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "mdmsim proxy: nowhere to lead to"),
        (("--apns", "here"), "--apns here: not an address"),
        (("--route", "host"), "--route host: not a route"),
        (("--route", "host=there"), '--route host=there: "there" is not an address'),
        (("--apns", "127.0.0.1:1", "--catalogue", "f.json"), "--catalogue, --content-metadata: servers must trust"),
    ],
)
def test_proxy_without_a_way_is_the_users_mistake(mdmsim: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    ended = mdmsim("proxy", *arguments)
    assert ended.code == 2
    assert ended.err.startswith(says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--catalogue", "zero"), "--catalogue zero"),
        (("--content-metadata", "zero"), "--content-metadata zero"),
        (("--data", "zero"), "--data zero: is a file. Name a folder."),
        (("--data", "/proc/x"), "--data /proc/x: cannot be made ("),
        (("--only", ""), "--only: names no part. Parts: server, apns, dep, proxy"),
        (
            ("--route", "vpp.itunes.apple.com=x:y"),
            '--route vpp.itunes.apple.com=x:y: "x:y" is not an address. Write HOST:PORT, e.g. "127.0.0.1:8443".',
        ),
        (("--apns-port", "1080", "--proxy-port", "1080"), "--apns-port and --proxy-port: both ask for port 1080"),
        (("--only", "apns", "--host", "nosuch.invalid"), 'host="nosuch.invalid": no such host'),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    mdmsim: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zero").write_bytes(bytes(100))
    ended = mdmsim("up", *words)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(says)


def test_the_fake_apns_alone_is_reached_by_its_base_url() -> None:
    with process("up", "--only", "apns") as running:
        said = until_ctrl_c(running)
    assert "  for a server with a base URL:\n" in said
    assert "    the base URL for pushes: https://127.0.0.1:" in said
    assert "    mdmsim doctor --push https://127.0.0.1:" in said
    assert "The proxy refuses" not in said


@pytest.mark.parametrize("words", [("apns",), ("dep",), ("up", "--only", "apns")])
def test_who_listens_everywhere_is_warned(words: tuple[str, ...]) -> None:
    with process(*words, "--host", "0.0.0.0") as running:
        said = until_ctrl_c(running)
    assert "0.0.0.0 is every address of this machine: others write one of those in its place." in said
    assert "! the admin API is open to the network over plain HTTP" in said
    with process(*words) as running:
        assert "open to the network" not in until_ctrl_c(running)


def until_ctrl_c(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        line = running.stdout.readline()
        assert line, running.stderr.read() if running.stderr is not None else ""
        said += line
    return said


def test_a_folder_in_use_is_exit_code_3(mdmsim: CommandLine, tmp_path: Path) -> None:
    words = ("up", "--only", "apns", "--data", tmp_path / "world")
    with process(*words) as running:
        until_ctrl_c(running)
        ended = mdmsim(*words)
    assert (ended.code, ended.err.count("\n")) == (3, 1)
    assert "another process has this" in ended.err
