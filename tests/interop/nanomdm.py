"""NanoMDM as a process, its API, and its webhook: its own account of every message that it took."""

from __future__ import annotations

import base64
import json
import os
import plistlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from mdmsim.http import Identity
from mdmsim.pki.certificate import identity_to_pem
from tests.interop.needs import from_go
from tests.interop.processes import serving

API_KEY = "interop"

#: Seconds that a message may take from a device to NanoMDM's webhook. Generous: machines are shared.
PATIENCE = 30.0


@dataclass(frozen=True)
class Heard:
    """A message that NanoMDM understood. `body` is what it got; `keys` its plist; the rest is what NanoMDM read."""

    topic: str
    udid: str
    body: bytes
    status: str = ""
    command_uuid: str = ""

    @property
    def keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = plistlib.loads(self.body)
        return keys


@dataclass
class Webhook:
    """Everything that NanoMDM told, in the order in which it told it."""

    heard: list[Heard] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    url: str = ""

    def take(self, data: bytes) -> None:
        told = json.loads(data)
        event = told.get("checkin_event") or told.get("acknowledge_event") or {}
        heard = Heard(
            topic=told["topic"],
            udid=event.get("udid", ""),
            body=base64.b64decode(event["raw_payload"]),
            status=event.get("status", ""),
            command_uuid=event.get("command_uuid", ""),
        )
        with self.changed:
            self.heard.append(heard)
            self.changed.notify_all()

    def of(self, udid: str, topic: str | None = None) -> list[Heard]:
        with self.changed:
            return [h for h in self.heard if h.udid == udid and topic in (None, h.topic)]

    def wait(self, udid: str, matches: Callable[[Heard], bool], what: str) -> Heard:
        """The first message of that device that matches; fails after PATIENCE seconds."""

        def found() -> Heard | None:
            return next((h for h in self.heard if h.udid == udid and matches(h)), None)

        with self.changed:
            heard = self.changed.wait_for(found, PATIENCE)
        assert heard is not None, (
            f"NanoMDM never heard {what}; of this device: {[(h.topic, h.status) for h in self.of(udid)]}"
        )
        return heard

    def answer(self, udid: str, command_uuid: str, *, status: str | None = None) -> Heard:
        """The first report about that command (with that status) which NanoMDM got."""
        return self.wait(
            udid,
            lambda h: h.command_uuid == command_uuid and status in (None, h.status),
            f"{status or 'a report'} for {command_uuid}",
        )


@contextmanager
def webhook() -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    hook.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def command(command_uuid: str, request_type: str, keys: Mapping[str, Any] | None = None) -> bytes:
    """A command as an administrator of NanoMDM writes one: by software that is not ours."""
    return plistlib.dumps({"CommandUUID": command_uuid, "Command": {"RequestType": request_type, **(keys or {})}})


@dataclass(frozen=True)
class Queued:
    """What NanoMDM said about a command that was queued. `push_error` is what it made of APNs' refusal."""

    status: int
    apns_id: str | None
    push_error: str | None


class NanoMDM:
    """One running NanoMDM; `port` speaks plain HTTP on loopback."""

    def __init__(self, port: int, heard: Webhook) -> None:
        self.port = port
        self.webhook = heard
        self._api = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", auth=("nanomdm", API_KEY), trust_env=False, timeout=30
        )

    def close(self) -> None:
        self._api.close()

    def put_push_certificate(self, push: Identity) -> str:
        """Upload a push certificate and its key; the topic that NanoMDM found in it."""
        answer = self._api.put("/v1/pushcert", content=identity_to_pem(Identity(push.certificate, push.key)))
        assert answer.status_code == 200, answer.text
        topic: str = answer.json()["topic"]
        return topic

    def enqueue(self, udid: str, plist: bytes, *, push: bool = True) -> Queued:
        return _queued(self._api.put(f"/v1/enqueue/{udid}{'' if push else '?nopush=1'}", content=plist), udid)

    def push(self, udid: str) -> Queued:
        return _queued(self._api.get(f"/v1/push/{udid}"), udid)


def _queued(answer: httpx.Response, udid: str) -> Queued:
    said = answer.json()
    about = (said.get("status") or {}).get(udid, {})
    assert not said.get("command_error") and not about.get("command_error"), said
    error = said.get("push_error") or about.get("push_error")
    return Queued(answer.status_code, about.get("push_result"), error)


@contextmanager
def nanomdm(folder: Path, *, ca: Path, apns_ca: Path, proxy: str, header: str | None = None) -> Iterator[NanoMDM]:
    """NanoMDM with a store of its own, pushing through `proxy` and trusting only `apns_ca` there.

    `header`: where a front hands on the client certificate; without, Mdm-Signature is what counts.
    """
    program = from_go("nanomdm")
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    environment |= {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(apns_ca), "SSL_CERT_DIR": str(folder)}
    with webhook() as heard:

        def run(port: int) -> list[str]:
            arguments = ["-listen", f"127.0.0.1:{port}", "-api", API_KEY, "-ca", str(ca), "-webhook-url", heard.url]
            arguments += ["-storage", "filekv", "-storage-dsn", str(folder / "db")]
            return [str(program), *arguments, *(["-cert-header", header, "-checkin"] if header else [])]

        with serving(run, log=folder / "log", environment=environment) as port:
            server = NanoMDM(port, heard)
            try:
                yield server
            finally:
                server.close()
