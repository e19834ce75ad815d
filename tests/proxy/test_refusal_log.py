"""The log of refusals is bounded, and what stands in it takes no effect on a terminal."""

from __future__ import annotations

import logging

import pytest

from mdmsim.proxy.refusal_log import LONGEST, MOST_LINES, RefusalLog


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> RefusalLog:
    caplog.set_level(logging.WARNING)
    return RefusalLog(logging.getLogger("mdmsim.proxy.test"))


def test_the_same_refusal_is_logged_ever_more_rarely(log: RefusalLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(1234):
        log.note("403 telemetry.example")
    said = "403 telemetry.example"
    assert caplog.messages == [said, f"{said} (10 times)", f"{said} (100 times)", f"{said} (1000 times)"]


def test_a_client_that_asks_for_ever_new_hosts_fills_no_disk(log: RefusalLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3 * MOST_LINES):
        log.note(f"403 host-{number}.example {'x' * 10_000}")
    assert len(caplog.messages) == MOST_LINES + 1
    assert max(map(len, caplog.messages)) == LONGEST
    assert "not logged" in caplog.messages[-1]
    assert not log._times


def test_what_a_client_sent_is_escaped(log: RefusalLog, caplog: pytest.LogCaptureFixture) -> None:
    log.note("403 \x1b]0;gotcha\x07\u202e.example\nforged line")
    (line,) = caplog.messages
    assert line.isprintable() and "gotcha" in line
