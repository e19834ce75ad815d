"""The fake DEP against software that no one here wrote: NanoDEP's tools, openssl, and curl with the commands of the docs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Waiter
from typing import Any

import httpx
import pytest

from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.events import Event, from_json_line
from mdmsim.fakedep.service import DepService
from mdmsim.fakedep.settings import DepSettings
from tests.interop.needs import from_go, from_path
from tests.interop.openssl import OpenSSL, Refused
from tests.interop.processes import serving

pytestmark = [pytest.mark.interop, pytest.mark.live]

DOCS = Path(__file__).parents[2] / "docs" / "fake-dep.md"
KEY = "secret"
NAME = "acme"


@dataclass
class FakeDep:
    """The fake as a process; `admin` is its portal."""

    url: str
    admin_url: str
    activation_url: str
    admin: httpx.Client
    _events: Path

    def events(self, kind: str) -> list[Event]:
        lines = [from_json_line(line) for line in self._events.read_bytes().splitlines()]
        return [event for event in lines if event.kind == kind]

    def await_event(self, kind: str) -> None:
        wait = Waiter()
        for _ in range(1000):
            if self.events(kind):
                return
            wait.wait(0.02)
        raise AssertionError(f"no {kind} in 20 s")

    def post(self, path: str, body: Any = None) -> httpx.Response:
        answer = self.admin.post(path, json=body)
        assert answer.is_success, answer.text
        return answer

    def fault(self, name: str, **plan: Any) -> None:
        self.post("/faults", {"name": name, "why": "a test wants it", "times": 1, **plan})

    def profile_of(self, serial: str) -> tuple[str, str | None]:
        found = self.admin.get(f"/devices/{serial}").json()
        return found["profile_status"], found["profile_uuid"]


@contextmanager
def fake_dep(folder: Path, **settings: Any) -> Iterator[FakeDep]:
    events = folder / "dep-events.jsonl"
    command = [sys.executable, "-m", "mdmsim.fakedep", "--json", "--admin-key", KEY, "--events", str(events)]
    process = subprocess.Popen([*command, "--settings", json.dumps(settings)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=ready["admin_url"], headers=headers, trust_env=False) as admin:
            yield FakeDep(ready["url"], ready["admin_url"], ready["activation_url"], admin, events)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def dep(tmp_path: Path) -> Iterator[FakeDep]:
    with fake_dep(tmp_path) as running:
        running.post("/servers", {"name": NAME})
        yield running


@dataclass
class NanoDep:
    """depserver, and depsyncer on the same storage."""

    api: httpx.Client
    dep: FakeDep
    storage: Path

    def upload(self) -> None:
        """The portal gets depserver's certificate, depserver the token file for it."""
        certificate = self.api.get(f"/v1/tokenpki/{NAME}").content
        assert self.dep.admin.put(f"/servers/{NAME}/certificate", content=certificate).status_code == 204
        file = self.dep.post(f"/servers/{NAME}/token").content
        answer = self.api.put(f"/v1/tokenpki/{NAME}", content=file)
        assert answer.status_code == 200, answer.text

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request through depserver's proxy, which logs in and signs for us."""
        content = json.dumps(body) if body is not None else None
        return self.api.request(method, f"/proxy/{NAME}{path}", content=content)

    def sync(self, *options: str) -> str:
        """One round of depsyncer; what it logged."""
        command = [str(from_go("depsyncer")), "-duration", "0", "-debug", *options]
        command += ["-storage", "filekv", "-storage-dsn", str(self.storage), NAME]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout + done.stderr

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """depsyncer as a daemon, a round a second: alone it ends before its assigner has begun."""
        command = [str(from_go("depsyncer")), "-duration", "1", "-storage", "filekv", "-storage-dsn", str(self.storage)]
        process = subprocess.Popen([*command, NAME], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def nanodep(dep: FakeDep, tmp_path: Path) -> Iterator[NanoDep]:
    program, storage = str(from_go("depserver")), tmp_path / "nanodep"

    def command(port: int) -> list[str]:
        return [
            program,
            "-listen",
            f"127.0.0.1:{port}",
            "-api",
            "key",
            "-storage",
            "filekv",
            "-storage-dsn",
            str(storage),
        ]

    with serving(command, log=tmp_path / "depserver.log") as port:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("depserver", "key"), trust_env=False) as api:
            nano = NanoDep(api, dep, storage)
            assert api.put(f"/v1/config/{NAME}", json={"base_url": dep.url}).status_code == 200
            nano.upload()
            yield nano


