"""What every storage promises: one suite, for the one in memory and the one in a SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mdmsim.fakeapns.sqlite_storage import SqliteStorage
from mdmsim.fakeapns.storage import MemoryStorage, Push, Registration, Storage, Stored

pytestmark = pytest.mark.anyio

TOPIC = "com.apple.mgmt.External.1"
TOKEN = b"t" * 32


def push(number: int, **fields: Any) -> Push:
    whole = {"topic": TOPIC, "token": TOKEN, "payload": b"{}", "apns_id": "id", "accepted_ms": 0, "expires_ms": 1}
    return Push.of(number, **{**whole, **fields})


class Kept:
    """A storage, and what it is after the process ended in good order."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.storage: Storage = MemoryStorage() if path is None else SqliteStorage(path)
        self.storage.load("epoch")

    def restart(self) -> Stored:
        if self._path is not None:
            self.close()
            self.storage = SqliteStorage(self._path)
        stored = self.storage.load("another epoch")
        return msgspec.structs.replace(
            stored, registrations=list(stored.registrations), pushes=sorted(stored.pushes, key=lambda one: one.number)
        )

    def close(self) -> None:
        if isinstance(self.storage, SqliteStorage):
            self.storage.close()


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "apns.db" if request.param == "sqlite" else None)
    yield kept
    kept.close()


def test_an_empty_storage_takes_the_epoch_that_it_is_given_once(kept: Kept) -> None:
    assert (kept.restart().epoch, kept.restart().epoch) == ("epoch", "epoch")


def test_an_empty_storage_has_nothing(kept: Kept) -> None:
    stored = kept.restart()
    assert (stored.registrations, stored.pushes, list(stored.certificates), stored.number) == ([], [], [], 0)


def test_a_push_comes_back_field_by_field(kept: Kept) -> None:
    whole = Push.of(7, TOPIC, b"\x00\xff" * 16, b"\x00{", "ID \xe9", 1_767_225_600_000, 1_767_312_000_000)
    kept.storage.keep_push(whole)
    assert kept.restart().pushes == [whole]


def test_the_newest_push_is_kept(kept: Kept) -> None:
    kept.storage.keep_push(push(1))
    kept.storage.keep_push(push(2))
    assert kept.restart().pushes == [push(2)]


async def test_the_newest_push_is_kept_when_the_older_one_was_safe(kept: Kept) -> None:
    kept.storage.keep_push(push(1))
    await kept.storage.durable()
    kept.storage.keep_push(push(2))
    assert kept.restart().pushes == [push(2)]


def test_pushes_of_other_topics_and_tokens_stay_apart(kept: Kept) -> None:
    pushes = [push(1), push(2, token=b"u" * 32), push(3, topic="com.apple.mgmt.External.2"), push(4, token=b"t")]
    for one in pushes:
        kept.storage.keep_push(one)
    kept.storage.drop_push(pushes[0])
    assert kept.restart().pushes == pushes[1:]


def test_dropping_an_older_push_leaves_the_newer_one(kept: Kept) -> None:
    kept.storage.keep_push(push(2))
    kept.storage.drop_push(push(1))
    assert kept.restart().pushes == [push(2)]


async def test_dropping_an_older_push_leaves_the_newer_one_that_was_safe(kept: Kept) -> None:
    kept.storage.keep_push(push(2))
    await kept.storage.durable()
    kept.storage.drop_push(push(1))
    assert kept.restart().pushes == [push(2)]


async def test_dropping_the_newer_push_drops_the_older_one_that_was_safe(kept: Kept) -> None:
    kept.storage.keep_push(push(1))
    await kept.storage.durable()
    kept.storage.keep_push(push(2))
    kept.storage.drop_push(push(2))
    assert kept.restart().pushes == []


def test_dropping_a_push_twice_is_no_mistake(kept: Kept) -> None:
    kept.storage.keep_push(push(1))
    kept.storage.drop_push(push(1))
    kept.storage.drop_push(push(1))
    assert kept.restart().pushes == []


def test_a_push_is_kept_after_an_older_one_was_dropped(kept: Kept) -> None:
    kept.storage.keep_push(push(1))
    kept.storage.drop_push(push(1))
    kept.storage.keep_push(push(2))
    assert kept.restart().pushes == [push(2)]


def test_numbers_that_were_given_out_are_remembered_when_their_pushes_are_gone(kept: Kept) -> None:
    kept.storage.keep_push(push(500))
    kept.storage.drop_push(push(500))
    assert kept.restart().number >= 500


def test_a_registration_comes_back_field_by_field(kept: Kept) -> None:
    whole = Registration(
        topic=TOPIC,
        token=b"\x00\xff" * 16,
        device="mac-é",
        channel="user",
        generation=3,
        registered_ms=1_767_225_600_000,
        retired_ms=1_767_225_600_001,
        environment="sandbox",
    )
    kept.storage.keep_registration(whole)
    assert kept.restart().registrations == [whole]


async def test_registrations_come_back_in_the_order_in_which_they_were_first_kept(kept: Kept) -> None:
    registrations = [Registration(topic=TOPIC, token=bytes([number])) for number in (5, 1, 3)]
    for one in registrations:
        kept.storage.keep_registration(one)
    await kept.storage.durable()
    kept.storage.keep_registration(registrations[1])
    assert kept.restart().registrations == registrations


def test_a_later_registration_replaces_an_earlier_one(kept: Kept) -> None:
    kept.storage.keep_registration(Registration(topic=TOPIC, token=TOKEN))
    kept.storage.keep_registration(Registration(topic=TOPIC, token=TOKEN, retired_ms=5))
    (registration,) = kept.restart().registrations
    assert registration.retired_ms == 5


def test_certificates_are_kept_once(kept: Kept) -> None:
    for der in (b"second", b"first", b"second"):
        kept.storage.keep_certificate(der)
    assert sorted(kept.restart().certificates) == [b"first", b"second"]


async def test_a_certificate_that_was_dropped_is_gone(kept: Kept) -> None:
    kept.storage.keep_certificate(b"a certificate")
    await kept.storage.durable()
    kept.storage.drop_certificate(b"a certificate")
    kept.storage.drop_certificate(b"another one")
    assert list(kept.restart().certificates) == []


async def test_a_thousand_changes_of_every_kind_come_back(kept: Kept) -> None:
    tokens = [number.to_bytes(32, "big") for number in range(1_000)]
    for number, token in enumerate(tokens):
        kept.storage.keep_registration(Registration(topic=f"topic {number % 7}", token=token))
        kept.storage.keep_push(push(number + 1, topic=f"topic {number % 7}", token=token))
    await kept.storage.durable()
    for number in range(0, 1_000, 3):
        kept.storage.drop_push(push(number + 1, topic=f"topic {number % 7}", token=tokens[number]))
    stored = kept.restart()
    assert [one.token for one in stored.registrations] == tokens
    assert [one.number for one in stored.pushes] == [number + 1 for number in range(1_000) if number % 3]


async def test_all_is_well(kept: Kept) -> None:
    kept.storage.keep_push(push(1))
    await kept.storage.durable()
    assert kept.storage.trouble is None
