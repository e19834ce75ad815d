"""What a device answers to SecurityInfo.

Captured: iOS 9, 11.3.1 and one that added ManagementStatus; macOS 10.11, 10.13.1, an Intel Mac without T2 and an Apple
silicon virtual machine of macOS 11 to 13. Between captures mdm/commands/information.security.yaml says from which
version a key is there.
"""

from __future__ import annotations

from typing import Any

from mdmsim.device.personas.facts import Facts, is_supervised
from mdmsim.device.personas.persona import Persona


def security_info(persona: Persona, facts: Facts) -> dict[str, Any]:
    """The SecurityInfo dictionary. No SIM, no state machine: passcode, encryption and locks come with `facts`."""
    return _mac(persona, facts) if persona.is_mac else _mobile(persona, facts)


def _mobile(persona: Persona, facts: Facts) -> dict[str, Any]:
    present = persona.has_passcode if facts.passcode_present is None else facts.passcode_present
    answer: dict[str, Any] = {
        "HardwareEncryptionCaps": 3,
        "PasscodeCompliant": facts.passcode_compliant,
    }
    if not facts.user_enrollment:
        answer |= {
            "PasscodeCompliantWithProfiles": facts.passcode_compliant_with_profiles,
            "PasscodeLockGracePeriod": facts.passcode_grace_seconds,
            "PasscodeLockGracePeriodEnforced": facts.passcode_grace_seconds,
            "PasscodePresent": present and persona.can_have_passcode,
        }
    if persona.at_least("13.0"):
        answer["ManagementStatus"] = {"IsUserEnrollment": facts.user_enrollment}
    return answer


def _mac(persona: Persona, facts: Facts) -> dict[str, Any]:
    private = not facts.user_enrollment
    silicon = persona.is_apple_silicon
    answer = _filevault(persona, facts)
    if persona.at_least("10.12"):
        answer["SystemIntegrityProtectionEnabled"] = True
        answer["FirewallSettings"] = _firewall(persona, facts)
    if persona.at_least("10.13") and not silicon:
        answer["FirmwarePasswordStatus"] = _firmware_password(facts)
    if persona.at_least("10.13.2"):
        answer["ManagementStatus"] = _management_status(persona, facts)
    if persona.at_least("10.14.4") and private:
        answer["RemoteDesktopEnabled"] = facts.remote_desktop
    if persona.at_least("10.15"):
        answer["SecureBoot"] = _secure_boot(persona)
    if persona.at_least("11.0"):
        answer["AuthenticatedRootVolumeEnabled"] = True
        if private:
            # Captured: an Intel Mac answers too, `not supported`; Apple silicon enrolled by hand `disallowed`.
            allowed = "allowed" if facts.dep else "disallowed"
            answer["BootstrapTokenAllowedForAuthentication"] = allowed if silicon else "not supported"
            answer["BootstrapTokenRequiredForKernelExtensionApproval"] = silicon
            answer["BootstrapTokenRequiredForSoftwareUpdate"] = silicon
    if persona.at_least("11.5") and silicon and private:
        answer["IsRecoveryLockEnabled"] = facts.recovery_lock
    return answer


def _filevault(persona: Persona, facts: Facts) -> dict[str, Any]:
    answer: dict[str, Any] = {"FDE_Enabled": facts.filevault}
    if facts.filevault and not facts.user_enrollment:
        # Captured: which keys there are is told only when the disk is encrypted.
        answer["FDE_HasPersonalRecoveryKey"] = facts.personal_recovery_key
        answer["FDE_HasInstitutionalRecoveryKey"] = facts.institutional_recovery_key
        if facts.recovery_key_cms is not None and persona.at_least("10.13"):
            answer["FDE_PersonalRecoveryKeyCMS"] = facts.recovery_key_cms
            answer["FDE_PersonalRecoveryKeyDeviceKey"] = persona.serial
    return answer


def _firewall(persona: Persona, facts: Facts) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "BlockAllIncoming": facts.block_all_incoming,
        "FirewallEnabled": facts.firewall,
        "StealthMode": facts.stealth,
    }
    if not facts.user_enrollment:
        answer["Applications"] = [dict(application) for application in facts.firewall_applications]
    if persona.at_least("12.0"):
        # AllowSigned and AllowSignedApp are not in the schema; both captures of that age have them.
        answer |= {"AllowSigned": True, "AllowSignedApp": True, "LoggingEnabled": True, "LoggingOption": "throttled"}
    return answer


def _firmware_password(facts: Facts) -> dict[str, Any]:
    if facts.firmware_password is None:
        return {}  # captured: empty where nothing is known
    return {
        "AllowOroms": False,
        "ChangePending": facts.firmware_change_pending,
        "PasswordExists": facts.firmware_password,
    }


def _management_status(persona: Persona, facts: Facts) -> dict[str, Any]:
    answer: dict[str, Any] = {"EnrolledViaDEP": facts.dep, "UserApprovedEnrollment": facts.user_approved}
    if persona.at_least("10.15"):
        answer["IsUserEnrollment"] = facts.user_enrollment
        answer["IsActivationLockManageable"] = persona.kind != "mac-intel" and is_supervised(persona, facts)
    return answer


def _secure_boot(persona: Persona) -> dict[str, Any]:
    # WindowsBootLevel is not in the schema. A T2 Mac was not captured: its factory setting stands here.
    external, level = {
        "mac-intel": ("not supported", "off"),
        "mac-t2": ("disallowed", "full"),
        "mac-silicon": ("allowed", "full"),
    }[persona.kind]
    return {"ExternalBootLevel": external, "SecureBootLevel": level, "WindowsBootLevel": "not supported"}
