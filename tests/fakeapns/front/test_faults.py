"""Faults on the wire, as the front carries them out."""

from __future__ import annotations

import json
import ssl
from typing import Any

import h2.errors
import h2.events
import h2.settings
import pytest
import trio
from hyperframe.frame import GoAwayFrame, HeadersFrame

from mdmsim.fakeapns.fault_names import Detail
from mdmsim.http import Identity
from tests.fakeapns.front.support import ByHand, Served

pytestmark = pytest.mark.anyio


def plan(served: Served, name: str, *, times: int | None = 1, **detail: Any) -> None:
    served.bench.service.faults.add(name, why="a test asks for it", times=times, answer=Detail(**detail))


async def ended(client: ByHand) -> type[BaseException] | None:
    """How the connection ends: None in good order, or the error."""
    with trio.fail_after(15):
        try:
            while await client.tls.receive_some(65536):
                continue
        except trio.BrokenResourceError as error:
            return type(error.__cause__)
    return None


async def test_a_cut_answer_drops_the_connection_and_the_push_counts(served: Served, provider: Identity) -> None:
    plan(served, "answer.cut")
    async with served.client(provider) as client:
        await client.ask(1)
        assert not [found for found in await client.rest() if isinstance(found, HeadersFrame)]
    assert len(served.bench.service.pending()) == 1
    assert served.front.counters["cut"] == 1


async def test_a_stalled_answer_never_comes_and_the_next_one_does(served: Served, provider: Identity) -> None:
    plan(served, "answer.stalled")
    async with served.client(provider) as client:
        await client.ask(1)
        await client.ask(3)
        answer = await client.until(h2.events.ResponseReceived)
        assert isinstance(answer, h2.events.ResponseReceived)
        assert answer.stream_id == 3


async def test_a_slow_answer_holds_up_no_other(served: Served, provider: Identity) -> None:
    plan(served, "answer.slow", seconds=0.05)
    async with served.client(provider) as client:
        await client.ask(1)
        await client.ask(3)
        first = await client.until(h2.events.ResponseReceived)
        second = await client.until(h2.events.ResponseReceived)
        assert isinstance(first, h2.events.ResponseReceived) and isinstance(second, h2.events.ResponseReceived)
        assert (first.stream_id, second.stream_id) == (3, 1)


async def test_a_refused_stream_was_not_looked_at_and_can_be_tried_again(served: Served, provider: Identity) -> None:
    plan(served, "stream.refused")
    async with served.client(provider) as client:
        await client.ask(1)
        reset = await client.until(h2.events.StreamReset)
        assert isinstance(reset, h2.events.StreamReset)
        assert reset.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        assert not served.bench.service.pending()
        await client.ask(3)
        assert await client.status(3) == "200"


async def test_a_reset_connection_is_reset_as_tcp_does_it(served: Served, provider: Identity) -> None:
    plan(served, "connection.reset")
    async with served.client(provider) as client:
        await client.ask(1)
        assert await ended(client) is ConnectionResetError
    assert not served.bench.service.pending()
    assert served.front.counters["reset"] == 1


@pytest.mark.parametrize(("processed", "last"), [(False, 1), (True, 3)])
async def test_goaway_in_mid_flight_says_whether_the_request_counts(
    served: Served, provider: Identity, processed: bool, last: int
) -> None:
    async with served.client(provider) as client:
        await client.ask(1)
        await client.status(1)
        plan(served, "goaway", reason="ServiceUnavailable", code=2, processed=processed)
        await client.ask(3)
        rest = await client.rest()
    (goodbye,) = [found for found in rest if isinstance(found, GoAwayFrame)]
    assert (goodbye.last_stream_id, goodbye.error_code) == (last, 2)
    assert json.loads(goodbye.additional_data) == {"reason": "ServiceUnavailable"}
    assert not [found for found in rest if isinstance(found, HeadersFrame)]


