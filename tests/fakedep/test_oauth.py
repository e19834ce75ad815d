"""The signatures of GET /session, against the examples of RFC 5849, and whatever an Authorization header may look like."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.fakedep.oauth import (
    BadAuthorization,
    base_string,
    parse_authorization,
    percent_encode,
    signature,
    signed_by,
)

GOOD = {
    "oauth_consumer_key": "CK_1",
    "oauth_token": "AT_1",
    "oauth_signature_method": "HMAC-SHA1",
    "oauth_signature": "c2ln",
    "oauth_timestamp": "1767225600",
    "oauth_nonce": "n1",
    "oauth_version": "1.0",
}


def _header(parameters: dict[str, str], comma: str = ", ") -> str:
    return "OAuth " + comma.join(f'{name}="{percent_encode(value)}"' for name, value in parameters.items())


def test_the_base_string_is_the_example_of_section_3_4_1_1() -> None:
    parameters = [
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
        ("oauth_signature", "bYT5CMsGcbgUdFHObYMEfcx6bsw="),
        ("realm", "Example"),
        ("c2", ""),
        ("a3", "2 q"),
    ]
    url = "http://EXAMPLE.COM:80/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b"
    assert base_string("post", url, parameters) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D"
        "%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1"
        "%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


@pytest.mark.parametrize(
    ("method", "url", "parameters", "token_secret", "wanted"),
    [
        (
            "POST",
            "https://photos.example.net/initiate",
            {
                "oauth_consumer_key": "dpf43f3p2l4k3l03",
                "oauth_signature_method": "HMAC-SHA1",
                "oauth_timestamp": "137131200",
                "oauth_nonce": "wIjqoS",
                "oauth_callback": "http://printer.example.com/ready",
            },
            "",
            "74KNZJeDHnMBp0EMJ9ZHt/XKycU=",
        ),
        (
            "POST",
            "https://photos.example.net/token",
            {
                "oauth_consumer_key": "dpf43f3p2l4k3l03",
                "oauth_token": "hh5s93j4hdidpola",
                "oauth_signature_method": "HMAC-SHA1",
                "oauth_timestamp": "137131201",
                "oauth_nonce": "walatlh",
                "oauth_verifier": "hfdp7dh39dks9884",
            },
            "hdhd0244k9j7ao03",
            "gKgrFCywp7rO0OXSjdot/IHF7IU=",
        ),
        (
            "GET",
            "http://photos.example.net/photos?file=vacation.jpg&size=original",
            {
                "oauth_consumer_key": "dpf43f3p2l4k3l03",
                "oauth_token": "nnch734d00sl2jdk",
                "oauth_signature_method": "HMAC-SHA1",
                "oauth_timestamp": "137131202",
                "oauth_nonce": "chapoH",
            },
            "pfkkdhi9sl3r4s00",
            "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
        ),
    ],
)
def test_signatures_are_the_examples_of_section_1_2(
    method: str, url: str, parameters: dict[str, str], token_secret: str, wanted: str
) -> None:
    assert signature(method, url, parameters.items(), "kd94hf93k423kf44", token_secret) == wanted


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://HOST:443/session", "https://host/session"),
        ("http://host:443/session", "http://host:443/session"),
        ("http://127.0.0.1:8080/session", "http://127.0.0.1:8080/session"),
        ("https://[::1]:9/session", "https://[::1]:9/session"),
        ("https://host", "https://host/"),
    ],
)
def test_the_port_is_signed_only_where_it_is_not_the_default(url: str, base: str) -> None:
    assert base_string("GET", url, []) == f"GET&{percent_encode(base)}&"


@pytest.mark.parametrize("comma", [",", ", ", " ,  "])
@pytest.mark.parametrize("scheme", ["OAuth", "oauth", "OAUTH"])
def test_order_blanks_and_case_of_the_scheme_do_not_matter(comma: str, scheme: str) -> None:
    header = _header(dict(reversed(GOOD.items())), comma).replace("OAuth", scheme, 1)
    found = parse_authorization(header)
    assert (found.consumer_key, found.token, found.signature, found.timestamp, found.nonce, found.realm) == (
        "CK_1",
        "AT_1",
        "c2ln",
        1_767_225_600,
        "n1",
        None,
    )


def test_the_realm_is_read_and_not_signed() -> None:
    found = parse_authorization(_header({"realm": "ADM", **GOOD}))
    assert found.realm == "ADM" and "realm" not in found.parameters


def test_the_version_may_be_left_out() -> None:
    assert parse_authorization(_header({k: v for k, v in GOOD.items() if k != "oauth_version"})).nonce == "n1"


@pytest.mark.parametrize(
    ("header", "word"),
    [
        (None, "no Authorization"),
        ("", "scheme"),
        ("Basic dTpw", "scheme"),
        ("OAuth", "missing"),
        ("OAuth garbage", "not a parameter"),
        (_header(GOOD) + ', oauth_nonce="n2"', "twice"),
        (_header({**GOOD, "oauth_callback": "x"}), "not supported"),
        (_header({**GOOD, "oauth_signature_method": "PLAINTEXT"}), "HMAC-SHA1"),
        (_header({**GOOD, "oauth_version": "2.0"}), "1.0"),
        (_header({**GOOD, "oauth_timestamp": "now"}), "seconds"),
        (_header({**GOOD, "oauth_timestamp": "-5"}), "seconds"),
        *[(_header({**GOOD, name: ""}), name) for name in GOOD if name != "oauth_version"],
    ],
)
def test_a_header_that_cannot_be_judged_is_refused_with_the_reason(header: str | None, word: str) -> None:
    with pytest.raises(BadAuthorization, match=word):
        parse_authorization(header)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text(max_size=100).map(lambda tail: _header(GOOD) + tail)))
def test_any_header_is_either_read_or_refused(header: str) -> None:
    try:
        parse_authorization(header)
    except BadAuthorization:
        pass


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_any_secrets_and_nonce_survive_the_header(consumer: str, token: str, nonce: str) -> None:
    # What cannot be encoded cannot be sent.
    for text in (consumer, token, nonce):
        try:
            text.encode()
        except UnicodeEncodeError:
            return
    parameters = {name: value for name, value in GOOD.items() if name != "oauth_signature"} | {"oauth_nonce": nonce}
    url = "https://mdmenrollment.apple.com/session"
    made = signature("GET", url, parameters.items(), consumer, token)
    read = parse_authorization(_header({**parameters, "oauth_signature": made}))
    assert signed_by(read, "GET", url, consumer, token)
    assert not signed_by(read, "GET", url, consumer, token + "x")
