"""A setting that cannot be honoured is refused at the start, with the field and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mdmsim.http import Identity
from reference_server import BadSettings
from tests.reference_server.kit import DEVICE_CA, KEYS, TOPIC, Server, authority, push_identity, settings


def _ec_ca() -> Identity:
    return replace(authority(DEVICE_CA).identity, key=KEYS.take_ec())


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("public_url", {"public_url": "mdm.example.com"}),
        ("public_url", {"public_url": "https://mdm.example.com/"}),
        ("public_url", {"public_url": "https://mdm.example.com?x=1"}),
        ("public_url", {"public_url": "ftp://mdm.example.com"}),
        ("public_url", {"public_url": "https://mdm.example.com:x"}),
        ("apns_url", {"apns_url": ""}),
        ("push", {"push": Identity(b"rubbish", b"")}),
        ("push", {"push": authority(DEVICE_CA).identity}),
        ("ca", {"ca": Identity(b"", b"rubbish")}),
        ("ca", {"ca": _ec_ca()}),
        ("api_key", {"api_key": "short"}),
        ("api_key", {"api_key": "schlüssel-schlüssel"}),
        ("organization", {"organization": " "}),
        ("access_rights", {"access_rights": 8192}),
        ("access_rights", {"access_rights": -1}),
        ("scep_challenge", {"scep_challenge": "static"}),
        ("scep_challenge", {"scep_static_challenge": "x"}),
        ("scep_key_bits", {"scep_key_bits": 512}),
        ("scep_days", {"scep_days": 0}),
        ("push_ladder_s", {"push_ladder_s": (0,)}),
        ("push_ladder_s", {"push_ladder_s": (0, 30, 30)}),
        ("push_repeat_s", {"push_repeat_s": 0}),
        ("push_expiration_s", {"push_expiration_s": -1}),
        ("max_body", {"max_body": 0}),
        ("trusted_proxies", {"trusted_proxies": ("10.0.0.1",)}),
        ("proxy_header", {"proxy_header": "X-Cert"}),
        ("proxy_header", {"trusted_proxies": ("10.0.0.1",), "proxy_header": "X Cert"}),
        ("trusted_proxies", {"trusted_proxies": ("proxy.example.com",), "proxy_header": "X-Cert"}),
        ("first_commands", {"first_commands": ({"Queries": []},)}),
        ("first_commands", {"first_commands": ({"RequestType": "DeviceConfigured"},)}),
        ("device_configured", {"device_configured": "sometimes"}),
        ("profile_identity", {"profile_identity": "acme"}),
        ("dep_url", {"dep_url": "https://mdmenrollment.apple.com/v1"}),
        ("dep_anchors", {"dep_anchors": (b"rubbish",)}),
        ("dep_profile", {"dep_profile": {"devices": ["A"]}}),
        ("dep_profile", {"dep_profile": {"profile_name": ""}}),
        ("dep_profile", {"dep_profile": {"is_mdm_removable": False, "is_supervised": False}}),
        ("dep_sync_s", {"dep_sync_s": 0}),
        ("dep_full_fetch_s", {"dep_full_fetch_s": 0}),
        ("dep_retry_s", {"dep_retry_s": ()}),
        ("dep_retry_s", {"dep_retry_s": (0,)}),
        ("dep_retry_s", {"dep_retry_s": (60, 30)}),
        ("dep_timeout_s", {"dep_timeout_s": 0}),
        ("dep_page", {"dep_page": 1001}),
        ("automated_anchors", {"automated_anchors": (b"rubbish",)}),
        ("automated_login", {"automated_login": "saml"}),
        ("users", {"automated_login": "basic"}),
        ("users", {"users": {"a:b": "c"}}),
        ("users", {"users": {"": "c"}}),
        ("users", {"users": {"a": ""}}),
        ("automated_minimum_os", {"automated_minimum_os": {"tvos": "18.1"}}),
        ("automated_minimum_os", {"automated_minimum_os": {"ios": "newest"}}),
    ],
)
def test_a_bad_setting_names_its_field(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(BadSettings) as refused:
        settings(**changes)
    assert field in refused.value.where
    assert refused.value.hint


def test_a_database_that_cannot_be_opened_is_a_bad_setting(tmp_path: object) -> None:
    with pytest.raises(BadSettings, match="database"):
        Server(database=f"{tmp_path}/none/server.sqlite")


def test_the_topic_comes_from_the_push_certificate() -> None:
    assert settings(push=push_identity()).topic == TOPIC


def test_nothing_secret_is_in_a_settings_repr() -> None:
    text = repr(settings(scep_challenge="static", scep_static_challenge="open sesame", users={"ada": "correct horse"}))
    assert "correct horse" not in text
    assert "test-api-key" not in text
    assert "open sesame" not in text
    assert repr(push_identity().key) not in text
