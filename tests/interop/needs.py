"""What an interop test does when a program of others is not there: skipped with the reason, or failed where CI has it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.interop.go_programs import REQUIRED, SOURCES, NoGo, built, compiled, go_program
from tests.interop.node_packages import NoNode, node_modules


def missing(reason: str) -> NoReturn:
    """Skip the test; with MDMSIM_INTEROP=required fail it."""
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{REQUIRED}=required, but {reason}", pytrace=False)
    pytest.skip(reason)


def from_go(name: str) -> Path:
    """NanoMDM, scepserver, scepclient; or what is compiled of others' code: `foreign`, their parsers, `push`, their clients."""
    return _had(lambda: compiled(name) if name in SOURCES else go_program(name))


def from_go_source(name: str, source: Path) -> Path:
    """The Go program whose module is that folder."""
    return _had(lambda: built(name, source))


def from_npm(package: Path) -> Path:
    """The `node_modules` of that package.json; there is a `node` on the path then."""
    try:
        return node_modules(package)
    except NoNode as error:
        missing(str(error))


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
