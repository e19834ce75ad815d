from __future__ import annotations

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, SharedKeys
from tests.fakeapns.support import TOPIC, Bench


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="session")
def authority() -> Authority:
    clock = ManualClock()
    keys = SharedKeys(1, FreshKeys())
    return Authority.create("a test authority", keys=keys, clock=clock, chance=Chance("authority"), kind="ec")


@pytest.fixture(scope="session")
def provider(authority: Authority) -> Identity:
    """A push provider's identity for TOPIC."""
    return authority.issue_push(TOPIC)


@pytest.fixture
def bench(provider: Identity) -> Bench:
    return Bench(provider)
