"""Why a device says no: error chains as each platform words them.

iOS gives a US English text beside the localised one for its MDM domains; macOS does not, and appends the inner error
in angle brackets (captured: iOS 11.3.1 to 2026, macOS 10.12 to 15.2). tvOS was never captured: it follows iOS, by
our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mdmsim.device.personas import Persona
from mdmsim.protocol.error_chain import ErrorItem
from mdmsim.schema.platforms import version

if TYPE_CHECKING:
    from mdmsim.device.device import Work

CLIENT = "MDMClientError"
INSTALLATION = "MCInstallationErrorDomain"
PROFILE = "MCProfileErrorDomain"
PAYLOAD = "MCPayloadErrorDomain"
CERTIFICATE = "MCCertificateErrorDomain"
HTTP = "MCHTTPTransactionErrorDomain"
SCEP = "MCSCEPErrorDomain"
MAC_PROFILE = "CPProfile"
OS_STATUS = "NSOSStatusErrorDomain"

#: MCMDMErrorDomain became MDMErrorDomain: the old name was captured up to 2024, the new one in 2026 (OS versions 26).
RENAMED_SINCE = (26,)

Chain = tuple[ErrorItem, ...]


class DeviceError(Exception):
    """A refusal by the device itself; `chain` goes from the outer error to its cause."""

    def __init__(self, chain: Chain) -> None:
        super().__init__("; ".join(f"{item.domain} {item.code}: {item.localized}" for item in chain))
        self.chain = chain


class NotSimulated(DeviceError):
    """A refusal that is mdmsim's, not the device's: a real one could do this.

    On the wire it looks like a refusal, because devices have no better word; the event says `simulated: false`. `what`:
    the thing that is not simulated, as the subject of a sentence; `profile`: the identifier of the profile it stands in.
    """

    def __init__(self, chain: Chain = (), *, what: str = "", profile: str = "") -> None:
        super().__init__(chain)
        self.what = what
        self.profile = profile

    def __str__(self) -> str:
        return f"{self.what} is not simulated" if self.what else super().__str__()


class ErrorWithEffect(DeviceError):
    """A command that answers Error and still does something; `effect` changes the state with the report."""

    def __init__(self, chain: Chain, effect: Callable[[Work], None]) -> None:
        super().__init__(chain)
        self.effect = effect


class CommandFormat(Exception):
    """The command lacks what it needs or holds the wrong type: reported as CommandFormatError, without a chain."""


def mdm_domain(persona: Persona) -> str:
    renamed = version(persona.os_version) >= RENAMED_SINCE
    return "MDMErrorDomain" if renamed and not persona.is_mac else "MCMDMErrorDomain"


def item(persona: Persona, domain: str, code: int, text: str) -> ErrorItem:
    """One reason. The US English twin goes to the MDM and profile domains of everything but the Mac."""
    twin = not persona.is_mac and domain.startswith(("MC", "MDMError"))
    return ErrorItem(code=code, domain=domain, localized=text, us_english=text if twin else None)


def mdm(persona: Persona, code: int, text: str, *, mac_cause: int | None = None) -> DeviceError:
    """An error of the MDM domain; `mac_cause` is the MDMClientError that a Mac names in angle brackets."""
    if persona.is_mac and mac_cause is not None:
        text = f"{text} <{CLIENT}:{mac_cause}>"
    return DeviceError((item(persona, mdm_domain(persona), code, text),))


def client(persona: Persona, code: int, text: str) -> DeviceError:
    """A Mac's own MDMClientError."""
    return DeviceError((item(persona, CLIENT, code, text),))


def missing_key(persona: Persona, request_type: str, key: str) -> Exception:
    """A key that the command must have (captured: macOS 10.12, 97; iOS 11.3.1 answers CommandFormatError)."""
    if persona.is_mac:
        return client(persona, 97, f"No '{key}' in '{request_type}' command <{CLIENT}:97>")
    return CommandFormat(f"no {key} in {request_type}")


def not_a_request_type(persona: Persona, request_type: str) -> DeviceError:
    """Unknown here, or known but not for this platform or without supervision (captured on both platforms)."""
    if persona.is_mac:
        return mdm(persona, 12021, f"Unknown command: {request_type}", mac_cause=91)
    return mdm(persona, 12021, f"“{request_type}” is not a valid request type.")


def install_failed(persona: Persona, display_name: str, *causes: ErrorItem) -> DeviceError:
    """The chain that iOS puts around a failed profile; a Mac reports the cause alone.

    Source: the log of profiled in mosen/SCEPy issue 1 (iOS 11.3), the error chain in openradar-mirror issue 18452.
    """
    if persona.is_mac:
        return DeviceError(causes)
    return DeviceError(
        (
            item(persona, INSTALLATION, 4001, "Profile Installation Failed"),
            item(persona, INSTALLATION, 4001, "Profile Failed to Install"),
            item(persona, PROFILE, 1009, f"The profile “{display_name}” could not be installed."),
            *causes,
        )
    )
