"""One invented run for all tests that only read it."""

from __future__ import annotations

import pytest

from mdmsim.report import Case, Run
from mdmsim.report.document import Document, build
from tests.report.synthetic import demo_run


@pytest.fixture(scope="session")
def demo() -> tuple[Run, list[Case]]:
    return demo_run()


@pytest.fixture(scope="session")
def document(demo: tuple[Run, list[Case]]) -> Document:
    return build(*demo)


@pytest.fixture(scope="session")
def busy() -> tuple[Run, list[Case]]:
    """Sixty cases of twenty exchanges each: more than a demo has."""
    return demo_run(repeat=2, busy=4)
