"""`mdmsim devices`, `show`, `connect` and `remove` against a real server."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mdmsim.cli.stored.account import condition_of, from_now, state_of
from mdmsim.cli.stored.opening import read
from mdmsim.clock import WallClock
from mdmsim.device.state import PinLock, decode, encode
from mdmsim.fleet.lock import StoreLock
from mdmsim.fleet.store import SqliteStore
from tests.cli.commands import CommandLine, process

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("keys")]


class Administrator:
    """The server's API."""

    def __init__(self, server: dict[str, Any]) -> None:
        self._server = server
        self._context = ssl.create_default_context(cafile=server["ca_file"])

    def __call__(self, method: str, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            f"{self._server['url']}/api/v1{path}",
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"Authorization": f"Bearer {self._server['api_key']}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, context=self._context, timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def queue(self, udid: str, request_type: str, *, push: bool = False, **keys: Any) -> str:
        queued = self("POST", f"/devices/{udid}/commands", request_type=request_type, keys=keys, push=push)
        return str(queued["command_uuid"])


@pytest.fixture
def admin(up: dict[str, Any]) -> Administrator:
    return Administrator(up["server"])


@pytest.fixture(scope="module")
def enrolled(up: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a phone and a Mac; tests work on copies, of which one may act at a time."""
    from mdmsim.cli.entry import run

    store = tmp_path_factory.mktemp("enrolled") / "devices.sqlite"
    server = up["server"]
    words = ["enroll", server["enroll_url"], "--trust", server["ca_file"], "--store", str(store)]
    assert run([*words, "--count", "2", "--platform", "ios,macos", "--seed", "11"]) == 0
    return store


@pytest.fixture
def store(enrolled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(enrolled, tmp_path / "devices.sqlite"))


def udid(store: Path, device_id: str) -> str:
    with SqliteStore(store) as opened:
        return decode(opened.load(device_id) or b"").persona.udid


def change(store: Path, device_id: str, **fields: Any) -> None:
    """Alter a stored device's state."""
    with SqliteStore(store) as opened:
        state = decode(opened.load(device_id) or b"")
        for name, value in fields.items():
            setattr(state, name, value)
        opened.save(device_id, encode(state))


# --- devices and show ---------------------------------------------------------------------------------------------


def test_every_device_is_a_line(mdmsim: CommandLine, store: Path, up: dict[str, Any]) -> None:
    ended = mdmsim("devices", "--store", store)
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0].split() == ["device", "model", "system", "server", "state", "next"]
    assert lines[1].startswith("  iphone-01  iPhone")
    assert up["server"]["url"].removeprefix("https://") in lines[1]
    assert lines[2].startswith("  mac-01 ")
    assert lines[-1] == f"  2 devices, 2 enrolled      store: {store}"


def test_machines_get_the_same_as_json(mdmsim: CommandLine, store: Path) -> None:
    said = mdmsim("devices", "--store", store, "--json").json
    assert [(device["id"], device["state"], device["condition"]) for device in said["devices"]] == [
        ("iphone-01", "enrolled", None),
        ("mac-01", "enrolled", None),
    ]
    assert said["devices"][0]["pending"] == {"report": None, "wakes": []}


def test_a_device_that_cannot_be_read_does_not_hide_the_others(mdmsim: CommandLine, store: Path) -> None:
    with SqliteStore(store) as opened:
        opened.save("iphone-01", b"\xc1")
    ended = mdmsim("devices", "--store", store)
    assert ended.code == 0
    assert "✗" in ended.out and "mdmsim remove iphone-01 --forget" in ended.out
    assert "  mac-01 " in ended.out
    assert mdmsim("remove", "iphone-01", "--forget", "--store", store).code == 0
    with SqliteStore(store) as opened:
        assert opened.device_ids() == ["mac-01"]


@pytest.mark.parametrize(
    ("fields", "condition"),
    [
        ({"power": "off"}, "off"),
        ({"power": "restarting", "boot_ms": 4_000_000_000_000}, "restarting"),
        ({"network": False}, "no-network"),
        ({"screen_locked": True}, "locked"),
        ({"pin_lock": PinLock(pin="123456")}, "behind-pin"),
        ({"enrollment": None, "setup": "welcome"}, "setup-assistant"),
    ],
)
def test_what_keeps_a_device_from_acting_is_told(store: Path, fields: dict[str, Any], condition: str) -> None:
    change(store, "mac-01", **fields)
    with SqliteStore(store) as opened:
        device = read("mac-01", opened, WallClock())
        assert condition_of(device) == condition
        assert state_of(device.state) == ("not-enrolled" if condition == "setup-assistant" else "enrolled")


@pytest.mark.parametrize(
    ("ms", "said"), [(-5, "now"), (999, "now"), (45_000, "in 45 s"), (180_000, "in 3 min"), (90_000_000, "in 1 d")]
)
def test_times_are_told_from_now(ms: int, said: str) -> None:
    assert from_now(ms) == said


def test_one_device_is_shown_whole_and_its_secrets_are_not(mdmsim: CommandLine, store: Path) -> None:
    with SqliteStore(store) as opened:
        state = decode(opened.load("mac-01") or b"")
    voice = state.channel()
    assert state.passcode
    for ended in (mdmsim("show", "mac-01", "--store", store), mdmsim("show", "mac-01", "--store", store, "--json")):
        assert ended.code == 0
        assert state.persona.serial in ended.out and state.persona.udid in ended.out
        for secret in (voice.push_magic, voice.push_token.hex()):
            assert secret not in ended.out and secret.upper() not in ended.out
            assert secret[:4] in ended.out
        assert f'"{state.passcode}"' not in ended.out
        assert "CN=mdmsim reference server CA" in ended.out


def test_what_is_shown_holds_all_there_is(mdmsim: CommandLine, store: Path, up: dict[str, Any]) -> None:
    said = mdmsim("show", "iphone-01", "--store", store, "--json").json
    assert said["enrollment"]["topic"] == up["apns"]["topic"]
    assert [certificate["identity"] for certificate in said["certificates"]] == [False, True]
    assert [profile["identifier"] for profile in said["profiles"]] == [said["enrollment"]["profile"]]
    assert set(said["channels"]) == {"device"}


# --- connect ------------------------------------------------------------------------------------------------------


def test_devices_answer_what_is_queued(mdmsim: CommandLine, store: Path, admin: Administrator) -> None:
    phone, mac = udid(store, "iphone-01"), udid(store, "mac-01")
    asked = admin.queue(phone, "DeviceInformation", Queries=["SerialNumber"])
    admin.queue(mac, "SecurityInfo")
    admin.queue(mac, "NoSuchCommand")
    admin.queue(mac, "InstallApplication", ManifestURL="https://example.org/app.plist")
    ended = mdmsim("connect", "--store", store)
    assert ended.code == 0, ended.err
    assert "DeviceInformation\n" in ended.out
    assert "SecurityInfo · NoSuchCommand Error · InstallApplication Error (not simulated)\n" in ended.out
    assert "✓ 2 connected, 4 commands answered in " in ended.out
    assert admin("GET", f"/devices/{phone}/commands/{asked}")["state"] == "acknowledged"


def test_the_ca_that_enroll_was_told_to_trust_is_kept_with_the_devices(
    mdmsim: CommandLine, up: dict[str, Any], admin: Administrator, tmp_path: Path
) -> None:
    """The profile carries no root: only --trust at enroll knows the server's CA."""
    bare, store = tmp_path / "bare.mobileconfig", tmp_path / "devices.sqlite"
    bare.write_bytes(base64.b64decode(admin("POST", "/profiles", anchors=[])["content"]))
    assert mdmsim("enroll", bare, "--trust", up["server"]["ca_file"], "--store", store).code == 0
    ended = mdmsim("connect", "--store", store)
    assert ended.code == 0, ended.out + ended.err
    assert "  trusting CN=mdmsim reference server CA, as enroll --trust said" in ended.out
    assert "CN=mdmsim reference server CA (from enroll --trust)" in mdmsim("show", "iphone-01", "--store", store).out
    assert mdmsim("remove", "iphone-01", "--store", store, "--json").json["devices"][0]["unenrolled"] == "user"


def test_only_those_that_are_named_connect(mdmsim: CommandLine, store: Path, admin: Administrator) -> None:
    asked = admin.queue(udid(store, "mac-01"), "ProfileList")
    said = mdmsim("connect", "iphone-01", "--store", store, "--json").json
    assert [device["id"] for device in said["devices"]] == ["iphone-01"]
    said = mdmsim("connect", "mac-01", "--store", store, "--json").json
    assert said["devices"][0]["answered"] == [
        {"request_type": "ProfileList", "status": "Acknowledged", "command_uuid": asked, "simulated": True}
    ]


def test_a_report_that_was_not_delivered_goes_first(
    mdmsim: CommandLine, store: Path, admin: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mdmsim.http import ExchangeCut, Request, Response
    from mdmsim.transport.trio_client import TrioTransport

    real = TrioTransport.send

    async def cut(self: TrioTransport, request: Request, **more: Any) -> Response:
        if request.label == "connect:Acknowledged":
            raise ExchangeCut("cut", sent=False)
        return await real(self, request, **more)

    asked = admin.queue(udid(store, "iphone-01"), "ProfileList")
    with monkeypatch.context() as patched:
        patched.setattr(TrioTransport, "send", cut)
        ended = mdmsim("connect", "iphone-01", "--store", store)
    assert ended.code == 3
    assert "ended the connection in the middle of Acknowledged" in ended.out
    listed = mdmsim("devices", "--store", store, "--json").json["devices"][0]["pending"]
    assert listed["report"] == "ProfileList"
    assert [wake["reason"] for wake in listed["wakes"]] == ["connect"]
    ended = mdmsim("connect", "iphone-01", "--store", store)
    assert ended.code == 0
    assert "report of ProfileList" in ended.out
    assert admin("GET", f"/devices/{udid(store, 'iphone-01')}/commands/{asked}")["state"] == "acknowledged"


def test_a_server_that_is_not_there_is_exit_code_3(mdmsim: CommandLine, store: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        elsewhere = f"https://127.0.0.1:{nobody.getsockname()[1]}/mdm"
        with SqliteStore(store) as opened:
            import msgspec

            for device_id in opened.device_ids():
                state = decode(opened.load(device_id) or b"")
                assert state.enrollment is not None
                state.enrollment = msgspec.structs.replace(
                    state.enrollment, server_url=elsewhere, checkin_url=elsewhere
                )
                opened.save(device_id, encode(state))
        ended = mdmsim("connect", "--store", store, "--concurrency", 1)
    assert ended.code == 3
    assert "could not connect" in ended.out and "cannot be reached." in ended.out
    assert ended.out.count("cannot be reached.") == 1
    assert "the same" in ended.out
    assert "✗ 0 connected, 2 not" in ended.out


def test_a_server_whose_ca_the_profile_does_not_carry_is_named(mdmsim: CommandLine, store: Path) -> None:
    import msgspec

    with SqliteStore(store) as opened:
        state = decode(opened.load("iphone-01") or b"")
        assert state.enrollment is not None
        state.enrollment = msgspec.structs.replace(state.enrollment, anchors=[])
        state.trusted = []
        opened.save("iphone-01", encode(state))
    ended = mdmsim("connect", "iphone-01", "--store", store)
    assert ended.code == 3
    assert "is signed by CN=mdmsim reference server CA, which the profile does not carry" in ended.out
    assert "add --trust" in ended.out


def test_a_device_that_is_off_is_passed_over_unless_it_was_named(mdmsim: CommandLine, store: Path) -> None:
    change(store, "mac-01", power="off")
    ended = mdmsim("connect", "--store", store)
    assert ended.code == 0
    assert "– mac-01 " in ended.out and "is off" in ended.out and "1 absent" in ended.out
    ended = mdmsim("connect", "mac-01", "--store", store)
    assert ended.code == 3
    assert "It is off." in ended.out


def test_a_boot_whose_time_has_come_is_carried_out(mdmsim: CommandLine, store: Path) -> None:
    change(store, "mac-01", power="restarting", boot_ms=1, passcode="")
    assert mdmsim("connect", "mac-01", "--store", store).code == 0
    with SqliteStore(store) as opened:
        assert decode(opened.load("mac-01") or b"").power == "on"


def test_listening_devices_wake_on_a_push(store: Path, up: dict[str, Any], admin: Administrator) -> None:
    with process("connect", "--store", store, "--courier", up["courier"]["url"], "--listen") as running:
        assert running.stdout is not None
        while not (said := running.stdout.readline()).startswith("  listening"):
            assert said
        admin.queue(udid(store, "mac-01"), "ProfileList", push=True)
        assert running.stdout.readline() == "  mac-01     pushed\n"
        assert running.stdout.readline() == "  mac-01     ProfileList Acknowledged\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("connect", "--listen"), "--listen: pushes come through a courier. Add --courier"),
        (("connect", "--listen", "--json", "--courier", "127.0.0.1:1"), "--json tells how a connect ended"),
        (("connect", "iphone-1"), 'there is no device "iphone-1". Did you mean "iphone-01"?'),
        (("connect", "x"), "mdmsim devices --store"),
        (("show", "mac-1"), 'Did you mean "mac-01"?'),
        (("remove", "mac-1"), 'Did you mean "mac-01"?'),
        (("remove",), "Missing argument 'DEVICE...'"),
        (("connect", "--courier", "here"), "--courier here: not an address"),
    ],
)
def test_a_wrong_wish_is_one_message_and_exit_code_2(
    mdmsim: CommandLine, store: Path, arguments: tuple[str, ...], says: str
) -> None:
    ended = mdmsim(*arguments, "--store", store)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("command", [("devices",), ("show", "x"), ("connect",), ("remove", "x")])
def test_a_store_that_is_not_there_is_not_made(mdmsim: CommandLine, tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = mdmsim(*command, "--store", tmp_path / "nothing.sqlite")
    assert ended.code == 2
    assert "nothing.sqlite: no such store. mdmsim enroll makes one" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("connect",), ("remove", "mac-01"), ("enroll", "PROFILE")])
