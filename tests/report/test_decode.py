"""Bodies, headers and addresses as people read them."""

from __future__ import annotations

import base64
import json
import plistlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.pki import cms, mdm_signature, proxy_header
from mdmsim.pki.degenerate import certificates_only
from mdmsim.protocol import plist
from mdmsim.report.decode import PROLOG, decode_body, decode_headers, decode_url
from mdmsim.report.redact import Redactor
from tests.report.synthetic import Maker, Phone


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker(7)


@pytest.fixture(scope="module")
def phone(maker: Maker) -> Phone:
    return maker.phone("ios")


def decoded(body: bytes, redactor: Redactor | None = None) -> dict[str, Any]:
    redactor = redactor or Redactor()
    view = decode_body(body, redactor)
    assert view is not None
    cleaned: dict[str, Any] = redactor.clean(view)
    return cleaned


def test_an_empty_body_is_none() -> None:
    assert decode_body(b"", Redactor()) is None


def test_a_plist_is_a_tree_and_its_text() -> None:
    body = plist.dumps({"Status": "Idle", "UDID": "U1"})
    view = decoded(body)
    assert (view["is"], view["about"], view["bytes"]) == ("plist", "report Idle", len(body))
    assert view["tree"] == {"Status": "Idle", "UDID": "U1"}
    assert (PROLOG if view.get("prolog") else "") + view["raw"] == body.decode()


def test_values_that_json_has_not_are_named() -> None:
    value = {
        "r": plist.single(0.86),
        "w": 10.0,
        "d": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "b": b"\x01\x02",
        "t": True,
        "n": 3,
    }
    assert decoded(plist.dumps(value))["tree"] == {
        "r": {"$real": "0.86000001430511475"},
        "w": {"$real": "10"},
        "d": {"$date": "2026-01-02T03:04:05Z"},
        "b": {"$data": 2, "base64": "AQI="},
        "t": True,
        "n": 3,
    }


def test_a_key_that_looks_like_one_of_our_marks_is_not_one() -> None:
    assert decoded(plist.dumps({"$hidden": 3}))["tree"] == {"\\$hidden": 3}


@pytest.mark.parametrize("key", ["PushMagic", "Challenge", "Password", "PIN"])
def test_a_secret_text_is_neither_in_the_tree_nor_in_the_text(key: str) -> None:
    view = decoded(plist.dumps({key: "s3cr&t value", "Topic": "t"}))
    assert view["tree"][key] == {"$hidden": 12, "unit": "characters"}
    assert "s3cr" not in json.dumps(view)
    assert "•••• 12 characters" in view["raw"]


def test_secret_data_is_neither_in_the_tree_nor_in_the_text(phone: Phone) -> None:
    assert phone.unlock_token is not None
    view = decoded(plist.dumps({"UnlockToken": phone.unlock_token, "Token": phone.token}))
    assert view["tree"] == {
        "Token": {"$hidden": 32, "unit": "bytes"},
        "UnlockToken": {"$hidden": 1288, "unit": "bytes"},
    }
    assert base64.b64encode(phone.unlock_token).decode()[:20] not in json.dumps(view)


def test_a_secret_inside_an_array_under_a_secret_key_keeps_the_text_from_being_shown() -> None:
    view = decoded(plist.dumps({"Password": ["first-secret"], "Topic": "t"}))
    assert "raw" not in view
    assert "first-secret" not in json.dumps(view)


@pytest.mark.parametrize("written", ["<![CDATA[very-secret-1]]>", "very-secret&#45;1", "<!-- x -->very-secret-1"])
def test_a_text_that_hides_its_secret_from_a_search_is_not_shown(written: str) -> None:
    body = (
        f'<?xml version="1.0"?><plist version="1.0"><dict><key>PushMagic</key><string>{written}</string></dict></plist>'
    )
    assert "very-secret" not in json.dumps(decoded(body.encode()))


@pytest.mark.parametrize(
    "body",
    [
        b"<dict><key>Password</key><string>very-secret-1</string></dict>",
        b"<!-- a --><dict><key>Password</key><string>very-secret-1</string></dict>",
        b"\xef\xbb\xbf\n<plist><dict><key >Password</key ><string>very-secret-1</string></dict></plist>",
        "<dict><key>Password</key><string>very-secret-1</string></dict>".encode("utf-16"),
        b"{ Password = 'very-secret-1'; }",
    ],
)
def test_a_plist_that_only_devices_read_has_a_tree_without_its_secrets(body: bytes) -> None:
    view = decoded(body)
    assert view["is"] == "plist"
    assert list(view["tree"]) == ["Password"]
    assert "very-secret" not in json.dumps(view)


