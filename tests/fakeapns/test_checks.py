from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import DAY, ManualClock
from mdmsim.fakeapns.answers import PushRequest
from mdmsim.fakeapns.errors import REASONS, ApnsError
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.settings import CHECKS, ApnsSettings
from mdmsim.pki.authority import Authority
from tests.fakeapns.support import OTHER_TOPIC, TOPIC, Bench, reason


@pytest.fixture
def token(bench: Bench) -> bytes:
    return bench.service.register("ipad-1", TOPIC)


def test_a_push_with_nothing_but_a_certificate_is_accepted(bench: Bench, token: bytes) -> None:
    assert reason(bench.push(token)) == (200, None)


def test_a_200_has_no_body_and_no_header_but_the_id(bench: Bench, token: bytes) -> None:
    answer = bench.push(token)
    assert (answer.body, [name for name, _ in answer.headers]) == (b"", ["apns-id"])


@pytest.mark.parametrize(
    ("status", "word", "change"),
    [
        (405, "MethodNotAllowed", {"method": "GET"}),
        (404, "BadPath", {"path": "/"}),
        (404, "BadPath", {"path": "/3/devices/aa"}),
        (404, "BadPath", {"path": "/3/device/aa/bb"}),
        (400, "MissingDeviceToken", {"path": "/3/device/"}),
        (400, "MissingDeviceToken", {"path": "/3/device"}),
        (400, "BadMessageId", {"apns_id": "1234"}),
        (400, "BadMessageId", {"apns_id": "8C3F2D6E0B0E4B8C9A550F4E5A5B6C7D"}),
        (400, "BadExpirationDate", {"apns_expiration": "tomorrow"}),
        (400, "BadExpirationDate", {"apns_expiration": "1.5"}),
        (400, "BadExpirationDate", {"apns_expiration": ""}),
        (400, "BadPriority", {"apns_priority": "7"}),
        (400, "BadCollapseId", {"apns_collapse_id": "x" * 65}),
        (400, "InvalidPushType", {"apns_push_type": "telegram"}),
        (403, "MissingProviderToken", {"certificate": None}),
        (403, "InvalidProviderToken", {"certificate": None, "authorization": "bearer e30.e30.x"}),
        (403, "BadCertificate", {"certificate": b"\x30\x00"}),
        (400, "BadTopic", {"apns_topic": "white space"}),
        (400, "BadTopic", {"apns_topic": ""}),
        (400, "TopicDisallowed", {"apns_topic": OTHER_TOPIC}),
        (400, "PayloadEmpty", {"payload": b""}),
        (413, "PayloadTooLarge", {"payload": b"x" * 4097}),
        (413, "PayloadTooLarge", {"payload": b"x" * 5121, "apns_push_type": "voip"}),
    ],
)
def test_each_mistake_gets_its_own_reason(
    bench: Bench, token: bytes, status: int, word: str, change: dict[str, str]
) -> None:
    assert reason(bench.push(token, **change)) == (status, word)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"apns_id": "8c3f2d6e-0b0e-4b8c-9a55-0f4e5a5b6c7d"},
        {"apns_expiration": "0"},
        {"apns_expiration": "-1"},
        {"apns_expiration": "99999999999"},
        {"apns_priority": "1"},
        {"apns_priority": "5"},
        {"apns_priority": "10"},
        {"apns_collapse_id": "x" * 64},
        {"apns_push_type": "mdm"},
        {"apns_push_type": "alert"},
        {"apns_topic": TOPIC},
        {"payload": b"x" * 4096},
        {"payload": b"x" * 5120, "apns_push_type": "voip"},
        {"payload": b"not json"},
        {"content_type": "application/json", "host": "api.push.apple.com"},
    ],
)
def test_what_real_providers_send_is_accepted(bench: Bench, token: bytes, change: dict[str, str]) -> None:
    assert reason(bench.push(token, **change)) == (200, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["zz", "ab", "0" * 63, "0" * 66, " " * 64, "ab" * 31 + " a", "ab" * 32])
def test_a_token_that_is_malformed_or_unknown_is_a_bad_device_token(bench: Bench, text: str) -> None:
    assert reason(bench.push(text)) == (400, "BadDeviceToken")


def test_a_token_may_be_written_in_capitals(bench: Bench, token: bytes) -> None:
    assert reason(bench.push(token.hex().upper())) == (200, None)


def test_a_lenient_service_takes_tokens_of_other_lengths(bench: Bench) -> None:
    bench.build(strict_tokens=False).adopt(TOPIC, b"short")
    assert reason(bench.push(b"short")) == (200, None)


def test_a_repeated_header_is_refused(bench: Bench, token: bytes) -> None:
    headers = (("apns-priority", "10"), ("apns-priority", "10"))
    request = PushRequest("POST", f"/3/device/{token.hex()}", headers, b"{}")
    assert reason(bench.service.push(request, bench.connect())) == (400, "DuplicateHeaders")


@pytest.mark.parametrize(("also", "expected"), [((), (200, None)), (("apns-id",) * 2, (400, "DuplicateHeaders"))])
def test_cookies_may_be_split_and_excuse_no_other_header(
    bench: Bench, token: bytes, also: tuple[str, ...], expected: tuple[int, str | None]
) -> None:
    # RFC 9113 section 8.2.3: an HTTP/2 client may send each cookie in a field of its own.
    apns_id = "0F4E5A5B-0B0E-4B8C-9A55-0F4E5A5B6C7D"
    headers = (("cookie", "a=1"), *((name, apns_id) for name in also), ("cookie", "b=2"), ("cookie", "a=1"))
    request = PushRequest("POST", f"/3/device/{token.hex()}", headers, b"{}")
    assert reason(bench.service.push(request, bench.connect())) == expected


