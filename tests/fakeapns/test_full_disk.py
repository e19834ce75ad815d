"""A disk that is full for a while, under the real process: a limit on the size of its files, and its end."""

from __future__ import annotations

import json
import resource
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.pki.keys import FreshKeys
from tests.fakeapns.load_client import Wish, push_all
from tests.fakeapns.support import TOPIC

pytestmark = pytest.mark.anyio

TOKENS = 200


@pytest.mark.live
async def test_pushes_get_500_while_the_disk_is_full_and_200_after_it(tmp_path: Path) -> None:
    provider = Authority.create("a", keys=FreshKeys(), clock=WallClock(), chance=Chance(1), kind="ec").issue_push(TOPIC)
    identity = tmp_path / "push.pem"
    identity.write_bytes(identity_to_pem(provider))
    options = ["--json", "--admin-key", "key", "--store", str(tmp_path / "apns.db"), "--certificate", str(identity)]
    with trio.fail_after(90):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "mdmsim.fakeapns", *options],
            stdout=subprocess.PIPE,
            stderr=(tmp_path / "stderr").open("wb"),
        )
        try:
            assert process.stdout is not None
            ready = json.loads(await process.stdout.receive_some(65536))
            context = ssl.create_default_context(cadata=ready["ca"])
            context.load_cert_chain(identity)
            context.set_alpn_protocols(["h2"])
            headers = {"authorization": "Bearer key"}
            async with httpx.AsyncClient(base_url=ready["admin_url"], headers=headers) as admin:
                tokens = [
                    bytes.fromhex(
                        (await admin.post("/tokens", json={"device": f"mac-{number}", "topic": TOPIC})).json()["token"]
                    )
                    for number in range(TOKENS)
                ]

                async def push() -> set[int]:
                    statuses: list[int] = []
                    await push_all(ready["port"], context, (Wish(one, bytes(1_000), statuses.append) for one in tokens))
                    assert len(statuses) == TOKENS, "every request is answered"
                    return set(statuses)

                size = (tmp_path / "apns.db-wal").stat().st_size
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
                during, sick = await push(), await admin.get("/healthz")
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                after, well = await push(), await admin.get("/healthz")
                stats = (await admin.get("/stats")).json()
        finally:
            process.kill()
            await process.wait()
    said = (tmp_path / "stderr").read_text()
    assert (during, sick.status_code, sick.json()["status"]) == ({500}, 503, "failing")
    assert (after, well.status_code, stats["pending"]) == ({200}, 200, TOKENS)
    assert (said.count("it is tried again"), said.count("can be written again"), said.count("\n")) == (1, 1, 2)
