"""The provider's connection without I/O, against h2's client: frames as Apple's, and no harm from anything else."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mdmsim.fakeapns.front.http2 import ProviderConnection
from mdmsim.fakeapns.service import Answer

HEADERS = [(":method", "POST"), (":scheme", "https"), (":authority", "api.push.apple.com"), (":path", "/3/device/ab")]
ACCEPTED = Answer(200, (("apns-id", "8c3f2d6e-0b0e-4b8c-9a55-0f4e5a5b6c7d"),))
REFUSED = Answer(400, (("apns-id", "X"), ("content-type", "application/json")), b'{"reason":"BadDeviceToken"}')


def frames(data: bytes) -> list[Frame]:
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found


class Pair:
    """h2's client and our server, wired together."""

    def __init__(self) -> None:
        self.server = ProviderConnection()
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.client.initiate_connection()
        self.first = self.server.outgoing()
        self.client.receive_data(self.first)

    def request(self, stream: int = 1, body: bytes = b"{}", *, end: bool = True) -> list[object]:
        self.client.send_headers(stream, HEADERS, end_stream=False)
        self.client.send_data(stream, body, end_stream=end)
        return list(self.server.receive(self.client.data_to_send()))


@pytest.fixture
def pair() -> Pair:
    return Pair()


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


def test_an_error_body_waits_for_the_clients_window_and_stays_one_frame() -> None:
    pair = Pair()
    pair.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 5})
    pair.request()
    pair.server.outgoing()
    pair.server.answer(1, REFUSED)
    assert [type(frame) for frame in frames(pair.server.outgoing())] == [HeadersFrame]
    pair.client.increment_flow_control_window(100, 1)
    pair.server.receive(pair.client.data_to_send())
    (data,) = frames(pair.server.outgoing())
    assert isinstance(data, DataFrame)
    assert data.data == REFUSED.body


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


def test_host_may_stand_for_authority() -> None:
    pair = Pair()
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


def test_text_instead_of_http2_ends_the_connection_with_goaway() -> None:
    server = ProviderConnection()
    server.outgoing()
    server.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.finished
    assert any(isinstance(frame, GoAwayFrame) for frame in frames(server.outgoing()))


def test_header_lists_over_the_announced_size_end_the_connection(pair: Pair) -> None:
    pair.client.send_headers(1, [*HEADERS, ("x", "y" * 9000)], end_stream=True)
    pair.server.receive(pair.client.data_to_send())
    assert pair.server.finished


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@given(data=st.binary(max_size=120), preface=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(data: bytes, preface: bool) -> None:
    server = ProviderConnection()
    for request in server.receive(PREFACE * preface + data):
        server.answer(request.stream, REFUSED)
    server.outgoing()


@example(kinds=[(5, 4, 1, b"\x00\x00\x00\x02")])  # a PUSH_PROMISE, for which h2 looks up a setting not announced
@given(
    kinds=st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=24)), max_size=8
    )
)
@settings(max_examples=200, deadline=None)
def test_no_sequence_of_frames_raises(kinds: list[tuple[int, int, int, bytes]]) -> None:
    server = ProviderConnection()
    server.receive(PREFACE)
    for kind, flags, stream, body in kinds:
        frame = len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
        for request in server.receive(frame):
            server.answer(request.stream, REFUSED)
        server.outgoing()
