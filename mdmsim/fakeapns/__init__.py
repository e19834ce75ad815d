"""A stand-in for Apple's push service: service logic, an HTTP/2 front for providers, a courier for devices.

    from mdmsim.fakeapns import FakeApns

For other people's test suites: the whole fake as a context manager (`mdmsim.fakeapns.embedded.fake`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdmsim.fakeapns.embedded.fake import FakeApns

__all__ = ["FakeApns"]


def __getattr__(name: str) -> Any:
    # Only when it is asked for: the courier's clients are imported where trio must not be (mdmsim.load).
    if name == "FakeApns":
        from mdmsim.fakeapns.embedded.fake import FakeApns

        return FakeApns
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
