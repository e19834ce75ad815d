"""The fake APNs as a process of its own: what it prints, how it ends, what it says when it cannot start."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.events import from_json_line
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.pki.keys import FreshKeys
from tests.fakeapns.support import PAYLOAD, TOPIC

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-m", "mdmsim.fakeapns"]


async def _line(process: trio.Process) -> bytes:
    assert process.stdout is not None
    data = b""
    while not data.endswith(b"\n"):
        more = await process.stdout.receive_some(65536)
        if not more:
            break
        data += more
    return data


@pytest.mark.live
async def test_a_push_goes_through_the_process_to_a_courier(tmp_path: Path) -> None:
    authority = Authority.create("a", keys=FreshKeys(), clock=WallClock(), chance=Chance(1), kind="ec")
    provider = authority.issue_push(TOPIC)
    identity = tmp_path / "push.pem"
    identity.write_bytes(identity_to_pem(provider))
    events = tmp_path / "events.jsonl"
    options = ["--json", "--seed", "5", "--certificate", str(identity), "--events", str(events)]
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([*COMMAND, *options], stdout=subprocess.PIPE)
        try:
            ready = json.loads(await _line(process))
            heard: list[bytes] = []
            woken = trio.Event()

            def on_push(topic: str, token: bytes, payload: bytes) -> None:
                heard.append(payload)
                woken.set()

            context = ssl.create_default_context(cadata=ready["ca"])
            context.load_cert_chain(identity)
            async with (
                CourierClient("127.0.0.1", ready["courier_port"], on_push=on_push, chance=Chance(1)) as courier,
                httpx.AsyncClient(http2=True, verify=context) as client,
            ):
                token = await courier.register("mac-1", TOPIC)
                await courier.subscribe([(TOPIC, token)])
                answer = await client.post(f"{ready['url']}/3/device/{token.hex()}", content=PAYLOAD)
                await woken.wait()
                health = await client.get(ready["admin_url"] + "/healthz")
                process.send_signal(signal.SIGTERM)
                code = await process.wait()
        finally:
            process.kill()
    assert (answer.status_code, heard, health.status_code, code) == (200, [PAYLOAD], 200, 0)
    kinds = [from_json_line(line).kind for line in events.read_bytes().splitlines()]
    assert kinds[:6] == [
        "courier.connected",
        "token.registered",
        "courier.subscribed",
        "provider.connected",
        "push.accepted",
        "push.delivered",
    ]


@pytest.mark.live
async def test_ports_for_the_sandbox_and_without_tls_are_there_when_asked_for() -> None:
    options = ["--json", "--sandbox-port", "0", "--plain-port", "0"]
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([*COMMAND, *options], stdout=subprocess.PIPE)
        try:
            ready = json.loads(await _line(process))
            context = ssl.create_default_context(cadata=ready["ca"])
            async with httpx.AsyncClient(http2=True, verify=context) as client:
                answers = [
                    await client.post(f"{ready[url]}/3/device/{'ab' * 32}", content=PAYLOAD)
                    for url in ("url", "sandbox_url", "plain_url")
                ]
                headers = {"Authorization": f"Bearer {ready['admin_key']}"}
                listed = (await client.get(ready["admin_url"] + "/connections", headers=headers)).json()
        finally:
            process.kill()
    # Without TLS there is no credential to miss, and the token is unknown.
    assert [answer.json()["reason"] for answer in answers] == ["MissingProviderToken"] * 2 + ["BadDeviceToken"]
    assert [one["environment"] for one in listed["providers"]] == ["production", "sandbox", "production"]


@pytest.mark.live
@pytest.mark.parametrize("command", [COMMAND, [sys.executable, "-m", "mdmsim.cli", "apns"]])
async def test_signals_turn_the_log_up_and_back_while_it_runs(tmp_path: Path, command: list[str]) -> None:
    log = tmp_path / "apns.log"
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([*command, "--json", "--log-file", str(log)], stdout=subprocess.PIPE)
        try:
            ready = json.loads(await _line(process))
            assert log.read_text().count("log level info") == 1
            for number, line in ((signal.SIGUSR1, "log level debug"), (signal.SIGUSR2, "log level info")):
                before = log.read_text().count(line)
                process.send_signal(number)
                while log.read_text().count(line) == before:
                    await trio.sleep(0.01)
                headers = {"authorization": f"Bearer {ready['admin_key']}"}
                async with httpx.AsyncClient(headers=headers) as admin:
                    await admin.post(f"{ready['admin_url']}/tokens", json={"device": line.split()[-1], "topic": TOPIC})
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        finally:
            process.kill()
    assert "token.registered device=debug" in log.read_text()
    assert "device=info" not in log.read_text()


@pytest.mark.live
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--certificate", "/nonexistent/push.pem"], 2, "push.pem"),
        (["--settings", '{"typo": 1}'], 2, "typo"),
        (["--settings", '{"default_storage_ms": -1}'], 2, "default_storage_ms=-1"),
        (["--fault", "push.loost"], 2, "Did you mean push.lost"),
        (["--front", '{"stream_limit": 0}'], 2, "stream_limit=0"),
        (["--front", '{"floods": {"pings": -1}}'], 2, "pings=-1"),
        (["--front", "[]"], 2, "--front"),
        (["--ca-file", "/nonexistent/ca.pem"], 2, "ca.pem"),
        (["--events", "/nonexistent/events"], 2, "events"),
        (["--server-identity", "/dev/null"], 2, "/dev/null"),
        (["--vendor-ca", "/nonexistent/vendors.pem"], 2, "vendors.pem"),
        (["--portal", "/dev/null"], 2, "/dev/null: not what the portal keeps"),
        (["--portal", "/nonexistent/portal.json"], 2, "there is no folder /nonexistent"),
        (["--store", "/nonexistent/apns.db"], 2, "there is no folder /nonexistent"),
        (["--log-file", "/nonexistent/apns.log"], 2, "there is no folder /nonexistent"),
        (["--host", "nosuch.invalid"], 2, 'host="nosuch.invalid": no such host'),
        (["--host", ""], 2, 'host="": no address'),
        (["--host", "192.0.2.1"], 2, 'host="192.0.2.1": not an address of this machine'),
        (["--port", "1080", "--courier-port", "1080"], 2, "port and courier_port: both ask for port 1080"),
        (["--admin-key", "clé"], 2, "admin_key: a key is"),
        (["--admin-key", "two words"], 2, "admin_key: a key is"),
        (["--admin-key", "tab\t"], 2, "admin_key: a key is"),
        (["--admin-key", ""], 2, "admin_key: a key is"),
        (["--events", "/tmp/mdmsim-one", "--ca-file", "/tmp/../tmp/mdmsim-one"], 2, "ca_file and events: both would"),
        (["--store", "/proc/apns.db"], 2, "/proc/apns.db: cannot be written"),
    ],
)
async def test_a_mistake_is_one_message_and_an_exit_code(options: list[str], code: int, words: str) -> None:
    with trio.fail_after(60):
        done = await trio.run_process([*COMMAND, *options], capture_stderr=True, check=False)
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n")) == (code, 1)
    assert words in said


@pytest.mark.live
async def test_what_is_registered_and_pending_is_there_after_kill_9(tmp_path: Path) -> None:
    provider = Authority.create("a", keys=FreshKeys(), clock=WallClock(), chance=Chance(1), kind="ec").issue_push(TOPIC)
    identity = tmp_path / "push.pem"
    identity.write_bytes(identity_to_pem(provider))
    command = [*COMMAND, "--json", "--admin-key", "key", "--store", str(tmp_path / "apns.db")]
    headers = {"authorization": "Bearer key"}
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        try:
            ready = json.loads(await _line(process))
            context = ssl.create_default_context(cadata=ready["ca"])
            async with httpx.AsyncClient(base_url=ready["admin_url"], headers=headers) as admin:
                await admin.post("/certificates", content=identity.read_bytes())
                token = (await admin.post("/tokens", json={"device": "mac-1", "topic": TOPIC})).json()["token"]
            context.load_cert_chain(identity)
            async with httpx.AsyncClient(http2=True, verify=context) as client:
                answer = await client.post(f"{ready['url']}/3/device/{token}", content=PAYLOAD)
            second = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        finally:
            process.kill()
            await process.wait()
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        try:
            ready = json.loads(await _line(process))
            async with httpx.AsyncClient(base_url=ready["admin_url"], headers=headers) as admin:
                stats = (await admin.get("/stats")).json()
                certificates = (await admin.get("/certificates")).json()
        finally:
            process.kill()
            await process.wait()
    assert (answer.status_code, stats["tokens"], stats["pending"]) == (200, 1, 1)
    assert [one["topic"] for one in certificates] == [TOPIC]
    assert (second.returncode, second.stderr.count(b"\n")) == (3, 1)
    assert b"another process has this store open" in second.stderr


@pytest.mark.live
@pytest.mark.parametrize("command", [COMMAND, [sys.executable, "-m", "mdmsim.cli", "apns"]])
async def test_two_fakes_do_not_share_a_portals_file(tmp_path: Path, command: list[str]) -> None:
    command = [*command, "--json", "--portal", str(tmp_path / "portal.json")]
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        try:
            await _line(process)
            second = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        finally:
            process.kill()
            await process.wait()
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        try:
            third = await _line(process)  # the lock went with the process that was killed
        finally:
            process.kill()
    assert (second.returncode, second.stderr.count(b"\n")) == (3, 1)
    assert b"portal.json: another process has this portal open" in second.stderr
    assert json.loads(third)["admin_url"]


@pytest.mark.live
async def test_a_taken_port_is_exit_code_3() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with trio.fail_after(60):
            done = await trio.run_process([*COMMAND, "--port", str(port)], capture_stderr=True, check=False)
    assert done.returncode == 3
    assert str(port) in done.stderr.decode()
