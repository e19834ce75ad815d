"""Push clients in Go: NanoMDM's nanopush, buford (MicroMDM), sideshow/apns2, and their view of Apple's answers."""

from __future__ import annotations

import pytest

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.errors import REASONS
from tests.interop.push_clients import PAYLOAD, go_client, order

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

CLIENTS = ("nanopush", "buford", "apns2")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_device_is_woken(apns: FakeApns, client: str) -> None:
    phone = apns.device()
    (said,) = go_client(apns, client, order(apns, apns.certificate(), [phone.token]))
    assert "error" not in said
    assert phone.wait_for_push().payload == PAYLOAD
    assert said["id"] == apns.pushes[0].apns_id


@pytest.mark.parametrize("client", CLIENTS)
def test_a_hundred_devices_are_woken_at_once(apns: FakeApns, client: str) -> None:
    phones = [apns.device() for _ in range(100)]
    said = go_client(apns, client, order(apns, apns.certificate(), [phone.token for phone in phones], Together=True))
    assert [one for one in said if "error" in one] == []
    assert [len(phone.pushes) for phone in phones] == [1] * 100


@pytest.mark.parametrize("client", CLIENTS)
def test_410_comes_with_a_time_that_the_client_reads_as_milliseconds(apns: FakeApns, client: str) -> None:
    """buford divides by 1000, nanopush decodes an int64, apns2 parses an integer: a missing or fractional time breaks them."""
    phone = apns.device()
    before = apns.clock.now_ms() // 1000
    phone.retire()
    (said,) = go_client(apns, client, order(apns, apns.certificate(), [phone.token]))
    assert said["reason"] == "Unregistered"
    assert before <= said["timestamp"] <= apns.clock.now_ms() // 1000


@pytest.mark.parametrize("client", CLIENTS)
def test_every_reason_of_apple_is_understood(apns: FakeApns, client: str) -> None:
    phone = apns.device()
    for reason in REASONS:
        apns.fail_next(reason)
    said = go_client(apns, client, order(apns, apns.certificate(), [phone.token] * len(REASONS)))
    # buford has a word of its own for one of them: BadMessageID.
    assert [one["reason"].replace("ID", "Id") for one in said] == [*REASONS]


def test_nanopush_words_a_refusal_as_administrators_know_it(apns: FakeApns) -> None:
    """Fleet tells reasons apart by this text since 2026, and by buford's before."""
    phone = apns.device()
    apns.fail_next("DeviceTokenNotForTopic")
    (said,) = go_client(apns, "nanopush", order(apns, apns.certificate(), [phone.token]))
    assert said["error"] == "push HTTP status: 400: APNs push error: DeviceTokenNotForTopic"


def test_buford_words_an_inactive_token_as_fleet_looks_for_it(apns: FakeApns) -> None:
    phone = apns.device()
    phone.retire()
    (said,) = go_client(apns, "buford", order(apns, apns.certificate(), [phone.token]))
    assert said["error"].startswith("device token is inactive for the specified topic (last invalid at 20")


@pytest.mark.parametrize("key_format", ["pkcs1", "pkcs8"])
def test_go_takes_the_key_in_either_form(apns: FakeApns, key_format: str) -> None:
    phone = apns.device()
    (said,) = go_client(apns, "apns2", order(apns, apns.certificate(key_format=key_format), [phone.token]))  # type: ignore[arg-type]
    assert said["status"] == 200
