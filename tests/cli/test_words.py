"""Reading what people write on a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdmsim.chance import Chance
from mdmsim.cli.exits import Mistake
from mdmsim.cli.words import address, certificates, listed, url_host
from mdmsim.clock import ManualClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.keys import FreshKeys


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5223", "127.0.0.1", 5223),
        ("tcp://127.0.0.1:5223", "127.0.0.1", 5223),
        ("[::1]:5223", "::1", 5223),
        ("courier.example:1/", "courier.example", 1),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert address(text, "--courier") == (host, port)


@pytest.mark.parametrize("text", ["", "127.0.0.1", ":80", "host:", "host:0", "host:65536", "host:port", "tcp://"])
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(Mistake, match=r"--courier .*HOST:PORT"):
        address(text, "--courier")


def test_lists_may_be_written_with_commas_or_by_repetition() -> None:
    assert listed(["ios, macos", "tvos", ""]) == ["ios", "macos", "tvos"]


def test_an_address_of_version_6_stands_in_brackets_in_urls() -> None:
    assert (url_host("::1"), url_host("localhost")) == ("[::1]", "localhost")


@pytest.fixture(scope="module")
def root() -> bytes:
    return Authority.create("x", keys=FreshKeys(), clock=ManualClock(), chance=Chance(1), kind="ec").certificate


@pytest.mark.parametrize("form", ["pem", "der"])
def test_certificates_come_as_pem_or_der(root: bytes, tmp_path: Path, form: str) -> None:
    file = tmp_path / "ca"
    file.write_bytes(to_pem(root) if form == "pem" else root)
    assert certificates([file], "--trust") == (root,)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x30\x03abc", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_without_certificate_is_the_users_mistake(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    with pytest.raises(Mistake, match=r"--trust .*ca\.pem: .*PEM"):
        certificates([file], "--trust")


def test_a_file_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"nothing\.pem: no such file"):
        certificates([tmp_path / "nothing.pem"], "--trust")
