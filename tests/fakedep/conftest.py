from __future__ import annotations

import pytest

from tests.fakedep.support import Bench


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def bench() -> Bench:
    return Bench()
