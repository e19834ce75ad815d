"""What may change about a device while it is managed, as far as its inventory tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mdmsim.device.personas.persona import Persona


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The changing side of an inventory; the defaults are a device fresh from the box, enrolled by hand.

    `now_ms`: world time. None stands for "as the persona has it". `available_gigabytes`: free space, decimal. `battery`:
    0 to 1. `active_users`, `console_user`: GUIDs of managed users who are logged in on a Mac. `store_account_hash`:
    set where a store account is signed in. `organization_info`, `mdm_options`, `accessibility`: what the Settings
    command set. `os_update_settings`: keys that differ from the defaults. `attestation`: DER certificates.
    `firmware_password`: None where nothing is known of it. `push_token`: of a user channel only; the device channel never
    tells.
    """

    now_ms: int
    supervised: bool | None = None
    dep: bool = False
    user_approved: bool = True
    user_enrollment: bool = False
    awaiting_configuration: bool = False
    multi_user: bool = False
    device_name: str | None = None
    host_name: str | None = None
    time_zone: str | None = None
    available_gigabytes: float | None = None
    battery: float | None = None
    supplemental_build: str | None = None
    supplemental_version_extra: str | None = None
    active_users: tuple[str, ...] = ()
    console_user: str | None = None
    auto_setup_admins: tuple[tuple[str, str], ...] = ()
    """GUID and short name of administrators that Setup Assistant made."""
    store_account_hash: str | None = None
    organization_info: Mapping[str, str] | None = None
    mdm_options: Mapping[str, bool] = field(default_factory=dict)
    os_update_settings: Mapping[str, Any] = field(default_factory=dict)
    last_update_scan_ms: int | None = None
    last_cloud_backup_ms: int | None = None
    accessibility: Mapping[str, Any] = field(default_factory=dict)
    recommendations_cadence: int = 0
    lost_mode: bool = False
    locator_enabled: bool = False
    activation_lock: bool = False
    do_not_disturb: bool = False
    diagnostic_submission: bool = False
    app_analytics: bool = False
    data_roaming: bool = False
    voice_roaming: bool = False
    personal_hotspot: bool = False
    push_token: bytes | None = field(default=None, repr=False)
    attestation: tuple[bytes, ...] = ()
    # SecurityInfo
    passcode_present: bool | None = None
    passcode_compliant: bool = True
    passcode_compliant_with_profiles: bool = True
    passcode_grace_seconds: int = 0
    filevault: bool = False
    personal_recovery_key: bool = True
    institutional_recovery_key: bool = False
    recovery_key_cms: bytes | None = field(default=None, repr=False)
    firewall: bool = False
    block_all_incoming: bool = False
    stealth: bool = False
    firewall_applications: tuple[Mapping[str, Any], ...] = ()
    firmware_password: bool | None = None
    firmware_change_pending: bool = False
    recovery_lock: bool = False
    remote_desktop: bool = False


def is_supervised(persona: Persona, facts: Facts) -> bool:
    """Supervised as told, as prepared, by automated enrollment, or as a Mac since 11 whose user approved the enrollment."""
    if facts.supervised is not None:
        return facts.supervised
    if persona.supervised or facts.dep:
        return True
    return persona.is_mac and persona.at_least("11.0") and facts.user_approved and not facts.user_enrollment
