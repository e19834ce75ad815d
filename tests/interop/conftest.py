"""The installation around NanoMDM, once per module: it takes a second to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mdmsim.pki.keys import FreshKeys
from tests.interop.stack import Site, site


@pytest.fixture(scope="module")
def nanomdm_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Devices have keys of their own, unless the module has a `KEYS` to take them from."""
    keys = getattr(request.module, "KEYS", None) or FreshKeys()
    with site(tmp_path_factory.mktemp("interop"), keys) as here:
        yield here
