"""A failure in Locust's table says what it means to a device."""

from __future__ import annotations

import pytest

from mdmsim.http import ConnectFailed, Response, TimedOut
from mdmsim.load.meanings import of_answer, of_error


@pytest.mark.parametrize(
    ("label", "status", "meaning"),
    [
        ("connect:Idle", 401, "the server disowns the device, which removes its profile"),
        ("checkin:Authenticate", 401, "the server does not want this device; nothing is installed"),
        ("connect:Acknowledged", 403, "the identity may not speak for this device"),
        ("connect:Idle", 503, "the server is overloaded or down; the device tries again later"),
        ("connect:Idle", 500, "the server failed; the device tries again later"),
        ("connect:Idle", 400, "the server refuses the message; the device tries again later"),
        ("scep:PKIOperation", 404, "the SCEP server refuses; nothing is installed"),
        ("profile:fetch", 404, "no enrollment profile is handed out"),
        ("connect:Idle", 413, "larger than the server takes"),
    ],
)
def test_a_status_has_a_meaning(label: str, status: int, meaning: str) -> None:
    assert str(of_answer(label, Response(status))).startswith(f"{status}: ")
    assert meaning in str(of_answer(label, Response(status)))


def test_what_the_server_wrote_is_shown_unless_it_is_markup() -> None:
    assert str(of_answer("connect:Idle", Response(403, body=b"not this device\nmore"))).endswith('("not this device")')
    assert "html" not in str(of_answer("connect:Idle", Response(403, body=b"<html>")))


def test_an_error_without_an_answer_has_its_class_and_the_same_text_each_time() -> None:
    assert str(of_error(ConnectFailed("cannot connect to 10.0.0.1:443"))) == "ConnectFailed: nobody listens there"
    assert str(of_error(TimedOut("no answer within 60 s"))) == "TimedOut: no answer in time"
