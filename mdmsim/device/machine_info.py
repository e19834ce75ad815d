"""MachineInfo: what a device says about itself when it asks for its enrollment profile, signed by the factory's key.

Keys: other/machineinfo.yaml. The form of the signature is captured: SHA-1 with signed attributes from iOS 16.7.8, the
leaf and two intermediates beside it; without signed attributes from macOS 13.
"""

from __future__ import annotations

from typing import Any

from mdmsim.device.device import Device
from mdmsim.pki.cms import sign
from mdmsim.protocol import plist

#: From these versions on, a server may demand an update, so the device names its OS version (schema).
OS_VERSION_SINCE = {"ios": "17.0", "ipados": "17.0", "tvos": "17.0", "macos": "14.0"}
UPDATE_ID_SINCE = {"ios": "17.4", "ipados": "17.4", "macos": "14.4"}


class NoFactoryIdentity(Exception):
    """The device was built without one: a world makes it, or Automated Device Enrollment is not possible."""


def machine_info(device: Device, *, setup_assistant: bool = True) -> bytes:
    """The property list. `setup_assistant`: whether the device could update before it enrols."""
    persona = device.persona
    values: dict[str, Any] = {
        "LANGUAGE": f"{persona.language}-{persona.region}",
        "PRODUCT": persona.product_name,
        "SERIAL": persona.serial,
        "UDID": persona.udid,
        "VERSION": persona.build_version,
    }
    since = OS_VERSION_SINCE.get(persona.platform)
    if since is not None and persona.at_least(since):
        values["OS_VERSION"] = persona.os_version
        if persona.platform != "tvos":
            values["MDM_CAN_REQUEST_SOFTWARE_UPDATE"] = setup_assistant
    since = UPDATE_ID_SINCE.get(persona.platform)
    if since is not None and persona.at_least(since):
        values["SOFTWARE_UPDATE_DEVICE_ID"] = persona.software_update_device_id
    if persona.platform in ("ios", "ipados") and persona.imei and persona.meid:
        values["IMEI"], values["MEID"] = persona.imei, persona.meid
    return plist.dumps(values, like_device=True)


def signed_machine_info(device: Device, *, setup_assistant: bool = True) -> bytes:
    """MachineInfo in CMS, content inside. Raises NoFactoryIdentity."""
    ref = device.state.factory
    if ref is None:
        raise NoFactoryIdentity(device.device_id)
    return sign(
        machine_info(device, setup_assistant=setup_assistant),
        device.identity(ref),
        attributes=not device.persona.is_mac,
        signed_at_ms=device.clock.now_ms(),
        digest="sha1",
        form="der",
        certificates=[device.store.get(digest) for digest in device.state.factory_chain],
    )
