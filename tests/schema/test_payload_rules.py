from __future__ import annotations

from typing import Any

import pytest

from mdmsim.schema import facts
from mdmsim.schema.payload_rules import ENFORCED, Broken, broken_rules, refused_rule
from mdmsim.schema.platforms import Platform

CLIP = "com.apple.webClip.managed"
TCC = "com.apple.TCC.configuration-profile-policy"
PASSCODE = "com.apple.mobiledevice.passwordpolicy"


def refused(
    *payloads: tuple[str, dict[str, Any]],
    platform: Platform = Platform.IOS,
    os_version: str = "18.1",
    manual: bool = False,
) -> Broken | None:
    return refused_rule(payloads, platform=platform, os_version=os_version, manual=manual)


def test_the_schema_names_every_required_key_that_is_absent() -> None:
    assert list(broken_rules([(CLIP, {})], platform=Platform.IOS, os_version="18.1", manual=False)) == [
        Broken("required", 0, CLIP, "URL"),
        Broken("required", 0, CLIP, "Label"),
    ]


def test_only_what_devices_were_seen_to_refuse_is_refused() -> None:
    # WangGuibin/WebClipChangeAppLogo issue 1; of UserDefinedName in a VPN payload the schema alone speaks.
    assert refused((CLIP, {"Label": "Lab"})) == Broken("required", 0, CLIP, "URL")
    assert refused(("com.apple.vpn.managed", {"VPNType": "IKEv2"})) is None
    assert refused((CLIP, {}), platform=Platform.MACOS, os_version="15.1") is None


@pytest.mark.parametrize(
    ("payload_type", "key"),
    [
        (CLIP, "Label"),
        ("com.apple.vpn.managed", "VPNType"),
        ("com.apple.caldav.account", "CalDAVHostName"),
        ("com.apple.relay.managed", "Relays"),
        ("com.apple.declarations", "Declarations"),
        ("com.apple.extensiblesso", "Type"),
        ("com.apple.mail.managed", "EmailAccountType"),
        ("com.apple.cellularprivatenetwork.managed", "VersionNumber"),
    ],
)
def test_an_iphone_wants_what_its_own_reader_asks_for(payload_type: str, key: str) -> None:
    # The classes of ManagedConfiguration that read these payloads, in public listings: the key is required there.
    whole = {required.name: "x" for required in facts.load().payloads[payload_type].required}
    assert refused((payload_type, whole)) is None
    del whole[key]
    assert refused((payload_type, whole)) == Broken("required", 0, payload_type, key)


def test_a_mac_wants_the_name_of_a_network_which_the_schema_does_not() -> None:
    # macOS 26.6: ConfigProfilePluginDomain -307 (Fleet's end-to-end tests); Hotspot 2.0 goes without a name.
    wifi = ("com.apple.wifi.managed", {"AutoJoin": False})
    assert refused(wifi, platform=Platform.MACOS) == Broken("required", 0, wifi[0], "SSID_STR")
    assert refused((wifi[0], {"DomainName": "lab.example"}), platform=Platform.MACOS) is None
    assert refused(wifi) is None


def test_a_second_payload_of_a_type_that_may_be_there_once_is_refused() -> None:
    proxy = ("com.apple.proxy.http.global", {"ProxyType": "Auto"})
    assert refused(proxy, proxy) == Broken("single", 1, proxy[0])
    assert refused(proxy, ("com.apple.wifi.managed", {})) is None
    of_another_profile = refused_rule(
        [proxy], platform=Platform.IOS, os_version="18.1", manual=False, installed={proxy[0]}
    )
    assert of_another_profile == Broken("single", 0, proxy[0])
    assert refused(proxy, proxy, platform=Platform.MACOS, os_version="15.1") is None


@pytest.mark.parametrize(
    ("payload_type", "os_version", "is_refused"),
    [
        (TCC, "13.0", True),
        ("com.apple.system-extension-policy", "13.0", True),
        ("com.apple.wifi.managed", "15.1", False),
        (PASSCODE, "15.5", False),
        (PASSCODE, "15.7.3", True),  # usnistgov/macos_security issue 628
        ("org.example.own", "26.6.2", False),
    ],
)
def test_what_only_mdm_may_install_is_refused_to_a_person_on_a_mac(
    payload_type: str, os_version: str, is_refused: bool
) -> None:
    keys = {"Services": {}, "SSID_STR": "Lab"}
    by_hand = refused((payload_type, keys), platform=Platform.MACOS, os_version=os_version, manual=True)
    assert by_hand == (Broken("manual", 0, payload_type) if is_refused else None)
    assert refused((payload_type, keys), platform=Platform.MACOS, os_version=os_version) is None


def test_the_first_payload_at_fault_is_named() -> None:
    clip = (CLIP, {"Label": "Lab"})
    assert refused(("org.example", {}), clip, clip) == Broken("required", 1, CLIP, "URL")


def test_every_enforced_rule_is_the_schemas_or_says_that_it_is_not() -> None:
    schema = facts.load().payloads
    for enforced in ENFORCED:
        assert enforced.source
        if enforced.payload_type:
            assert enforced.payload_type in schema
        if enforced.rule == "required":
            named = {key.name for key in schema[enforced.payload_type].required}
            assert (enforced.key in named) != enforced.beyond_schema
