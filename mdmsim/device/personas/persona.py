"""A persona: everything about one device that does not change while it is managed."""

from __future__ import annotations

import msgspec

from mdmsim.device.personas.catalog import MODELS, PLATFORMS, Model
from mdmsim.device.personas.releases import Release, at_least, find_release


def spaced_imei(imei: str) -> str:
    """15 digits in groups of 2, 6, 6 and 1."""
    return f"{imei[:2]} {imei[2:8]} {imei[8:14]} {imei[14:]}"


def spaced_iccid(iccid: str) -> str:
    """Digits in groups of four, from the left."""
    return " ".join(iccid[i : i + 4] for i in range(0, len(iccid), 4))


class PersonaError(ValueError):
    """A persona that was asked for cannot exist. The text names the value and what is allowed."""


class LocalUser(msgspec.Struct, frozen=True, kw_only=True):
    """The person whose account a Mac has. `guid`: GeneratedUID, an upper-case UUID."""

    short_name: str
    long_name: str
    guid: str


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A SIM that is in use, or none: a modem has an `imei` either way. Identifiers are digits without blanks."""

    imei: str
    iccid: str = ""
    phone_number: str = ""
    carrier: str = ""
    mcc: str = ""
    mnc: str = ""
    settings_version: str = ""

    @property
    def active(self) -> bool:
        return bool(self.iccid)


class Persona(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device. What its model and release decide is looked up, not stored; the rest is here. msgpack-serialisable.

    `order_number`: with region, such as MTLV3LL/A. `gigabytes`: the size it was sold with, decimal. `used`: the share of
    it in use, 0 to 1. MAC addresses: small letters and colons; `None` where there is no such interface. `modem`: a modem
    and its first subscription; `second`: its eSIM. `passcode`: of an iPhone or iPad, or the user's password on a Mac.
    `battery`: 0 to 1, None without battery. Captured devices decide spellings; see the properties.
    """

    kind: str
    product_name: str
    os_version: str
    build_version: str
    udid: str
    serial: str
    order_number: str
    device_name: str
    gigabytes: int
    used: float
    bluetooth: str
    wifi: str | None = None
    ethernet: str | None = None
    provisioning_udid: str | None = None
    modem: Subscription | None = None
    second: Subscription | None = None
    eid: str | None = None
    user: LocalUser | None = None
    eas_identifier: str | None = None
    battery: float | None = None
    region: str = "US"
    language: str = "en"
    time_zone: str = "America/Los_Angeles"
    supervised: bool = False
    passcode: str | None = None

    def __repr__(self) -> str:
        # Short, and without passcode: reprs end up in logs and assertion texts.
        return f"Persona({self.kind} {self.product_name}, {self.platform} {self.os_version}, serial={self.serial})"

    @property
    def catalog_model(self) -> Model:
        """What the catalog knows of this model. Raises PersonaError for a model that the catalog does not have."""
        try:
            return MODELS[self.product_name]
        except KeyError:
            raise PersonaError(f'model "{self.product_name}" is not in the catalog') from None

    @property
    def release(self) -> Release:
        """The OS release. Raises PersonaError for a version that the table of releases does not have."""
        found = find_release(self.platform, self.os_version)
        if found is None:
            raise PersonaError(f'{self.platform} "{self.os_version}" is not in the table of releases')
        return found

    @property
    def platform(self) -> str:
        """ios, ipados, macos or tvos."""
        return PLATFORMS[self.kind]

    @property
    def is_mac(self) -> bool:
        return self.platform == "macos"

    @property
    def is_apple_silicon(self) -> bool:
        return self.kind == "mac-silicon"

    @property
    def is_virtual(self) -> bool:
        return self.product_name.startswith("VirtualMac")

    @property
    def is_cellular(self) -> bool:
        return self.modem is not None

    @property
    def is_laptop(self) -> bool:
        return self.is_mac and self.battery is not None

    @property
    def marketing_name(self) -> str:
        """iPhone 15, MacBook Air (M1, 2020)."""
        return self.catalog_model.marketing_name

    @property
    def model_name(self) -> str:
        """ModelName: the family, such as iPhone, MacBook Pro, Virtual Machine, Apple TV (captured)."""
        return self.catalog_model.name

    @property
    def model(self) -> str:
        """Model: on a Mac the identifier, elsewhere the order number without `/A` (captured)."""
        return self.product_name if self.is_mac else self.order_number.partition("/")[0]

    @property
    def model_number(self) -> str | None:
        """ModelNumber, with its suffix. Only Apple silicon among Macs has one; a virtual machine has none (captured)."""
        if self.is_mac and (not self.is_apple_silicon or self.is_virtual):
            return None
        return self.order_number

    @property
    def software_update_device_id(self) -> str:
        """What the update service knows this model by: board on a Mac (captured: VMA2MACOSAP), ProductName elsewhere."""
        return self.catalog_model.board or self.product_name

    @property
    def imei(self) -> str | None:
        """With blanks, as devices write it: `35 735005 003432 4` (captured)."""
        return spaced_imei(self.modem.imei) if self.modem else None

    @property
    def imei2(self) -> str | None:
        return spaced_imei(self.second.imei) if self.second else None

    @property
    def meid(self) -> str | None:
        """14 digits without blanks (captured): the IMEI's without its check digit."""
        return self.modem.imei[:14] if self.modem else None

    @property
    def iccid(self) -> str | None:
        """In groups of four digits (Apple's sample answer); None without a SIM."""
        return spaced_iccid(self.modem.iccid) if self.modem and self.modem.active else None

    @property
    def phone_number(self) -> str | None:
        """Digits with country code; None without a SIM."""
        return self.modem.phone_number if self.modem and self.modem.active else None

    @property
    def checkin_imei(self) -> str | None:
        """IMEI in Authenticate. Captured: on an iPhone with 11.3.1 and an iPad with 15.7, not on iPhones with 15.5, 16.7.8."""
        return self.imei if self.platform == "ipados" or not self.at_least("15.0") else None

    @property
    def checkin_meid(self) -> str | None:
        """MEID in Authenticate. Captured: on an iPhone with 11.3.1, on no iPad, not on iPhones with 15.5 and 16.7.8."""
        return self.meid if self.platform == "ios" and not self.at_least("15.0") else None

    @property
    def wifi_mac(self) -> str | None:
        """WiFiMAC: small letters, colons, on every platform captured."""
        return self.wifi

    @property
    def ethernet_mac(self) -> str | None:
        """EthernetMAC: small letters, colons. A Mac without a port gives its Wi-Fi's, which is en0 (captured)."""
        return (self.ethernet or self.wifi) if self.is_mac else None

    @property
    def bluetooth_mac(self) -> str:
        """BluetoothMAC: dashes on macOS 10 (captured: 10.11), capitals later (captured: 13.3.1), small letters elsewhere."""
        if not self.is_mac:
            return self.bluetooth
        return self.bluetooth.upper() if self.at_least("11.0") else self.bluetooth.replace(":", "-")

    @property
    def has_passcode(self) -> bool:
        """Whether an iPhone or iPad has a passcode, or a Mac's user a password. An Apple TV never has one."""
        return self.passcode is not None

    @property
    def can_have_passcode(self) -> bool:
        return self.platform in ("ios", "ipados")

    @property
    def needs_pin_for_lock(self) -> bool:
        """PINRequiredForDeviceLock: every Mac (captured on Apple silicon; firmware PIN on Intel)."""
        return self.is_mac

    @property
    def needs_pin_for_erase(self) -> bool:
        """PINRequiredForEraseDevice: Macs that cannot erase contents and settings (mdm/commands/device.erase.yaml)."""
        return self.kind == "mac-intel" or (self.kind == "mac-t2" and not at_least(self.os_version, "12.0"))

    @property
    def locale(self) -> str:
        """en_US."""
        return f"{self.language}_{self.region}"

    @property
    def user_agent_region(self) -> str:
        """en-US, as in Accept-Language."""
        return f"{self.language}-{self.region}"

    def local_host_name(self, name: str | None = None) -> str:
        """The device's name, or another, as Bonjour spells it: letters, digits and dashes."""
        plain = (name or self.device_name).replace("’", "").replace("'", "")
        return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in plain).split()) or "Mac"

    def at_least(self, version: str) -> bool:
        """Whether this device runs that OS version or a newer one."""
        return at_least(self.os_version, version)
