"""What a device takes from its DEP profile: every documented key, by platform and release."""

from __future__ import annotations

import base64
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mdmsim.chance import Chance
from mdmsim.device.personas import Persona, make_persona
from mdmsim.device.remote_management import NOT_SIMULATED, RemoteManagement, remote_management
from mdmsim.fakedep.profile_rules import DOCUMENTED
from mdmsim.protocol.cloud_configuration import CloudConfiguration

DOC = Path(__file__).parents[2] / "docs" / "fake-dep.md"
CERTIFICATE = base64.b64encode(b"0\x03der").decode()

#: Keys of the requests about a profile, which no device is told.
OF_THE_SERVICE = {"devices", "profile_uuid"}

#: Key: a value other than its default, a device that heeds it, and what is seen of that.
HEEDED: dict[str, tuple[Any, str, str, str]] = {
    "profile_name": ("Kiosk", "iphone", "18.1", "profile_name"),
    "url": ("https://mdm.example.test/other", "iphone", "18.1", "url"),
    "configuration_web_url": ("https://mdm.example.test/web", "iphone", "18.1", "web_view"),
    "allow_pairing": (False, "iphone", "18.1", "pairing"),
    "is_supervised": (True, "iphone", "11.4", "supervised"),
    "is_multi_user": (True, "ipad", "18.1", "multi_user"),
    "is_mandatory": (True, "mac-silicon", "15.1", "mandatory"),
    "await_device_configured": (True, "mac-silicon", "15.1", "awaits"),
    "is_mdm_removable": (False, "iphone", "18.1", "removable"),
    "support_phone_number": ("555-0100", "iphone", "18.1", "support_phone_number"),
    "support_email_address": ("help@example.test", "iphone", "18.1", "support_email_address"),
    "auto_advance_setup": (True, "appletv", "18.1", "auto_advance"),
    "org_magic": ("magic", "iphone", "18.1", "org_magic"),
    "department": ("Lending", "iphone", "18.1", "department"),
    "anchor_certs": ([CERTIFICATE], "iphone", "18.1", "anchors"),
    "supervising_host_certs": ([CERTIFICATE], "ipad", "18.1", "supervising_hosts"),
    "skip_setup_items": (["Siri"], "iphone", "18.1", "panes"),
    "language": ("de", "mac-silicon", "15.1", "language"),
    "region": ("DE", "appletv", "18.1", "region"),
    "do_not_use_profile_from_backup": (True, "iphone", "26.0", "profile_from_backup"),
    "is_return_to_service": (True, "ipad", "26.0", "return_to_service"),
}


def persona(kind: str, os_version: str) -> Persona:
    return make_persona(kind, chance=Chance("rules"), os_version=os_version)


def configured(**profile: Any) -> CloudConfiguration:
    return CloudConfiguration(
        serial_number="S1",
        profile_uuid="P1",
        profile={"profile_name": "test", "url": "https://mdm.example.test/enroll", **profile},
        server_name="server",
        server_uuid="U1",
        organisation={"name": "Acme"},
    )


def taken(kind: str, os_version: str, **profile: Any) -> RemoteManagement:
    return remote_management(persona(kind, os_version), configured(**profile))


def test_every_documented_key_of_a_profile_is_heeded_by_some_device() -> None:
    assert set(HEEDED) == DOCUMENTED - OF_THE_SERVICE


@pytest.mark.parametrize("key", HEEDED)
def test_a_key_changes_what_the_device_takes(key: str) -> None:
    value, kind, os_version, seen = HEEDED[key]
    before, after = taken(kind, os_version), taken(kind, os_version, **{key: value})
    assert asdict(before)[seen] != asdict(after)[seen]


#: Key, its value, a device that ignores it. Apple, "Profile": platforms and releases of each key.
IGNORED: list[tuple[str, Any, str, str]] = [
    ("is_supervised", True, "iphone", "18.1"),
    ("is_supervised", True, "appletv", "18.1"),
    ("is_supervised", True, "mac-silicon", "15.1"),
    ("is_mandatory", True, "iphone", "18.1"),
    ("is_mandatory", True, "ipad", "18.1"),
    ("await_device_configured", True, "iphone", "11.4"),  # ignored on iOS where it is not supervised
    ("is_mdm_removable", False, "iphone", "11.4"),
    ("supervising_host_certs", [CERTIFICATE], "iphone", "11.4"),
    ("supervising_host_certs", [CERTIFICATE], "mac-silicon", "15.1"),
    ("allow_pairing", False, "mac-silicon", "15.1"),
    ("allow_pairing", False, "appletv", "18.1"),
    ("is_multi_user", True, "iphone", "18.1"),
    ("is_multi_user", True, "mac-silicon", "15.1"),
    ("auto_advance_setup", True, "iphone", "18.1"),
    ("auto_advance_setup", True, "mac-t2", "10.15.7"),
    ("language", "de", "iphone", "18.1"),
    ("region", "DE", "mac-t2", "10.15.7"),
    ("do_not_use_profile_from_backup", True, "iphone", "18.1"),
    ("do_not_use_profile_from_backup", True, "mac-silicon", "26.0"),
    ("is_return_to_service", True, "iphone", "18.1"),
    ("is_return_to_service", True, "mac-silicon", "26.0"),
    ("skip_setup_items", ["LiquidGlass"], "iphone", "26.0"),
    ("skip_setup_items", ["FileVault"], "iphone", "18.1"),
]


@pytest.mark.parametrize(("key", "value", "kind", "os_version"), IGNORED)
def test_a_device_that_does_not_know_a_key_ignores_it(key: str, value: Any, kind: str, os_version: str) -> None:
    assert taken(kind, os_version, **{key: value}) == taken(kind, os_version)


def test_what_comes_back_with_a_backup_depends_on_the_release() -> None:
    # Apple, "Profile", do_not_use_profile_from_backup: iOS 26; from 26.4 on it keeps configuration profiles away too.
    seen = {}
    for os_version in ("18.5", "26.0", "26.4", "27.0"):
        for ignored in (False, True):
            device = msgspec.structs.replace(persona("iphone", "18.1"), os_version=os_version)
            found = remote_management(device, configured(do_not_use_profile_from_backup=ignored))
            seen[os_version, ignored] = (found.profile_from_backup, found.profiles_from_backup)
    assert seen == {
        ("18.5", False): (False, True),
        ("18.5", True): (False, True),
        ("26.0", False): (True, True),
        ("26.0", True): (False, True),
        ("26.4", False): (True, True),
        ("26.4", True): (False, False),
        ("27.0", False): (False, False),
        ("27.0", True): (False, False),
    }


def test_what_is_not_simulated_is_said_where_the_key_is_set() -> None:
    assert taken("ipad", "18.1", is_multi_user=True).not_simulated == ("Shared iPad sessions",)
    assert taken("iphone", "18.1", is_multi_user=True).not_simulated == ()


def table() -> dict[str, str]:
    """The table of docs/fake-dep.md: what devices make of each key."""
    section = DOC.read_text().partition("## What devices make of a profile\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.split("\n") if line.startswith("| `")]
    return {key.strip("`"): " | ".join(rest) for keys, *rest in rows for key in keys.split(", ")}


def test_the_documentation_has_a_row_for_every_key() -> None:
    assert set(table()) == set(HEEDED)


def test_the_documentation_says_of_the_same_keys_that_they_are_not_simulated() -> None:
    said = {key for key, text in table().items() if "Not simulated" in text}
    assert said == set(NOT_SIMULATED)
    assert all(what in table()[key] for key, what in NOT_SIMULATED.items())
