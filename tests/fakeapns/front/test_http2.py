"""The provider's connection without I/O, against h2's client: frames as Apple's, and no harm from anything else."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mdmsim.fakeapns.answers import Answer
from mdmsim.fakeapns.front.engines import NoEngine, engine
from mdmsim.fakeapns.front.http2 import ProviderConnection
from mdmsim.fakeapns.front.settings import FloodLimits, FrontSettings
from tests.fakeapns.front.support import (
    ACK,
    BEGIN,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    frames,
    opened,
)
from tests.fakeapns.front.support import (
    HEADERS as HEADERS_FRAME,
)

HEADERS = [(":method", "POST"), (":scheme", "https"), (":authority", "api.push.apple.com"), (":path", "/3/device/ab")]
ACCEPTED = Answer(200, (("apns-id", "8c3f2d6e-0b0e-4b8c-9a55-0f4e5a5b6c7d"),))
LIBRARIES = ("h2", "jh2") if find_spec("jh2") else ("h2",)
REFUSED = Answer(400, (("apns-id", "X"), ("content-type", "application/json")), b'{"reason":"BadDeviceToken"}')


def server(library: str = "h2", *, ramp: bool = False, **switches: Any) -> ProviderConnection:
    return ProviderConnection(FrontSettings(http2=library, **switches), ramp=ramp)  # type: ignore[arg-type]


class Pair:
    """h2's client and our server, wired together."""

    def __init__(self, library: str, *, ramp: bool = False, **switches: Any) -> None:
        self.server = server(library, ramp=ramp, **switches)
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        self.first = self.server.outgoing()
        self.client.receive_data(self.first)

    def request(self, stream: int = 1, body: bytes = b"{}", *, end: bool = True) -> list[object]:
        self.client.send_headers(stream, HEADERS, end_stream=False)
        self.client.send_data(stream, body, end_stream=end)
        return list(self.server.receive(self.client.data_to_send()))


@pytest.fixture(params=["h2", "jh2"])
def library(request: pytest.FixtureRequest) -> str:
    """The HTTP/2 library that the server runs on; the client is h2's always."""
    name: str = request.param
    try:
        engine(name)
    except NoEngine as missing:
        pytest.skip(str(missing))
    return name


@pytest.fixture
def pair(library: str) -> Pair:
    return Pair(library)


def test_the_first_frame_has_apples_five_settings(pair: Pair) -> None:
    (frame,) = frames(pair.first)
    assert isinstance(frame, SettingsFrame)
    codes = h2.settings.SettingCodes
    assert frame.settings == {
        codes.HEADER_TABLE_SIZE: 4096,
        codes.MAX_CONCURRENT_STREAMS: 1000,
        codes.INITIAL_WINDOW_SIZE: 65535,
        codes.MAX_FRAME_SIZE: 16384,
        codes.MAX_HEADER_LIST_SIZE: 8000,
    }


def test_a_request_comes_out_whole(pair: Pair) -> None:
    (request,) = pair.request(body=b"x" * 5000)
    assert (request.method, request.path, request.body) == ("POST", "/3/device/ab", b"x" * 5000)


def test_a_200_is_one_headers_frame_that_ends_the_stream(pair: Pair) -> None:
    pair.request()
    pair.server.outgoing()
    pair.server.answer(1, ACCEPTED)
    (frame,) = frames(pair.server.outgoing())
    assert isinstance(frame, HeadersFrame)
    assert "END_STREAM" in frame.flags


def test_an_error_is_headers_and_one_data_frame_with_everything(pair: Pair) -> None:
    pair.request()
    pair.server.outgoing()
    pair.server.answer(1, REFUSED)
    head, data = frames(pair.server.outgoing())
    assert isinstance(head, HeadersFrame) and "END_STREAM" not in head.flags
    assert isinstance(data, DataFrame) and "END_STREAM" in data.flags
    assert data.data == REFUSED.body


