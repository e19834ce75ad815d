"""Vendor-signed requests for push certificates: made by us and by openssl, and everything that is refused."""

from __future__ import annotations

import base64
import plistlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import DAY, ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import key_to_pem, to_pem
from mdmsim.pki.csr import build_csr
from mdmsim.pki.errors import BadPushRequest
from mdmsim.pki.keys import FreshKeys, SharedKeys
from mdmsim.pki.names import name
from mdmsim.pki.push_request import VendorRule, build_push_request, read_push_request
from mdmsim.protocol.errors import Malformed
from tests.interop.needs import from_path

CLOCK = ManualClock()
NOW = CLOCK.now_ms()
KEYS = SharedKeys(4, FreshKeys())
ROOT = Authority.create("A root like Apple's", keys=KEYS, clock=CLOCK, chance=Chance("root"))
WWDR = ROOT.subordinate("Worldwide relations")
_LEAF = WWDR.client_identity(name("MDM vendor", organization="Acme MDM, Inc."))
VENDOR = Identity(_LEAF.certificate, _LEAF.key, (WWDR.certificate, ROOT.certificate))
CUSTOMER = KEYS.take()
CSR = build_csr(CUSTOMER, name("Acme customer"))
REQUEST = build_push_request(CSR, VENDOR)


def changed(**values: Any) -> bytes:
    """The request with other values in it; None leaves one out."""
    plist = plistlib.loads(base64.b64decode(REQUEST)) | values
    return base64.b64encode(plistlib.dumps({key: value for key, value in plist.items() if value is not None}))


def test_a_vendors_request_is_read() -> None:
    signed = read_push_request(REQUEST, now_ms=NOW)
    assert (signed.csr.der, signed.vendor, signed.digest) == (CSR, "Acme MDM, Inc.", "sha256")
    assert signed.chain == (VENDOR.certificate, WWDR.certificate, ROOT.certificate)


def test_it_has_the_shape_that_apple_documents() -> None:
    plist = plistlib.loads(base64.b64decode(REQUEST))
    assert set(plist) == {"PushCertRequestCSR", "PushCertCertificateChain", "PushCertSignature"}
    assert base64.b64decode(plist["PushCertRequestCSR"]) == CSR
    assert plist["PushCertCertificateChain"].count("-----BEGIN CERTIFICATE-----") == 3


@pytest.mark.parametrize(
    "chain",
    [
        (VENDOR.certificate,),
        (VENDOR.certificate, WWDR.certificate),
        (VENDOR.certificate, WWDR.certificate, ROOT.certificate),
    ],
)
def test_the_upper_part_of_the_chain_may_be_left_out(chain: tuple[bytes, ...]) -> None:
    assert read_push_request(changed(PushCertCertificateChain=to_pem(*chain).decode()), now_ms=NOW).chain == chain


def test_a_vendor_that_signed_itself_is_believed_by_default() -> None:
    own = Authority.create("A vendor", keys=KEYS, clock=CLOCK, chance=Chance("own")).identity
    assert read_push_request(build_push_request(CSR, own), now_ms=NOW).vendor == "A vendor"


@pytest.mark.parametrize("authority", [ROOT, WWDR])
def test_vendors_can_be_restricted_to_a_ca(authority: Authority) -> None:
    rule = VendorRule((authority.certificate,))
    assert read_push_request(REQUEST, now_ms=NOW, rule=rule).vendor == "Acme MDM, Inc."
    own = Authority.create("A vendor", keys=KEYS, clock=CLOCK, chance=Chance("own")).identity
    with pytest.raises(BadPushRequest, match="CN=A vendor does not come from CN="):
        read_push_request(build_push_request(CSR, own), now_ms=NOW, rule=rule)


def test_a_namesake_of_the_ca_is_not_the_ca() -> None:
    namesake = Authority.create("A root like Apple's", keys=FreshKeys(), clock=CLOCK, chance=Chance("namesake"))
    with pytest.raises(BadPushRequest, match="does not come from"):
        read_push_request(REQUEST, now_ms=NOW, rule=VendorRule((namesake.certificate,)))


def test_sha_1_is_a_switch() -> None:
    old = build_push_request(CSR, VENDOR, digest="sha1")
    with pytest.raises(BadPushRequest, match="made with SHA-1; Apple wants SHA-256"):
        read_push_request(old, now_ms=NOW)
    assert read_push_request(old, now_ms=NOW, rule=VendorRule(sha1=True)).digest == "sha1"


