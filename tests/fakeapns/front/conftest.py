from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mdmsim.fakeapns.front.context import SERVER_NAMES
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.startup import LOOPBACK_ADDRESSES
from tests.fakeapns.front.support import Served, served_front
from tests.fakeapns.support import Bench


@pytest.fixture(scope="session")
def server_identity(authority: Authority) -> Identity:
    return authority.issue_server(SERVER_NAMES, LOOPBACK_ADDRESSES)


@pytest.fixture
def front_settings() -> FrontSettings:
    """For tests to override."""
    return FrontSettings()


@pytest.fixture
async def served(
    bench: Bench, authority: Authority, server_identity: Identity, front_settings: FrontSettings
) -> AsyncIterator[Served]:
    async with served_front(bench, authority, server_identity, front_settings) as front:
        yield front