def test_nanodep_fetches_defines_assigns_and_syncs(dep: FakeDep, nanodep: NanoDep) -> None:
    serials = [f"S{number:04}" for number in range(250)]
    dep.post("/devices", {"devices": serials, "server": NAME})
    account = nanodep.call("GET", "/account").json()
    assert (account["server_name"], account["org_name"]) == (NAME, "Example Organisation")

    profile = {"profile_name": "Acme", "url": "https://mdm.example/enroll", "is_supervised": True}
    uuid = nanodep.call("POST", "/profile", profile).json()["profile_uuid"]
    assert nanodep.call("GET", f"/profile?profile_uuid={uuid}").json() == {**profile, "profile_uuid": uuid}

    said = nanodep.sync("-limit", "100")
    assert [int(count) for count in re.findall(r"phase=fetch .*devices=(\d+)", said)] == [100, 100, 50]
    assert re.findall(r"phase=sync more=(\w+) .*devices=(\d+)", said) == [("false", "0")]

    results = nanodep.call("PUT", "/profile/devices", {"profile_uuid": uuid, "devices": serials[:200]}).json()
    assert set(results["devices"].values()) == {"SUCCESS"} and len(results["devices"]) == 200
    assert dep.profile_of("S0199") == ("assigned", uuid)
    details = nanodep.call("POST", "/devices", {"devices": ["S0000", "UNKNOWN1"]}).json()["devices"]
    assert (details["S0000"]["profile_uuid"], details["UNKNOWN1"]["response_status"]) == (uuid, "NOT_ACCESSIBLE")

    got = httpx.post(f"{dep.activation_url}/v1/configuration", json={"serial_number": "S0000"}, trust_env=False)
    assert got.json()["profile"] == profile
    dep.post("/assignments", {"serials": ["S0249"], "server": None})
    said = nanodep.sync()
    assert "phase=fetch" in said and "returned all devices previously" in said, "EXHAUSTED_CURSOR leads it to sync"
    operations = [(name, int(count)) for name, count in re.findall(r"op_type_(\w+)=(\d+)", said)]
    assert sum(count for name, count in operations if name == "modified") == 201, "200 assigned, one of them pushed"
    assert ("deleted", 1) in operations

    removed = nanodep.call("DELETE", "/profile/devices", {"devices": ["S0001"]}).json()
    assert removed == {"devices": {"S0001": "SUCCESS"}} and dep.profile_of("S0001")[0] == "removed"
    assert {event.data["version"] for event in dep.events("dep.session")} == {"7"}


def test_nanodep_assigns_new_devices_by_itself(dep: FakeDep, nanodep: NanoDep) -> None:
    """Those that sync calls added; a fetch names no operation, and NanoDEP leaves its devices alone."""
    uuid = nanodep.call("POST", "/profile", {"profile_name": "A", "url": "https://mdm.example/"}).json()["profile_uuid"]
    assert nanodep.api.put(f"/v1/assigner/{NAME}?profile_uuid={uuid}").status_code == 200
    dep.post("/devices", {"devices": ["S1"], "server": NAME})
    nanodep.sync()
    with nanodep.syncing():
        dep.post("/devices", {"devices": ["S2", "S3"], "server": NAME})
        dep.await_event("dep.assigned")
    assert [dep.profile_of(serial) for serial in ("S1", "S2", "S3")] == [("empty", None), *[("assigned", uuid)] * 2]


@pytest.mark.parametrize(("fault", "log"), [("cursor.expired", "EXPIRED_CURSOR"), ("cursor.invalid", "INVALID_CURSOR")])
def test_nanodep_starts_over_when_its_cursor_is_refused(dep: FakeDep, nanodep: NanoDep, fault: str, log: str) -> None:
    dep.post("/devices", {"devices": ["S1"], "server": NAME})
    nanodep.sync()
    dep.fault(fault, endpoint="/devices/sync")
    said = nanodep.sync()
    assert log in said and "retrying with empty cursor" in said
    assert [event.data["first"] for event in dep.events("dep.fetch")] == [True, True]


@pytest.mark.parametrize("how", ["expire", "forget"])
def test_nanodep_opens_a_new_session_when_the_old_one_is_over(dep: FakeDep, nanodep: NanoDep, how: str) -> None:
    assert nanodep.call("GET", "/account").status_code == 200
    dep.post("/sessions", {"how": how})
    assert nanodep.call("GET", "/account").status_code == 200
    assert len(dep.events("dep.session")) == 2


