"""Whether a device takes an MDM payload: as a new enrollment, and in place of the one that it has (com.apple.mdm.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mdmsim.device import errors
from mdmsim.device.device import Device
from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.personas import Persona
from mdmsim.device.profiles.refusals import failed
from mdmsim.device.state import InstalledProfile
from mdmsim.http import is_loopback
from mdmsim.protocol.payloads import MDM, PER_USER_CONNECTIONS
from mdmsim.protocol.profile import MdmPayload, Profile, parse_profile
from mdmsim.schema.platforms import AccessRights

if TYPE_CHECKING:
    from mdmsim.device.profiles.plan import Plan

#: A push topic (com.apple.mdm.yaml, Topic): the subject's UID of the push certificate.
TOPIC_PREFIX = "com.apple.mgmt."

#: Macs refuse an MDM payload without PER_USER_CONNECTIONS from macOS 26 on (graze-social/cocore pull request 54, and two
#: more public servers); the schema asks for it wherever a Mac is managed.
USER_CHANNEL_SINCE = "26.0"


def _other_enrollment(persona: Persona, mdm: MdmPayload) -> str | None:
    """What kind of enrollment the payload asks for where it is not that of a whole device by a profile.

    A device enrolled by it would send an EnrollmentID in place of UDID and serial number, and a bearer token with each
    request; to enrol it as a whole device would tell the server things that no such device tells. An Apple TV does not
    know these keys (com.apple.mdm.yaml).
    """
    if persona.platform == "tvos":
        return None
    if mdm.enrollment_mode == "BYOD":
        return "User Enrollment (EnrollmentMode BYOD)"
    if mdm.managed_apple_id is not None:
        return "User Enrollment (ManagedAppleID)"
    if mdm.enrollment_mode is not None:
        return f"Account-driven device enrollment (EnrollmentMode {mdm.enrollment_mode})"
    if mdm.assigned_managed_apple_id is not None:
        return "Account-driven enrollment (AssignedManagedAppleID)"
    return None


def check_mdm_payload(device: Device, plan: Plan, mdm: MdmPayload) -> None:
    """Whether a device would enrol with this MDM payload. Raises DeviceError, and NotSimulated where mdmsim cannot tell."""
    persona, profile = device.persona, plan.profile
    domain = errors.mdm_domain(persona)
    enrollment = device.state.enrollment
    if enrollment is not None and enrollment.profile != profile.identifier:
        raise failed(persona, profile, domain, 12001, "The device is already managed by an MDM server.")
    if enrollment is None and (kind := _other_enrollment(persona, mdm)):
        raise NotSimulated(what=kind, profile=profile.identifier)
    if persona.is_mac and persona.at_least(USER_CHANNEL_SINCE) and PER_USER_CONNECTIONS not in mdm.server_capabilities:
        # Only the words were seen; 12011 (the MDM configuration is bad) is the code that is nearest in kind.
        text = "MDM payload is missing ServerCapabilities key that indicates it supports a user channel."
        raise failed(persona, profile, domain, 12011, text)
    if not mdm.topic.startswith(TOPIC_PREFIX) or len(mdm.topic) == len(TOPIC_PREFIX):
        raise failed(persona, profile, domain, 12022, f"The topic “{mdm.topic}” is not valid.")
    if AccessRights.problem(mdm.access_rights or 0):
        raise failed(persona, profile, domain, 12000, "The access rights are not allowed.")
    for key, url in (("ServerURL", mdm.server_url), ("CheckInURL", mdm.check_in_url)):
        if url is not None and not _allowed_url(device, url):
            raise failed(persona, profile, domain, 12034, f"{key} “{url}” is not an https URL.")
    for payload in plan.not_simulated:
        if mdm.identity_certificate_uuid == payload.uuid:
            raise NotSimulated(what=f"An identity by {payload.type}", profile=profile.identifier)
    if mdm.identity_certificate_uuid not in {payload.uuid for payload in plan.identity_payloads}:
        raise failed(persona, profile, domain, 12016, "The identity certificate of the MDM payload could not be found.")
    known = {payload.uuid for payload, _ in plan.certificates}
    for uuid in (*mdm.server_url_pinning_certificate_uuids, *mdm.check_in_url_pinning_certificate_uuids):
        if uuid not in known:
            raise failed(persona, profile, domain, 12005, f"The pinned certificate {uuid} could not be found.")


def _allowed_url(device: Device, url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:  # brackets that are no IPv6 address
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and device.behaviour.allow_http and is_loopback(host or "")


def check_replacement(device: Device, plan: Plan, *, by_mdm: bool) -> None:
    """What may stand in the way of a profile with the identifier of one that is installed."""
    persona, profile, mdm = device.persona, plan.profile, plan.mdm
    installed = next((p for p in device.state.profiles if p.identifier == profile.identifier), None)
    if installed is None:
        return
    enrollment = device.state.enrollment
    holds_enrollment = enrollment is not None and enrollment.profile == profile.identifier
    if by_mdm and not installed.managed and not holds_enrollment:
        if persona.is_mac:
            text = f"Cannot replace profile '{profile.identifier}' because it was not installed by the MDM server."
            raise errors.client(persona, 96, text)
        raise errors.mdm(persona, 12013, f"The profile “{profile.identifier}” is not managed by MDM.")
    if not holds_enrollment or enrollment is None:
        return
    if mdm is None:
        raise failed(persona, profile, errors.INSTALLATION, 4015, "The new profile has no MDM payload.")
    # com.apple.mdm.yaml: these may not change when the profile is replaced, and access rights may not be added.
    pairs: list[tuple[str, object, object]] = [
        ("server URL", enrollment.server_url, mdm.server_url),
        ("check-in URL", enrollment.checkin_url, mdm.check_in_url or ""),
        ("topic", enrollment.topic, mdm.topic),
    ]
    if (before := _installed_payload(device, installed)) is not None:
        pairs += [
            (
                "server capabilities",
                PER_USER_CONNECTIONS in before.server_capabilities,
                PER_USER_CONNECTIONS in mdm.server_capabilities,
            ),
            ("enrollment mode", before.enrollment_mode, mdm.enrollment_mode),
            ("Managed Apple Account", before.assigned_managed_apple_id, mdm.assigned_managed_apple_id),
            ("required app", before.required_app_id, mdm.required_app_id),
        ]
    for what, now, then in pairs:
        if now != then:
            raise _other_payload(persona, profile, what)
    if (mdm.access_rights or 0) & ~enrollment.access_rights:
        raise _other_payload(persona, profile, "access rights")


def _installed_payload(device: Device, installed: InstalledProfile) -> MdmPayload | None:
    """The MDM payload that the device enrolled with; None where the profile came encrypted."""
    if installed.encrypted:
        return None
    [payload] = parse_profile(device.store.get(installed.content)).of_type(MDM)
    return MdmPayload.of(payload)


def _other_payload(persona: Persona, profile: Profile, what: str) -> DeviceError:
    """The MDM payload may not be replaced by that one (12012).

    iOS: the words are those that people see (Microsoft's list of Intune enrollment errors). macOS: the words for another
    server URL are fleetdm/fleet's issue 14238; for other keys they are formed like them, and the code is our choice.
    """
    text = "The new MDM payload does not match the old payload."
    if persona.is_mac:
        text = f"Update to MDM profile contains different {what}"
    return failed(persona, profile, errors.mdm_domain(persona), 12012, text)
