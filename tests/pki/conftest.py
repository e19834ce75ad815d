"""One authority, a few keys and an `openssl` to judge what we write: made once, since keys are what costs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, SharedKeys, public_key_of

OpenSSL = Callable[..., bytes]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def chance() -> Chance:
    return Chance("tests/pki")


@pytest.fixture(scope="session")
def keys() -> SharedKeys:
    return SharedKeys(4)


@pytest.fixture(scope="session")
def authority(keys: SharedKeys) -> Authority:
    return Authority.create(
        "Acme Lab CA", keys=keys, clock=ManualClock(), chance=Chance("authority"), organization="Acme"
    )


@pytest.fixture(scope="session")
def identity(authority: Authority) -> Identity:
    return authority.client_identity("iphone-01")


@pytest.fixture(scope="session")
def ec_identity(authority: Authority) -> Identity:
    key = FreshKeys().take_ec()
    return Identity(authority.issue_client("mac-01", public_key=public_key_of(key)), key)


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSSL:
    """Run `openssl` in a folder of the test's own. Files are given as keyword arguments: their name is the argument
    with `_` for `.`; returns what it wrote to stdout, and fails the test with what it wrote to stderr."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl on this machine")

    def run(*arguments: str, fails: bool = False, **files: bytes) -> bytes:
        for file, content in files.items():
            (tmp_path / file.replace("_", ".")).write_bytes(content)
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, timeout=60)
        assert (done.returncode != 0) == fails, f"{' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout

    return run
