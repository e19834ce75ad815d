"""The connect loop: order, retries, undelivered reports, NotNow."""

from __future__ import annotations

import itertools
import plistlib

import pytest

from mdmsim.clock import HOUR, MINUTE
from mdmsim.device.device import Behaviour
from mdmsim.device.locking import lock_screen, unlock_screen
from mdmsim.device.power import set_network, set_power_nap
from mdmsim.http import ConnectFailed, ExchangeCut, Request, Response
from mdmsim.protocol.connect import Command, Status, build_command
from tests.device.bench import Bench


def enrolled(kind: str = "iphone", **options: object) -> Bench:
    bench = Bench(kind, **options)  # type: ignore[arg-type]
    bench.enroll()
    return bench


def test_a_push_makes_the_device_answer_its_queue_in_order_until_it_is_empty() -> None:
    bench = enrolled()
    first = bench.queue("DeviceInformation", Queries=["UDID"])
    second = bench.queue("ProfileList")
    bench.push()
    assert bench.act() == 1
    assert [(r.status, r.command_uuid) for r in bench.server.reports] == [
        (Status.IDLE, None),
        (Status.ACKNOWLEDGED, first),
        (Status.ACKNOWLEDGED, second),
    ]
    assert bench.act() == 0


def test_a_push_with_another_magic_is_ignored() -> None:
    bench = enrolled()
    bench.push("SOMETHING-ELSE")
    bench.act()
    assert bench.server.requests == []
    assert bench.log.count("device.push-ignored") == 1
    assert bench.act() == 0


def test_a_push_during_the_loop_makes_one_more_connect() -> None:
    bench = enrolled()
    bench.queue("ProfileList")

    def interfere(request: Request) -> None:
        if request.label == "connect:Acknowledged":
            bench.push()
            bench.push()

    bench.server.interfere = interfere
    bench.push()
    assert bench.act() == 2
    assert [r.status for r in bench.server.reports] == [Status.IDLE, Status.ACKNOWLEDGED, Status.IDLE]


def test_an_undelivered_report_goes_again_in_place_of_idle() -> None:
    bench = enrolled()
    uuid = bench.queue("DeviceInformation", Queries=["SerialNumber"])
    bodies: list[bytes] = []

    def cut_once(request: Request) -> ExchangeCut | None:
        if request.label == "connect:Acknowledged":
            bodies.append(request.body)
            return ExchangeCut("cut", sent=True) if len(bodies) == 1 else None
        return None

    bench.server.interfere = cut_once
    bench.push()
    bench.act()
    bench.server.reports.clear()
    bench.later(61)
    assert [(r.status, r.command_uuid) for r in bench.server.reports] == [(Status.ACKNOWLEDGED, uuid)]
    assert bodies[0] == bodies[1]
    assert bench.log.count("device.command-answered") == 1


