"""`mdmsim apns due` against a fake APNs that runs, and against the reference server's queue."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mdmsim.clock import WallClock
from mdmsim.fakeapns import FakeApns
from tests.cli.commands import CommandLine

pytestmark = pytest.mark.live


@pytest.fixture
def apns() -> Iterator[FakeApns]:
    with FakeApns() as apns:
        yield apns


def push(apns: FakeApns, token: str, **headers: str) -> int:
    context = ssl.create_default_context(cadata=apns.ca)
    context.load_cert_chain(apns.certificate().file)
    with httpx.Client(http2=True, verify=context) as client:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post(f"{apns.url}/3/device/{token}", json={"mdm": "magic"}, headers=names).status_code


def test_what_was_never_pushed_stands_first_and_is_exit_code_1(
    mdmsim: CommandLine, apns: FakeApns, tmp_path: Path
) -> None:
    since = WallClock().now_ms()
    heard, never = apns.device("mac-1"), apns.device("mac-2")
    push(apns, heard.token)
    heard.wait_for_push()
    (tmp_path / "due.csv").write_text(f"device,since,what\nmac-1,{since},ProfileList\nmac-2,{since},DeviceLock\n")
    ended = mdmsim("apns", "due", tmp_path / "due.csv", "--admin", apns.admin_url, "--key", apns.admin_key)
    assert ended.code == 1
    assert ended.out.index("never-pushed") < ended.out.index("not-acted")
    assert "mac-2   DeviceLock\n      no push came\n" in ended.out
    assert ended.out.endswith("  2 due: 1 never-pushed, 1 not-acted\n")
    assert never.pushes == []


def test_all_of_it_comes_as_json(mdmsim: CommandLine, apns: FakeApns, tmp_path: Path) -> None:
    since = WallClock().now_ms()
    push(apns, apns.token("mac-1"), apns_priority="7")
    (tmp_path / "due").write_text(json.dumps([{"device": "mac-1", "since": since}]))
    ended = mdmsim("apns", "due", tmp_path / "due", "--admin", apns.admin_url, "--key", apns.admin_key, "--json")
    assert ended.code == 0
    assert ended.json["answers"][0]["reason"] == "BadPriority"


def test_what_may_be_forgotten_is_not_called_late_without_saying_so(
    mdmsim: CommandLine, apns: FakeApns, tmp_path: Path
) -> None:
    now = WallClock().now_ms()
    for name in ("mac-1", "mac-2"):
        push(apns, apns.token(name))
    (tmp_path / "due.csv").write_text(f"device,since\nmac-1,2020-01-01T00:00:00Z\nmac-2,{now}\n")
    ended = mdmsim("apns", "due", tmp_path / "due.csv", "--admin", apns.admin_url, "--key", apns.admin_key)
    old, new = (line for line in ended.out.splitlines() if line.endswith(("late", "remembered")))
    assert re.search(r", at most \d+\.\d h late; not everything since then is remembered$", old)
    assert re.search(r", \d+ ms late$|, \d+\.\d s late$", new)


@pytest.mark.parametrize(
    ("text", "words"),
    [("udid,since\nA,soon\n", "due.csv, line 2: since"), ("udid;wann\nA;1\n", "no column since"), ("\n", "line 1")],
)
def test_a_mistake_in_the_list_is_told_with_its_line(
    mdmsim: CommandLine, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "due.csv").write_text(text)
    ended = mdmsim("apns", "due", tmp_path / "due.csv", "--admin", "http://127.0.0.1:9", "--key", "x")
    assert ended.code == 2
    assert words in ended.err


@pytest.mark.parametrize("key", ["clé", "two words", "line\n"])
def test_a_key_that_no_header_carries_is_a_mistake(mdmsim: CommandLine, tmp_path: Path, key: str) -> None:
    (tmp_path / "due.json").write_text("[]")
    ended = mdmsim("apns", "due", tmp_path / "due.json", "--admin", "http://127.0.0.1:9", "--key", key)
    assert (ended.code, ended.err.partition(": a key is")[0]) == (2, "--key")


def test_a_wrong_key_and_a_fake_that_is_gone_are_told_apart(
    mdmsim: CommandLine, apns: FakeApns, tmp_path: Path
) -> None:
    (tmp_path / "due.json").write_text("[]")
    wrong = mdmsim("apns", "due", tmp_path / "due.json", "--admin", apns.admin_url, "--key", "wrong")
    assert (wrong.code, "--key" in wrong.err) == (2, True)
    apns.close()
    gone = mdmsim("apns", "due", tmp_path / "due.json", "--admin", apns.admin_url, "--key", "x")
    assert (gone.code, "does not answer" in gone.err) == (3, True)


def test_one_source_is_named(mdmsim: CommandLine) -> None:
    assert mdmsim("apns", "due", "--admin", "http://127.0.0.1:9", "--key", "x").code == 2


def test_what_waits_in_the_servers_queue_is_due(mdmsim: CommandLine, up: dict[str, Any], tmp_path: Path) -> None:
    server, ca = up["server"], Path(up["server"]["ca_file"])
    courier, store = up["courier"]["url"], tmp_path / "devices.sqlite"
    enrolled = mdmsim(
        "enroll", server["enroll_url"], "--count", 2, "--trust", ca, "--courier", courier, "--store", store, "--json"
    )
    assert enrolled.code == 0, enrolled.err
    context = ssl.create_default_context(cafile=str(ca))
    headers = {"authorization": f"Bearer {server['api_key']}"}
    with httpx.Client(base_url=f"{server['url']}/api/v1", verify=context, headers=headers) as api:
        first, second = (device["id"] for device in api.get("/devices").json()["devices"])
        api.post(f"/devices/{first}/commands", json={"request_type": "ProfileList", "push": False})
        api.post(f"/devices/{second}/commands", json={"request_type": "DeviceInformation", "keys": {"Queries": []}})
        api.post(f"/devices/{second}/push")
    fake = ("--admin", up["apns"]["admin_url"], "--key", up["apns"]["admin_key"], "--json")
    told = mdmsim(
        "apns", "due", "--from-server", server["url"], "--api-key", server["api_key"], "--server-ca", ca, *fake
    )
    verdicts = {answer["name"]: answer["verdict"] for answer in told.json["answers"]}
    assert (told.code, verdicts) == (1, {first: "never-pushed", second: "not-delivered"})
