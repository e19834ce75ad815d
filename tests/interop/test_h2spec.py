"""h2spec, the HTTP/2 conformance suite that nobody here wrote, against the real front over TLS."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.fakeapns.front.context import SERVER_NAMES
from mdmsim.fakeapns.front.engines import NoEngine
from mdmsim.fakeapns.front.server import Front
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, SharedKeys
from mdmsim.startup import LOOPBACK_ADDRESSES
from tests.fakeapns.support import TOPIC, Bench, serving
from tests.interop.needs import from_go

pytestmark = [pytest.mark.anyio, pytest.mark.interop]

#: Cases that may fail, by section and title, each with its reason. On h2 there are none.
EXPECTED: dict[str, dict[str, str]] = {
    "h2": {},
    "jh2": {
        "hpack/4.2: Sends a dynamic table size update at the end of header block": "jh2's decoder takes it anywhere",
        "hpack/5.2: Sends a Huffman-encoded string literal representation padded by zero": "jh2 does not look at padding",
        "hpack/6.3: Sends a dynamic table size update larger than the value of SETTINGS_HEADER_TABLE_SIZE": (
            "jh2's decoder ignores the limit"
        ),
    },
}


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


def failed_and_all(report: Path) -> tuple[set[str], set[str]]:
    """The cases that failed, and all."""
    failed, every = set(), set()
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('package')}: {case.get('classname')}"
        every.add(name)
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
    return failed, every


@pytest.mark.parametrize("library", ["h2", "jh2"])
async def test_the_front_conforms_to_http2_as_h2spec_understands_it(tmp_path: Path, library: str) -> None:
    program = from_go("h2spec")
    clock = ManualClock()
    authority = Authority.create("a", keys=SharedKeys(1, FreshKeys()), clock=clock, chance=Chance("h2spec"), kind="ec")
    bench = Bench(authority.issue_push(TOPIC))
    token = bench.service.register("ipad-1", TOPIC)
    try:
        # h2spec shows no certificate, and opens more than one stream.
        settings = FrontSettings(http2=library, token_ramp=False)  # type: ignore[arg-type]
        front = Front(bench.service, authority.issue_server(SERVER_NAMES, LOOPBACK_ADDRESSES), settings)
    except NoEngine as missing:
        pytest.skip(str(missing))
    report = tmp_path / "h2spec.xml"
    async with serving(front.serve) as port:
        command = [
            str(program), "-t", "-k", "-h", "127.0.0.1", "-p", str(port), "-P", f"/3/device/{token.hex()}",
            # Two such headers are more than the 8000 bytes of a header list that Apple announces, and so the front.
            "--max-header-length", "2000",
            "--strict", "-o", "5", "-j", str(report), "generic", "http2", "hpack",
        ]  # fmt: skip
        with trio.fail_after(150):
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    failed, every = failed_and_all(report)
    assert len(every) > 140, done.stdout.decode()[-2000:]
    assert failed == set(EXPECTED[library]), done.stdout.decode()[-4000:]
    # And nothing of all that was too much for the front itself.
    assert not front.counters["defect"]
