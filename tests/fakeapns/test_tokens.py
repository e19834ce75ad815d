from __future__ import annotations

from typing import Any

from mdmsim.chance import Chance
from mdmsim.fakeapns.storage import Registration
from mdmsim.fakeapns.tokens import Tokens


def install(tokens: Tokens, token: bytes, **fields: Any) -> None:
    tokens.install(Registration(**{"topic": "one", "token": token, "device": "mac-1", **fields}))


def found(tokens: Tokens, topic: str = "one", channel: str = "device", environment: str = "production") -> bytes | None:
    slot = tokens.of_device("mac-1", topic, channel, environment)
    return slot.registration.token if slot is not None else None


def test_a_device_has_a_token_for_each_topic_channel_and_environment() -> None:
    tokens = Tokens(Chance(1))
    install(tokens, b"a")
    install(tokens, b"b", topic="two")
    install(tokens, b"c", channel="user")
    install(tokens, b"d", environment="sandbox")
    assert [
        found(tokens),
        found(tokens, "two"),
        found(tokens, channel="user"),
        found(tokens, environment="sandbox"),
        found(tokens, "three"),
    ] == [b"a", b"b", b"c", b"d", None]


def test_the_newest_generation_is_the_devices_token_whatever_comes_first() -> None:
    tokens = Tokens(Chance(1))
    install(tokens, b"other", topic="two")
    for token, generation in ((b"second", 1), (b"first", 0), (b"third", 2)):
        install(tokens, token, generation=generation)
    assert (found(tokens), found(tokens, "two")) == (b"third", b"other")


def test_a_device_that_nobody_named_has_none() -> None:
    tokens = Tokens(Chance(1))
    install(tokens, b"a", device="")
    assert tokens.of_device("", "one", "device", "production") is None
