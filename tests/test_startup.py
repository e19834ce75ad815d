"""What every fake does before it serves: what it refuses to overwrite, and what of its settings cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import certificates_from_pem, identity_to_pem, to_pem
from mdmsim.pki.keys import FreshKeys
from mdmsim.startup import ServeError, different_ports, made_identity, usable_key, writable_files, write_ca


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("CA", keys=FreshKeys(), clock=WallClock(), chance=Chance(1), kind="ec")


def test_a_ca_file_never_replaces_a_key(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "push-2.pem"
    content = identity_to_pem(authority.issue_server(("a.example",)))
    for text in (content, to_pem(authority.certificate) + content):
        file.write_bytes(text)
        with pytest.raises(ServeError, match=r"push-2\.pem: is there, and holds something else than a CA certificate"):
            made_identity("Other", ("a.example",), "127.0.0.1", file, WallClock(), Chance(2))
        assert file.read_bytes() == text


@pytest.mark.parametrize("content", ["precious", '{"v": 1}', "-----BEGIN PRIVATE KEY-----\n", "\x00"])
def test_a_ca_file_never_replaces_what_is_no_certificate(authority: Authority, tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(ServeError, match="which would be lost"):
        write_ca(tmp_path / "ca.pem", authority)
    assert (tmp_path / "ca.pem").read_text() == content


@pytest.mark.parametrize("before", [None, b"", b"\n", "certificates"])
def test_a_ca_file_of_an_earlier_run_is_replaced(
    authority: Authority, tmp_path: Path, before: bytes | str | None
) -> None:
    earlier = Authority.create("Earlier", keys=FreshKeys(), clock=WallClock(), chance=Chance(3), kind="ec")
    if before is not None:
        (tmp_path / "ca.pem").write_bytes(before if isinstance(before, bytes) else to_pem(earlier.certificate))
    write_ca(tmp_path / "ca.pem", authority)
    assert certificates_from_pem((tmp_path / "ca.pem").read_bytes()) == (authority.certificate,)


def test_two_settings_cannot_name_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "one")
    with pytest.raises(ServeError, match="--out and --key-out: both would write"):
        writable_files({"--out": tmp_path / "one", "--key-out": tmp_path / "link"})
    writable_files({"--out": tmp_path / "one", "--key-out": tmp_path / "two", "--log": None})
    writable_files({"--out": Path("/dev/null"), "--key-out": Path("/dev/null")})


def test_a_file_in_a_folder_that_is_not_there_is_refused_and_the_folder_not_made(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"store: .*s\.db: there is no folder .*/missing\. Make it"):
        writable_files({"store": tmp_path / "missing" / "s.db"})
    assert not (tmp_path / "missing").exists()


def test_two_settings_cannot_ask_for_one_port() -> None:
    with pytest.raises(ServeError, match="port and courier_port: both ask for port 80"):
        different_ports({"port": 80, "admin_port": 0, "courier_port": 80})
    different_ports({"port": 0, "admin_port": 0, "plain_port": None, "courier_port": 80})


@given(st.text(max_size=20))
def test_a_key_is_taken_exactly_if_a_header_carries_it(key: str) -> None:
    carried = key.isascii() and key.isprintable() and " " not in key and key != ""
    try:
        usable_key(key, "admin_key")
        taken = True
    except ServeError as error:
        taken = False
        assert str(error).startswith("admin_key: ")
    assert taken == carried
