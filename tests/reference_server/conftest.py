"""Every test of the server runs under trio and under asyncio, unless its module says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reference_server.kit import Server


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.app.close()
