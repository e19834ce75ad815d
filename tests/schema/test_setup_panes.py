"""The panes of Setup Assistant by platform and release (Apple's device-management schema, other/skipkeys.yaml)."""

from __future__ import annotations

import pytest

from mdmsim.schema.setup_panes import PANES, panes_of


@pytest.mark.parametrize(
    ("pane", "platform", "without", "having"),
    [
        ("ActionButton", "ios", "16.6.1", "17.0"),
        ("Multitasking", "ipados", "18.5", "26.0"),
        ("Intelligence", "macos", "14.6.1", "15.0"),
        ("Appearance", "macos", "10.13.1", "10.14.6"),
        ("TVRoom", "tvos", "11.3", "11.4"),
        ("Zoom", "ios", "17", "16.7.10"),
        ("WebContentFiltering", "ios", "26.1", "26"),
        ("Wallpaper", "macos", "26", "15.5"),
    ],
)
def test_a_pane_is_there_from_its_first_release_to_its_last(
    pane: str, platform: str, without: str, having: str
) -> None:
    assert pane in panes_of(platform, having)
    assert pane not in panes_of(platform, without)


def test_a_pane_of_another_platform_is_never_there() -> None:
    assert "FileVault" not in panes_of("ios", "99.0")
    assert "TapToSetup" not in panes_of("macos", "99.0")
    assert PANES["Tips"] == {}