async def test_what_is_open_when_goaway_comes_in_mid_flight_is_answered(served: Served, provider: Identity) -> None:
    async with served.client(provider) as client:
        await client.until(h2.events.RemoteSettingsChanged)
        await client.ask(1, end=False)
        plan(served, "goaway", processed=True)
        await client.ask(3)
        await served.until(lambda: served.front.connections_info()[0].requests)
        client.h2.end_stream(1)
        await client.flush()
        rest = await client.rest()
    kinds = [type(found) for found in rest if isinstance(found, GoAwayFrame | HeadersFrame)]
    assert kinds == [GoAwayFrame, HeadersFrame]


async def test_nothing_above_the_last_stream_is_looked_at_after_a_goaway(served: Served, provider: Identity) -> None:
    plan(served, "goaway", processed=False)
    async with served.client(provider) as client:
        await client.until(h2.events.RemoteSettingsChanged)
        for stream in (1, 3, 5):
            client.h2.send_headers(
                stream,
                [
                    (":method", "POST"),
                    (":scheme", "https"),
                    (":authority", "a"),
                    (":path", f"/3/device/{served.token.hex()}"),
                ],
            )
            client.h2.send_data(stream, b"{}", end_stream=True)
        await client.flush()
        await client.rest()
    assert not served.bench.service.pending()


async def test_the_stream_limit_drops_to_one_until_the_next_push_was_accepted(
    served: Served, provider: Identity
) -> None:
    plan(served, "streams.limited")
    async with served.client(provider) as client:
        await client.ask(1)
        await client.status(1)
        await client.ask(3)
        await client.status(3)
        client.h2.close_connection()
        await client.flush()
    limits = []
    client = served.client(provider)
    plan(served, "streams.limited")
    async with client:
        for stream in (1, 3):
            await client.ask(stream)
            while True:
                event = await client.until(h2.events.RemoteSettingsChanged)
                assert isinstance(event, h2.events.RemoteSettingsChanged)
                changed = event.changed_settings.get(h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS)
                if changed is not None and changed.new_value != 1000 - 999 * (stream == 3):
                    limits.append(changed.new_value)
                    break
    assert limits == [1, 1000]


@pytest.mark.parametrize(
    ("reason", "said"),
    [("internal_error", "INTERNAL_ERROR"), ("certificate_expired", "CERTIFICATE_EXPIRED"), ("", "INTERNAL_ERROR")],
)
async def test_a_refused_handshake_ends_with_the_alert_that_was_asked_for(
    served: Served, provider: Identity, reason: str, said: str
) -> None:
    plan(served, "tls.refused", reason=reason)
    with pytest.raises(trio.BrokenResourceError) as error:
        await served.client(provider).connect()
    assert isinstance(error.value.__cause__, ssl.SSLError)
    assert said in str(error.value.__cause__).upper().replace(" ", "_")
    assert served.front.counters["tls-refused"] == 1
    async with served.client(provider) as client:
        await client.ask(1)
        assert await client.status(1) == "200"


@pytest.mark.parametrize(("reason", "code"), [("", 0), ("Shutdown", 2)])
async def test_a_goaway_comes_instead_of_settings_after_the_handshake(
    served: Served, provider: Identity, reason: str, code: int
) -> None:
    # pushy issue 831: pushes that wait for the first SETTINGS frame wait for ever.
    plan(served, "goaway.first", reason=reason, code=code)
    client = served.client(provider)
    await client.connect()
    (only,) = await client.rest()
    assert isinstance(only, GoAwayFrame)
    said = json.loads(only.additional_data)["reason"] if only.additional_data else ""
    assert (only.last_stream_id, only.error_code, said) == (0, code, reason)
    await served.counted("goaway")
    async with served.client(provider) as again:
        await again.ask(1)
        assert await again.status(1) == "200"


async def test_a_blackout_resets_what_is_open_and_what_comes(served: Served, provider: Identity) -> None:
    async with served.client(provider) as client:
        await client.ask(1)
        await client.status(1)
        served.bench.service.darkness.begin(60.0)
        assert await ended(client) is ConnectionResetError
        with pytest.raises((OSError, trio.BrokenResourceError)):
            await served.client(provider).connect()
        assert served.front.counters["blackout"] == 2
        served.bench.service.darkness.end()
        async with served.client(provider) as again:
            await again.ask(1)
            assert await again.status(1) == "200"