def test_a_plist_that_was_cut_short_does_not_show_its_secret() -> None:
    body = plist.dumps({"PushMagic": "7A8B-SECRET-MAGIC", "Topic": "t"})
    view = decoded(body[: body.index(b"MAGIC<") + 2])
    assert "cannot be read" in view["about"]
    assert "7A8B" not in json.dumps(view)


def test_a_binary_plist_has_a_tree() -> None:
    view = decoded(plistlib.dumps({"Status": "Idle", "UDID": "U1"}, fmt=plistlib.FMT_BINARY))
    assert (view["about"], view["tree"]["Status"]) == ("report Idle, binary", "Idle")


def test_a_profile_in_a_command_is_opened_and_its_secrets_are_hidden(maker: Maker) -> None:
    profile = plist.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadIdentifier": "com.acme.wifi",
            "PayloadContent": [{"Password": "correct-horse"}],
        }
    )
    body = plist.dumps(
        {
            "CommandUUID": "c",
            "Command": {"RequestType": "InstallProfile", "Payload": cms.sign(profile, maker.authority.identity)},
        }
    )
    view = decoded(body)
    payload = view["tree"]["Command"]["Payload"]
    assert payload["about"].startswith("profile com.acme.wifi, CMS, signed by CN=Acme Lab CA, SHA-256")
    assert payload["value"]["PayloadContent"][0]["Password"] == {"$hidden": 13, "unit": "characters"}
    assert "[profile com.acme.wifi" in view["raw"]
    assert "correct-horse" not in json.dumps(view)


def test_a_certificate_says_whose_it_is(maker: Maker, phone: Phone) -> None:
    view = decoded(plist.dumps({"CertificateList": [{"Data": phone.identity.certificate}]}))
    node = view["tree"]["CertificateList"][0]["Data"]
    assert node["about"] == f"certificate, CN={phone.name} identity"
    assert ["Issued by", "CN=Acme Lab CA"] in node["facts"]
    assert base64.b64encode(phone.identity.certificate).decode()[:60] not in json.dumps(view)


def test_a_private_key_in_a_data_value_is_named_only(phone: Phone) -> None:
    view = decoded(plist.dumps({"PayloadContent": phone.identity.key}))
    assert view["tree"]["PayloadContent"] == {"$data": len(phone.identity.key), "about": "private key, hidden"}
    assert base64.b64encode(phone.identity.key).decode()[:60] not in json.dumps(view).replace("\\n", "").replace(
        "\\t", ""
    )


def test_certificates_alone_are_described(maker: Maker) -> None:
    view = decoded(certificates_only([maker.authority.certificate]))
    assert view["about"] == "CMS, certificates only: 1"
    assert ["Issued by", "itself"] in view["facts"]


def test_a_json_body_is_a_tree_without_its_secrets() -> None:
    view = decoded(b'{"serial": "C02", "api_key": "0815-4711-key"}')
    assert view["tree"] == {"serial": "C02", "api_key": {"$hidden": 13, "unit": "characters"}}


def test_a_text_body_shows_its_first_line() -> None:
    assert decoded(b"refused by the administrator\nmore\n")["about"] == "text: refused by the administrator"


def test_a_huge_text_is_cut() -> None:
    view = decoded(b"x" * 40_000)
    assert view["raw"].endswith("(23,616 characters more)")


def test_a_huge_tree_is_cut_and_its_secrets_are_still_learned() -> None:
    redactor = Redactor()
    view = decoded(plist.dumps({"a": list(range(5000)), "z": {"PushMagic": "late-secret-magic"}}), redactor)
    assert "$cut" in json.dumps(view["tree"])
    assert redactor.text("late-secret-magic") != "late-secret-magic"


def test_a_signature_says_who_signed_and_that_it_fits(phone: Phone) -> None:
    body = plist.dumps({"Status": "Idle"})
    ((_, value),) = decode_headers(
        [["Mdm-Signature", mdm_signature.sign_body(body, phone.identity)]], Redactor(), body=body
    )
    assert value == f"[CMS, detached, signed by CN={phone.name} identity, SHA-256 (certificate-1); fits this body]"


