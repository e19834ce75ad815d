"""What a device makes of GetCACaps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.pki.scep.capabilities import STANDARD, Capabilities, parse_capabilities
from mdmsim.pki.scep.errors import WeakCapabilities


@pytest.mark.parametrize(
    ("body", "cipher", "digest", "post"),
    [
        (b"Renewal\nSHA-1\nSHA-256\nAES\nDES3\nSCEPStandard\nPOSTPKIOperation", "aes128", "sha256", True),
        (b"Renewal\r\nSHA-1\r\nSHA-256\r\nAES\r\nDES3\r\n", "aes128", "sha256", False),
        (b"scepstandard\n", "aes128", "sha256", True),
        (b"POSTPKIOperation\nSHA-1\nDES3", "3des", "sha1", True),
        (b"SHA-512\nDES3", "3des", "sha512", False),
        (b"SHA-512\nSHA-256", "3des", "sha256", False),
        (b"", "3des", "sha1", False),
        # Whole lines, not parts of them: no AES here, nor SHA-256.
        (b"NOAES\nSHA-2560\nXPOSTPKIOperation\nAES SHA-256", "3des", "sha1", False),
    ],
)
def test_the_choices_follow_from_whole_lines(body: bytes, cipher: str, digest: str, post: bool) -> None:
    found = parse_capabilities(body)
    assert (found.cipher, found.digest, found.post) == (cipher, digest, post)


def test_a_ca_without_any_digest_is_too_weak() -> None:
    with pytest.raises(WeakCapabilities) as error:
        parse_capabilities(b"Renewal\nMD5\nDES").require_digest()
    assert error.value.code == 22006


def test_a_ca_without_capabilities_is_of_the_time_before_them() -> None:
    parse_capabilities(b"").require_digest()


def test_capabilities_are_read_as_written() -> None:
    assert parse_capabilities(STANDARD.render()) == parse_capabilities(STANDARD.render("\r\n")) == STANDARD
    assert STANDARD.renewal and not Capabilities(("AES",)).renewal


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_answer_is_an_error(body: bytes) -> None:
    found = parse_capabilities(body)
    assert found.cipher in ("aes128", "3des")
