"""The compiled facts as typed values, loaded once when first asked for. `compile` writes the file.

`FORMAT` goes up with each change that a reader must know of.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Literal

import msgspec

FORMAT = 3

Mode = Literal["allowed", "required", "forbidden", "ignored"]
#: A right's bit; 0: none is needed; "query": each query of the command has its own.
Right = int | Literal["query"]


class SharedIPad(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What holds on a Shared iPad. A channel that the schema does not speak of is None."""

    mode: Mode = "allowed"
    device: bool | None = None
    user: bool | None = None


class Availability(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a thing exists on one platform, as the schema states it: None is what it does not state.

    `introduced` None: as the thing around it. `available` False: "n/a", never on this platform. `right`: the access
    right that it needs. `device`, `user`: whether it is there on that channel. Of payloads alone: `multiple`: a profile
    may hold several of the type; `manual`: a person may install it; `user_approved`: it needs user-approved MDM.
    """

    available: bool = True
    introduced: str | None = None
    deprecated: str | None = None
    removed: str | None = None
    right: Right | None = None
    supervised: bool | None = None
    dep: bool | None = None
    device: bool | None = None
    user: bool | None = None
    user_enrollment: Mode | None = None
    shared_ipad: SharedIPad | None = None
    multiple: bool | None = None
    manual: bool | None = None
    user_approved: bool | None = None


class Key(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One key of a message. `type` is the schema's without brackets; `values` the only ones allowed, where listed."""

    name: str
    type: Literal["string", "integer", "real", "boolean", "date", "data", "array", "dictionary", "any"]
    required: bool = False
    values: tuple[str | int | float, ...] = ()
    default: str | int | float | bool | None = None
    platforms: dict[str, Availability] = {}
    subkeys: tuple[Key, ...] = ()


class CommandFacts(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One command: its file in the schema, where it is available, by column, and the names of its answer's keys.

    `answer`: name to the names inside: of a dictionary, or of the dictionaries in a list; null where anything goes.
    """

    source: str
    platforms: dict[str, Availability]
    answer: dict[str, Any] = {}


class CheckinFacts(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One check-in message: availability by column, request keys and, where there is an answer, its keys."""

    source: str
    platforms: dict[str, Availability]
    keys: tuple[Key, ...]
    response_keys: tuple[Key, ...] = ()


class PayloadFacts(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One payload type of profiles: availability by column, and the keys that it must have (without their subkeys)."""

    source: str
    platforms: dict[str, Availability]
    required: tuple[Key, ...] = ()


class DeclarativeFacts(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One declaration type or status item of declarative management: its file and availability by column."""

    source: str
    platforms: dict[str, Availability]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the facts were compiled from; `newest` is the highest version that any file names, by column."""

    repository: str
    license: str
    newest: dict[str, str]


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    format: int
    source: Source
    commands: dict[str, CommandFacts]
    checkin: dict[str, CheckinFacts]
    payloads: dict[str, PayloadFacts]
    declarations: dict[str, DeclarativeFacts]
    status: dict[str, DeclarativeFacts]


def decode(data: bytes) -> Facts:
    """Facts from the bytes of a fact file. Raises ValueError with the reason."""
    facts = msgspec.json.decode(data, type=Facts)
    if facts.format != FORMAT:
        raise ValueError(f"fact file of format {facts.format}; this version reads {FORMAT}")
    return facts


def encode_value(value: Any) -> bytes:
    """One value of the file as compact JSON."""
    return msgspec.json.encode(value)


@cache
def load() -> Facts:
    """The committed facts."""
    return decode(resources.files("mdmsim.schema").joinpath("facts.json").read_bytes())
