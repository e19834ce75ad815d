"""Push clients in Node: its own http2, @parse/node-apn, and apn, the forerunner that half the world still has."""

from __future__ import annotations

import pytest

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.embedded.credentials import Certificate
from tests.interop.push_clients import MAGIC, node_client, order

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

CLIENTS = ("http2", "node-apn", "apn")


def certificate(apns: FakeApns) -> Certificate:
    """Both node-apns take any address but Apple's own for the sandbox, and insist on a certificate with its mark."""
    return apns.certificate(environment="both")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_device_is_woken(apns: FakeApns, client: str) -> None:
    """apn 2.2.0 has no stream to send on until MAX_CONCURRENT_STREAMS arrives in the first SETTINGS (its endpoint.js)."""
    phone = apns.device()
    (said,) = node_client(apns, client, order(apns, certificate(apns), [phone.token], Topic=apns.topic))
    assert said["status"] == 200
    assert phone.wait_for_push().json["mdm"] == MAGIC


@pytest.mark.parametrize("client", CLIENTS)
def test_a_hundred_devices_are_woken_at_once(apns: FakeApns, client: str) -> None:
    phones = [apns.device() for _ in range(100)]
    given = order(apns, certificate(apns), [phone.token for phone in phones], Topic=apns.topic, Together=True)
    assert [said["status"] for said in node_client(apns, client, given)] == [200] * 100
    assert [len(phone.pushes) for phone in phones] == [1] * 100


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_is_read(apns: FakeApns, client: str) -> None:
    phone = apns.device()
    apns.fail_next("BadDeviceToken")
    (said,) = node_client(apns, client, order(apns, certificate(apns), [phone.token], Topic=apns.topic))
    assert (said["status"], said["reason"]) == (400, "BadDeviceToken")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_device_that_is_gone_has_a_time_in_milliseconds(apns: FakeApns, client: str) -> None:
    phone = apns.device()
    before = apns.clock.now_ms()
    phone.retire()
    (said,) = node_client(apns, client, order(apns, certificate(apns), [phone.token], Topic=apns.topic))
    assert (said["status"], said["reason"]) == (410, "Unregistered")
    assert before <= said["timestamp"] <= apns.clock.now_ms()


def test_node_apn_tries_again_after_503(apns: FakeApns) -> None:
    """Its client repeats 408, 429 and 5xx three times without waiting."""
    phone = apns.device()
    apns.fail_next("ServiceUnavailable", times=2)
    (said,) = node_client(apns, "node-apn", order(apns, certificate(apns), [phone.token], Topic=apns.topic))
    assert said["status"] == 200
    assert [push.status for push in apns.pushes] == [503, 503, 200]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_limit_of_one_stream_is_kept_to(apns: FakeApns, client: str) -> None:
    phones = [apns.device() for _ in range(30)]
    apns.faults.add("streams.limited", times=1)
    given = order(apns, certificate(apns), [phone.token for phone in phones], Topic=apns.topic, Together=True)
    said = node_client(apns, client, given)
    assert [one["status"] for one in said] == [200] * 30
    assert [len(phone.pushes) for phone in phones] == [1] * 30
