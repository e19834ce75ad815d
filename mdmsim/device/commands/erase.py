"""EraseDevice (mdm/commands/device.erase.yaml).

The answer is sent first, once and best effort; the erase happens even if it is lost, and works while locked.
"""

from __future__ import annotations

from typing import Any

from mdmsim.device import errors
from mdmsim.device.commands.keys import optional
from mdmsim.device.commands.registry import after_report, handles
from mdmsim.device.device import Work
from mdmsim.device.errors import CommandFormat
from mdmsim.device.state import Erasure
from mdmsim.protocol.connect import Command

#: The Find My PIN of a Mac has six characters (schema); letters and digits are taken by servers in the field.
PIN_LENGTH = 6

#: Macs with a T2 or Apple silicon erase by "Erase All Content and Settings" from macOS 12 on (schema).
EACS_SINCE = "12.0"

BEHAVIORS = ("Default", "DoNotObliterate", "ObliterateWithWarning", "Always")


@handles("EraseDevice")
def erase_device(work: Work, command: Command) -> dict[str, Any]:
    """Leave the erase to be done once the report was sent; refuse what this device cannot do."""
    how = _erase_mac(work, command) if work.persona.is_mac else _erase_mobile(work, command)
    work.state.erasing = how
    after_report(work, "erase")
    return {}


def _erase_mac(work: Work, command: Command) -> Erasure:
    persona = work.persona
    pin = optional(command, "PIN", str)
    behavior = optional(command, "ObliterationBehavior", str) or "Default"
    if behavior not in BEHAVIORS:
        raise CommandFormat(f"ObliterationBehavior is {behavior}; allowed are {', '.join(BEHAVIORS)}")
    if persona.needs_pin_for_erase:
        if pin is None:
            raise errors.missing_key(persona, command.request_type, "PIN")
        if len(pin) != PIN_LENGTH or not (pin.isascii() and pin.isalnum()):
            # Which code a Mac gives here was never captured; 97 is its code for an argument that is not right.
            raise errors.client(persona, 97, f"PIN must have {PIN_LENGTH} characters <{errors.CLIENT}:97>")
        return Erasure(method="obliterate", pin=pin)
    if not persona.at_least(EACS_SINCE) or behavior == "Always":
        return Erasure(method="obliterate")
    if work.state.can_erase_content:
        return Erasure(method="content-and-settings")
    if behavior == "ObliterateWithWarning":
        return Erasure(method="obliterate")
    refusal = errors.client(persona, 1, "Erase All Content and Settings is not possible in this state")
    if behavior == "DoNotObliterate":
        raise refusal
    # "Default": the preflight's failure is reported as an Error, and the Mac obliterates all the same.
    raise errors.ErrorWithEffect(refusal.chain, _obliterate_anyway)


def _obliterate_anyway(work: Work) -> None:
    work.state.erasing = Erasure(method="obliterate")
    after_report(work, "erase")


def _erase_mobile(work: Work, command: Command) -> Erasure:
    optional(command, "DisallowProximitySetup", bool)
    keeps_plan = optional(command, "PreserveDataPlan", bool) or False
    service = optional(command, "ReturnToService", dict)
    if service is None:
        return Erasure(preserve_data_plan=keeps_plan)
    since = "18.0" if work.persona.platform == "tvos" else "17.0"
    enabled, wifi, profile = service.get("Enabled"), service.get("WiFiProfileData"), service.get("MDMProfileData")
    if not isinstance(enabled, bool):
        raise CommandFormat("ReturnToService needs Enabled, a boolean")
    for key, value in (("WiFiProfileData", wifi), ("MDMProfileData", profile)):
        if value is not None and not isinstance(value, bytes):
            raise CommandFormat(f"{key} of ReturnToService is not data")
    if not enabled or not work.persona.at_least(since):
        return Erasure(preserve_data_plan=keeps_plan)
    enrollment = work.state.enrollment
    if profile is None and not (enrollment is not None and enrollment.dep):
        # schema: MDMProfileData is required for devices that were not enrolled by automated enrollment
        raise errors.missing_key(work.persona, command.request_type, "MDMProfileData")
    if wifi is None and work.persona.ethernet is None:
        raise errors.missing_key(work.persona, command.request_type, "WiFiProfileData")
    return Erasure(
        preserve_data_plan=keeps_plan,
        return_to_service=True,
        mdm_profile=work.store.put(profile) if profile else "",
    )
