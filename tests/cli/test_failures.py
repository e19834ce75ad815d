"""What an exception means to whoever typed the command."""

from __future__ import annotations

import errno
from importlib import import_module

import pytest

from mdmsim.cli.exits import CommandFailed, Mistake
from mdmsim.cli.failures import CODES, explain
from mdmsim.device.personas import PersonaError
from mdmsim.fleet.store import StoreError
from mdmsim.http import ConnectFailed


@pytest.mark.parametrize("name", CODES)
def test_every_error_that_is_named_exists(name: str) -> None:
    module, _, kind = name.rpartition(".")
    assert issubclass(getattr(import_module(module), kind), Exception)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Mistake("x"), 2),
        (CommandFailed("x"), 3),
        (PersonaError("x"), 2),
        (StoreError("x"), 2),
        (ConnectFailed("x"), 3),
    ],
)
def test_a_known_error_is_its_message_and_its_code(error: Exception, code: int) -> None:
    assert explain(error) == ("x", code)


def test_a_bug_has_no_explanation() -> None:
    assert explain(KeyError("x")) is None


def test_a_bug_beside_a_known_error_has_no_explanation() -> None:
    assert explain(ExceptionGroup("", [Mistake("x"), KeyError("y")])) is None


def test_of_several_errors_the_gravest_is_told() -> None:
    assert explain(ExceptionGroup("", [Mistake("x"), ExceptionGroup("", [CommandFailed("y")])])) == ("y", 3)


def test_ctrl_c_in_a_group_is_an_interruption() -> None:
    assert explain(BaseExceptionGroup("", [Mistake("x"), KeyboardInterrupt()])) == ("interrupted", 130)


def test_ctrl_c_that_python_turned_into_another_error_is_an_interruption() -> None:
    error = RuntimeError("Error calling __set_name__")
    error.__cause__ = KeyboardInterrupt()
    assert explain(error) == ("interrupted", 130)


@pytest.mark.parametrize(
    ("number", "file", "code", "says"),
    [
        (errno.EADDRINUSE, None, 3, "choose another port"),
        (errno.EACCES, "/etc/shadow", 2, "/etc/shadow"),
        (errno.EROFS, "/cdrom/x", 2, "may write"),
        (errno.ENOSPC, "/x", 3, "Make room"),
        (errno.ENOENT, "/x", 2, "/x: no such file"),
        (errno.EMFILE, None, 3, "too many open files"),
    ],
)
def test_what_the_machine_has_against_it_says_where_and_what_to_do(
    number: int, file: str | None, code: int, says: str
) -> None:
    import os

    told = explain(OSError(number, os.strerror(number), file))
    assert told is not None
    assert told[1] == code
    assert says in told[0]
