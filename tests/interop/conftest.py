"""What interop tests share: the installation around NanoMDM, once per module; a fake APNs and a proxy, once per test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mdmsim.fakeapns import FakeApns
from mdmsim.pki.keys import FreshKeys
from tests.interop.push_clients import proxy_to
from tests.interop.stack import Site, site


@pytest.fixture(scope="module")
def nanomdm_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Devices have keys of their own, unless the module has a `KEYS` to take them from."""
    keys = getattr(request.module, "KEYS", None) or FreshKeys()
    with site(tmp_path_factory.mktemp("interop"), keys) as here:
        yield here


@pytest.fixture
def apns() -> Iterator[FakeApns]:
    with FakeApns() as running:
        yield running


@pytest.fixture
def proxy_port(apns: FakeApns) -> Iterator[int]:
    """A CONNECT proxy that leads from Apple's push hosts to `apns`."""
    with proxy_to(apns) as port:
        yield port
