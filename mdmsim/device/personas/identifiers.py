"""Identifiers as hardware carries them, drawn by chance: UDIDs, serials, MAC addresses, numbers of modems and SIMs."""

from __future__ import annotations

import uuid

from mdmsim.chance import Chance
from mdmsim.device.personas.catalog import Model

#: Digits and capitals of serial numbers. Apple's leave out I and O, and mostly L and U; here all four are left out.
SERIAL_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_PLANTS = {
    "iphone": ("C39", "DNP", "F17", "F4G", "FFM", "DX3", "G6T"),
    "ipad": ("DMP", "F5R", "GG7", "DY5"),
    "mac": ("C02", "C07", "C17", "D25", "FVF", "F5K"),
    "appletv": ("C07", "DY3", "DQ6"),
}
# Half-year of production, first and second. The letter L (late 2013) is outside the alphabet above, so K stands for all of 2013.
_HALVES = {2012: "HJ", 2013: "KK", 2014: "MN", 2015: "PQ", 2016: "RS", 2017: "TV", 2018: "WX", 2019: "YZ", 2020: "CD"}
_WEEKS = "123456789CDFGHJKMNPQRTVWXY"  # 26 weeks of a half-year

#: Year from which serials are drawn without meaning, instead of telling plant, week and model.
RANDOM_SERIALS_FROM = 2021

#: Address blocks of Apple's (IEEE registry); 5c:e9:1e was captured (macOS 13.3.1).
APPLE_OUIS = (
    "5c:e9:1e",
    "f0:18:98",
    "a4:83:e7",
    "ac:bc:32",
    "3c:22:fb",
    "8c:85:90",
    "14:7d:da",
    "f8:ff:c2",
    "38:f9:d3",
)


def luhn_digit(digits: str) -> str:
    """The check digit that follows those digits (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def digits(chance: Chance, count: int) -> str:
    return f"{int.from_bytes(chance.bytes(count), 'big') % 10**count:0{count}d}"


def _letters(chance: Chance, count: int) -> str:
    return "".join(SERIAL_ALPHABET[byte % 32] for byte in chance.bytes(count))


def chip_udid(chance: Chance, chip_id: str) -> str:
    """The newer form, `<8 hex chip>-<16 hex>` in capitals (captured: 00008020-000915083C80012E). The number has 53 bits."""
    return f"{chip_id}-{int.from_bytes(chance.bytes(7), 'big') >> 3:016X}"


def mac_udid(chance: Chance) -> str:
    """An upper-case UUID of version 5 (captured on Intel and Apple silicon)."""
    return str(uuid.UUID(bytes=chance.bytes(16), version=5)).upper()


def udid(chance: Chance, model: Model) -> str:
    """The UDID as the platform and the chip form it; up to A11, 40 lower-case hex digits."""
    if model.kind.startswith("mac-"):
        return mac_udid(chance)
    return chance.hex(20) if model.chip.id is None else chip_udid(chance, model.chip.id)


def serial(chance: Chance, model: Model) -> str:
    """A serial as the year of production forms it: 12 characters that mean something, later 10 that do not."""
    if model.identifier.startswith("VirtualMac"):
        return "Z" + _letters(chance, 9)  # captured: ZDL2M9PTJ3, Z3C2FCE2C0
    year = chance.randint(*model.years)
    if year >= RANDOM_SERIALS_FROM:
        # A letter first, as on every serial captured.
        return chance.choice("CDFGHJKMNPQRTVWXY") + _letters(chance, 9)
    plant = chance.choice(_PLANTS[model.kind.partition("-")[0]])
    return plant + chance.choice(_HALVES[year]) + chance.choice(_WEEKS) + _letters(chance, 3) + _letters(chance, 4)


def mac_address(chance: Chance) -> str:
    """An address in one of Apple's blocks, small letters and colons. Even, so that the next one is free for Bluetooth."""
    rest = chance.bytes(3)
    return f"{chance.choice(APPLE_OUIS)}:{rest[0]:02x}:{rest[1]:02x}:{rest[2] & 0xFE:02x}"


def next_address(address: str) -> str:
    """The address after an even one: Bluetooth sits beside Wi-Fi."""
    return f"{address[:-2]}{int(address[-2:], 16) + 1:02x}"


def local_address(chance: Chance) -> str:
    """A locally administered address, as virtual machines have (captured: 22:7a:...)."""
    octets = bytearray(chance.bytes(6))
    octets[0] = octets[0] & 0xFC | 0x02
    return ":".join(f"{octet:02x}" for octet in octets)


def imei(chance: Chance) -> str:
    """15 digits, the last a Luhn check digit (3GPP TS 23.003 section 6.2)."""
    body = "35" + digits(chance, 12)
    return body + luhn_digit(body)


def iccid(chance: Chance, prefix: str) -> str:
    """19 digits and a Luhn check digit (ITU-T E.118), beginning with the issuer's."""
    body = prefix + digits(chance, 19 - len(prefix))
    return body + luhn_digit(body)


def eid(chance: Chance) -> str:
    """32 digits, of which the last two make the number 1 modulo 97 (GSMA SGP.29)."""
    body = "89049032" + digits(chance, 22)
    return body + f"{98 - int(body + '00') % 97:02d}"
