from __future__ import annotations

from mdmsim.fakeapns.storage import MemoryStorage, Push, Registration

TOKEN = b"t" * 32


def push(number: int) -> Push:
    return Push(number, "topic", TOKEN, b"{}", "id", 0, 1)


def test_an_empty_storage_takes_the_epoch_that_it_is_given_once() -> None:
    storage = MemoryStorage()
    assert (storage.load("first").epoch, storage.load("second").epoch) == ("first", "first")


def test_the_newest_push_is_kept() -> None:
    storage = MemoryStorage()
    storage.keep_push(push(1))
    storage.keep_push(push(2))
    assert list(storage.load("").pushes) == [push(2)]


def test_dropping_an_older_push_leaves_the_newer_one() -> None:
    storage = MemoryStorage()
    storage.keep_push(push(2))
    storage.drop_push(push(1))
    assert list(storage.load("").pushes) == [push(2)]


def test_dropping_a_push_twice_is_no_mistake() -> None:
    storage = MemoryStorage()
    storage.keep_push(push(1))
    storage.drop_push(push(1))
    storage.drop_push(push(1))
    assert list(storage.load("").pushes) == []


def test_a_later_registration_replaces_an_earlier_one() -> None:
    storage = MemoryStorage()
    storage.keep_registration(Registration(topic="topic", token=TOKEN))
    storage.keep_registration(Registration(topic="topic", token=TOKEN, retired_ms=5))
    (kept,) = storage.load("").registrations
    assert kept.retired_ms == 5
