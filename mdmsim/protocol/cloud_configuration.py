"""What a device gets at activation: the profile assigned to it, and where it asks for it.

Apple's own form and protocol are private; these are mdmsim's (`docs/fake-dep.md`). The host is Apple's: "Use Apple
products on enterprise networks" lists it for the download of enrollment profiles.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from mdmsim.protocol.errors import Malformed

HOST = "iprofiles.apple.com"
PATH = "/v1/configuration"


class CloudConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The profile assigned to a device, as its MDM server defined it, and who assigned it.

    `profile` holds the keys that the server sent; the properties give them with their documented defaults. Apple,
    "Profile" of the Device Assignment Services.
    """

    serial_number: str
    profile_uuid: str
    profile: dict[str, Any]
    server_name: str
    server_uuid: str
    #: name, email, phone, address
    organisation: dict[str, str]

    @property
    def profile_name(self) -> str | None:
        return self._text("profile_name")

    @property
    def url(self) -> str:
        """Where the device sends its signed MachineInfo, unless there is a `configuration_web_url`."""
        return self._text("url") or ""

    @property
    def configuration_web_url(self) -> str | None:
        return self._text("configuration_web_url")

    @property
    def anchor_certs(self) -> tuple[bytes, ...]:
        """Certificates (DER) trusted for both URLs, instead of the built-in ones. Empty: the built-in ones."""
        return self._certificates("anchor_certs")

    @property
    def supervising_host_certs(self) -> tuple[bytes, ...]:
        return self._certificates("supervising_host_certs")

    @property
    def is_supervised(self) -> bool:
        """As defined; `mdmsim.device.remote_management` says what a device makes of it."""
        return self._flag("is_supervised", False)

    @property
    def is_mandatory(self) -> bool:
        return self._flag("is_mandatory", False)

    @property
    def is_mdm_removable(self) -> bool:
        return self._flag("is_mdm_removable", True)

    @property
    def await_device_configured(self) -> bool:
        return self._flag("await_device_configured", False)

    @property
    def is_multi_user(self) -> bool:
        return self._flag("is_multi_user", False)

    @property
    def auto_advance_setup(self) -> bool:
        return self._flag("auto_advance_setup", False)

    @property
    def allow_pairing(self) -> bool:
        return self._flag("allow_pairing", True)

    @property
    def do_not_use_profile_from_backup(self) -> bool:
        return self._flag("do_not_use_profile_from_backup", False)

    @property
    def is_return_to_service(self) -> bool:
        return self._flag("is_return_to_service", False)

    @property
    def skip_setup_items(self) -> tuple[str, ...]:
        found = self.profile.get("skip_setup_items")
        return tuple(item for item in found if isinstance(item, str)) if isinstance(found, list) else ()

    @property
    def language(self) -> str | None:
        return self._text("language")

    @property
    def region(self) -> str | None:
        return self._text("region")

    @property
    def department(self) -> str | None:
        return self._text("department")

    @property
    def support_phone_number(self) -> str | None:
        return self._text("support_phone_number")

    @property
    def support_email_address(self) -> str | None:
        return self._text("support_email_address")

    @property
    def org_magic(self) -> str | None:
        return self._text("org_magic")

    def _text(self, key: str) -> str | None:
        value = self.profile.get(key)
        return value if isinstance(value, str) and value else None

    def _flag(self, key: str, default: bool) -> bool:
        value = self.profile.get(key)
        return value if isinstance(value, bool) else default

    def _certificates(self, key: str) -> tuple[bytes, ...]:
        found = self.profile.get(key)
        certificates = []
        for text in found if isinstance(found, list) else ():
            try:
                certificates.append(base64.b64decode(text))
            except (binascii.Error, TypeError, ValueError):
                # The service took it with a warning; a device cannot use it.
                continue
        return tuple(certificates)


def to_json(configuration: CloudConfiguration) -> bytes:
    """The body of the activation endpoint's 200."""
    return msgspec.json.encode(configuration)


def from_json(body: bytes) -> CloudConfiguration:
    """The configuration in such a body. Raises Malformed."""
    try:
        return msgspec.json.decode(body, type=CloudConfiguration)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("cloud configuration", str(error)) from None
