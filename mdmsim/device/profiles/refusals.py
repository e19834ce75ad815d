"""Why a profile is refused, as each platform says it: codes, chains, and Apple's words.

The iPhone's chain for a profile that cannot be read is the one in logs of profiled: 4000, 1000, 2000 and the cause
(thrasr/mdm-server issue 15, iOS 7; micromdm/micromdm issue 496, iOS 11; bitstadium/HockeyKit issue 185, iOS 9). A Mac
reports one item: CPProfile -102 (captured) for a plist that lacks what a profile needs, NSCocoaErrorDomain 3840 for what
is no plist (fleetdm/fleet issues 19771 and 25831). Where no words of Apple's are known the nearest known ones stand; the
code tells the reason then. What our own parsers say never gets into a chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mdmsim.device import errors
from mdmsim.device.errors import DeviceError
from mdmsim.device.personas import Persona
from mdmsim.protocol.error_chain import ErrorItem
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.payloads import Payload
from mdmsim.protocol.profile import Profile

MAC_PLUGIN = "ConfigProfilePluginDomain"
COCOA = "NSCocoaErrorDomain"
POSIX = "NSPOSIXErrorDomain"

INVALID = "Invalid Profile"

#: MCProfileErrorDomain and MCPayloadErrorDomain by kind of mistake (MDM Protocol Reference, error codes).
_PROFILE_CODES = {"missing": 1002, "type": 1003, "value": 1010}
_PAYLOAD_CODES = {"missing": 2002, "type": 2003, "value": 2004}


def failed(persona: Persona, profile: Profile, domain: str, code: int, text: str) -> DeviceError:
    """A profile that can be read and not be installed."""
    return errors.install_failed(persona, name_of(profile.raw), errors.item(persona, domain, code, text))


def name_of(values: Mapping[str, Any]) -> str:
    """What a device calls a profile or a payload: its display name, else its identifier."""
    named = (values.get(key) for key in ("PayloadDisplayName", "PayloadIdentifier"))
    return next((name for name in named if isinstance(name, str) and name), "")


def payload_name(payload: Payload) -> str:
    return payload.display_name or payload.identifier


def no_plist(persona: Persona, data: bytes) -> DeviceError:
    """Bytes that are no property list; on a Mac also a signed profile that something changed on its way.

    The words of CFPropertyList: it skips blanks and wants "<"; of a fault further on it says more than is known here.
    """
    if not persona.is_mac:
        return _invalid(persona, errors.item(persona, errors.PROFILE, 1000, INVALID))
    start = data.lstrip(b" \t\r\n")
    character = start[:4].decode("utf-8", "replace")[:1]
    text = "The data couldn’t be read because it isn’t in the correct format."
    if not data:
        text = "Cannot parse a NULL or zero-length data"
    elif character not in ("", "<"):
        line = data[: len(data) - len(start)].count(b"\n") + 1
        shown = character if character.isprintable() else "�"  # XML, so a report, cannot hold a control character
        text = f"Unexpected character {shown} at line {line}"
    return DeviceError((errors.item(persona, COCOA, 3840, text),))


def no_profile(persona: Persona, values: Mapping[str, Any], error: Malformed) -> DeviceError:
    """A property list that is no profile: a key of it, or of one of its payloads, is absent or not what it must be."""
    if persona.is_mac:
        return lacking(persona)
    broken = _broken_payload(values)
    if broken is not None:
        payload, error = broken
        return broken_key(persona, name_of(values), name_of(payload), error.key or "", error.problem)
    return broken_top_key(persona, name_of(values), error.key or "", error.problem)


def broken_top_key(persona: Persona, profile: str, key: str, problem: str) -> DeviceError:
    """A key of the profile itself that is absent, of the wrong type, or of a value that is not allowed."""
    if persona.is_mac:
        return lacking(persona)
    cause = errors.item(persona, errors.PROFILE, _PROFILE_CODES.get(problem, 1000), _key_text(key, problem))
    return _invalid(persona, _invalid_profile(persona, profile), cause)


def broken_key(persona: Persona, profile: str, payload: str, key: str, problem: str) -> DeviceError:
    """A key of a payload that is absent, of the wrong type, or of a value that is not allowed."""
    if persona.is_mac:
        return lacking(persona)
    code, text = _PAYLOAD_CODES.get(problem, 2000), _key_text(key.partition("[")[0], problem)
    return _invalid(
        persona,
        _invalid_profile(persona, profile),
        errors.item(persona, errors.PAYLOAD, 2000, f"The payload “{payload}” is invalid."),
        errors.item(persona, errors.PAYLOAD, code, text),
    )


def lacking(persona: Persona) -> DeviceError:
    """A Mac's answer to a property list that lacks what a profile needs (captured, fleetdm/fleet)."""
    text = "The profile is either missing some required information, or contains information in an invalid format."
    return DeviceError((errors.item(persona, errors.MAC_PROFILE, -102, text),))


