"""Answers to SecurityInfo: captured key sets, growth by version, types."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.device.personas import Facts, Persona, make_persona, security_info
from mdmsim.device.personas.catalog import MODELS, releases_of
from mdmsim.protocol import plist

NOW = 1_767_225_600_123

# Types of mdm/commands/information.security.yaml and of captures, written down apart from the code under test.
TYPES: dict[str, Any] = {
    "HardwareEncryptionCaps": int,
    "PasscodeCompliant": bool,
    "PasscodeCompliantWithProfiles": bool,
    "PasscodeLockGracePeriod": int,
    "PasscodeLockGracePeriodEnforced": int,
    "PasscodePresent": bool,
    "ManagementStatus": {
        "EnrolledViaDEP": bool,
        "IsActivationLockManageable": bool,
        "IsUserEnrollment": bool,
        "UserApprovedEnrollment": bool,
    },
    "FDE_Enabled": bool,
    "FDE_HasPersonalRecoveryKey": bool,
    "FDE_HasInstitutionalRecoveryKey": bool,
    "FDE_PersonalRecoveryKeyCMS": bytes,
    "FDE_PersonalRecoveryKeyDeviceKey": str,
    "SystemIntegrityProtectionEnabled": bool,
    "FirewallSettings": {
        "AllowSigned": bool,
        "AllowSignedApp": bool,
        "Applications": list,
        "BlockAllIncoming": bool,
        "FirewallEnabled": bool,
        "LoggingEnabled": bool,
        "LoggingOption": str,
        "StealthMode": bool,
    },
    "FirmwarePasswordStatus": {"AllowOroms": bool, "ChangePending": bool, "PasswordExists": bool},
    "RemoteDesktopEnabled": bool,
    "SecureBoot": {"ExternalBootLevel": str, "SecureBootLevel": str, "WindowsBootLevel": str},
    "AuthenticatedRootVolumeEnabled": bool,
    "BootstrapTokenAllowedForAuthentication": str,
    "BootstrapTokenRequiredForKernelExtensionApproval": bool,
    "BootstrapTokenRequiredForSoftwareUpdate": bool,
    "IsRecoveryLockEnabled": bool,
}

IOS_11_3_1 = """HardwareEncryptionCaps PasscodeCompliant PasscodeCompliantWithProfiles PasscodeLockGracePeriod
    PasscodeLockGracePeriodEnforced PasscodePresent"""
INTEL_SINCE_12 = """AuthenticatedRootVolumeEnabled BootstrapTokenAllowedForAuthentication
    BootstrapTokenRequiredForKernelExtensionApproval BootstrapTokenRequiredForSoftwareUpdate FDE_Enabled FirewallSettings
    FirmwarePasswordStatus ManagementStatus RemoteDesktopEnabled SecureBoot SystemIntegrityProtectionEnabled"""
SILICON_13 = """AuthenticatedRootVolumeEnabled BootstrapTokenAllowedForAuthentication
    BootstrapTokenRequiredForKernelExtensionApproval BootstrapTokenRequiredForSoftwareUpdate FDE_Enabled
    FDE_HasInstitutionalRecoveryKey FDE_HasPersonalRecoveryKey FirewallSettings IsRecoveryLockEnabled ManagementStatus
    RemoteDesktopEnabled SecureBoot SystemIntegrityProtectionEnabled"""


def make(
    kind: str, version: str | None = None, model: str | None = None, passcode: str | bool | None = None
) -> Persona:
    return make_persona(kind, chance=Chance(5), os_version=version, model=model, passcode=passcode)


@st.composite
def any_model(draw: st.DrawFn) -> Persona:
    model = draw(st.sampled_from(sorted(MODELS)))
    version = draw(st.sampled_from([r.version for r in releases_of(MODELS[model].kind, MODELS[model])]))
    return make_persona(MODELS[model].kind, chance=Chance(9), model=model, os_version=version)


FACTS = [
    Facts(now_ms=NOW),
    Facts(now_ms=NOW, dep=True, filevault=True, recovery_key_cms=b"cms", firmware_password=True, recovery_lock=True),
    Facts(now_ms=NOW, user_enrollment=True, filevault=True, passcode_present=True),
]


def check(value: Any, shape: Any, where: str) -> None:
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for key, item in value.items():
            check(item, shape[key], f"{where}.{key}")
    else:
        assert type(value) is shape, where


@settings(max_examples=150, deadline=None)
@given(any_model(), st.sampled_from(FACTS))
def test_answers_have_the_types_of_the_schema(persona: Persona, facts: Facts) -> None:
    check(security_info(persona, facts), TYPES, "SecurityInfo")


@settings(max_examples=60, deadline=None)
@given(any_model(), st.sampled_from(FACTS))
def test_answers_survive_a_plist(persona: Persona, facts: Facts) -> None:
    info = security_info(persona, facts)
    assert plist.loads(plist.dumps(info)) == info


def test_ios_11_answers_the_captured_keys() -> None:
    info = security_info(make("ipad", "11.3.1", passcode=False), Facts(now_ms=NOW))
    assert info == {
        "HardwareEncryptionCaps": 3,
        "PasscodeCompliant": True,
        "PasscodeCompliantWithProfiles": True,
        "PasscodeLockGracePeriod": 0,
        "PasscodeLockGracePeriodEnforced": 0,
        "PasscodePresent": False,
    }
    assert set(info) == set(IOS_11_3_1.split())


def test_management_status_of_ios_holds_only_user_enrollment() -> None:
    assert security_info(make("ios"), Facts(now_ms=NOW))["ManagementStatus"] == {"IsUserEnrollment": False}


def test_macos_10_11_tells_of_filevault_alone() -> None:
    assert security_info(make("mac-intel", "10.11.6"), Facts(now_ms=NOW)) == {"FDE_Enabled": False}


def test_macos_10_13_1_answers_the_captured_keys() -> None:
    info = security_info(make("mac-intel", "10.13.1"), Facts(now_ms=NOW))
    assert set(info) == {
        "FDE_Enabled",
        "FirewallSettings",
        "FirmwarePasswordStatus",
        "SystemIntegrityProtectionEnabled",
    }
    assert set(info["FirewallSettings"]) == {"Applications", "BlockAllIncoming", "FirewallEnabled", "StealthMode"}
    assert info["FirmwarePasswordStatus"] == {}


def test_macos_10_14_adds_management_status_and_remote_desktop() -> None:
    info = security_info(make("mac-intel", "10.14.6"), Facts(now_ms=NOW))
    assert info["ManagementStatus"] == {"EnrolledViaDEP": False, "UserApprovedEnrollment": True}
    assert info["RemoteDesktopEnabled"] is False
    assert "SecureBoot" not in info


def test_an_intel_mac_answers_exactly_what_was_captured() -> None:
    info = security_info(make("mac-intel", "12.7.6"), Facts(now_ms=NOW))
    assert set(info) == set(INTEL_SINCE_12.split())
    assert info["BootstrapTokenAllowedForAuthentication"] == "not supported"
    assert info["BootstrapTokenRequiredForSoftwareUpdate"] is False
    assert info["ManagementStatus"] == {
        "EnrolledViaDEP": False,
        "IsActivationLockManageable": False,
        "IsUserEnrollment": False,
        "UserApprovedEnrollment": True,
    }
    assert info["SecureBoot"] == {
        "ExternalBootLevel": "not supported",
        "SecureBootLevel": "off",
        "WindowsBootLevel": "not supported",
    }


def test_apple_silicon_answers_exactly_what_was_captured() -> None:
    info = security_info(make("mac-silicon", "13.0", "VirtualMac2,1"), Facts(now_ms=NOW, filevault=True))
    assert set(info) == set(SILICON_13.split())
    assert info["BootstrapTokenAllowedForAuthentication"] == "disallowed"
    assert info["BootstrapTokenRequiredForKernelExtensionApproval"] is True
    assert info["ManagementStatus"]["IsActivationLockManageable"] is True
    assert info["FirewallSettings"] == {
        "AllowSigned": True,
        "AllowSignedApp": True,
        "Applications": [],
        "BlockAllIncoming": False,
        "FirewallEnabled": False,
        "LoggingEnabled": True,
        "LoggingOption": "throttled",
        "StealthMode": False,
    }
    assert info["SecureBoot"] == {
        "ExternalBootLevel": "allowed",
        "SecureBootLevel": "full",
        "WindowsBootLevel": "not supported",
    }


def test_automated_enrollment_allows_the_bootstrap_token_on_apple_silicon() -> None:
    facts = Facts(now_ms=NOW, dep=True)
    assert security_info(make("mac-silicon"), facts)["BootstrapTokenAllowedForAuthentication"] == "allowed"
    assert security_info(make("mac-t2"), facts)["BootstrapTokenAllowedForAuthentication"] == "not supported"


def test_recovery_keys_are_told_only_of_an_encrypted_disk() -> None:
    plain = security_info(make("mac-silicon"), Facts(now_ms=NOW))
    assert not {key for key in plain if key.startswith("FDE_Has")}
    encrypted = security_info(make("mac-silicon"), Facts(now_ms=NOW, filevault=True, institutional_recovery_key=True))
    assert encrypted["FDE_HasPersonalRecoveryKey"] is True
    assert encrypted["FDE_HasInstitutionalRecoveryKey"] is True


def test_an_escrowed_recovery_key_comes_with_the_serial() -> None:
    persona = make("mac-silicon")
    info = security_info(persona, Facts(now_ms=NOW, filevault=True, recovery_key_cms=b"cms"))
    assert info["FDE_PersonalRecoveryKeyCMS"] == b"cms"
    assert info["FDE_PersonalRecoveryKeyDeviceKey"] == persona.serial


def test_a_known_firmware_password_is_told_on_intel_only() -> None:
    facts = Facts(now_ms=NOW, firmware_password=True, firmware_change_pending=True)
    told = security_info(make("mac-intel"), facts)["FirmwarePasswordStatus"]
    assert told == {"AllowOroms": False, "ChangePending": True, "PasswordExists": True}
    assert "FirmwarePasswordStatus" not in security_info(make("mac-silicon"), facts)


@pytest.mark.parametrize(("present", "expected"), [(None, True), (False, False), (True, True)])
def test_passcode_is_present_as_told_or_as_the_persona_has_it(present: bool | None, expected: bool) -> None:
    info = security_info(make("ios"), Facts(now_ms=NOW, passcode_present=present))
    assert info["PasscodePresent"] is expected


def test_an_apple_tv_has_no_passcode_whatever_was_told() -> None:
    assert security_info(make("tvos"), Facts(now_ms=NOW, passcode_present=True))["PasscodePresent"] is False


def test_a_user_enrollment_tells_little_of_the_passcode() -> None:
    info = security_info(make("ios"), Facts(now_ms=NOW, user_enrollment=True))
    assert set(info) == {"HardwareEncryptionCaps", "PasscodeCompliant", "ManagementStatus"}
    assert info["ManagementStatus"] == {"IsUserEnrollment": True}


def test_a_passcode_that_breaks_the_rules_is_not_compliant() -> None:
    facts = Facts(now_ms=NOW, passcode_compliant=False, passcode_compliant_with_profiles=False)
    info = security_info(make("ios"), facts)
    assert (info["PasscodeCompliant"], info["PasscodeCompliantWithProfiles"]) == (False, False)
