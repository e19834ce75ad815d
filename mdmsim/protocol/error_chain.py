"""ErrorChain: the reasons in an Error report, from the outer error to its cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mdmsim.protocol.fields import Fields


@dataclass(frozen=True, slots=True)
class ErrorItem:
    """One item of an error chain.

    `localized` is in the device's language. `us_english` comes with the MDM domains on iOS and not at all on macOS
    (captured: iOS 11 to 26, macOS 10.12 to 15).
    """

    code: int
    domain: str
    localized: str = ""
    us_english: str | None = None


def chain_to_plist(chain: Iterable[ErrorItem]) -> list[dict[str, Any]]:
    """The value of the ErrorChain key."""
    items = []
    for item in chain:
        keys: dict[str, Any] = {
            "ErrorCode": item.code,
            "ErrorDomain": item.domain,
            "LocalizedDescription": item.localized,
        }
        if item.us_english is not None:
            keys["USEnglishDescription"] = item.us_english
        items.append(keys)
    return items


def take_chain(fields: Fields, key: str = "ErrorChain") -> tuple[ErrorItem, ...]:
    """The error chain under that key; empty when the key is absent. Raises Malformed.

    Code and domain must be there; servers have to live without the texts, which no code depends on.
    """
    chain = []
    for number, item in enumerate(fields.dictionaries(key) or ()):
        inner = Fields(fields.what, item, where=f"{fields.where}{key}[{number}].")
        chain.append(
            ErrorItem(
                code=inner.required_integer("ErrorCode"),
                domain=inner.required_string("ErrorDomain"),
                localized=inner.string("LocalizedDescription") or "",
                us_english=inner.string("USEnglishDescription"),
            )
        )
    return tuple(chain)


def chain_from_plist(items: list[Any], *, what: str = "ErrorChain") -> tuple[ErrorItem, ...]:
    """The error chain in a value of the ErrorChain key. Raises Malformed."""
    return take_chain(Fields(what, {"ErrorChain": items}))