def test_two_processes_do_not_drive_one_store(
    mdmsim: CommandLine, store: Path, up: dict[str, Any], command: tuple[str, ...]
) -> None:
    words = [up["server"]["enroll_url"] if word == "PROFILE" else word for word in command]
    with StoreLock(store):
        ended = mdmsim(*words, "--store", store)
        assert mdmsim("devices", "--store", store).code == 0
    assert ended.code == 3
    assert "is using these devices" in ended.err


# --- remove: on devices of their own, since the server forgets nothing ----------------------------------------------


@pytest.fixture
def own(mdmsim: CommandLine, up: dict[str, Any], tmp_path: Path) -> Path:
    """A store with a phone that nobody else needs."""
    store, server = tmp_path / "own.sqlite", up["server"]
    assert mdmsim("enroll", server["enroll_url"], "--trust", server["ca_file"], "--store", store).code == 0
    return store


def test_a_person_removes_the_profile_and_the_server_hears_of_it(
    mdmsim: CommandLine, own: Path, admin: Administrator
) -> None:
    ended = mdmsim("remove", "iphone-01", "--store", own)
    assert ended.code == 0, ended.err
    assert "enrollment removed · CheckOut\n" in ended.out
    assert admin("GET", f"/devices/{udid(own, 'iphone-01')}")["status"] == "checked-out"
    assert mdmsim("devices", "--store", own, "--json").json["devices"][0]["state"] == "not-enrolled"
    assert "is not enrolled" in mdmsim("connect", "--store", own).out


