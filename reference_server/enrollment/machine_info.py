"""MachineInfo: what a device in Setup Assistant says of itself, signed with its factory certificate.

Keys: other/machineinfo.yaml. The signature is CMS with the content inside; iOS sends its certificate's chain along,
Macs may send the leaf alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mdmsim.pki.chain import verify_chain
from mdmsim.pki.cms import verify
from mdmsim.pki.errors import BadSignature, UntrustedCertificate
from mdmsim.protocol import plist
from mdmsim.protocol.errors import Malformed
from reference_server.errors import Refusal

#: Real ones have four thousand bytes, chain included.
MAX_MACHINE_INFO = 128 * 1024

#: Longer values are nobody's serial number or version.
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """What counts here. `os_version` None: systems before iOS 17 and macOS 14 do not say. `supplement`: such as "(a)".

    `can_update`: the device would follow a demand to update first.
    """

    udid: str
    serial: str
    product: str
    build: str
    os_version: str | None
    supplement: str | None
    can_update: bool


def read_machine_info(data: bytes, anchors: Sequence[bytes], *, at_ms: int) -> MachineInfo:
    """The MachineInfo in a CMS message. Raises Refusal: 400 for what is none, 403 for a signer who is a stranger."""
    try:
        signed = verify(data)
    except BadSignature as error:
        raise Refusal(403, f"MachineInfo: {error}") from None
    except Malformed as error:
        raise Refusal(400, f"MachineInfo: {error}") from None
    if not anchors:
        raise Refusal(403, "MachineInfo: this server trusts no device CA (setting automated_anchors)")
    try:
        # Without dates: Apple's own device CA expired in 2014, and devices show certificates of it to this day.
        verify_chain(signed.signer, signed.certificates, anchors, at_ms=at_ms, dates=False)
    except (UntrustedCertificate, Malformed) as error:
        raise Refusal(403, f"MachineInfo: its signer is not trusted: {error}") from None
    try:
        values = plist.loads(signed.content, what="MachineInfo")
    except Malformed as error:
        raise Refusal(400, str(error)) from None
    return MachineInfo(
        udid=_required(values, "UDID"),
        serial=_required(values, "SERIAL"),
        product=_required(values, "PRODUCT"),
        build=_required(values, "VERSION"),
        os_version=_text(values, "OS_VERSION"),
        supplement=_text(values, "SUPPLEMENTAL_OS_VERSION_EXTRA"),
        can_update=values.get("MDM_CAN_REQUEST_SOFTWARE_UPDATE") is True,
    )


def _required(values: dict[str, object], key: str) -> str:
    value = _text(values, key)
    if not value:
        raise Refusal(400, f"MachineInfo: {key} is missing or no string")
    return value


def _text(values: dict[str, object], key: str) -> str | None:
    value = values.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise Refusal(400, f"MachineInfo: {key} is no short string")
    return value
