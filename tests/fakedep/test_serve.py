"""The fake DEP as a process of its own: what it prints, how it ends, what it says when it cannot start."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from mdmsim.events import from_json_line
from mdmsim.fakedep.oauth import percent_encode, signature

pytestmark = [pytest.mark.anyio, pytest.mark.live]

COMMAND = [sys.executable, "-m", "mdmsim.fakedep"]
AGENT = {"User-Agent": "bench"}


@asynccontextmanager
async def _running(*options: str) -> AsyncIterator[tuple[dict[str, Any], trio.Process]]:
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([*COMMAND, "--json", *options], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            line = b""
            while not line.endswith(b"\n"):
                more = await process.stdout.receive_some(65536)
                assert more, "it ended before it was ready"
                line += more
            yield json.loads(line), process
        finally:
            process.kill()
            await process.wait()


def _session_header(token: dict[str, str], url: str, now_s: int) -> str:
    parameters = {
        "oauth_consumer_key": token["consumer_key"],
        "oauth_token": token["access_token"],
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(now_s),
        "oauth_nonce": "n",
    }
    made = signature("GET", url, parameters.items(), token["consumer_secret"], token["access_secret"])
    parts = [f'{name}="{percent_encode(value)}"' for name, value in {**parameters, "oauth_signature": made}.items()]
    return "OAuth " + ",".join(parts)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_server_and_a_device_use_the_process(tmp_path: Path, tls: bool) -> None:
    events, ca_file = tmp_path / "events.jsonl", tmp_path / "ca.pem"
    # The timestamp of a signature is not judged here: the test has no clock.
    options = ["--seed", "5", "--events", str(events), "--admin-key", "k", "--settings", '{"oauth_window_ms": null}']
    if tls:
        options += ["--tls", "--ca-file", str(ca_file)]
    async with _running(*options) as (ready, process):
        verify = ssl.create_default_context(cadata=ready["ca"]) if tls else True
        admin_headers = {"authorization": "Bearer k"}
        async with httpx.AsyncClient(verify=verify, headers=AGENT) as client:

            async def admin(path: str, body: Any = None) -> Any:
                return (await client.post(ready["admin_url"] + path, json=body, headers=admin_headers)).json()

            await admin("/servers", {"name": "acme"})
            token = await admin("/servers/acme/plain-token")
            await admin("/devices", {"devices": ["S1"], "server": "acme"})
            url = ready["url"] + "/session"
            header = {"Authorization": _session_header(token, url, 1_767_225_600)}
            opened = await client.get(url, headers=header)
            session = {"X-ADM-Auth-Session": opened.json()["auth_session_token"]}
            fetched = await client.post(ready["url"] + "/server/devices", json={}, headers=session)
            profile = {"profile_name": "n", "url": "https://mdm.example/", "devices": ["S1"]}
            await client.post(ready["url"] + "/profile", json=profile, headers=session)
            removed = await client.request(
                "DELETE", ready["url"] + "/profile/devices", content=b'{"devices":["S2"]}', headers=session
            )
            got = await client.post(ready["activation_url"] + "/v1/configuration", json={"serial_number": "S1"})
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert ready["url"].startswith("https" if tls else "http:") and ca_file.exists() == tls
    assert [device["serial_number"] for device in fetched.json()["devices"]] == ["S1"]
    assert removed.json() == {"devices": {"S2": "NOT_ACCESSIBLE"}}
    assert got.json()["profile"]["url"] == "https://mdm.example/"
    kinds = [from_json_line(line).kind for line in events.read_bytes().splitlines()]
    assert kinds == [
        *["dep.portal"] * 3,
        "dep.session",
        "dep.fetch",
        "dep.profile-defined",
        "dep.assigned",
        "dep.unassigned",
        "dep.configuration-served",
    ]


async def test_a_cut_connection_gives_the_client_no_answer_and_the_next_one_is_served() -> None:
    async with _running("--admin-key", "k") as (ready, _):
        async with httpx.AsyncClient(headers=AGENT) as client:
            plan = {"name": "answer.cut", "why": "a test wants it", "times": 1}
            await client.post(ready["admin_url"] + "/faults", json=plan, headers={"authorization": "Bearer k"})
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(ready["url"] + "/account")
            assert (await client.get(ready["url"] + "/account")).status_code == 403


async def test_without_json_it_says_where_everything_is() -> None:
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(COMMAND, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            said = b""
            while said.count(b"\n") < 3:
                said += await process.stdout.receive_some(65536)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
        finally:
            process.kill()
    assert [line.split()[0] for line in said.decode().splitlines()] == ["fake", "activation", "admin"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--settings", '{"typo": 1}'], 2, "typo"),
        (["--settings", '{"session_life_ms": 0}'], 2, "session_life_ms=0"),
        (["--settings", '{"deny_user_agent": "("}'], 2, "deny_user_agent"),
        (["--settings", '{"cursor_length": 1001}'], 2, "cursor_length"),
        (["--settings", '{"oauth_window_ms": -1}'], 2, "oauth_window_ms"),
        (["--ca-file", "ca.pem"], 2, "--tls"),
        (["--tls", "--ca-file", "/nonexistent/ca.pem"], 2, "ca.pem"),
        (["--events", "/nonexistent/events"], 2, "events"),
        (["--server-identity", "/dev/null"], 2, "/dev/null"),
        (["--server-identity", "/nonexistent"], 2, "/nonexistent"),
    ],
)
async def test_a_mistake_is_one_message_and_an_exit_code(options: list[str], code: int, words: str) -> None:
    with trio.fail_after(60):
        done = await trio.run_process([*COMMAND, *options], capture_stderr=True, check=False)
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n")) == (code, 1)
    assert words in said


async def test_a_taken_port_is_exit_code_3() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with trio.fail_after(60):
            done = await trio.run_process([*COMMAND, "--admin-port", str(port)], capture_stderr=True, check=False)
    assert done.returncode == 3
    assert str(port) in done.stderr.decode()
