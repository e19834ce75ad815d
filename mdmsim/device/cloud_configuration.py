"""What a device learns at activation: the profile that Apple's device enrollment service has for its serial.

Apple's own format is private; this reads the one that the fake DEP hands out (docs/fake-dep.md). The keys of the profile
are Apple's (Device Assignment Services, "Profile").
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from mdmsim.protocol.errors import Malformed


class CloudConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The assigned profile: `profile` holds Apple's keys as the MDM server defined them."""

    profile_uuid: str
    profile: dict[str, Any]

    @property
    def url(self) -> str:
        return self._text("url")

    @property
    def web_url(self) -> str:
        """Where a web view is to be opened; it goes before `url`."""
        return self._text("configuration_web_url")

    @property
    def anchors(self) -> tuple[bytes, ...]:
        """Certificates (DER) that replace the built-in roots for fetching the enrollment profile."""
        found = self.profile.get("anchor_certs")
        if not isinstance(found, list):
            return ()
        try:
            return tuple(base64.b64decode(text, validate=True) for text in found if isinstance(text, str))
        except binascii.Error:
            raise Malformed("cloud configuration", "anchor_certs holds something that is not base64") from None

    @property
    def removable(self) -> bool:
        return self.profile.get("is_mdm_removable") is not False

    @property
    def awaits(self) -> bool:
        """Hold the device in Setup Assistant until the server says DeviceConfigured."""
        return self.profile.get("await_device_configured") is True

    @property
    def auto_advance(self) -> bool:
        return self.profile.get("auto_advance_setup") is True

    def _text(self, key: str) -> str:
        value = self.profile.get(key)
        return value if isinstance(value, str) else ""


def read_cloud_configuration(body: bytes) -> CloudConfiguration:
    """Raises Malformed for anything that is not a cloud configuration."""
    try:
        return msgspec.json.decode(body, type=CloudConfiguration)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed("cloud configuration", str(error)) from None