def test_an_error_body_waits_for_the_connections_window_and_stays_one_frame(pair: Pair) -> None:
    pair.client.receive_data(pair.server.outgoing())
    stream, sent = 1, 0
    # The client reads everything and never opens the connection's window again.
    while sent + len(REFUSED.body) <= 65535:
        pair.request(stream)
        pair.server.answer(stream, REFUSED)
        pair.client.receive_data(pair.server.outgoing())
        sent += len(REFUSED.body)
        stream += 2
    pair.request(stream)
    pair.server.outgoing()
    pair.server.answer(stream, REFUSED)
    assert [type(frame) for frame in frames(pair.server.outgoing())] == [HeadersFrame]
    assert pair.server.blocked
    pair.client.increment_flow_control_window(1000)
    pair.server.receive(pair.client.data_to_send())
    (data,) = frames(pair.server.outgoing())
    assert isinstance(data, DataFrame)
    assert data.data == REFUSED.body


def test_a_client_whose_streams_are_smaller_than_an_error_body_gets_what_fits(pair: Pair) -> None:
    pair.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 5})
    pair.request()
    pair.server.outgoing()
    pair.server.answer(1, REFUSED)
    head, first = frames(pair.server.outgoing())
    pair.client.increment_flow_control_window(100, 1)
    pair.server.receive(pair.client.data_to_send())
    (rest,) = frames(pair.server.outgoing())
    assert isinstance(head, HeadersFrame) and isinstance(first, DataFrame) and isinstance(rest, DataFrame)
    assert len(first.data) == 5 and "END_STREAM" not in first.flags and "END_STREAM" in rest.flags
    assert first.data + rest.data == REFUSED.body


