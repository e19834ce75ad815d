"""`mdmsim enroll` against a real server: what is enrolled, what is told, and which exit code it is."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mdmsim.device.state import decode
from mdmsim.fleet.store import SqliteStore
from tests.cli.commands import CommandLine, alive, descendants, process

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("keys")]


def ids(store: Path) -> list[str]:
    with SqliteStore(store) as opened:
        return opened.device_ids()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "devices.sqlite"


@pytest.fixture
def profile(up: dict[str, Any], tmp_path: Path) -> Path:
    """An enrollment profile as a file; its challenge is good for one device."""
    context = ssl.create_default_context(cafile=up["server"]["ca_file"])
    with urllib.request.urlopen(up["server"]["enroll_url"], context=context, timeout=20) as answer:
        file = tmp_path / "enroll.mobileconfig"
        file.write_bytes(answer.read())
    return file


def devices_of(up: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server has on record."""
    server = up["server"]
    context = ssl.create_default_context(cafile=server["ca_file"])
    request = urllib.request.Request(
        f"{server['url']}/api/v1/devices?limit=1000", headers={"Authorization": f"Bearer {server['api_key']}"}
    )
    with urllib.request.urlopen(request, context=context, timeout=20) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())["devices"]
    return found


def test_devices_enrol_from_a_url_and_stay_in_the_store(mdmsim: CommandLine, up: dict[str, Any], store: Path) -> None:
    server = up["server"]
    ended = mdmsim(
        *("enroll", server["enroll_url"], "--trust", server["ca_file"], "--store", store, "--json"),
        *("--count", 3, "--platform", "ios,tvos", "--platform", "macos", "--seed", "41"),
    )
    assert ended.code == 0, ended.err
    said = ended.json
    assert (said["enrolled"], said["failed"], said["seed"]) == (3, 0, "41")
    assert [device["platform"] for device in sorted(said["devices"], key=lambda d: d["id"])] == ["ios", "macos", "tvos"]
    assert ids(store) == ["iphone-01", "tv-01", "mac-01"]
    on_record = {device["udid"]: device["status"] for device in devices_of(up)}
    assert {on_record[device["udid"]] for device in said["devices"]} == {"enrolled"}
    with SqliteStore(store) as opened:
        state = decode(opened.load("mac-01") or b"")
    assert state.enrollment is not None and state.enrollment.confirmed


def test_a_profile_file_is_enough(mdmsim: CommandLine, profile: Path, store: Path) -> None:
    ended = mdmsim("enroll", profile, "--store", store)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith(f'  profile   {profile}: "')
    assert "SCEP · Authenticate · TokenUpdate" in ended.out
    assert lines[-2].startswith("  ✓ 1 enrolled in ")
    assert str(store) in lines[-2]
    assert "seed" in lines[-2]
    assert lines[-1].startswith("  next: ")
    assert "\x1b" not in ended.out


