"""What is shown of a server's answer."""

from __future__ import annotations

import pytest

from mdmsim.cli.enrollment.witness import first_line


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", ""),
        (b"\n\n  not today \r\nsecond line", "not today"),
        (b"<!DOCTYPE HTML>\n<html><head>\n<title>404 Not\n Found</title>", "a web page: 404 Not Found"),
        (b"<html><body>", "a web page"),
        (b"\x00\x01\x02\x03", "4 bytes that are no text"),
        (b"x" * 500, "x" * 159 + "…"),
        (b'{"error": "no"}', '{"error": "no"}'),
    ],
)
def test_the_first_line_that_says_something_is_shown(body: bytes, shown: str) -> None:
    assert first_line(body) == shown
