"""The Mdm-Signature header."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.clock import ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.cms import verify
from mdmsim.pki.errors import BadSignature, CMSError, MalformedCMS
from mdmsim.pki.mdm_signature import DEVICE, LEGACY, SignatureStyle, named_signer, sign_body, verify_header

from .conftest import OpenSSL
from .test_cms import signed_by_two

BODY = b"<plist/>\n"


@pytest.mark.parametrize(
    "style",
    [
        DEVICE,
        LEGACY,
        SignatureStyle(attributes=True),
        SignatureStyle(attributes=True, signed_at_ms=ManualClock().now_ms()),
        SignatureStyle(digest="sha512"),
    ],
)
@pytest.mark.interop
def test_openssl_verifies_every_style(openssl: OpenSSL, identity: Identity, style: SignatureStyle) -> None:
    header = sign_body(BODY, identity, style=style)
    arguments = ("-verify", "-binary", "-noverify", "-inform", "DER", "-in", "message", "-content", "body")
    openssl("cms", *arguments, message=base64.b64decode(header), body=BODY)
    assert verify_header(header, BODY) == identity.certificate


def test_a_device_signs_in_the_captured_form(identity: Identity) -> None:
    header = sign_body(BODY, identity)
    assert header.startswith("MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCABgkqhkiG9w0BBwEAAKCC")
    assert "\n" not in header


def test_a_header_of_several_signers_names_nobody(identity: Identity, ec_identity: Identity) -> None:
    header = base64.b64encode(signed_by_two(identity, ec_identity, detached=True)).decode()
    for read in (named_signer, lambda text: verify_header(text, BODY)):
        with pytest.raises(MalformedCMS, match="2 signers, expected exactly one"):
            read(header)


def test_the_chain_goes_along_where_asked(authority: Authority) -> None:
    identity = authority.subordinate("Sub").client_identity("mac-02")
    header = sign_body(BODY, identity, style=SignatureStyle(chain=True))
    assert verify(base64.b64decode(header), content=BODY).certificates == (identity.certificate, *identity.chain)


def test_a_body_with_one_byte_more_is_refused(identity: Identity) -> None:
    with pytest.raises(BadSignature):
        verify_header(sign_body(BODY, identity), BODY + b"\n")


@pytest.mark.parametrize("header", ["", "AAAA", "not base64!", "é", "MIAGCSqGSIb3DQEHAqCAMIACAQEx"])
def test_garbage_is_malformed(header: str) -> None:
    with pytest.raises(MalformedCMS):
        verify_header(header, BODY)


@given(st.text(max_size=60), st.integers(0, 1600))
@settings(max_examples=100, deadline=None)
def test_a_mangled_header_raises_nothing_else(identity: Identity, text: str, at: int) -> None:
    header = sign_body(BODY, identity)
    try:
        verify_header(header[:at] + text + header[at + len(text) :], BODY)
    except CMSError:
        pass