def test_failed_connects_are_tried_after_one_minute_doubling_to_an_hour() -> None:
    bench = enrolled()
    tries: list[int] = []

    def down(request: Request) -> ConnectFailed:
        tries.append(bench.clock.now_ms())
        return ConnectFailed("down")

    bench.server.interfere = down
    bench.push()
    bench.later(6 * 3600)
    minutes = [round((b - a) / MINUTE) for a, b in itertools.pairwise(tries)]
    assert minutes[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_ladder_starts_anew_after_a_success() -> None:
    bench = enrolled()
    bench.server.interfere = lambda request: ConnectFailed("down")
    bench.push()
    bench.later(600)
    bench.server.interfere = None
    bench.later(HOUR / 1000)
    assert bench.device.voice().attempts == 0
    assert bench.device.next_wake_ms() is None


def test_a_network_that_returns_is_used_at_once() -> None:
    bench = enrolled()
    bench.server.interfere = lambda request: ConnectFailed("down")
    bench.push()
    bench.later(600)
    bench.device.change(lambda work: set_network(work, up=False))
    bench.server.interfere = None
    bench.server.requests.clear()
    bench.later(7200)
    assert bench.server.requests == []
    bench.device.change(lambda work: set_network(work, up=True))
    bench.act()
    assert bench.server.labels() == ["connect:Idle"]


@pytest.mark.parametrize("status", [400, 403, 404, 410, 500, 502])
def test_an_idle_answered_by_another_error_follows_the_same_ladder(status: int) -> None:
    bench = enrolled()
    tries: list[int] = []

    def refuse(request: Request) -> Response:
        tries.append(bench.clock.now_ms())
        return Response(status)

    bench.server.interfere = refuse
    bench.push()
    bench.later(8 * 60)
    assert [round((b - a) / MINUTE) for a, b in itertools.pairwise(tries)] == [1, 2, 4]
    assert bench.device.enrolled


def test_any_2xx_delivers_a_report() -> None:
    bench = enrolled()
    bench.queue("ProfileList")
    bench.server.interfere = lambda r: Response(202) if r.label == "connect:Acknowledged" else None
    bench.push()
    bench.act()
    assert bench.device.undelivered() is None


def test_a_body_that_is_no_command_is_tried_again_not_answered() -> None:
    bench = enrolled()
    bench.server.interfere = lambda r: Response(200, body=b"<html>sorry</html>")
    bench.push()
    bench.act()
    assert bench.server.labels() == ["connect:Idle"]
    assert bench.device.next_wake_ms() == bench.clock.now_ms() + MINUTE


#: One command in forms that XML does not allow and devices read (rules in tests/protocol/test_device_plist.py).
_DICT = (
    "<dict><key>CommandUUID</key><string>odd-1</string><key>Command</key><dict>"
    "<key>RequestType</key><string>ProfileList</string></dict></dict>"
)
READ_BY_DEVICES = {
    "blank-first": f"\n<?xml version='1.0'?><plist>{_DICT}</plist>".encode(),
    "text-after": f"<plist>{_DICT}</plist>\nrendered in 3 ms".encode(),
    "no-plist": f"<?xml version='1.0'?>{_DICT}".encode(),
    "key-twice": _DICT.replace("<key>CommandUUID", "<key>CommandUUID</key><string>first</string><key>CommandUUID").encode(),
    "utf-16-declared-utf-8": f"<?xml version='1.0' encoding='UTF-8'?>{_DICT}".encode("utf-16"),
    "old-style": b"{ CommandUUID = odd-1; Command = { RequestType = ProfileList; }; }",
}  # fmt: skip


@pytest.mark.parametrize("body", READ_BY_DEVICES.values(), ids=READ_BY_DEVICES)
def test_a_command_that_is_odd_but_readable_is_answered(body: bytes) -> None:
    bench = enrolled()
    bench.server.interfere = lambda r: Response(200, body=body) if r.label == "connect:Idle" else None
    bench.push()
    bench.act()
    assert [(r.status, r.command_uuid) for r in bench.server.reports] == [(Status.ACKNOWLEDGED, "odd-1")]


def test_a_command_with_a_blank_behind_an_integer_stays_without_an_answer() -> None:
    bench = enrolled()
    odd = _DICT.replace("<key>RequestType", "<key>Odd</key><integer>1\n</integer><key>RequestType")
    body = f"<plist>{odd}</plist>".encode()
    bench.server.interfere = lambda r: Response(200, body=body) if r.label == "connect:Idle" else None
    bench.push()
    bench.act()
    assert bench.server.labels() == ["connect:Idle"]


def test_a_command_uuid_with_a_control_character_comes_back_as_it_was_read() -> None:
    bench = enrolled()
    body = _DICT.replace("odd-1", "odd-\x01").encode()
    sent: list[bytes] = []

    def interfere(request: Request) -> Response:
        sent.append(request.body)
        return Response(200, body=body if request.label == "connect:Idle" else b"")

    bench.server.interfere = interfere
    bench.push()
    bench.act()
    # Apple's writer does not check characters (CFPropertyList.c); a server's XML reader refuses such a report.
    assert b"<string>odd-\x01</string>" in sent[-1]


def test_a_command_without_request_type_is_a_command_format_error() -> None:
    bench = enrolled()
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>CommandUUID</key><string>broken-1</string>'
        b"<key>Command</key><dict/></dict></plist>"
    )
    bench.server.interfere = lambda r: Response(200, body=body) if r.label == "connect:Idle" else None
    bench.push()
    bench.act()
    assert [(r.status, r.command_uuid) for r in bench.server.reports] == [(Status.COMMAND_FORMAT_ERROR, "broken-1")]


