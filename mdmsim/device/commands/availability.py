"""Whether a command exists for this device, decided from Apple's schema, and the error it answers where it does not."""

from __future__ import annotations

from mdmsim.device import errors
from mdmsim.device.commands.registry import FLOW_HANDLERS, HANDLERS
from mdmsim.device.device import Device
from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.facts import supervised
from mdmsim.device.state import Enrollment
from mdmsim.protocol.connect import Command
from mdmsim.schema.availability import Reason, decide
from mdmsim.schema.platforms import AccessRights, Platform


def check_available(device: Device, enrollment: Enrollment, command: Command, channel: str) -> None:
    """Raise the DeviceError that this device gives for a command it does not have, or may not carry out here.

    NotSimulated for one that a real device has and this simulator does not.

    Which code stands for a missing right or DEP enrollment is documented for some cases only (12007; captured on
    macOS 10.12: MDMClientError 74); an unsupervised iPhone calls the request type invalid (captured).
    """
    persona, request_type = device.persona, command.request_type
    unavailable = decide(
        request_type,
        platform=Platform(persona.platform),
        os_version=persona.os_version,
        supervised=supervised(device.state, device.clock.now_ms()),
        dep=enrollment.dep,
        access_rights=_rights(enrollment, command),
        channel="device" if channel == "device" else "user",
        enrollment="device",
    )
    if unavailable is not None:
        raise _error(device, request_type, unavailable.reason)
    if request_type not in HANDLERS and request_type not in FLOW_HANDLERS:
        raise NotSimulated(errors.not_a_request_type(persona, request_type).chain)


def _rights(enrollment: Enrollment, command: Command) -> AccessRights:
    """What the server may do with this command: it can always remove the enrollment profile (Apple, Remove Profile)."""
    ends = command.request_type == "RemoveProfile" and command.keys.get("Identifier") == enrollment.profile
    return AccessRights(enrollment.access_rights) | (AccessRights.INSTALL_PROFILES if ends else AccessRights(0))


def _error(device: Device, request_type: str, reason: Reason) -> DeviceError:
    persona = device.persona
    if reason is Reason.ACCESS_RIGHT:
        text = f"The MDM server is not authorized to carry out “{request_type}”."
        return errors.mdm(persona, 12007, text)
    # Before macOS 11 a Mac was supervised by DEP alone, and says so (captured: 10.12.6, ScheduleOSUpdate).
    by_dep = reason is Reason.DEP or (reason is Reason.SUPERVISION and not persona.at_least("11.0"))
    if by_dep and persona.is_mac:
        text = f"Command requires DEP enrollment: {request_type} <{errors.CLIENT}:74>"
        return errors.client(persona, 74, text)
    return errors.not_a_request_type(persona, request_type)