def _with_a_thousand_waiting(library: str) -> ProviderConnection:
    """Error answers to a client that leaves its streams no window at all."""
    connection = server(library)
    connection.receive(BEGIN[:-9] + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    for stream in range(1, 2001, 2):
        (request,) = connection.receive(opened(stream, END_HEADERS | END_STREAM))
        connection.answer(request.stream, REFUSED)
    connection.outgoing()
    assert connection.blocked
    return connection


def _looked(connection: ProviderConnection, data: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a window is looked up while these bytes are taken in."""
    looked = 0
    look = type(connection._h2).local_flow_control_window

    def counting(self: Any, stream: int) -> Any:
        nonlocal looked
        looked += 1
        return look(self, stream)

    with monkeypatch.context() as patched:
        patched.setattr(type(connection._h2), "local_flow_control_window", counting)
        connection.receive(data)
    assert not connection.finished
    return looked


@pytest.mark.parametrize("piece", [1, 50])
def test_opening_the_connections_window_again_and_again_does_not_try_every_answer_each_time(
    library: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = _with_a_thousand_waiting(library)
    updates = [frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * piece] * (500 // piece)
    assert sum(_looked(connection, update, monkeypatch) for update in updates) <= 500


def test_opening_one_streams_window_tries_that_stream_alone(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = _with_a_thousand_waiting(library)
    # Once here, once by the library as it sends.
    assert _looked(connection, frame(WINDOW_UPDATE, 0, 999, struct.pack(">I", 1000)), monkeypatch) == 2
    (data,) = frames(connection.outgoing())
    assert isinstance(data, DataFrame)
    assert (data.stream_id, data.data) == (999, REFUSED.body)


def test_new_windows_for_all_streams_let_all_answers_out_as_far_as_the_connections_goes(library: str) -> None:
    connection = _with_a_thousand_waiting(library)
    connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1000)))
    sent = [found for found in frames(connection.outgoing()) if isinstance(found, DataFrame)]
    assert len(sent) == 1000 and all(found.data == REFUSED.body for found in sent)
    assert not connection.blocked


def test_answers_that_wait_for_the_connections_window_go_as_it_opens(library: str) -> None:
    connection = server(library)
    connection.receive(BEGIN)
    long = Answer(400, (), b"x" * 600)
    for stream in range(1, 401, 2):
        connection.receive(opened(stream, END_HEADERS | END_STREAM))
        connection.answer(stream, long)
    went = sum(isinstance(found, DataFrame) for found in frames(connection.outgoing()))
    assert went == 65535 // 600
    connection.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 10 * 600)))
    assert sum(isinstance(found, DataFrame) for found in frames(connection.outgoing())) == 10
    connection.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 200 * 600)))
    assert sum(isinstance(found, DataFrame) for found in frames(connection.outgoing())) == 200 - went - 10
    assert not connection.blocked


@pytest.mark.parametrize("size", [None, 2**32 - 1, 100_000, 100, 0])
def test_the_table_of_answers_headers_stays_small_whatever_the_client_allows(library: str, size: int | None) -> None:
    connection = server(library)
    settings = b"" if size is None else struct.pack(">HI", 1, size)
    connection.receive(BEGIN[:-9] + frame(SETTINGS, 0, 0, settings))
    assert connection._h2.encoder.header_table_size == min(4096, 4096 if size is None else size)


def test_a_client_that_allows_a_large_table_understands_every_answer(library: str) -> None:
    pair = Pair(library)
    for stream, size in enumerate((2**32 - 1, 10, 2**31, 0, 4096, 2**32 - 1)):
        pair.client.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: size})
        pair.request(2 * stream + 1)
        pair.server.answer(2 * stream + 1, Answer(200, (("apns-id", f"X{stream}"), ("apns-note", "y" * stream))))
        events = pair.client.receive_data(pair.server.outgoing())
        (answer,) = [event for event in events if isinstance(event, h2.events.ResponseReceived)]
        assert dict(answer.headers or ())["apns-id"] == f"X{stream}"


def test_sizes_of_the_table_that_change_without_end_are_not_remembered() -> None:
    connection = server("h2", floods=FloodLimits(settings=1000))
    connection.receive(BEGIN)
    for size in (0, 2**32 - 1) * 200:
        connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 1, size)))
    assert connection._h2.encoder.table_size_changes == [0, 4096]


def test_ids_that_never_come_again_stay_out_of_the_clients_table(pair: Pair) -> None:
    for stream in range(1, 201, 2):
        pair.request(stream)
        pair.server.answer(stream, Answer(200, (("apns-id", f"id-{stream}"), ("apns-unique-id", f"unique-{stream}"))))
        pair.client.receive_data(pair.server.outgoing())
    assert not list(pair.client.decoder.header_table.dynamic_entries)


def test_the_window_of_a_client_that_pushes_on_and_on_never_closes(pair: Pair) -> None:
    for stream in range(1, 401, 2):
        pair.request(stream, b"x" * 1000)
        pair.server.answer(stream, ACCEPTED)
        pair.client.receive_data(pair.server.outgoing())
    assert pair.server.requests == 200


def test_the_window_is_opened_once_for_many_requests(pair: Pair) -> None:
    for stream in range(1, 401, 2):
        pair.request(stream, b"x" * 100)
        pair.server.answer(stream, ACCEPTED)
    opened = [found for found in frames(pair.server.outgoing()) if isinstance(found, WindowUpdateFrame)]
    assert [found.stream_id for found in opened] == [0]


def test_a_body_far_too_long_is_counted_and_not_kept(pair: Pair) -> None:
    pair.client.send_headers(1, HEADERS)
    arrived = []
    for _ in range(20):
        pair.client.send_data(1, b"x" * 10_000)
        arrived += pair.server.receive(pair.client.data_to_send())
        pair.client.receive_data(pair.server.outgoing())
    pair.client.end_stream(1)
    (request,) = arrived + pair.server.receive(pair.client.data_to_send())
    assert 5120 < len(request.body) <= 8192


def test_a_body_without_end_is_answered_and_reset(pair: Pair) -> None:
    pair.client.send_headers(1, HEADERS)
    arrived: list[object] = []
    while not arrived:
        pair.client.send_data(1, b"x" * 16_000)
        arrived += pair.server.receive(pair.client.data_to_send())
        pair.client.receive_data(pair.server.outgoing())
    pair.server.answer(1, REFUSED)
    kinds = [type(frame) for frame in frames(pair.server.outgoing())]
    assert kinds == [HeadersFrame, DataFrame, RstStreamFrame]
    assert pair.server.open_streams == 0


def test_goaway_comes_after_the_answers_and_carries_a_reason(pair: Pair) -> None:
    pair.request()
    pair.server.outgoing()
    pair.server.answer(1, ACCEPTED)
    pair.server.goaway(b'{"reason":"Shutdown"}')
    answer, goodbye = frames(pair.server.outgoing())
    assert isinstance(answer, HeadersFrame)
    assert isinstance(goodbye, GoAwayFrame)
    assert (goodbye.last_stream_id, goodbye.error_code, goodbye.additional_data) == (1, 0, b'{"reason":"Shutdown"}')


def test_a_stream_that_was_reset_is_not_answered(pair: Pair) -> None:
    pair.request()
    pair.client.reset_stream(1)
    pair.server.receive(pair.client.data_to_send())
    pair.server.outgoing()
    pair.server.answer(1, ACCEPTED)
    assert (pair.server.outgoing(), pair.server.open_streams) == (b"", 0)


def test_a_ping_is_answered(pair: Pair) -> None:
    pair.client.ping(b"12345678")
    pair.server.receive(pair.client.data_to_send())
    events = pair.client.receive_data(pair.server.outgoing())
    assert any(isinstance(event, h2.events.PingAckReceived) for event in events)


def test_host_may_stand_for_authority(pair: Pair) -> None:
    headers = [(":method", "POST"), (":scheme", "https"), (":path", "/3/device/ab"), ("host", "api.push.apple.com")]
    pair.client.config.validate_outbound_headers = False
    pair.client.send_headers(1, headers, end_stream=True)
    assert len(pair.server.receive(pair.client.data_to_send())) == 1


def test_header_names_in_capitals_end_the_connection(pair: Pair) -> None:
    pair.client.config.validate_outbound_headers = False
    pair.client.config.normalize_outbound_headers = False
    pair.client.send_headers(1, [*HEADERS, ("Apns-Id", "x")], end_stream=True)
    pair.server.receive(pair.client.data_to_send())
    assert pair.server.finished


def test_text_instead_of_http2_ends_the_connection_with_goaway(library: str) -> None:
    assert ending(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", library) == ("not-http2", 1)


def test_header_lists_over_the_announced_size_end_the_connection(pair: Pair) -> None:
    pair.client.send_headers(1, [*HEADERS, ("x", "y" * 9000)], end_stream=True)
    pair.server.receive(pair.client.data_to_send())
    assert pair.server.finished


def test_trailers_are_taken_in_and_ignored(pair: Pair) -> None:
    pair.client.send_headers(1, HEADERS)
    pair.client.send_data(1, b"{}")
    pair.client.send_headers(1, [("x-trailer", "1")], end_stream=True)
    (request,) = pair.server.receive(pair.client.data_to_send())
    assert (request.body, request.headers) == (b"{}", ())


def test_a_header_block_may_come_in_pieces(pair: Pair) -> None:
    pair.server.receive(pair.client.data_to_send())
    pair.client.send_headers(1, [*HEADERS, ("apns-id", "x" * 40)], end_stream=True)
    (whole,) = frames(pair.client.data_to_send())
    block = whole.data
    pieces = frame(HEADERS_FRAME, END_STREAM, 1, block[:9]) + frame(CONTINUATION, 0, 1, block[9:20])
    assert pair.server.receive(pieces) == []
    (request,) = pair.server.receive(frame(CONTINUATION, END_HEADERS, 1, block[20:]))
    assert request.headers == (("apns-id", "x" * 40),)


# stream limits


def test_a_stream_over_the_limit_is_refused_alone(library: str) -> None:
    pair = Pair(library, stream_limit=1)
    pair.server.receive(pair.client.data_to_send())
    sent = opened(1) + opened(3) + frame(DATA, END_STREAM, 1, b"{}")
    (request,) = pair.server.receive(sent)
    refused = [found for found in frames(pair.server.outgoing()) if isinstance(found, RstStreamFrame)]
    assert request.stream == 1
    assert [(found.stream_id, found.error_code) for found in refused] == [(3, 7)]


def test_a_lower_limit_holds_when_the_client_knows_of_it(library: str) -> None:
    connection = server(library)
    connection.receive(BEGIN + frame(SETTINGS, ACK))
    connection.limit_streams(1)
    connection.receive(opened(1) + opened(3))
    assert connection.open_streams == 2
    connection.receive(frame(SETTINGS, ACK) + opened(5))
    assert connection.open_streams == 2


def test_the_client_that_has_not_acknowledged_the_first_settings_yet_does_not_know_of_a_lower_limit(
    library: str,
) -> None:
    connection = server(library)
    connection.receive(BEGIN + opened(1))
    connection.limit_streams(1)
    connection.receive(frame(SETTINGS, ACK) + opened(3))
    assert connection.open_streams == 2
    connection.receive(frame(SETTINGS, ACK) + opened(5))
    assert connection.open_streams == 2


def test_the_ramp_begins_with_one_stream_and_ends_with_the_first_200(library: str) -> None:
    pair = Pair(library, ramp=True)
    (first,) = frames(pair.first)
    assert isinstance(first, SettingsFrame)
    assert first.settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] == 1
    pair.request(1)
    pair.server.answer(1, REFUSED)
    assert pair.server.stream_limit == 1
    pair.client.receive_data(pair.server.outgoing())
    pair.request(3)
    pair.server.answer(3, ACCEPTED)
    raised = [found.settings for found in frames(pair.server.outgoing()) if isinstance(found, SettingsFrame)]
    assert raised == [{h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1000}]


# bad input


def ending(data: bytes, library: str = "h2", **switches: Any) -> tuple[str, int | None]:
    """How a connection ends at these bytes: the word for it, and what its GOAWAY says."""
    connection = server(library, **switches)
    connection.outgoing()
    for request in connection.receive(data):
        connection.answer(request.stream, REFUSED)
    said = [found for found in frames(connection.outgoing()) if isinstance(found, GoAwayFrame)]
    return connection.why, said[0].error_code if said else None


#: A field that the encoder's table keeps, and then that field by its one-byte index, again and again.
HPACK_BOMB = b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000 + b"\xbe" * 5000


@pytest.mark.parametrize(
    ("data", "why", "code"),
    [
        (BEGIN + frame(DATA, 0, 1, b"x"), "protocol-error", 1),
        (BEGIN + frame(CONTINUATION, END_HEADERS, 1, b"\x83"), "protocol-error", 1),
        (BEGIN + opened(3) + opened(1), "protocol-error", 1),
        (BEGIN + opened(2), "protocol-error", 1),
        (BEGIN + opened(1, 0) + frame(PING, 0, 0, bytes(8)), "protocol-error", 1),
        (BEGIN + frame(WINDOW_UPDATE, 0, 0, bytes(4)), "protocol-error", 1),
        (BEGIN + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), "flow-control-error", 3),
        (BEGIN + opened(1) + frame(DATA, 0, 1, bytes(16384)) * 3, "", None),
        (BEGIN + frame(PING, 0, 0, bytes(7)), "protocol-error", 6),
        (BEGIN + frame(SETTINGS, 0, 0, bytes(5)), "protocol-error", 6),
        (BEGIN + frame(DATA, 0, 1, bytes(20000)), "frame-too-large", 6),
        (BEGIN + frame(HEADERS_FRAME, END_HEADERS, 1, b"\xff\xff\xff"), "compression-error", 9),
        (BEGIN + frame(HEADERS_FRAME, END_HEADERS, 1, b"\x00\x01a\x7f\x81\x3f" + b"b" * 8192), "header-list-too-long", 11),
        (BEGIN + frame(HEADERS_FRAME, END_HEADERS, 1, HPACK_BOMB), "header-list-too-long", 11),
        (BEGIN + frame(HEADERS_FRAME, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 100, "continuation-flood", 11),
        (BEGIN + b"".join(opened(stream) + frame(RST_STREAM, 0, stream, bytes(4)) for stream in range(1, 200_001, 2)),
         "rapid-reset", 11),
        (BEGIN + frame(SETTINGS) * 200, "settings-flood", 11),
        (BEGIN + frame(PING, 0, 0, bytes(8)) * 2000, "ping-flood", 11),
        (BEGIN + opened(1) + frame(DATA, 0, 1) * 2000, "empty-data-flood", 11),
        (BEGIN + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 9000, "window-update-flood", 11),
        (BEGIN + b"".join(opened(stream) for stream in range(1, 10_001, 2)), "stream-flood", 11),
    ],
    ids=[
        "data before headers", "continuation alone", "streams backwards", "a server's stream", "interrupted headers",
        "no increment", "window too large", "data within windows", "short ping", "short settings", "large frame",
        "broken compression", "header bomb", "hpack bomb", "continuation flood", "rapid reset", "settings flood",
        "ping flood", "empty data flood", "window update flood", "stream flood",
    ],
)  # fmt: skip
def test_bad_input_ends_the_connection_with_the_right_code(
    data: bytes, why: str, code: int | None, library: str
) -> None:
    assert ending(data, library) == (why, code)


def test_a_hundred_thousand_streams_opened_and_cancelled_slowly_are_not_remembered(library: str) -> None:
    connection = server(library, floods=FloodLimits(resets=1 << 30))
    connection.receive(BEGIN)
    for begin in range(1, 200_001, 200):
        some = range(begin, begin + 200, 2)
        connection.receive(b"".join(opened(stream) + frame(RST_STREAM, 0, stream, bytes(4)) for stream in some))
        connection.outgoing()
    assert (connection.open_streams, connection.finished) == (0, False)
    assert connection.remembered < 5000


def test_the_library_panicking_at_a_header_block_is_a_compression_error() -> None:
    # A header block that ends in the middle of a string makes jh2's decoder panic.
    pytest.importorskip("jh2")
    assert ending(BEGIN + frame(HEADERS_FRAME, END_HEADERS, 1, b"\x40"), "jh2") == ("compression-error", 9)


@given(data=st.binary(max_size=120), preface=st.booleans(), library=st.sampled_from(LIBRARIES))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(data: bytes, preface: bool, library: str) -> None:
    connection = server(library)
    for request in connection.receive(BEGIN * preface + data):
        connection.answer(request.stream, REFUSED)
    connection.outgoing()


@example(kinds=[(5, 4, 1, b"\x00\x00\x00\x02")], library="h2")  # a PUSH_PROMISE: h2 looks up a setting not announced
@given(
    kinds=st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=24)), max_size=8
    ),
    library=st.sampled_from(LIBRARIES),
)
@settings(max_examples=300, deadline=None)
def test_no_sequence_of_frames_raises(kinds: list[tuple[int, int, int, bytes]], library: str) -> None:
    connection = server(library)
    connection.receive(BEGIN)
    for kind, flags, stream, body in kinds:
        for request in connection.receive(frame(kind, flags, stream, body)):
            connection.answer(request.stream, REFUSED)
        connection.outgoing()


def test_a_library_that_is_not_installed_is_a_mistake() -> None:
    with pytest.raises(NoEngine, match="h4"):
        engine("h4")