def test_a_token_of_another_topic_is_refused(bench: Bench) -> None:
    other = bench.service.register("ipad-1", OTHER_TOPIC)
    assert reason(bench.push(other)) == (400, "DeviceTokenNotForTopic")


def test_a_token_of_another_topic_can_be_accepted_and_dropped_instead(bench: Bench) -> None:
    other = bench.build(wrong_topic="accept").register("ipad-1", OTHER_TOPIC)
    assert reason(bench.push(other)) == (200, None)
    assert bench.service.pending() == []


@pytest.mark.parametrize(("choice", "expected"), [("BadTopic", (400, "BadTopic")), ("accept", (200, None))])
def test_the_answer_to_a_foreign_topic_is_a_switch(bench: Bench, choice: str, expected: tuple[int, str | None]) -> None:
    token = bench.build(foreign_topic=choice).register("ipad-1", TOPIC)
    assert reason(bench.push(token, apns_topic=OTHER_TOPIC)) == expected


def test_a_retired_token_is_unregistered_since_then_in_milliseconds(bench: Bench, token: bytes) -> None:
    retired_ms = bench.clock.now_ms()
    bench.service.retire(TOPIC, token)
    bench.clock.advance(1234)
    answer = bench.push(token)
    assert answer.status == 410
    assert json.loads(answer.body) == {"reason": "Unregistered", "timestamp": retired_ms}


def test_the_410_can_come_late(bench: Bench) -> None:
    token = bench.build(unregistered_after_ms=DAY).register("ipad-1", TOPIC)
    bench.service.retire(TOPIC, token)
    bench.clock.advance(DAY - 1)
    assert bench.push(token).status == 200
    bench.clock.advance(1)
    assert bench.push(token).status == 410


def test_the_410_can_never_come(bench: Bench) -> None:
    token = bench.build(unregistered_after_ms=None).register("ipad-1", TOPIC)
    bench.service.retire(TOPIC, token)
    bench.clock.advance(300 * DAY)
    assert bench.push(token).status == 200
    assert bench.service.pending() == []


@pytest.mark.parametrize("days", [-2, 400])
def test_a_certificate_outside_its_dates_is_judged_by_world_time(bench: Bench, days: int) -> None:
    token = bench.service.register("ipad-1", TOPIC)
    bench.clock.advance(days * DAY)
    assert reason(bench.push(token)) == (403, "BadCertificate")


def test_a_removed_certificate_is_refused(bench: Bench, token: bytes) -> None:
    bench.service.certificates.remove(bench.provider.certificate)
    assert reason(bench.push(token)) == (403, "BadCertificate")


def test_the_order_of_the_checks_is_a_setting(bench: Bench) -> None:
    order = ("payload", *(name for name in CHECKS if name != "payload"))
    bench.build(order=order)
    assert reason(bench.push("zz", payload=b"", method="GET")) == (400, "PayloadEmpty")


@pytest.mark.parametrize("order", [(), CHECKS[:-1], (*CHECKS, "method"), tuple(reversed(CHECKS))])
def test_an_order_that_cannot_work_is_refused_at_start(order: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="order="):
        ApnsSettings(order=order)


@pytest.mark.parametrize("apns_id", ["8c3f2d6e-0b0e-4b8c-9a55-0f4e5a5b6c7d", "8C3f2D6E-0b0e-4B8C-9A55-0F4E5a5B6c7D"])
def test_the_id_comes_back_byte_for_byte(bench: Bench, token: bytes, apns_id: str) -> None:
    assert dict(bench.push(token, apns_id=apns_id).headers)["apns-id"] == apns_id


def test_the_id_comes_back_on_errors_too(bench: Bench) -> None:
    answer = bench.push("zz", apns_id="8c3f2d6e-0b0e-4b8c-9a55-0f4e5a5b6c7d")
    assert dict(answer.headers)["apns-id"] == "8c3f2d6e-0b0e-4b8c-9a55-0f4e5a5b6c7d"


def test_a_generated_id_is_an_upper_case_uuid(bench: Bench, token: bytes) -> None:
    made = dict(bench.push(token).headers)["apns-id"]
    assert [len(part) for part in made.split("-")] == [8, 4, 4, 4, 12]
    assert made == made.upper()


def test_every_410_carries_a_timestamp_even_one_that_a_fault_made(bench: Bench, token: bytes) -> None:
    bench.service.faults.add("push.refused", why="devices are wiped", answer=ApnsError.of("Unregistered"))
    assert json.loads(bench.push(token).body)["timestamp"] == bench.clock.now_ms()


def test_a_certificate_without_a_topic_is_not_registered(bench: Bench, authority: Authority) -> None:
    with pytest.raises(ValueError, match="UID"):
        bench.service.certificates.register(authority.client_identity("no topic").certificate)


_service = ApnsService(ManualClock(), Chance(1))


@given(
    method=st.sampled_from(["POST", "GET", "\xff"]),
    path=st.one_of(st.text(st.characters(max_codepoint=255)), st.text().map(lambda text: "/3/device/" + text)),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["apns-id", "apns-topic", "apns-expiration", "apns-priority", "apns-collapse-id", "x"]),
            st.text(st.characters(max_codepoint=255)),
        )
    ),
    payload=st.binary(max_size=64),
    certificate=st.none() | st.binary(max_size=32),
)
def test_whatever_comes_gets_one_of_apples_answers(
    method: str, path: str, headers: list[tuple[str, str]], payload: bytes, certificate: bytes | None
) -> None:
    provider = _service.open_provider(certificate)
    answer = _service.push(PushRequest(method, path, tuple(headers), payload), provider)
    assert REASONS[json.loads(answer.body)["reason"]] == answer.status
