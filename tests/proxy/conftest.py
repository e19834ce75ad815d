from __future__ import annotations

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, SharedKeys


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="session")
def authority() -> Authority:
    keys = SharedKeys(1, FreshKeys())
    return Authority.create("a test authority", keys=keys, clock=ManualClock(), chance=Chance("proxy"), kind="ec")
