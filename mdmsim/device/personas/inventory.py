"""What a device answers to DeviceInformation: every query that it can answer, with the value it has now.

Captured answers decide where the schema is silent or differs (macOS 10.11, 10.13, 13.0, 13.3; iOS 11.3). What cannot be
answered is left out; a few answers of devices without SIM are empty strings instead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from mdmsim.clock import DAY, utc
from mdmsim.device.personas.facts import Facts, is_supervised
from mdmsim.device.personas.persona import Persona, Subscription, spaced_iccid, spaced_imei
from mdmsim.device.personas.queries import QUERIES, answerable
from mdmsim.protocol.plist import single

Answer = Callable[[Persona, Facts], Any]

_GIB = 2**30
_BLOCK = 4096
# Captured: a 32 GB iPad with 11.3.1 has 26.9 GiB; what the system takes off is taken to be the same for other sizes.
_IPAD_SYSTEM = 32e9 / _GIB - 26.914535522460938
# Captured: bytes of a 500 GB disk with macOS 10.11 and of a 1 TB disk with 10.13; others lose as much as the first.
_OLD_MAC = {500: 499_099_262_976, 1024: 1_023_999_787_008}
_OLD_MAC_LOSS = 900_737_024
# Container sizes of new disks, in decimal gigabytes. Captured: 1995 for 2 TB, 29 for a virtual machine (macOS 13).
_NEW_MAC = {32: 29, 64: 61, 256: 245, 500: 499, 512: 494, 1024: 994, 2048: 1995}


def capacity(persona: Persona) -> float:
    """DeviceCapacity.

    macOS to 11: 2^30 units, counted in whole blocks (captured: 10.11, 10.13). macOS 12 and later: whole decimal
    gigabytes (captured: 13; the version is the schema's). iOS to 13: 2^30 units as a 32-bit float (captured: 11, 13);
    later decimal as the schema says, from 14 on by our choice.
    """
    size = persona.gigabytes
    if persona.is_mac:
        return float(_NEW_MAC[size]) if persona.at_least("12.0") else _OLD_MAC.get(size, _old_mac(size)) / _GIB
    return float(size) if persona.at_least("14.0") else single(size * 1e9 / _GIB - _IPAD_SYSTEM)


def _old_mac(gigabytes: int) -> int:
    return (gigabytes * 10**9 - _OLD_MAC_LOSS) // _BLOCK * _BLOCK


def available_capacity(persona: Persona, facts: Facts) -> float:
    """AvailableDeviceCapacity, in the units of `capacity` and never above it."""
    whole = capacity(persona)
    decimal = persona.at_least("12.0" if persona.is_mac else "14.0")
    if facts.available_gigabytes is None:
        free = whole * (1 - persona.used)
    else:
        free = facts.available_gigabytes if decimal else facts.available_gigabytes * 1e9 / _GIB
    free = max(0.0, min(free, whole))
    if not persona.is_mac:
        return single(free)
    return float(int(free)) if decimal else int(free * _GIB) // _BLOCK * _BLOCK / _GIB


def battery_level(persona: Persona, facts: Facts) -> float | None:
    """BatteryLevel as a widened 32-bit float (captured: 0.86000001430511475); None without a battery."""
    level = persona.battery if facts.battery is None else facts.battery
    return None if persona.battery is None or level is None else single(level)


def device_name(persona: Persona, facts: Facts) -> str:
    return facts.device_name or persona.device_name


def host_name(persona: Persona, facts: Facts) -> str:
    """HostName: what Settings set, else the Bonjour name in `.local` (captured: Yolo.local)."""
    return facts.host_name or f"{persona.local_host_name(facts.device_name)}.local"


_CATALOGS = ["26", "15", "14", "13", "12", "10.16", "10.15", "10.14", "10.13", "10.12", "10.11", "10.10", "10.9"]


def catalog_url(persona: Persona) -> str:
    """Apple's software update catalog for that release, oldest systems last (captured: 10.11, 13.3)."""
    major = persona.os_version.split(".")
    name = "10.16" if major[0] == "11" else ".".join(major[:2]) if major[0] == "10" else major[0]
    chain = "-".join([*_CATALOGS[_CATALOGS.index(name) :], "mountainlion", "lion", "snowleopard", "leopard"])
    return f"https://swscan.apple.com/content/catalogs/others/index-{chain}.merged-1.sucatalog.gz"


def os_update_settings(persona: Persona, facts: Facts) -> dict[str, Any]:
    """OSUpdateSettings. PreviousScanResult is an integer (captured; the schema says string), gone with macOS 15."""
    scanned = facts.now_ms - facts.now_ms % DAY if facts.last_update_scan_ms is None else facts.last_update_scan_ms
    answer: dict[str, Any] = {
        "AutoCheckEnabled": True,
        "AutomaticAppInstallationEnabled": False,
        "AutomaticOSInstallationEnabled": False,
        "AutomaticSecurityUpdatesEnabled": True,
        "BackgroundDownloadEnabled": True,
        "CatalogURL": catalog_url(persona),
        "IsDefaultCatalog": True,
        "PreviousScanDate": _date(scanned),
    }
    if not persona.at_least("11.0"):
        answer["PerformPeriodicCheck"] = True  # captured: 10.11 has it, 13 has not
    if not persona.at_least("15.0"):
        answer["PreviousScanResult"] = 2 if persona.at_least("11.0") else 0
    answer.update(facts.os_update_settings)
    return answer


def accessibility_settings(persona: Persona, facts: Facts) -> dict[str, Any]:
    """AccessibilitySettings of a device on which nobody changed anything."""
    answer: dict[str, Any] = {
        f"{name}Enabled": False
        for name in (
            "BoldText", "IncreaseContrast", "ReduceMotion", "ReduceTransparency", "TouchAccommodations", "VoiceOver", "Zoom",
        )
    }  # fmt: skip
    return answer | {"TextSize": -1} | dict(facts.accessibility)


def service_subscriptions(persona: Persona) -> list[dict[str, Any]]:
    """ServiceSubscriptions: a dictionary per SIM slot, the second being the eSIM."""
    return [
        _subscription(persona, line, number)
        for number, line in enumerate((persona.modem, persona.second))
        if line is not None
    ]


def _subscription(persona: Persona, line: Subscription, number: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "IMEI": spaced_imei(line.imei),
        "IsDataPreferred": line.active,
        "IsRoaming": False,
        "IsVoicePreferred": line.active,
        "Slot": ("CTSubscriptionSlotOne", "CTSubscriptionSlotTwo")[number],
    }
    if number == 0:
        answer["MEID"] = line.imei[:14]
    if persona.eid is not None and persona.at_least("14.0"):
        answer["EID"] = persona.eid
    if line.active:
        answer |= {
            "CarrierSettingsVersion": line.settings_version,
            "CurrentCarrierNetwork": line.carrier,
            "CurrentMCC": line.mcc,
            "CurrentMNC": line.mnc,
            "ICCID": spaced_iccid(line.iccid),
            "Label": "Primary",
            "LabelID": "1",
            "PhoneNumber": line.phone_number,
        }
        if persona.at_least("16.0"):
            answer["SubscriberCarrierNetwork"] = line.carrier
    return answer


def _sim(field: str, empty: bool = False) -> Answer:
    """What the first SIM says; without one nothing, or the empty string where that was captured."""

    def answer(persona: Persona, facts: Facts) -> str | None:
        if persona.modem is not None and persona.modem.active:
            return str(getattr(persona.modem, field))
        return "" if empty else None

    return answer


def _date(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else utc(at_ms).replace(microsecond=0)


def _always(value: Any) -> Answer:
    return lambda persona, facts: value


def _of(name: str) -> Answer:
    """A property of the persona."""
    return lambda persona, facts: getattr(persona, name)


def _now(name: str) -> Answer:
    """One of the facts."""
    return lambda persona, facts: getattr(facts, name)


def _modem_firmware(persona: Persona, facts: Facts) -> str:
    # Made up in Apple's form: it grows with the release, and nothing depends on it.
    major, minor = persona.os_version.split(".")[:2]
    return f"{int(major) - 8}.{int(minor):02d}.01"


def _eacs_preflight(persona: Persona, facts: Facts) -> str:
    return "not supported" if persona.kind == "mac-intel" else "success"


def _organization(persona: Persona, facts: Facts) -> dict[str, str] | None:
    return dict(facts.organization_info) if facts.organization_info else None


def _device_id(persona: Persona, facts: Facts) -> str | None:
    """DeviceID of an Apple TV: its Wi-Fi address in capitals (our choice; no capture)."""
    return persona.wifi.upper() if persona.wifi else None


# What each query is answered with. A query without an entry is never answered; None leaves it out.
_ANSWERS: dict[str, Answer] = {
    "UDID": _of("udid"),
    "ProvisioningUDID": lambda persona, facts: persona.provisioning_udid or persona.udid,
    "OrganizationInfo": _organization,
    "MDMOptions": lambda persona, facts: dict(facts.mdm_options),  # captured: an empty dictionary
    "LastCloudBackupDate": lambda persona, facts: _date(facts.last_cloud_backup_ms),
    "AwaitingConfiguration": _now("awaiting_configuration"),
    "iTunesStoreAccountIsActive": lambda persona, facts: facts.store_account_hash is not None,
    "iTunesStoreAccountHash": _now("store_account_hash"),
    "DeviceName": device_name,
    "OSVersion": _of("os_version"),
    "SupplementalOSVersionExtra": _now("supplemental_version_extra"),
    "BuildVersion": _of("build_version"),
    "SupplementalBuildVersion": lambda persona, facts: facts.supplemental_build or persona.build_version,
    "ModelName": _of("model_name"),
    "Model": _of("model"),
    "ModelNumber": _of("model_number"),
    "IsAppleSilicon": _of("is_apple_silicon"),
    "ProductName": _of("product_name"),
    "SerialNumber": _of("serial"),
    "DeviceCapacity": lambda persona, facts: capacity(persona),
    "AvailableDeviceCapacity": available_capacity,
    "IMEI": _of("imei"),
    "MEID": _of("meid"),
    "ModemFirmwareVersion": _modem_firmware,
    "CellularTechnology": lambda persona, facts: 3 if persona.is_cellular else 0,
    "BatteryLevel": battery_level,
    "HasBattery": lambda persona, facts: persona.battery is not None,
    "IsSupervised": is_supervised,
    "IsMultiUser": _now("multi_user"),
    "IsDeviceLocatorServiceEnabled": _now("locator_enabled"),
    "IsActivationLockEnabled": _now("activation_lock"),
    "IsActivationLockSupported": lambda persona, facts: persona.kind != "mac-intel",
    "IsDoNotDisturbInEffect": _now("do_not_disturb"),
    "DeviceID": _device_id,
    "EASDeviceIdentifier": _of("eas_identifier"),
    "IsCloudBackupEnabled": lambda persona, facts: facts.last_cloud_backup_ms is not None,
    "ActiveManagedUsers": lambda persona, facts: list(facts.active_users),
    "OSUpdateSettings": os_update_settings,
    "LocalHostName": lambda persona, facts: persona.local_host_name(facts.device_name),
    "HostName": host_name,
    "AutoSetupAdminAccounts": lambda persona, facts: [
        {"GUID": guid, "shortName": short} for guid, short in facts.auto_setup_admins
    ],
    "SystemIntegrityProtectionEnabled": _always(True),
    "SupportsLOMDevice": _always(False),
    "IsMDMLostModeEnabled": _now("lost_mode"),
    "PushToken": _now("push_token"),
    "DiagnosticSubmissionEnabled": _now("diagnostic_submission"),
    "AppAnalyticsEnabled": _now("app_analytics"),
    "TimeZone": lambda persona, facts: facts.time_zone or persona.time_zone,
    "ICCID": _of("iccid"),
    "BluetoothMAC": _of("bluetooth_mac"),
    "WiFiMAC": _of("wifi_mac"),
    "EthernetMAC": _of("ethernet_mac"),
    "CurrentCarrierNetwork": _sim("carrier", empty=True),
    "SubscriberCarrierNetwork": _sim("carrier"),
    "CarrierSettingsVersion": _sim("settings_version"),
    "PhoneNumber": _sim("phone_number", empty=True),
    "DataRoamingEnabled": _now("data_roaming"),
    "VoiceRoamingEnabled": _now("voice_roaming"),
    "PersonalHotspotEnabled": _now("personal_hotspot"),
    "IsNetworkTethered": _always(False),
    "IsRoaming": _always(False),
    "SubscriberMCC": _sim("mcc", empty=True),
    "SubscriberMNC": _sim("mnc", empty=True),
    "CurrentMCC": _sim("mcc"),
    "CurrentMNC": _sim("mnc"),
    "ServiceSubscriptions": lambda persona, facts: service_subscriptions(persona),
    "PINRequiredForEraseDevice": _of("needs_pin_for_erase"),
    "PINRequiredForDeviceLock": _of("needs_pin_for_lock"),
    "SupportsiOSAppInstalls": _of("is_apple_silicon"),
    "SoftwareUpdateDeviceID": _of("software_update_device_id"),
    "SoftwareUpdateSettings": lambda persona, facts: {"RecommendationsCadence": facts.recommendations_cadence},
    "AccessibilitySettings": lambda persona, facts: (
        accessibility_settings(persona, facts) if is_supervised(persona, facts) else None
    ),
    "DevicePropertiesAttestation": lambda persona, facts: list(facts.attestation) or None,
    "EACSPreflight": _eacs_preflight,
    "CurrentConsoleManagedUser": _now("console_user"),
    "Languages": lambda persona, facts: [persona.language],
    "OSXSoftwareUpdateStatus": os_update_settings,  # captured: a copy of OSUpdateSettings
    "XsanConfiguration": lambda persona, facts: {"role": "unconfigured"},
}


def device_information(persona: Persona, facts: Facts) -> dict[str, Any]:
    """Every query's name with the answer that this device gives now; those without an answer are left out.

    The caller picks what was asked and drops what the access rights do not cover. Source: captured answers, then
    mdm/commands/information.device.yaml.
    """
    given = ((name, answer(persona, facts, name)) for name in _ANSWERS)
    return {name: value for name, value in given if value is not None}


def answer(persona: Persona, facts: Facts, name: str) -> Any:
    """One query's answer, or None where there is none: for a caller that was asked for a few of them only."""
    if name not in _ANSWERS or not answerable(persona, name) or (facts.user_enrollment and QUERIES[name].private):
        return None
    return _ANSWERS[name](persona, facts)
