"""PKCS #12: what we make opens elsewhere, what others make opens here, and the rest is a typed error."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import SharedKeys
from mdmsim.pki.pkcs12 import MalformedPkcs12, WrongPassword, build_pkcs12, open_pkcs12


@pytest.fixture(scope="module")
def identity() -> Identity:
    authority = Authority.create("P12 CA", keys=SharedKeys(2), clock=ManualClock(), chance=Chance(1))
    return authority.client_identity("p12 device")


@pytest.mark.parametrize("legacy", [False, True])
def test_openssl_opens_what_we_make(identity: Identity, tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "identity.p12"
    path.write_bytes(build_pkcs12(identity, "s3cret", legacy=legacy))
    command = ["openssl", "pkcs12", "-in", str(path), "-passin", "pass:s3cret", "-nodes", "-info"]
    done = subprocess.run([*command, *(["-legacy"] if legacy else [])], capture_output=True, text=True, check=True)
    assert "BEGIN PRIVATE KEY" in done.stdout
    assert "CN = p12 device" in done.stdout or "CN=p12 device" in done.stdout


def test_what_openssl_makes_opens_here(tmp_path: Path) -> None:
    key, certificate, bundle = (str(tmp_path / name) for name in ("k.pem", "c.pem", "b.p12"))
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=by openssl", "-days", "2"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    export = ["openssl", "pkcs12", "-export", "-inkey", key, "-in", certificate, "-out", bundle, "-passout", "pass:x"]
    subprocess.run(export, check=True, capture_output=True)
    assert open_pkcs12(Path(bundle).read_bytes(), "x").certificate


@pytest.mark.parametrize("legacy", [False, True])
def test_the_identity_survives(identity: Identity, legacy: bool) -> None:
    assert open_pkcs12(build_pkcs12(identity, "s3cret", legacy=legacy), "s3cret") == identity


@pytest.mark.parametrize("password", ["wrong", "", None])
def test_a_wrong_password_is_its_own_error(identity: Identity, password: str | None) -> None:
    with pytest.raises(WrongPassword):
        open_pkcs12(build_pkcs12(identity, "s3cret"), password)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_mangled_bundle_is_a_typed_error_or_the_same(identity: Identity, data: st.DataObject) -> None:
    whole = bytearray(build_pkcs12(identity, "s3cret", legacy=True))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.sampled_from([len(whole), place]))
    try:
        opened = open_pkcs12(bytes(whole[:cut]), "s3cret")
    except MalformedPkcs12:
        return
    assert opened.key == identity.key