def test_a_signature_of_another_body_is_told(phone: Phone) -> None:
    ((_, value),) = decode_headers(
        [["mdm-signature", mdm_signature.sign_body(b"one", phone.identity)]], Redactor(), body=b"two"
    )
    assert "does not fit this body" in value


@pytest.mark.parametrize("value", ["", "not base64!", base64.b64encode(b"rubbish").decode()])
def test_a_broken_signature_is_told(value: str) -> None:
    ((_, said),) = decode_headers([["Mdm-Signature", value]], Redactor())
    assert said.startswith("[not ")


def test_an_authorization_keeps_its_scheme_only() -> None:
    redactor = Redactor()
    shown = decode_headers(
        [
            ["Authorization", "Bearer abcdefgh12345678"],
            ["Set-Cookie", "session=abcdef987654; Path=/"],
            ["Accept", "*/*"],
        ],
        redactor,
    )
    assert shown == [
        ["Authorization", "Bearer •••• 16 characters"],
        ["Set-Cookie", "session=•••• 20 characters"],
        ["Accept", "*/*"],
    ]
    assert redactor.text("abcdefgh12345678") != "abcdefgh12345678"


def test_a_password_of_basic_authorization_is_learned() -> None:
    redactor = Redactor()
    decode_headers([["Authorization", "Basic " + base64.b64encode(b"admin:open-sesame").decode()]], redactor)
    assert "open-sesame" not in redactor.text("the password is open-sesame")


def test_a_proxys_certificate_header_says_whose_it_is(phone: Phone) -> None:
    ((_, value),) = decode_headers(
        [["X-SSL-Client-Cert", proxy_header.to_nginx(phone.identity.certificate)]], Redactor()
    )
    assert value == f"[certificate, CN={phone.name} identity (certificate-1)]"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/scep?operation=GetCACert&message=x", "https://h/scep?operation=GetCACert&message=x"),
        ("https://h/e?challenge=abcdef&x=1", "https://h/e?challenge=•••• 6 characters&x=1"),
        (
            "https://h/scep?operation=PKIOperation&message=" + "A" * 900,
            "https://h/scep?operation=PKIOperation&message=(900 characters)",
        ),
        ("https://admin:hunter2hunter2@h/x", "https://admin:•••• 14 characters@h/x"),
        ("http://[broken", "http://[broken"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, shown: str) -> None:
    assert decode_url(url, Redactor()) == shown


@given(
    st.binary(max_size=300)
    | st.sampled_from([b"<?xml ", b"bplist00", b"0\x80\x06\x09", b"{"]).flatmap(
        lambda head: st.binary(max_size=200).map(lambda rest: head + rest)
    )
)
@settings(max_examples=150, deadline=None)
def test_no_bytes_make_decoding_raise(body: bytes) -> None:
    redactor = Redactor()
    json.dumps(redactor.clean(decode_body(body, redactor)))


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_no_damage_to_a_real_message_makes_decoding_raise(data: st.DataObject) -> None:
    maker = _shared()
    whole = data.draw(st.sampled_from(_messages(maker)))
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(
        st.sampled_from(
            [
                whole[:place],
                whole[:place] + b"\xff" + whole[place + 1 :],
                whole[place:],
                whole[:place] + whole[place:][:1] * 40 + whole[place:],
            ]
        )
    )
    redactor = Redactor()
    json.dumps(redactor.clean(decode_body(damaged, redactor)))
    decode_headers([["Mdm-Signature", base64.b64encode(damaged).decode()]], redactor, body=b"x")


_kept: list[Maker] = []


def _shared() -> Maker:
    if not _kept:
        _kept.append(Maker(7))
    return _kept[0]


def _messages(maker: Maker) -> list[bytes]:
    identity = maker.phone("macos").identity
    return [
        plist.dumps({"PushMagic": "x", "Token": b"\x01" * 32, "List": [1, 2.5, {"a": b"b"}]}),
        cms.sign(plist.dumps({"a": "b"}), identity, attributes=True, signed_at_ms=0),
        certificates_only([identity.certificate]),
        identity.certificate,
    ]
