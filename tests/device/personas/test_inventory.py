"""Answers to DeviceInformation: captured key sets and values, types, consistency."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.device.personas import (
    KINDS,
    QUERY_NAMES,
    Facts,
    Persona,
    answer,
    answerable,
    device_information,
    make_persona,
    query_right,
)
from mdmsim.device.personas.catalog import MODELS, releases_of
from mdmsim.protocol import plist
from mdmsim.schema.platforms import AccessRights

NOW = 1_767_225_600_123
GUID = "5DF1182E-C70B-4A3A-BADC-DD3E775040FB"

# Types of mdm/commands/information.device.yaml, written down apart from the code under test.
STRINGS = """UDID ProvisioningUDID iTunesStoreAccountHash DeviceName OSVersion SupplementalOSVersionExtra BuildVersion
    SupplementalBuildVersion ModelName Model ModelNumber ProductName SerialNumber IMEI MEID ModemFirmwareVersion DeviceID
    EASDeviceIdentifier LocalHostName HostName TimeZone ICCID BluetoothMAC WiFiMAC EthernetMAC CurrentCarrierNetwork
    SIMCarrierNetwork SubscriberCarrierNetwork CarrierSettingsVersion PhoneNumber SubscriberMCC SubscriberMNC CurrentMCC
    CurrentMNC SoftwareUpdateDeviceID EACSPreflight"""
BOOLEANS = """AwaitingConfiguration iTunesStoreAccountIsActive IsAppleSilicon HasBattery IsSupervised IsMultiUser
    IsDeviceLocatorServiceEnabled IsActivationLockEnabled IsActivationLockSupported IsDoNotDisturbInEffect
    IsCloudBackupEnabled SystemIntegrityProtectionEnabled SupportsLOMDevice IsMDMLostModeEnabled TemporarySessionOnly
    SkipLanguageAndLocaleSetupForNewUsers DiagnosticSubmissionEnabled AppAnalyticsEnabled DataRoamingEnabled
    VoiceRoamingEnabled PersonalHotspotEnabled IsNetworkTethered IsRoaming PINRequiredForEraseDevice
    PINRequiredForDeviceLock SupportsiOSAppInstalls"""
INTEGERS = """CellularTechnology MaximumResidentUsers EstimatedResidentUsers QuotaSize ResidentUsers UserSessionTimeout
    TemporarySessionTimeout OnlineAuthenticationGracePeriod"""
TYPES: dict[str, type] = {
    **dict.fromkeys(STRINGS.split(), str),
    **dict.fromkeys(BOOLEANS.split(), bool),
    **dict.fromkeys(INTEGERS.split(), int),
    **dict.fromkeys(["DeviceCapacity", "AvailableDeviceCapacity", "BatteryLevel"], float),
    **dict.fromkeys(["OrganizationInfo", "MDMOptions", "OSUpdateSettings"], dict),
    **dict.fromkeys(["SoftwareUpdateSettings", "AccessibilitySettings"], dict),
    **dict.fromkeys(["ActiveManagedUsers", "AutoSetupAdminAccounts", "ManagedAppleIDDefaultDomains"], list),
    **dict.fromkeys(["ServiceSubscriptions", "DevicePropertiesAttestation"], list),
    "LastCloudBackupDate": datetime,
    "PushToken": bytes,
}
# Captured, not in the schema.
EXTRA: dict[str, type] = {
    "CurrentConsoleManagedUser": str,
    "Languages": list,
    "OSXSoftwareUpdateStatus": dict,
    "XsanConfiguration": dict,
}

CAPTURED_IPAD_11_3_1 = """AvailableDeviceCapacity BluetoothMAC BuildVersion DataRoamingEnabled DeviceCapacity DeviceName
    IsRoaming Model ModelName OSVersion ProductName SerialNumber SubscriberMCC SubscriberMNC UDID VoiceRoamingEnabled
    WiFiMAC"""
CAPTURED_IMAC_10_11_6 = """ActiveManagedUsers AvailableDeviceCapacity AwaitingConfiguration BluetoothMAC BuildVersion
    CurrentConsoleManagedUser DeviceCapacity DeviceName HostName Languages LocalHostName Model ModelName OSUpdateSettings
    OSVersion ProductName SerialNumber UDID WiFiMAC iTunesStoreAccountHash iTunesStoreAccountIsActive"""
CAPTURED_VM_13_0 = """ActiveManagedUsers AutoSetupAdminAccounts AvailableDeviceCapacity AwaitingConfiguration BluetoothMAC
    BuildVersion CurrentConsoleManagedUser DeviceCapacity DeviceName EthernetMAC HostName IsActivationLockEnabled
    IsActivationLockSupported IsAppleSilicon IsSupervised LocalHostName MDMOptions Model ModelName OSUpdateSettings
    OSVersion OSXSoftwareUpdateStatus PINRequiredForDeviceLock PINRequiredForEraseDevice ProductName ProvisioningUDID
    SerialNumber SoftwareUpdateDeviceID SupportsLOMDevice SupportsiOSAppInstalls SystemIntegrityProtectionEnabled UDID
    XsanConfiguration iTunesStoreAccountIsActive"""
CAPTURED_MACBOOK_13_3_1 = """ActiveManagedUsers AutoSetupAdminAccounts AvailableDeviceCapacity AwaitingConfiguration
    BatteryLevel BluetoothMAC BuildVersion CurrentConsoleManagedUser DeviceCapacity DeviceName EACSPreflight EthernetMAC
    HasBattery HostName IsActivationLockEnabled IsActivationLockSupported IsAppleSilicon IsSupervised LocalHostName
    MDMOptions Model ModelName ModelNumber OSUpdateSettings OSVersion OSXSoftwareUpdateStatus PINRequiredForDeviceLock
    PINRequiredForEraseDevice ProductName ProvisioningUDID PushToken SerialNumber SoftwareUpdateDeviceID
    SupplementalBuildVersion SupplementalOSVersionExtra SupportsLOMDevice SupportsiOSAppInstalls
    SystemIntegrityProtectionEnabled UDID WiFiMAC XsanConfiguration iTunesStoreAccountHash iTunesStoreAccountIsActive"""

FULL = Facts(
    now_ms=NOW,
    supervised=True,
    dep=True,
    active_users=(GUID,),
    console_user=GUID,
    auto_setup_admins=((GUID, "admin"),),
    store_account_hash="NQBfrI+cV1y9dfhj2iA0ZXhhbXA=",
    organization_info={"OrganizationName": "Acme"},
    mdm_options={"ActivationLockAllowedWhileSupervised": True},
    last_cloud_backup_ms=NOW - 86_400_000,
    last_update_scan_ms=NOW - 3_600_000,
    push_token=bytes(32),
    attestation=(b"leaf", b"root"),
    supplemental_build="22E772610a",
    supplemental_version_extra="(a)",
)


@st.composite
def any_model(draw: st.DrawFn) -> Persona:
    model = draw(st.sampled_from(sorted(MODELS)))
    kind = MODELS[model].kind
    version = draw(st.sampled_from([release.version for release in releases_of(kind, MODELS[model])]))
    seed = draw(st.integers(min_value=0, max_value=2**32))
    return make_persona(kind, chance=Chance(seed), model=model, os_version=version)


def make(kind: str, model: str | None = None, version: str | None = None, **change: Any) -> Persona:
    return msgspec.structs.replace(
        make_persona(kind, chance=Chance(23), model=model, os_version=version, passcode=None), **change
    )


many = settings(max_examples=120, deadline=None)


def test_the_table_of_queries_is_the_schemas_and_the_captured_ones() -> None:
    assert set(QUERY_NAMES) == set(TYPES) | set(EXTRA)


@many
@given(any_model(), st.sampled_from([Facts(now_ms=NOW), FULL, Facts(now_ms=NOW, user_enrollment=True)]))
def test_answers_have_the_types_of_the_schema(persona: Persona, facts: Facts) -> None:
    types = TYPES | EXTRA
    for name, value in device_information(persona, facts).items():
        assert type(value) is types[name], name


@many
@given(any_model(), st.sampled_from([Facts(now_ms=NOW), FULL]))
def test_only_answerable_queries_are_answered(persona: Persona, facts: Facts) -> None:
    assert {name for name in device_information(persona, facts) if not answerable(persona, name)} == set()


@many
@given(any_model())
def test_a_device_that_has_everything_answers_every_answerable_query(persona: Persona) -> None:
    answers = device_information(persona, FULL)
    missing = {name for name in QUERY_NAMES if answerable(persona, name)} - set(answers)
    if persona.modem is not None and not persona.modem.active:
        missing -= {"ICCID", "SubscriberCarrierNetwork", "CarrierSettingsVersion", "CurrentMCC", "CurrentMNC"}
    assert missing == set()


@many
@given(any_model(), st.sampled_from([Facts(now_ms=NOW), FULL]))
def test_answers_survive_a_plist(persona: Persona, facts: Facts) -> None:
    answers = device_information(persona, facts)
    assert plist.loads(plist.dumps(answers)) == answers


@many
@given(any_model())
def test_asking_for_one_query_gives_the_same_answer(persona: Persona) -> None:
    answers = device_information(persona, FULL)
    assert {name: value for name in QUERY_NAMES if (value := answer(persona, FULL, name)) is not None} == answers


def test_an_unknown_query_is_not_answered() -> None:
    persona = make("ios")
    assert not answerable(persona, "Wallpaper")
    assert answer(persona, FULL, "Wallpaper") is None
    assert query_right("Wallpaper") is None


@many
@given(any_model())
def test_free_space_lies_within_the_capacity(persona: Persona) -> None:
    answers = device_information(persona, Facts(now_ms=NOW))
    if "DeviceCapacity" in answers:
        assert 0 <= answers["AvailableDeviceCapacity"] <= answers["DeviceCapacity"]
        assert answers["DeviceCapacity"] <= persona.gigabytes


@many
@given(any_model(), st.floats(min_value=0, max_value=5_000))
def test_free_space_that_was_told_never_exceeds_the_capacity(persona: Persona, free: float) -> None:
    answers = device_information(persona, Facts(now_ms=NOW, available_gigabytes=free))
    if "DeviceCapacity" in answers:
        assert 0 <= answers["AvailableDeviceCapacity"] <= answers["DeviceCapacity"]


@many
@given(any_model())
def test_reals_are_32_bit_floats_but_on_old_macs(persona: Persona) -> None:
    for name, value in device_information(persona, Facts(now_ms=NOW)).items():
        if isinstance(value, float):
            if name != "BatteryLevel" and persona.is_mac and not persona.at_least("12.0"):
                assert (value * 2**30 / 4096).is_integer()  # captured: whole blocks of the disk
            else:
                assert plist.single(value) == value


# Captured answers


def test_a_wifi_ipad_answers_what_was_captured() -> None:
    answers = device_information(make("ipad", "iPad4,1", "11.3.1"), Facts(now_ms=NOW))
    assert set(CAPTURED_IPAD_11_3_1.split()) <= set(answers)
    assert answers["SubscriberMCC"] == answers["SubscriberMNC"] == ""


def test_a_wifi_ipad_leaves_out_what_only_a_modem_knows() -> None:
    answers = device_information(make("ipad", "iPad4,1", "11.3.1"), FULL)
    assert set(answers).isdisjoint({"IMEI", "MEID", "ICCID", "PhoneNumber", "CurrentMCC", "ServiceSubscriptions"})


def test_a_32_gigabyte_ipad_has_the_captured_capacity() -> None:
    persona = make("ipad", "iPad4,1", "11.3.1", gigabytes=32)
    assert b"<real>26.914535522460938</real>" in plist.dumps(device_information(persona, Facts(now_ms=NOW)))


def test_an_old_imac_answers_what_was_captured() -> None:
    answers = device_information(make("mac-intel", "iMac15,1", "10.11.6"), FULL)
    assert set(CAPTURED_IMAC_10_11_6.split()) <= set(answers)


def test_an_old_imac_has_the_captured_capacities() -> None:
    sizes = {500: 464.82241058349609, 1024: 953.67411804199219}
    for gigabytes, expected in sizes.items():
        persona = make("mac-intel", "iMac15,1", "10.11.6", gigabytes=gigabytes)
        assert answer(persona, FULL, "DeviceCapacity") == expected


@pytest.mark.parametrize("gigabytes", [256, 512])
def test_an_old_mac_has_nearly_what_it_was_sold_with(gigabytes: int) -> None:
    persona = make("mac-intel", "MacBookPro11,3", "11.7.10", gigabytes=gigabytes)
    assert answer(persona, FULL, "DeviceCapacity") * 2**30 == pytest.approx(gigabytes * 1e9, rel=0.01)


def test_update_settings_of_an_old_imac_have_the_captured_keys() -> None:
    settings_ = answer(make("mac-intel", "iMac15,1", "10.11.6"), FULL, "OSUpdateSettings")
    assert settings_["PerformPeriodicCheck"] is True
    assert settings_["PreviousScanResult"] == 0
    assert settings_["CatalogURL"].endswith(
        "/index-10.11-10.10-10.9-mountainlion-lion-snowleopard-leopard.merged-1.sucatalog.gz"
    )


def test_a_virtual_machine_answers_exactly_what_was_captured() -> None:
    facts = Facts(now_ms=NOW, active_users=(GUID,), console_user=GUID)
    answers = device_information(make("macos", "VirtualMac2,1", "13.0"), facts)
    # The capture is of a beta; the schema has SupplementalBuildVersion from 13.0 on.
    assert set(answers) - {"SupplementalBuildVersion"} == set(CAPTURED_VM_13_0.split())


def test_a_virtual_machine_says_the_captured_values() -> None:
    answers = device_information(make("macos", "VirtualMac2,1", "13.0", gigabytes=32), Facts(now_ms=NOW))
    assert answers["Model"] == answers["ProductName"] == "VirtualMac2,1"
    assert answers["ModelName"] == "Virtual Machine"
    assert answers["SoftwareUpdateDeviceID"] == "VMA2MACOSAP"
    assert answers["DeviceCapacity"] == 29.0
    assert answers["PINRequiredForDeviceLock"] is True
    assert answers["PINRequiredForEraseDevice"] is False
    assert answers["XsanConfiguration"] == {"role": "unconfigured"}
    assert answers["MDMOptions"] == {}


def test_a_macbook_answers_exactly_what_was_captured() -> None:
    facts = Facts(
        now_ms=NOW,
        active_users=(GUID,),
        console_user=GUID,
        store_account_hash="NQBfrI+cV1y9dfhj2iA0ZXhhbXA=",
        push_token=bytes(32),
        supplemental_build="22E772610a",
        supplemental_version_extra="(a)",
    )
    answers = device_information(make("macos", "Mac14,6", "13.3.1"), facts)
    assert set(answers) == set(CAPTURED_MACBOOK_13_3_1.split())


def test_a_macbook_says_the_captured_values() -> None:
    persona = make("macos", "Mac14,6", "13.3.1", gigabytes=2048)
    answers = device_information(persona, FULL)
    assert answers["DeviceCapacity"] == 1995.0
    assert answers["EthernetMAC"] == answers["WiFiMAC"]
    assert answers["BluetoothMAC"] == answers["BluetoothMAC"].upper()
    assert answers["OSUpdateSettings"] == answers["OSXSoftwareUpdateStatus"]
    assert answers["OSUpdateSettings"]["PreviousScanResult"] == 2
    assert "PerformPeriodicCheck" not in answers["OSUpdateSettings"]
    assert "/index-13-12-10.16-10.15-10.14-" in answers["OSUpdateSettings"]["CatalogURL"]
    assert answers["EACSPreflight"] == "success"


def test_the_scan_result_is_gone_with_macos_15() -> None:
    assert "PreviousScanResult" not in answer(make("macos", version="15.1"), FULL, "OSUpdateSettings")


# What changes


def test_the_name_that_was_set_is_answered_and_spelled_for_the_network() -> None:
    answers = device_information(make("macos"), Facts(now_ms=NOW, device_name="Anna’s Büro Mac"))
    assert answers["DeviceName"] == "Anna’s Büro Mac"
    assert answers["LocalHostName"] == "Annas-B-ro-Mac"
    assert answers["HostName"] == "Annas-B-ro-Mac.local"


def test_battery_is_the_one_now() -> None:
    assert answer(make("ios"), Facts(now_ms=NOW, battery=0.86), "BatteryLevel") == 0.86000001430511475


def test_a_mac_without_battery_has_no_level() -> None:
    answers = device_information(make("macos", "Macmini9,1"), Facts(now_ms=NOW, battery=0.5))
    assert answers["HasBattery"] is False
    assert "BatteryLevel" not in answers


def test_dates_are_whole_seconds_in_utc() -> None:
    facts = Facts(now_ms=NOW, last_cloud_backup_ms=NOW)
    assert answer(make("ios"), facts, "LastCloudBackupDate") == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_store_account_shows_as_active_with_its_hash() -> None:
    persona = make("ios")
    assert answer(persona, Facts(now_ms=NOW), "iTunesStoreAccountIsActive") is False
    assert answer(persona, Facts(now_ms=NOW), "iTunesStoreAccountHash") is None
    assert answer(persona, FULL, "iTunesStoreAccountIsActive") is True


def test_a_phone_without_sim_says_empty_strings_where_captured() -> None:
    persona = make("ios", "iPhone7,2", "12.5.7")
    assert persona.modem is not None
    persona = msgspec.structs.replace(persona, modem=type(persona.modem)(imei=persona.modem.imei))
    answers = device_information(persona, Facts(now_ms=NOW))
    assert answers["PhoneNumber"] == answers["CurrentCarrierNetwork"] == answers["SubscriberMCC"] == ""
    assert "ICCID" not in answers


def test_accessibility_is_told_by_supervised_devices_only() -> None:
    assert answer(make("ios"), Facts(now_ms=NOW), "AccessibilitySettings") is None
    assert answer(make("ios"), Facts(now_ms=NOW, supervised=True), "AccessibilitySettings")["TextSize"] == -1


def test_a_mac_whose_user_approved_is_supervised_since_11() -> None:
    assert answer(make("mac-silicon"), Facts(now_ms=NOW), "IsSupervised") is True
    assert answer(make("mac-silicon"), Facts(now_ms=NOW, user_approved=False), "IsSupervised") is False
    assert answer(make("mac-intel", "iMac14,2", "10.15.7"), Facts(now_ms=NOW), "IsSupervised") is False


def test_a_phone_is_supervised_when_prepared_so() -> None:
    assert answer(make("ios"), Facts(now_ms=NOW), "IsSupervised") is False
    assert answer(make("ios", supervised=True), Facts(now_ms=NOW), "IsSupervised") is True


@many
@given(any_model())
def test_a_user_enrollment_tells_no_identifier_of_the_device(persona: Persona) -> None:
    facts = replace(FULL, user_enrollment=True)
    told = plist.dumps(device_information(persona, facts)).decode()
    for secret in (
        persona.udid,
        persona.serial,
        persona.wifi_mac,
        persona.imei,
        persona.eid,
        persona.provisioning_udid,
    ):
        assert secret is None or secret not in told


def test_the_device_channel_never_tells_a_push_token() -> None:
    assert all(answer(make(kind), Facts(now_ms=NOW), "PushToken") is None for kind in KINDS)


# Rights


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("UDID", None),
        ("AwaitingConfiguration", None),
        ("SoftwareUpdateDeviceID", None),
        ("SerialNumber", AccessRights.QUERY_DEVICE),
        ("PINRequiredForDeviceLock", AccessRights.QUERY_DEVICE),
        ("WiFiMAC", AccessRights.QUERY_NETWORK),
        ("ServiceSubscriptions", AccessRights.QUERY_NETWORK),
        ("iTunesStoreAccountIsActive", AccessRights.MANAGE_APPS),
    ],
)
def test_a_query_needs_the_right_of_the_schema(name: str, right: AccessRights | None) -> None:
    assert query_right(name) == right


# Platforms and versions


@pytest.mark.parametrize(
    ("kind", "version", "name", "known"),
    [
        ("iphone", "15.7", "ModelNumber", False),
        ("iphone", "16.6.1", "ModelNumber", True),
        ("iphone", "12.5.7", "TimeZone", False),
        ("iphone", "18.1", "HostName", False),
        ("mac-silicon", "13.3.1", "ModelNumber", True),
        ("mac-t2", "13.3.1", "ModelNumber", False),
        ("mac-silicon", "13.0", "BatteryLevel", False),
        ("mac-silicon", "15.1", "TimeZone", False),
        ("appletv", "18.1", "DeviceID", True),
        ("appletv", "18.1", "DeviceCapacity", False),
        ("ipad", "18.1", "QuotaSize", False),
        ("iphone", "18.1", "SIMCarrierNetwork", False),
    ],
)
def test_platform_version_and_hardware_decide_what_is_answerable(
    kind: str, version: str, name: str, known: bool
) -> None:
    assert answerable(make(kind, version=version), name) is known