def test_not_now_said_last_makes_the_device_poll_by_itself_when_it_is_unlocked() -> None:
    bench = enrolled(passcode="123456")
    bench.device.change(lambda work: lock_screen(work, by="button"))
    uuid = bench.queue("SecurityInfo")
    bench.push()
    bench.act()
    assert [(r.status, r.command_uuid) for r in bench.server.reports][-1] == (Status.NOT_NOW, uuid)
    bench.later(7 * 86400)
    bench.server.reports.clear()
    assert bench.act() == 0
    bench.device.change(lambda work: unlock_screen(work, "123456"))
    bench.act()
    assert [r.status for r in bench.server.reports] == [Status.IDLE, Status.ACKNOWLEDGED]


def test_not_now_followed_by_another_answer_makes_no_poll() -> None:
    bench = enrolled(passcode="123456")
    bench.device.change(lambda work: lock_screen(work, by="button"))
    bench.queue("SecurityInfo")
    bench.queue("ProfileList")
    bench.push()
    bench.act()
    assert [r.status for r in bench.server.reports] == [Status.IDLE, Status.NOT_NOW, Status.ACKNOWLEDGED]
    bench.device.change(lambda work: unlock_screen(work, "123456"))
    assert bench.act() == 0


def test_a_mac_in_power_nap_says_not_now_and_polls_when_it_wakes() -> None:
    bench = enrolled("mac-silicon")
    bench.device.change(lambda work: set_power_nap(work, napping=True))
    bench.queue("DeviceInformation", Queries=["UDID"])
    bench.push()
    bench.act()
    assert bench.server.reports[-1].status is Status.NOT_NOW
    bench.device.change(lambda work: set_power_nap(work, napping=False))
    bench.act()
    assert [r.status for r in bench.server.reports[-2:]] == [Status.IDLE, Status.ACKNOWLEDGED]


def test_a_not_now_that_was_not_delivered_goes_again_first() -> None:
    bench = enrolled(passcode="123456")
    bench.device.change(lambda work: lock_screen(work, by="button"))
    bench.queue("SecurityInfo")
    failures = [ExchangeCut("cut", sent=True)]
    bench.server.interfere = lambda r: failures.pop() if r.label == "connect:NotNow" and failures else None
    bench.push()
    bench.act()
    bench.server.reports.clear()
    bench.later(61)
    assert [r.status for r in bench.server.reports] == [Status.NOT_NOW]


def test_a_connect_that_was_cut_by_a_network_that_is_back_is_tried_at_once() -> None:
    bench = enrolled()
    bench.queue("ProfileList")

    def flicker(request: Request) -> ExchangeCut:
        bench.server.interfere = None
        bench.device.change(lambda work: set_network(work, up=False))
        bench.device.change(lambda work: set_network(work, up=True))
        return ExchangeCut("the network went", sent=True)

    bench.server.interfere = flicker
    bench.push()
    bench.act()
    assert [r.status for r in bench.server.reports] == [Status.IDLE, Status.ACKNOWLEDGED]


@pytest.mark.parametrize(
    ("again", "said"), [(False, "4 of them different"), (True, "the same command again and again")]
)
def test_a_server_that_hands_out_commands_for_ever_is_named_and_the_device_comes_back_later(
    again: bool, said: str
) -> None:
    bench = enrolled(behaviour=Behaviour(session_commands=3))
    numbers = itertools.count()

    def endless(request: Request) -> Response | None:
        if not request.label.startswith("connect:"):
            return None
        uuid = "always" if again else f"uuid-{next(numbers)}"
        return Response(200, body=build_command(Command(uuid, "ProfileList", {})))

    bench.server.interfere = endless
    bench.push()
    bench.act()
    (event,) = bench.log.of("device.session-endless")
    assert event.data["answered"] == 3
    assert said in event.data["why"] and "never an empty answer" in event.data["why"]
    # No refusal of a device's: every command was answered as it should be, and then nothing more was said.
    labels = [request.label for request in bench.server.requests if request.label.startswith("connect:")]
    assert labels == ["connect:Idle", *["connect:Acknowledged"] * 3]
    assert bench.log.count("device.retry-scheduled") == 1


def test_commands_that_cannot_be_read_end_as_well() -> None:
    bench = enrolled(behaviour=Behaviour(session_commands=3))
    body = plistlib.dumps({"CommandUUID": "always", "Command": {}})
    bench.server.interfere = lambda request: Response(200, body=body) if request.label.startswith("connect:") else None
    bench.push()
    bench.act()
    assert bench.log.count("device.session-endless") == 1
