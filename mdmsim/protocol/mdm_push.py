"""The payload of an MDM push: the push magic and nothing else (MDM Protocol Reference, "Sending push notifications")."""

from __future__ import annotations

import msgspec

from mdmsim.protocol.errors import Malformed

#: APNs takes 4096 bytes (Apple, "Generating a remote notification"); more than that is not even looked at.
MAX_BYTES = 4096


class _Payload(msgspec.Struct):
    mdm: str


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Payload)


def build_payload(push_magic: str) -> bytes:
    """The JSON that wakes the device with that push magic."""
    return _ENCODER.encode(_Payload(push_magic))


def parse_payload(payload: bytes) -> str:
    """The push magic in a payload; other keys are ignored. Raises Malformed."""
    if len(payload) > MAX_BYTES:
        raise Malformed("push payload", f"{len(payload)} bytes; allowed are {MAX_BYTES}")
    try:
        return _DECODER.decode(payload).mdm
    except (msgspec.MsgspecError, RecursionError, ValueError):
        # The reason is left out: it could quote the push magic.
        raise Malformed("push payload", 'not a JSON object such as {"mdm": "..."} with a string', key="mdm") from None