def test_nanodep_hears_of_new_terms_and_of_throttling(dep: FakeDep, nanodep: NanoDep) -> None:
    assert nanodep.call("GET", "/account").status_code == 200
    dep.post("/terms", {"pending": True})
    answer = nanodep.call("GET", "/account")
    assert (answer.status_code, answer.text) == (403, "T_C_NOT_SIGNED")
    dep.post("/terms", {"pending": False})
    dep.fault("request.refused", body="TOO_MANY_REQUESTS", retry_after_s=7)
    answer = nanodep.call("GET", "/account")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert nanodep.call("GET", "/account").status_code == 200


def test_nanodep_renews_its_token(dep: FakeDep, nanodep: NanoDep) -> None:
    first = nanodep.api.get(f"/v1/tokens/{NAME}").json()
    nanodep.upload()
    second = nanodep.api.get(f"/v1/tokens/{NAME}").json()
    assert first["consumer_key"] == second["consumer_key"] and first["access_token"] != second["access_token"]
    assert nanodep.call("GET", "/account").status_code == 200


def test_nanodep_with_a_replaced_token_is_refused(dep: FakeDep, nanodep: NanoDep) -> None:
    dep.post(f"/servers/{NAME}/plain-token")
    answer = nanodep.call("GET", "/account")
    assert answer.status_code >= 400
    assert [event.data["reason"] for event in dep.events("dep.refused")] == ["token_expiredForbidden"]


def test_deptokens_opens_the_token_file(dep: FakeDep, tmp_path: Path) -> None:
    program = str(from_go("deptokens"))
    subprocess.run([program], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    certificate = (tmp_path / "cert.pem").read_bytes()
    assert dep.admin.put(f"/servers/{NAME}/certificate", content=certificate).status_code == 204
    (tmp_path / "token.p7m").write_bytes(dep.post(f"/servers/{NAME}/token").content)
    done = subprocess.run([program, "-token", "token.p7m"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (server,) = dep.admin.get("/servers").json()
    assert json.loads(done.stdout)["consumer_key"] == server["consumer_key"]


@pytest.mark.parametrize("form", ["der", "ber"])
@pytest.mark.parametrize("cipher", ["aes128", "aes256", "3des"])
def test_openssl_opens_the_token_file_with_the_key_alone(tmp_path: Path, cipher: Any, form: Any) -> None:
    openssl = OpenSSL(tmp_path)
    key, certificate = _key_pair(openssl, tmp_path)
    service = DepService(WallClock(), Chance(1), settings=DepSettings(token_cipher=cipher, token_form=form))
    service.portal.add_server(NAME, certificate=certificate.read_bytes())
    file = service.portal.token(NAME)
    texts = [
        openssl("smime", "-decrypt", "-inform", "SMIME", "-in", file.content, "-inkey", str(key)),
        openssl("cms", "-decrypt", "-inform", "SMIME", "-in", file.content, "-inkey", str(key)),
        openssl("cms", "-decrypt", "-in", file.content, "-inkey", str(key), "-recip", str(certificate)),
    ]
    for text in texts:
        lines = text.decode().splitlines()
        token = json.loads(lines[lines.index("-----BEGIN MESSAGE-----") + 1])
        assert token["consumer_key"] == file.consumer_key
    (tmp_path / "stranger").mkdir()
    stranger, foreign = _key_pair(openssl, tmp_path / "stranger")
    with pytest.raises(Refused):
        openssl("cms", "-decrypt", "-in", file.content, "-inkey", str(stranger), "-recip", str(foreign))


def _key_pair(openssl: OpenSSL, folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    request = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "1"]
    openssl("req", "-x509", "-subj", "/CN=dep-token", *request)
    return key, certificate


def test_the_commands_of_the_documentation_work(dep: FakeDep, tmp_path: Path) -> None:
    from_path("curl")
    openssl = OpenSSL(tmp_path)
    _key_pair(openssl, tmp_path)
    assert dep.admin.delete(f"/servers/{NAME}").status_code == 204
    blocks = re.findall(r"```\n(KEY=.*?|curl .*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    script = "\n".join(blocks).replace("http://127.0.0.1:41236", dep.admin_url).replace("KEY=...", f"KEY={KEY}")
    environment: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-euc", script.replace("curl ", "curl -fsS ")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"S/MIME" in (tmp_path / "token.p7m").read_bytes()
    assert [device["server"] for device in dep.admin.get("/devices").json()] == [NAME, NAME]
    assert [fault["name"] for fault in dep.admin.get("/faults").json()] == ["cursor.expired"]
