"""What is told of a device's turn: commands answered, and what was asked of it and is not simulated."""

from __future__ import annotations

from typing import Any

from mdmsim.cli.stored.listening import told
from mdmsim.cli.stored.visit import Diary
from mdmsim.events import Event

ACME = "com.apple.security.acme (test.acme)"


def event(kind: str, **data: Any) -> Event:
    return Event(kind=kind, at_ms=0, source="device", device="iphone-01", seq=1, data=data)


def test_a_payload_that_is_not_simulated_is_told_beside_the_command_that_brought_it() -> None:
    diary = Diary("iphone-01")
    diary(event("device.not-simulated", what=ACME, profile="test"))
    diary(
        event(
            "device.command-answered",
            request_type="InstallProfile",
            status="Acknowledged",
            command_uuid="1",
            simulated=True,
        )
    )
    assert diary.steps == ("InstallProfile", f"not simulated: {ACME}")


def test_a_device_that_listens_tells_what_is_not_simulated() -> None:
    assert told(event("device.not-simulated", what=ACME, profile="test")) == f"not simulated: {ACME}"