def test_dates_are_judged_unless_nobody_minds() -> None:
    late = NOW + 400 * DAY
    with pytest.raises(BadPushRequest, match=r"CN=MDM vendor.* is valid from"):
        read_push_request(REQUEST, now_ms=late)
    assert read_push_request(REQUEST, now_ms=late, rule=VendorRule(dates=False))


OTHER = build_csr(KEYS.take(), name("Somebody else"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not an XML property list"),
        (b"!!", "not base64"),
        (base64.b64decode(REQUEST), "bare property list; the portal takes it encoded as base64"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\n", "an MDM vendor must sign it first"),
        (base64.b64encode(plistlib.dumps([])), "a dictionary is expected"),
        (base64.b64encode(plistlib.dumps({}, fmt=plistlib.FMT_BINARY)), "not an XML property list"),
        (b"QUJD" * 80_000, "more than"),
        (changed(PushCertRequestCSR=None), "PushCertRequestCSR is missing"),
        (changed(PushCertSignature=None), "PushCertSignature is missing"),
        (changed(PushCertCertificateChain=b"data"), "PushCertCertificateChain must be a string"),
        (changed(PushCertRequestCSR="AAAA"), "not a PKCS#10 request"),
        (changed(PushCertRequestCSR="?"), "PushCertRequestCSR: not base64"),
        (changed(PushCertRequestCSR=base64.b64encode(OTHER).decode()), "not CN=MDM vendor"),
        (changed(PushCertSignature=base64.b64encode(bytes(256)).decode()), "the vendor signs the DER, not the PEM"),
        (changed(PushCertSignature=""), "over the DER of the CSR"),
        (changed(PushCertCertificateChain=""), 'no "BEGIN CERTIFICATE" block'),
        (changed(PushCertCertificateChain=to_pem(WWDR.certificate, VENDOR.certificate).decode()), "is not signed by"),
        (changed(PushCertCertificateChain=to_pem(VENDOR.certificate, ROOT.certificate).decode()), "is not signed by"),
        (build_push_request(build_csr(KEYS.take(bits=1024), name("x")), VENDOR), "RSA of at least 2048 bits"),
        (build_push_request(build_csr(KEYS.take_ec(), name("x")), VENDOR), "RSA of at least 2048 bits"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, says: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_push_request(data, now_ms=NOW)
    assert says in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_push_request(data, now_ms=NOW)


@given(st.data())
def test_a_mangled_request_is_read_or_refused_in_words(data: st.DataObject) -> None:
    plist = bytearray(base64.b64decode(REQUEST))
    for _ in range(data.draw(st.integers(1, 4))):
        plist[data.draw(st.integers(0, len(plist) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_push_request(base64.b64encode(plist), now_ms=NOW)
    except Malformed as error:
        assert str(error)


@pytest.mark.interop
def test_a_request_made_with_openssl_alone_is_read(tmp_path: Path) -> None:
    openssl = from_path("openssl")

    def run(*words: str) -> bytes:
        return subprocess.run([openssl, *words], cwd=tmp_path, check=True, capture_output=True).stdout

    run(
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "push.key",
        "-subj",
        "/CN=x",
        "-outform",
        "DER",
        "-out",
        "push.csr",
    )
    (tmp_path / "vendor.key").write_bytes(key_to_pem(VENDOR.key))
    run("dgst", "-sha256", "-sign", "vendor.key", "-out", "signature", "push.csr")
    plist = {
        "PushCertRequestCSR": base64.b64encode((tmp_path / "push.csr").read_bytes()).decode(),
        "PushCertCertificateChain": to_pem(VENDOR.certificate, WWDR.certificate, ROOT.certificate).decode(),
        "PushCertSignature": base64.b64encode((tmp_path / "signature").read_bytes()).decode(),
    }
    assert read_push_request(base64.encodebytes(plistlib.dumps(plist)), now_ms=NOW).vendor == "Acme MDM, Inc."


@pytest.mark.interop
def test_openssl_verifies_what_we_sign(tmp_path: Path) -> None:
    plist = plistlib.loads(base64.b64decode(REQUEST))
    (tmp_path / "csr").write_bytes(base64.b64decode(plist["PushCertRequestCSR"]))
    (tmp_path / "signature").write_bytes(base64.b64decode(plist["PushCertSignature"]))
    (tmp_path / "chain.pem").write_text(plist["PushCertCertificateChain"])
    public = subprocess.run(
        [from_path("openssl"), "x509", "-in", "chain.pem", "-pubkey", "-noout"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    ).stdout
    (tmp_path / "vendor.pub").write_bytes(public)
    command = [from_path("openssl"), "dgst", "-sha256", "-verify", "vendor.pub", "-signature", "signature", "csr"]
    assert b"Verified OK" in subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
