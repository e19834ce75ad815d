"""What an interop test does when a program of others is not there: skipped with the reason, or failed where CI has it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.interop.go_programs import REQUIRED, NoGo, foreign_parser, go_program


def missing(reason: str) -> NoReturn:
    """Skip the test; with MDMSIM_INTEROP=required fail it."""
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, but {reason}", pytrace=False)
    pytest.skip(reason)


def from_go(name: str) -> Path:
    """NanoMDM, scepserver, scepclient, or `foreign`: the parsers that they are made of."""
    return _had(foreign_parser if name == "foreign" else lambda: go_program(name))


def _had(get: Callable[[], Path]) -> Path:
    try:
        return get()
    except NoGo as error:
        missing(str(error))


def from_path(name: str) -> str:
    """A program that the machine has, such as openssl or curl."""
    program = shutil.which(name)
    if program is None:
        missing(f"there is no `{name}` on the path")
    return program
