from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.mdm_push import build_payload, parse_payload


def test_the_payload_is_the_push_magic_alone() -> None:
    assert build_payload("7A6B5C4D-3E2F-4A1B-8C0D-9E8F7A6B5C4D") == b'{"mdm":"7A6B5C4D-3E2F-4A1B-8C0D-9E8F7A6B5C4D"}'


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_every_push_magic_survives_and_other_json_readers_agree(magic: str) -> None:
    assert parse_payload(build_payload(magic)) == json.loads(build_payload(magic))["mdm"] == magic


def test_blanks_and_other_keys_are_tolerated() -> None:
    assert parse_payload(b' { "aps": {"content-available": 1}, "mdm" : "M" }\n') == "M"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b'"M"',
        b'{"mdm":1}',
        b'{"mdm":null}',
        b'{"mdm":"M"',
        b"\xff",
        b'{"mdm":"\xff"}',
        b"[" * 4000,
        b'{"a":' * 800,
    ],
)
def test_anything_else_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed, match="push payload: not a JSON object"):
        parse_payload(payload)


def test_a_payload_larger_than_apns_takes_is_malformed() -> None:
    with pytest.raises(Malformed, match="5010 bytes; allowed are 4096"):
        parse_payload(b'{"mdm":"' + b"M" * 5000 + b'"}')


def test_the_error_does_not_quote_the_push_magic() -> None:
    with pytest.raises(Malformed) as caught:
        parse_payload(b'{"mdm":["HUSH"]}')
    assert "HUSH" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_random_payloads_raise_nothing_but_malformed(payload: bytes) -> None:
    try:
        parse_payload(payload)
    except Malformed as error:
        assert error.what == "push payload"
