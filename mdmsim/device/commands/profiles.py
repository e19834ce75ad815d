"""ProfileList, InstallProfile and RemoveProfile (mdm/commands/profile.*.yaml)."""

from __future__ import annotations

from typing import Any

from mdmsim.device import errors
from mdmsim.device.commands.keys import optional, required
from mdmsim.device.commands.registry import Settle, after_report, handles, handles_with_flow
from mdmsim.device.commands.report_actions import UNENROLL
from mdmsim.device.device import Device, Work
from mdmsim.device.flow import Flow
from mdmsim.device.flows.install import Postponed, installation
from mdmsim.device.profiles.store import remove_profile as remove_stored
from mdmsim.device.state import InstalledProfile
from mdmsim.protocol.connect import Command
from mdmsim.protocol.profile import Payload, parse_profile

#: iPadOS 16.6 and iOS of that time list the UUIDs of payloads (captured 2023), iOS 11.3.1 and 13 do not.
PAYLOAD_UUIDS_SINCE = "14.0"
SIGNERS_ON_IOS_SINCE = "12.0"


@handles("ProfileList")
def profile_list(work: Work, command: Command) -> dict[str, Any]:
    """Every installed profile with its payloads; with ManagedOnly those that the MDM server installed."""
    managed_only = optional(command, "ManagedOnly", bool) or False
    enrollment = work.state.enrollment.profile if work.state.enrollment else None
    listed = [p for p in work.state.profiles if not managed_only or p.managed or p.identifier == enrollment]
    return {"ProfileList": [_entry(work, installed) for installed in listed]}


def _entry(work: Work, installed: InstalledProfile) -> dict[str, Any]:
    """Keys as captured: macOS has no IsManaged and always SignerCertificates, iOS the other way round."""
    mac = work.persona.is_mac
    profile = parse_profile(work.store.get(installed.content))
    entry: dict[str, Any] = {
        "HasRemovalPasscode": profile.has_removal_passcode,
        "IsEncrypted": installed.encrypted,
        "PayloadIdentifier": profile.identifier,
        "PayloadRemovalDisallowed": profile.removal_disallowed,
        "PayloadUUID": profile.uuid,
        "PayloadVersion": 1 if profile.version is None else profile.version,  # the only value that there is
    }
    for key, text in (
        ("PayloadDisplayName", profile.display_name),
        ("PayloadDescription", profile.description),
        ("PayloadOrganization", profile.organization),
    ):
        if text is not None:
            entry[key] = text
    if not mac:
        entry["IsManaged"] = installed.managed
    if mac or (installed.signers and work.persona.at_least(SIGNERS_ON_IOS_SINCE)):
        entry["SignerCertificates"] = [work.store.get(digest) for digest in installed.signers]
    if not installed.encrypted:
        with_uuid = mac or work.persona.at_least(PAYLOAD_UUIDS_SINCE)
        entry["PayloadContent"] = [_payload_entry(payload, with_uuid) for payload in profile.payloads]
    return entry


def _payload_entry(payload: Payload, with_uuid: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "PayloadIdentifier": payload.identifier,
        "PayloadType": payload.type,
        "PayloadVersion": 1 if payload.version is None else payload.version,
    }
    for key, text in (
        ("PayloadDescription", payload.description),
        ("PayloadDisplayName", payload.display_name),
        ("PayloadOrganization", payload.organization),
    ):
        if text is not None:
            entry[key] = text
    if with_uuid:
        entry["PayloadUUID"] = payload.uuid
    return entry


@handles_with_flow("InstallProfile")
def install_profile(device: Device, command: Command) -> Flow[Settle | Postponed]:
    """Install a profile, or replace the one of its identifier; its SCEP payloads are really enrolled first."""
    data = required(device.work(), command, "Payload", bytes)
    outcome = yield from installation(device, data, managed=True, command_uuid=command.command_uuid)
    if isinstance(outcome, Postponed):
        return outcome

    def settle(work: Work) -> dict[str, Any]:
        outcome(work)
        return {}

    return settle


@handles("RemoveProfile")
def remove_profile(work: Work, command: Command) -> dict[str, Any]:
    """Remove a profile that MDM installed. The enrollment profile itself goes right after the report was sent."""
    identifier = required(work, command, "Identifier", str)
    persona = work.persona
    enrollment = work.state.enrollment
    if enrollment is not None and identifier == enrollment.profile:
        after_report(work, UNENROLL)
        return {}
    installed = next((p for p in work.state.profiles if p.identifier == identifier), None)
    if installed is None:
        if persona.is_mac:
            raise errors.client(persona, 89, f"Profile with identifier '{identifier}' not found.")
        raise errors.mdm(persona, 12075, f"The profile “{identifier}” is not installed.")
    if not installed.managed:
        if persona.is_mac:
            # Never captured on a Mac: worded like its refusal to replace a foreign profile (MDMClientError 96).
            text = f"Cannot remove profile '{identifier}' because it was not installed by the MDM server."
            raise errors.client(persona, 96, text)
        raise errors.mdm(persona, 12013, f"The profile “{identifier}” is not managed by MDM.")
    remove_stored(work, identifier, why="command")
    return {}
