"""Push clients in Go: NanoMDM's nanopush, buford (MicroMDM), sideshow/apns2, and their view of Apple's answers."""

from __future__ import annotations

import re

import pytest

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.errors import REASONS
from tests.interop.needs import from_go
from tests.interop.push_clients import PAYLOAD, environment, go_client, order, run

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


# What happens to connections


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        ("buford", "certificate was for the wrong environment"),
        (
            "apns2",
            r'server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug="{\"reason\":',
        ),
    ],
)
def test_the_reason_in_a_goaway_is_shown(apns: FakeApns, client: str, shown: str) -> None:
    """Go hands on the debug data of a GOAWAY whose last stream is the request's, once the connection is closed."""
    phone = apns.device()
    apns.faults.add("goaway", reason="BadCertificateEnvironment", processed=True, times=1)
    (said,) = go_client(apns, client, order(apns, apns.certificate(), [phone.token]))
    assert shown in said["error"]


def test_nanopush_of_nanomdm_0_9_falls_over_a_goaway_that_takes_in_its_stream(apns: FakeApns) -> None:
    """Its own bug, mended after v0.9.0 (micromdm/nanomdm pull request 248): the status of a nil response is read."""
    phone = apns.device()
    apns.faults.add("goaway", reason="BadCertificateEnvironment", processed=True, times=1)
    done = run(
        [from_go("push"), "nanopush"], env=environment(apns), given=order(apns, apns.certificate(), [phone.token])
    )
    assert "nil pointer dereference" in done.stderr
    assert "nanopush.(*Provider).do" in done.stderr


@pytest.mark.parametrize("client", CLIENTS)
def test_a_goaway_before_its_stream_sends_the_push_over_another_connection(apns: FakeApns, client: str) -> None:
    phone = apns.device()
    apns.faults.add("goaway", reason="Shutdown", times=1)
    (said,) = go_client(apns, client, order(apns, apns.certificate(), [phone.token]))
    assert "error" not in said
    assert (len(phone.pushes), [push.connection for push in apns.pushes]) == (1, [1, 2])


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_stream_is_sent_again(apns: FakeApns, client: str) -> None:
    phone = apns.device()
    apns.faults.add("stream.refused", times=1)
    (said,) = go_client(apns, client, order(apns, apns.certificate(), [phone.token]))
    assert "error" not in said
    assert len(phone.pushes) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_certificate_for_the_other_environment_never_gets_to_push(apns: FakeApns, client: str) -> None:
    """Apple's GOAWAY for it names stream 0 (frame logs in sideshow/apns2 issues 93 and 117): Go does not show its reason.

    It says that it could not connect, that the server shut down gracefully, or tries until its time is over, as it did
    at Apple's: which of these is a matter of microseconds.
    """
    phone = apns.device()
    given = order(apns, apns.certificate(environment="sandbox"), [phone.token], Seconds=3)
    (said,) = go_client(apns, client, given)
    assert re.search("could not be established|graceful shutdown|deadline exceeded", said["error"])
    assert apns.pushes == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_limit_of_one_stream_is_kept_to(apns: FakeApns, client: str) -> None:
    phones = [apns.device() for _ in range(30)]
    apns.faults.add("streams.limited", times=1)
    given = order(apns, apns.certificate(), [phone.token for phone in phones], Together=True)
    said = go_client(apns, client, given)
    assert [one for one in said if "error" in one] == []
    assert [len(phone.pushes) for phone in phones] == [1] * 30


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("alert", "shown"), [("certificate_expired", "expired certificate"), ("certificate_revoked", "revoked certificate")]
)
def test_an_alert_of_tls_is_named(apns: FakeApns, client: str, alert: str, shown: str) -> None:
    phone = apns.device()
    apns.faults.add("tls.refused", reason=alert)
    (said,) = go_client(apns, client, order(apns, apns.certificate(), [phone.token]))
    assert shown in said["error"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_cut_connection_fails_the_push_that_was_under_way_and_the_next_works(apns: FakeApns, client: str) -> None:
    phone = apns.device()
    apns.faults.add("answer.cut", times=1)
    said = go_client(apns, client, order(apns, apns.certificate(), [phone.token] * 2))
    assert ["error" in one for one in said] == [True, False]
