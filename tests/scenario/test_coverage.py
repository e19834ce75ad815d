"""The list of what is simulated, and the page that is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdmsim.device.commands.registry import FLOW_HANDLERS, HANDLERS
from mdmsim.scenario.coverage import PLATFORMS, STATES, Row, coverage, page
from mdmsim.schema import facts

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return coverage()


def state(rows: list[Row], kind: str, platform: str, name: str) -> str:
    [found] = [row.state for row in rows if row[:3] == (kind, platform, name)]
    return found


def test_the_page_is_up_to_date(rows: list[Row]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(rows), "run: mdmsim schema coverage --markdown > docs/coverage.md"


def test_everything_of_the_schema_is_listed_once_for_each_platform(rows: list[Row]) -> None:
    known = facts.load()
    for kind, names in (
        ("command", known.commands),
        ("checkin", known.checkin),
        ("payload", known.payloads),
        ("declaration", known.declarations),
        ("status", known.status),
    ):
        listed = [(row.command, row.platform) for row in rows if row.kind == kind]
        assert sorted(listed) == sorted((name, platform) for name in names for platform in PLATFORMS)
    assert {row.state for row in rows} == set(STATES)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_command_with_a_handler_is_answered_and_no_other(rows: list[Row], platform: str) -> None:
    answered = {row.command for row in rows if row[:2] == ("command", platform) and row.state == "answered"}
    assert answered <= {*HANDLERS, *FLOW_HANDLERS}
    unknown = {row.command for row in rows if row[:2] == ("command", platform) and row.state == "unknown"}
    assert not unknown & {*HANDLERS, *FLOW_HANDLERS}


@pytest.mark.parametrize(
    ("kind", "platform", "name", "expected"),
    [
        ("command", "ios", "InstallApplication", "unknown"),
        ("command", "macos", "SetFirmwarePassword", "unknown"),
        ("command", "ios", "SetFirmwarePassword", "refused"),
        ("command", "tvos", "DeviceLock", "refused"),
        ("command", "macos", "ActiveNSExtensions", "unknown"),  # on user channels, which are not simulated
        ("query", "ipados", "IMEI", "answered"),
        ("query", "macos", "BatteryLevel", "answered"),
        ("query", "macos", "EthernetMAC", "answered"),
        ("query", "tvos", "IMEI", "refused"),
        ("query", "ios", "OrganizationInfo", "unknown"),
        ("checkin", "tvos", "CheckOut", "answered"),
        ("checkin", "macos", "SetBootstrapToken", "unknown"),
        ("checkin", "ios", "SetBootstrapToken", "refused"),
        ("payload", "ios", "com.apple.wifi.managed", "stored"),
        ("payload", "ios", "com.apple.security.acme", "unknown"),
        ("payload", "macos", "com.apple.mobiledevice.passwordpolicy", "answered"),
        ("payload", "tvos", "com.apple.security.scep", "answered"),
        ("declaration", "ios", "com.apple.configuration.passcode.settings", "unknown"),
        ("declaration", "tvos", "com.apple.configuration.passcode.settings", "refused"),
        ("status", "macos", "device.model.family", "unknown"),
    ],
)
def test_states_are_those_of_the_devices(rows: list[Row], kind: str, platform: str, name: str, expected: str) -> None:
    assert state(rows, kind, platform, name) == expected


def test_a_command_that_gets_a_handler_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdmsim.scenario.coverage.PLATFORMS", {"tvos": PLATFORMS["tvos"]})
    monkeypatch.setitem(HANDLERS, "Settings", lambda work, command: {"Settings": []})
    assert state(coverage(), "command", "tvos", "Settings") == "answered"
