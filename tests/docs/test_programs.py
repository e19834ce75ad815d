"""The example programs of the documentation, in Python, Go and Node: each does what its page says, and is named there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.front.settings import FrontSettings
from tests.docs.pages import ROOT
from tests.interop.needs import from_go_source, from_npm
from tests.interop.push_clients import PATIENCE, environment, run

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

EXAMPLES = ROOT / "docs" / "examples"
MAGIC = "8C3F2D6E-0B0E-4B8C-9A55-0F4E5A5B6C7D"

Program = Callable[[FakeApns, str, Path], "subprocess.CompletedProcess[str]"]


def httpx(apns: FakeApns, token: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [apns.url, apns.ca_file, apns.certificate().file, token, MAGIC]
    return run([sys.executable, EXAMPLES / "python" / "push_httpx.py", *words], env=environment(apns))


def aioapns(apns: FakeApns, token: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [f"localhost:{apns.port}", apns.ca_file, apns.certificate().file, token, MAGIC]
    return run([sys.executable, EXAMPLES / "python" / "push_aioapns.py", *words], env=environment(apns))


def go(apns: FakeApns, token: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [apns.url, apns.ca_file, apns.certificate().file, token, MAGIC]
    return run([from_go_source("push-example", EXAMPLES / "go-push"), *words], env=environment(apns))


def node(apns: FakeApns, token: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [apns.url, apns.ca_file, apns.certificate().file, token, MAGIC]
    return run(["node", node_folder(folder) / "push.js", *words], env=environment(apns))


def node_apn(apns: FakeApns, token: str, folder: Path) -> subprocess.CompletedProcess[str]:
    certificate = apns.certificate(environment="both").file
    words = [f"127.0.0.1:{apns.port}", certificate, apns.topic, token, MAGIC]
    return run(["node", node_folder(folder) / "push-node-apn.js", *words], env=environment(apns))


def node_folder(folder: Path) -> Path:
    """The examples as a reader has them after `npm install`."""
    modules = from_npm(EXAMPLES / "node" / "package.json")
    there = folder / "node"
    shutil.copytree(EXAMPLES / "node", there, ignore=shutil.ignore_patterns("node_modules"))
    (there / "node_modules").symlink_to(modules)
    return there


PROGRAMS = pytest.mark.parametrize("program", [httpx, aioapns, go, node, node_apn])


@pytest.fixture
def apns() -> Iterator[FakeApns]:
    # aioapns prints a line about each PING that it did not ask for: the examples are tried without legal variety.
    with FakeApns(front=FrontSettings(variety=False, grace=0.5)) as running:
        yield running


@PROGRAMS
def test_a_push_example_wakes_the_device(apns: FakeApns, tmp_path: Path, program: Program) -> None:
    phone = apns.device()
    done = program(apns, phone.token, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("accepted")
    assert phone.wait_for_push().json["mdm"] == MAGIC


@PROGRAMS
def test_a_push_example_says_apples_reason(apns: FakeApns, tmp_path: Path, program: Program) -> None:
    phone = apns.device()
    phone.retire()
    done = program(apns, phone.token, tmp_path)
    assert (done.returncode, "refused: 410 Unregistered" in done.stderr) == (1, True), done.stderr


def test_the_courier_example_hears_a_push_and_acknowledges_it(apns: FakeApns, tmp_path: Path) -> None:
    program = from_go_source("courier", EXAMPLES / "go-courier")
    courier = subprocess.Popen(
        [program, f"127.0.0.1:{apns.courier_port}", "phone-1", apns.topic, "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert courier.stdout is not None
        token = courier.stdout.readline().strip()
        assert token == apns.token("phone-1")
        for _ in range(2):
            assert httpx(apns, token, tmp_path).returncode == 0
            assert MAGIC in courier.stdout.readline()
        _, errors = courier.communicate(timeout=PATIENCE)
    finally:
        courier.kill()
        courier.wait()
    assert (courier.returncode, errors) == (0, "")

    async def acknowledged(service: object) -> int:
        return service.counts.acknowledged  # type: ignore[attr-defined, no-any-return]

    assert apns.call(acknowledged) >= 1


def test_the_courier_example_hears_what_was_kept_for_it(apns: FakeApns, tmp_path: Path) -> None:
    assert httpx(apns, apns.token("phone-1"), tmp_path).returncode == 0
    program = from_go_source("courier", EXAMPLES / "go-courier")
    done = run([program, f"127.0.0.1:{apns.courier_port}", "phone-1", apns.topic, "1"], env=environment(apns))
    assert (done.returncode, MAGIC in done.stdout) == (0, True), done.stderr


def test_every_example_is_linked_from_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    linked = set(re.findall(r"\]\((examples/[^)#]+)\)", pages))
    programs = [
        file
        for file in EXAMPLES.rglob("*")
        if file.suffix in (".py", ".go", ".js") and "node_modules" not in file.parts
    ]
    assert programs
    assert {file.relative_to(ROOT / "docs").as_posix() for file in programs} - linked == set()


@pytest.mark.parametrize("package", sorted(EXAMPLES.rglob("package.json")), ids=str)
def test_packages_from_npm_are_named_exactly(package: Path) -> None:
    assert re.findall(r'": "([^0-9"][^"]*)"', package.read_text().partition("ependencies")[2]) == []


def python_words(name: str) -> Callable[[Path], list[str | Path]]:
    return lambda folder: [sys.executable, EXAMPLES / "python" / name]


@pytest.mark.parametrize(
    "words",
    [
        python_words("push_httpx.py"),
        python_words("push_aioapns.py"),
        lambda folder: ["node", node_folder(folder) / "push.js"],
        lambda folder: ["node", node_folder(folder) / "push-node-apn.js"],
        lambda folder: [from_go_source("push-example", EXAMPLES / "go-push")],
        lambda folder: [from_go_source("courier-example", EXAMPLES / "go-courier")],
    ],
)
def test_a_program_without_arguments_says_what_it_takes(
    tmp_path: Path, words: Callable[[Path], list[str | Path]]
) -> None:
    ended = subprocess.run(words(tmp_path), capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert ended.returncode != 0
    assert ended.stderr.startswith("usage: ")
    assert ended.stderr.count("\n") == 1