def test_a_forgotten_device_is_gone_from_the_store(mdmsim: CommandLine, own: Path) -> None:
    said = mdmsim("remove", "iphone-01", "--forget", "--store", own, "--json").json
    assert (said["removed"], said["forgotten"]) == (1, ["iphone-01"])
    assert mdmsim("devices", "--store", own, "--json").json["devices"] == []


def test_an_erased_device_tells_nobody(mdmsim: CommandLine, own: Path, admin: Administrator) -> None:
    assert mdmsim("remove", "iphone-01", "--erase", "--store", own).code == 0
    assert admin("GET", f"/devices/{udid(own, 'iphone-01')}")["status"] == "enrolled"
    (device,) = mdmsim("devices", "--store", own, "--json").json["devices"]
    assert (device["state"], device["condition"]) == ("not-enrolled", "restarting")


def test_a_refused_device_leaves_and_is_exit_code_1(mdmsim: CommandLine, own: Path, admin: Administrator) -> None:
    admin("POST", f"/devices/{udid(own, 'iphone-01')}/remove")
    ended = mdmsim("connect", "--store", own)
    assert ended.code == 1
    assert "was refused" in ended.out
    assert "connect:Idle answered 401" in ended.out
    assert "the device removes the profile" in ended.out
    assert mdmsim("devices", "--store", own, "--json").json["devices"][0]["state"] == "not-enrolled"


def test_a_profile_that_may_not_be_removed_stays(mdmsim: CommandLine, own: Path) -> None:
    import msgspec

    with SqliteStore(own) as opened:
        state = decode(opened.load("iphone-01") or b"")
        assert state.enrollment is not None
        state.enrollment = msgspec.structs.replace(state.enrollment, removable=False)
        opened.save("iphone-01", encode(state))
    ended = mdmsim("remove", "iphone-01", "--store", own)
    assert ended.code == 1
    assert "came by automated enrollment" in ended.out
    assert mdmsim("devices", "--store", own, "--json").json["devices"][0]["state"] == "enrolled"
