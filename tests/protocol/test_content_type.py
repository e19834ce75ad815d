from __future__ import annotations

import pytest

from mdmsim.protocol import content_type


@pytest.mark.parametrize(
    ("value", "checkin", "connect"),
    [
        ("application/x-apple-aspen-mdm-checkin", True, False),
        ("application/x-apple-aspen-mdm-checkin; charset=UTF-8", True, False),
        ("Application/X-Apple-Aspen-MDM-Checkin;charset=utf-8", True, False),
        ("application/x-apple-aspen-mdm", False, True),
        ("application/x-apple-aspen-mdm; charset=UTF-8", False, True),
        ("application/x-apple-aspen-mdm ;x", False, True),
        ("application/x-apple-aspen-mdmx", False, False),
        ("text/plain", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_parameters_do_not_count_and_checkin_is_not_connect(value: str | None, checkin: bool, connect: bool) -> None:
    assert (content_type.is_checkin(value), content_type.is_connect(value)) == (checkin, connect)


def test_a_profile_is_known_by_its_type() -> None:
    assert content_type.is_profile("application/x-apple-aspen-config; charset=utf-8")