def test_an_identity_may_come_with_the_profile(
    mdmsim: CommandLine, up: dict[str, Any], tmp_path: Path, store: Path
) -> None:
    server = up["server"]
    request = urllib.request.Request(
        f"{server['url']}/api/v1/profiles",
        data=json.dumps({"identity": "pkcs12"}).encode(),
        headers={"Authorization": f"Bearer {server['api_key']}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=server["ca_file"])
    with urllib.request.urlopen(request, context=context, timeout=20) as answer:
        file = tmp_path / "pkcs12.mobileconfig"
        file.write_bytes(base64.b64decode(json.loads(answer.read())["content"]))
    ended = mdmsim("enroll", file, "--store", store)
    assert ended.code == 0, ended.out + ended.err
    assert "Authenticate · TokenUpdate" in ended.out and "SCEP" not in ended.out
    assert mdmsim("connect", "--store", store).code == 0


def test_a_profile_can_come_from_standard_input(
    mdmsim: CommandLine, profile: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(profile.read_bytes())))
    assert mdmsim("enroll", "-", "--store", store, "--json").json["profile"]["from"] == "standard input"


def test_the_same_seed_makes_the_same_devices(mdmsim: CommandLine, up: dict[str, Any], tmp_path: Path) -> None:
    server = up["server"]
    said = [
        mdmsim(
            *("enroll", server["enroll_url"], "--trust", server["ca_file"], "--seed", "7", "--json"),
            *("--store", tmp_path / f"{run}.sqlite"),
        ).json["devices"][0]["udid"]
        for run in (1, 2)
    ]
    assert said[0] == said[1]


def test_more_devices_join_those_in_the_store(mdmsim: CommandLine, up: dict[str, Any], store: Path) -> None:
    server = up["server"]
    for _ in range(2):
        assert mdmsim("enroll", server["enroll_url"], "--trust", server["ca_file"], "--store", store).code == 0
    assert ids(store) == ["iphone-01", "iphone-02"]


def test_a_ca_that_is_missing_is_named_with_the_remedy(mdmsim: CommandLine, up: dict[str, Any], store: Path) -> None:
    ended = mdmsim("enroll", up["server"]["enroll_url"], "--store", store)
    assert ended.code == 3
    assert "is signed by CN=mdmsim reference server CA, which this machine does not trust." in ended.err
    assert "add --trust" in ended.err


@pytest.mark.parametrize(
    ("path", "says"),
    [("/nothing", 'profile:fetch answered 404: "'), ("/", "it is a web page"), ("/version", "no enrollment profile")],
)
def test_a_url_that_hands_out_no_profile_is_the_servers_fault(
    mdmsim: CommandLine, up: dict[str, Any], store: Path, path: str, says: str
) -> None:
    server = up["server"]
    ended = mdmsim("enroll", server["url"] + path, "--trust", server["ca_file"], "--store", store)
    assert ended.code == 1
    assert says in ended.err
    assert "    do " in ended.err


def test_a_refusal_is_told_once_with_its_meaning(mdmsim: CommandLine, profile: Path, store: Path) -> None:
    assert mdmsim("enroll", profile, "--store", store).code == 0
    ended = mdmsim("enroll", profile, "--store", store, "--count", 3, "--concurrency", 1)
    assert ended.code == 1
    assert ended.out.count("RFC 8894, badRequest") == 1
    assert ended.out.count("the same") == 2
    assert "✗ 0 enrolled, 3 not" in ended.out
    assert ids(store) == ["iphone-01"]


def test_problems_are_there_for_machines_too(mdmsim: CommandLine, profile: Path, store: Path) -> None:
    assert mdmsim("enroll", profile, "--store", store, "--json").code == 0
    ended = mdmsim("enroll", profile, "--store", store, "--json")
    assert ended.code == 1
    (device,) = ended.json["devices"]
    assert device["result"] == "refused"
    assert set(device["problem"]) == {"what", "seen", "means", "do", "error_chain"}


def test_a_profile_that_a_device_does_not_take_gets_a_report_with_its_error_chain(
    mdmsim: CommandLine, profile: Path, store: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mobileconfig"
    broken.write_bytes(profile.read_bytes().replace(b"enrollment", b"ENROLLMENT"))
    ended = mdmsim("enroll", broken, "--store", store, "--report", tmp_path / "report", "--json")
    assert ended.code == 1
    (device,) = ended.json["devices"]
    assert device["problem"]["error_chain"][-1]["code"] == 1004
    (case,) = json.loads((tmp_path / "report" / "report.json").read_text())["cases"]
    assert case["grade"] == "failed"
    assert "MCProfileErrorDomain 1004" in case["observed"]


def test_with_a_courier_the_push_reaches_the_store(mdmsim: CommandLine, up: dict[str, Any], store: Path) -> None:
    server = up["server"]
    ended = mdmsim(
        *("enroll", server["enroll_url"], "--trust", server["ca_file"], "--store", store, "--json"),
        *("--courier", up["courier"]["url"]),
    )
    assert ended.code == 0, ended.err
    udid = ended.json["devices"][0]["udid"]
    (device,) = (device for device in devices_of(up) if device["udid"] == udid)
    assert device["push"]["token"] is True


def test_a_report_shows_every_device_with_its_exchanges(
    mdmsim: CommandLine, up: dict[str, Any], store: Path, tmp_path: Path
) -> None:
    server = up["server"]
    ended = mdmsim(
        *("enroll", server["enroll_url"], "--trust", server["ca_file"], "--store", store, "--count", 2),
        *("--report", tmp_path / "report"),
    )
    assert ended.code == 0, ended.err
    assert f"report: {tmp_path / 'report' / 'report.html'}" in ended.out
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [(case["id"], case["grade"]) for case in report["cases"]] == [
        ("enroll/iphone-01[ios]", "passed"),
        ("enroll/iphone-02[ios]", "passed"),
    ]


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_server_that_is_not_there_is_exit_code_3(mdmsim: CommandLine, nobody: int, store: Path) -> None:
    ended = mdmsim("enroll", f"https://127.0.0.1:{nobody}/enroll", "--store", store)
    assert ended.code == 3
    assert ended.err.startswith(f"127.0.0.1:{nobody} cannot be reached.")


def test_a_courier_that_is_not_there_is_exit_code_3(
    mdmsim: CommandLine, nobody: int, profile: Path, store: Path
) -> None:
    ended = mdmsim("enroll", profile, "--store", store, "--courier", f"127.0.0.1:{nobody}")
    assert ended.code == 3
    assert f"127.0.0.1:{nobody}" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nothing.mobileconfig",), "nothing.mobileconfig: no such file"),
        (("mdm.example.com/enroll",), "If it is a URL, write https://mdm.example.com/enroll"),
        (("ftp://mdm.example.com/enroll",), "ftp:// cannot be fetched"),
        (("http://127.0.0.1:1/enroll",), "--allow-http"),
        (("http://mdm.example.com/enroll", "--allow-http"), "for servers on this machine only"),
        (("https://[/enroll",), "https://[/enroll"),
        (("https://mdmenrollment.apple.com/enroll",), "--allow-host mdmenrollment.apple.com"),
        (("x", "--platform", "windows"), 'no kind of device "windows"'),
        (("x", "--trust", "nothing.pem"), "--trust nothing.pem: no such file"),
        (("x", "--courier", "here"), "--courier here: not an address"),
        (("x", "--count", "0"), "--count"),
    ],
)
def test_a_wrong_wish_is_one_message_and_exit_code_2(
    mdmsim: CommandLine, store: Path, arguments: tuple[str, ...], says: str
) -> None:
    ended = mdmsim("enroll", *arguments, "--store", store)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert not store.exists()


@pytest.mark.parametrize("bad", ["folder", "no-store", "read-only"])
def test_a_store_that_cannot_be_used_is_the_users_mistake(
    mdmsim: CommandLine, profile: Path, tmp_path: Path, bad: str
) -> None:
    where = {"folder": tmp_path, "no-store": profile, "read-only": Path("/proc/devices.sqlite")}[bad]
    ended = mdmsim("enroll", profile, "--store", where)
    assert ended.code == 2
    assert str(where) in ended.err
    assert "--store" in ended.err


def test_ctrl_c_in_the_middle_leaves_whole_devices_only(up: dict[str, Any], store: Path) -> None:
    server = up["server"]
    with process(
        *("enroll", server["enroll_url"], "--trust", server["ca_file"], "--store", store, "--count", 20)
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        while "✓" not in running.stdout.readline():
            assert running.poll() is None
        children = descendants(running.pid)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
        assert running.stderr.read() == "interrupted\n"
        assert alive(children) == set()
    with SqliteStore(store) as opened:
        states = [decode(opened.load(device_id) or b"") for device_id in opened.device_ids()]
    assert states
    assert all(state.enrollment is not None for state in states)
