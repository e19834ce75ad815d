"""The front against a client that behaves as pushy does, the most used push library in Java.

pushy itself cannot be installed here; what is done by hand below is how its code is written (jchambers/pushy,
`ApnsClientBuilder`, `ApnsClientHandler`, `PushNotificationHeaders`): HTTP/2 by prior knowledge without ALPN, nothing sent
before the first SETTINGS, `apns-expiration: 0` where none is set, answers that end with DATA, refused streams sent again.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.embedded.credentials import Certificate

PAYLOAD = b'{"mdm":"8C3F2D6E-0B0E-4B8C-9A55-0F4E5A5B6C7D"}'

#: Seconds that anything may take on a shared machine.
PATIENCE = 20.0


@dataclass
class Answer:
    headers: dict[str, str] = field(default_factory=dict)
    #: The frames of the answer: whether each had END_STREAM, and the data.
    frames: list[tuple[bool, bytes]] = field(default_factory=list)

    @property
    def status(self) -> str:
        return self.headers[":status"]

    @property
    def error(self) -> dict[str, object]:
        """What pushy parses: the DATA frame that ends the stream, and only that."""
        ended, data = self.frames[-1]
        assert ended, "the last DATA frame does not end the stream: pushy would wait for ever"
        parsed: dict[str, object] = json.loads(data)
        return parsed


class Pushy:
    """A client of pushy's habits on a blocking socket."""

    def __init__(self, apns: FakeApns, certificate: Certificate) -> None:
        context = ssl.create_default_context(cafile=apns.ca_file)
        context.load_cert_chain(certificate.file)
        raw = socket.create_connection(("127.0.0.1", apns.port), timeout=PATIENCE)
        self.tls = context.wrap_socket(raw, server_hostname="api.push.apple.com")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.events: list[h2.events.Event] = []
        self.sent: dict[int, str] = {}
        # Its channel is ready when the first SETTINGS frame is there, and sends requests then, not before.
        self.h2.initiate_connection()
        self._flush()
        self.settings = self._until(h2.events.RemoteSettingsChanged).changed_settings

    def __enter__(self) -> Pushy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.tls.close()

    def send(self, token: str, **more: str) -> int:
        stream = self.h2.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":authority", "api.push.apple.com"),
            (":path", f"/3/device/{token}"),
            (":scheme", "https"),
            ("apns-expiration", "0"),
            *((name.replace("_", "-"), value) for name, value in more.items()),
        ]
        self.h2.send_headers(stream, headers)
        self.h2.send_data(stream, PAYLOAD, end_stream=True)
        self.sent[stream] = token
        self._flush()
        return stream

    def answer(self, stream: int) -> Answer:
        """The whole answer; a stream that is refused is sent once more, as Netty's encoder does."""
        answer = Answer()
        while True:
            event = self._next()
            if isinstance(event, h2.events.StreamReset) and event.stream_id == stream:
                assert event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
                return self.answer(self.send(self.sent[stream]))
            if getattr(event, "stream_id", None) != stream:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                answer.headers = dict(event.headers)
                if event.stream_ended is not None:
                    return answer
            elif isinstance(event, h2.events.DataReceived):
                answer.frames.append((event.stream_ended is not None, event.data))
            elif isinstance(event, h2.events.StreamEnded):
                return answer

    def _until(self, kind: type[h2.events.Event]) -> h2.events.Event:
        while not isinstance(event := self._next(), kind):
            continue
        return event

    def _next(self) -> h2.events.Event:
        while not self.events:
            data = self.tls.recv(65536)
            assert data, "the connection ended"
            self.events += self.h2.receive_data(data)
            self._flush()
        return self.events.pop(0)

    def _flush(self) -> None:
        self.tls.sendall(self.h2.data_to_send())


@pytest.fixture
def apns() -> Iterator[FakeApns]:
    with FakeApns() as running:
        yield running


@pytest.fixture
def pushy(apns: FakeApns) -> Iterator[Pushy]:
    with Pushy(apns, apns.certificate()) as client:
        yield client


def test_it_connects_without_alpn(pushy: Pushy) -> None:
    """pushy's default is `useAlpn=false`: HTTP/2 is spoken by prior knowledge."""
    assert pushy.tls.selected_alpn_protocol() is None


def test_its_channel_is_ready_at_the_first_settings_which_name_the_limit(pushy: Pushy) -> None:
    limit = pushy.settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS]
    assert limit.new_value == 1000


def test_a_push_to_a_device_that_listens_is_heard_though_it_may_not_be_kept(apns: FakeApns, pushy: Pushy) -> None:
    phone = apns.device()
    assert pushy.answer(pushy.send(phone.token)).status == "200"
    assert phone.wait_for_push().payload == PAYLOAD


def test_a_push_to_a_device_that_is_away_is_gone(apns: FakeApns, pushy: Pushy) -> None:
    """`apns-expiration: 0` is what pushy sends where the caller set none: now or never."""
    phone = apns.device(online=False)
    assert pushy.answer(pushy.send(phone.token)).status == "200"
    phone.go_online()
    assert phone.pushes == []


def test_success_ends_with_the_headers(apns: FakeApns, pushy: Pushy) -> None:
    answer = pushy.answer(pushy.send(apns.token("phone")))
    assert (answer.status, answer.frames) == ("200", [])


def test_an_error_is_one_data_frame_that_ends_the_stream(apns: FakeApns, pushy: Pushy) -> None:
    """pushy parses the DATA frame that ends the stream, and waits for ever for an error that ends on its headers."""
    answer = pushy.answer(pushy.send("ab" * 32))
    assert (answer.status, len(answer.frames)) == ("400", 1)
    assert answer.error == {"reason": "BadDeviceToken"}


def test_the_id_of_an_error_is_the_requests(apns: FakeApns, pushy: Pushy) -> None:
    sent = "0f3b1a2c-5d6e-4f70-8192-a3b4c5d6e7f8"
    assert pushy.answer(pushy.send("ab" * 32, apns_id=sent)).headers["apns-id"] == sent


def test_since_when_a_token_is_inactive_is_told_in_milliseconds(apns: FakeApns, pushy: Pushy) -> None:
    phone = apns.device()
    phone.retire()
    error = pushy.answer(pushy.send(phone.token)).error
    assert error["reason"] == "Unregistered"
    assert isinstance(error["timestamp"], int)
    assert abs(error["timestamp"] - apns.clock.now_ms()) < 3_600_000


@pytest.mark.parametrize("kind", ["alert", "background", "mdm", "voip", "complication", "fileprovider", "location"])
def test_every_push_type_that_it_knows_is_known(apns: FakeApns, pushy: Pushy, kind: str) -> None:
    token = apns.token("phone")
    assert (
        pushy.answer(pushy.send(token, apns_push_type=kind, apns_topic=apns.topic, apns_priority="10")).status == "200"
    )


def test_a_refused_stream_is_sent_again_and_counts_once(apns: FakeApns, pushy: Pushy) -> None:
    """Netty's encoder sends a stream again that was reset with REFUSED_STREAM (RFC 9113 section 8.7: nothing was processed)."""
    phone = apns.device()
    apns.faults.add("stream.refused", times=1)
    assert pushy.answer(pushy.send(phone.token)).status == "200"
    assert (len(phone.pushes), [push.status for push in apns.pushes if push.accepted]) == (1, [200])
