"""Looking through many things without making others wait: in portions, and no further than the page that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import anyio.lowlevel

from mdmsim.fakeapns.due import token_of
from mdmsim.fakeapns.journal import Transaction
from mdmsim.fakeapns.session import Slot
from mdmsim.fakeapns.tokens import Tokens

#: How many are looked at in one go: about a millisecond.
PORTION = 2_000

T = TypeVar("T")


async def chosen(all_of: Iterable[T], matches: Callable[[T], bool], limit: int | None = None) -> list[T]:
    """Those that match, in their order, and not more than `limit`. Pushes and answers of others come in between."""
    found: list[T] = []
    # A copy, because what is looked at may change while others have their turn.
    for number, one in enumerate(list(all_of), 1):
        if matches(one):
            found.append(one)
            if len(found) == limit:
                break
        if number % PORTION == 0:
            await anyio.lowlevel.checkpoint()
    return found


class Words:
    """What somebody typed into the one search box: every word must be found somewhere.

    A word is part of a device's name, a token, a topic, an apns-id or a reason, or it is a whole UDID or serial number.
    """

    def __init__(self, text: str, tokens: Tokens) -> None:
        self._tokens = tokens
        self._words = [(word.lower(), _called(word, tokens).lower()) for word in text.split()]

    def __bool__(self) -> bool:
        return bool(self._words)

    def in_slot(self, slot: Slot) -> bool:
        one = slot.registration
        return self._in(one.device.lower(), f"{one.token.hex()} {one.topic.lower()} {one.channel} {one.environment}")

    def in_transaction(self, transaction: Transaction) -> bool:
        text = f"{token_of(transaction)} {transaction.topic} {transaction.apns_id} {transaction.reason} {transaction.fault}"
        return self._in(device_of(transaction, self._tokens).lower(), text.lower())

    def _in(self, device: str, text: str) -> bool:
        return all(word in device or called == device or word in text for word, called in self._words)


def device_of(transaction: Transaction, tokens: Tokens) -> str:
    """Whose push it was, also where it was refused before anybody looked at its token."""
    if transaction.device:
        return transaction.device
    try:
        return tokens.holder(transaction.token or bytes.fromhex(token_of(transaction)))
    except ValueError:
        return ""


def _called(word: str, tokens: Tokens) -> str:
    """UDIDs and serial numbers have capital letters; people type small ones."""
    called = tokens.device_called(word)
    return called if called != word else tokens.device_called(word.upper())