def used_twice(persona: Persona, profile: str, key: str, value: str) -> DeviceError:
    """A PayloadUUID or PayloadIdentifier that stands twice.

    Words: homotechsual/macOS-MDM-Profiles pull request 1 (macOS). Codes of iOS: its own reader of profiles
    (ManagedConfiguration, in public listings); its words are not known, so those of macOS stand.
    """
    text = f"The {key} “{value}” is used more than once in the profile."
    if persona.is_mac:
        return DeviceError((errors.item(persona, MAC_PLUGIN, -107, f"Invalid profile: {text}"),))
    code = 1007 if key == "PayloadUUID" else 1008
    return _invalid(persona, _invalid_profile(persona, profile), errors.item(persona, errors.PROFILE, code, text))


def mac_requires(persona: Persona) -> DeviceError:
    """A Mac's answer to a payload without a key that it needs (Fleet's end-to-end tests, macOS 26.6)."""
    return DeviceError(
        (errors.item(persona, MAC_PLUGIN, -307, "Some required information in the profile is missing."),)
    )


def not_installed(persona: Persona, profile: Profile, payload: Payload, domain: str, code: int) -> DeviceError:
    """A payload that cannot be installed, in the words of profiled's log (project-imas/mdm-server issue 47)."""
    return failed(persona, profile, domain, code, f"The payload “{payload_name(payload)}” could not be installed.")


def contradiction(persona: Persona, payload: Payload, key: str) -> DeviceError:
    """A Mac's answer to keys that exclude each other (kandji-inc/support issue 33, macOS 15)."""
    text = f"In the payload (UUID: {payload.uuid}), the key '{key}' is not allowed."
    return DeviceError((errors.item(persona, POSIX, 22, text),))


def only_by_mdm(persona: Persona) -> DeviceError:
    """A Mac's answer to a person who installs what only an MDM server may (google/santa issue 1149).

    Only the words were seen; domain and code are those of the captured refusal that is nearest in kind ("The profile
    must be a system profile", micromdm/micromdm issue 1083).
    """
    text = "The profile must originate from a user approved MDM server."
    return DeviceError((errors.item(persona, POSIX, 1, text),))


def _broken_payload(values: Mapping[str, Any]) -> tuple[Mapping[str, Any], Malformed] | None:
    contents = values.get("PayloadContent")
    for payload in contents if isinstance(contents, list) else ():
        if isinstance(payload, dict):
            try:
                Payload.of(payload)
            except Malformed as error:
                return payload, error
    return None


def _invalid(persona: Persona, *causes: ErrorItem) -> DeviceError:
    return DeviceError((errors.item(persona, errors.INSTALLATION, 4000, INVALID), *causes))


def _invalid_profile(persona: Persona, profile: str) -> ErrorItem:
    return errors.item(persona, errors.PROFILE, 1000, f"The profile “{profile}” is invalid.")


def _key_text(key: str, problem: str) -> str:
    return f"The required field “{key}” is missing." if problem == "missing" else f"The field “{key}” is invalid."
