"""The escrow keybag that iOS hands out as UnlockToken.

Layout as captured from iOS 9.3.5 to 13: a stream of four-character tag, four-byte big-endian length and value; the
outer parts are `DATA` and `SIGN`. Contents are random, as they are to any server: only the device can open it.
"""

from __future__ import annotations

from mdmsim.chance import Chance

VERSION = 5
ESCROW = 2
ITERATIONS = 50_000

#: Key class, kind of key, wrapped length; class 2 is asymmetric and has its public key beside it.
CLASSES = (1, 2, 3, 5, 6, 7, 8, 9, 10, 11)
ASYMMETRIC = 2


def _entry(tag: str, value: bytes) -> bytes:
    return tag.encode("ascii") + len(value).to_bytes(4, "big") + value


def _number(tag: str, value: int) -> bytes:
    return _entry(tag, value.to_bytes(4, "big"))


def escrow_keybag(chance: Chance) -> bytes:
    """An opaque unlock token of about 1.3 KB, of the captured form."""
    data = _number("VERS", VERSION) + _number("TYPE", ESCROW) + _entry("UUID", chance.bytes(16))
    data += _entry("HMCK", chance.bytes(40)) + _number("WRAP", 1)
    data += _entry("SALT", chance.bytes(20)) + _number("ITER", ITERATIONS)
    for key_class in CLASSES:
        data += _entry("UUID", chance.bytes(16)) + _number("CLAS", key_class) + _number("WRAP", 3)
        data += _number("KTYP", 1 if key_class == ASYMMETRIC else 0)
        data += _entry("WPKY", chance.bytes(32 if key_class == ASYMMETRIC else 40))
        if key_class == ASYMMETRIC:
            data += _entry("PBKY", chance.bytes(32))
    return _entry("DATA", data) + _entry("SIGN", chance.bytes(20))


def parse_keybag(token: bytes) -> dict[str, bytes]:
    """The outer parts by tag. Raises ValueError where the stream is cut or malformed."""
    parts: dict[str, bytes] = {}
    rest = token
    while rest:
        if len(rest) < 8:
            raise ValueError("unlock token: cut inside a tag or length")
        tag, length = rest[:4].decode("ascii", "replace"), int.from_bytes(rest[4:8], "big")
        if len(rest) < 8 + length:
            raise ValueError(f"unlock token: {tag} announces {length} bytes, {len(rest) - 8} follow")
        parts[tag], rest = rest[8 : 8 + length], rest[8 + length :]
    return parts
