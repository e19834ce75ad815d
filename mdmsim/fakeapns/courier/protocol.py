"""The courier's frames: a four-byte length, big endian, and one msgpack map of that many bytes. No I/O.

Every map has a `kind`; unknown further keys are ignored, unknown kinds are an error. `docs/courier.md` is the
reference; what is here must match it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from mdmsim.fakeapns.errors import BadFrame

VERSION = 1

#: The longest body of a frame, in bytes: room for some 25,000 tokens in one subscribe.
MAX_FRAME = 1 << 20

#: How many pairs go into one frame: even with the longest topics and tokens they fit.
BATCH = 2_000

#: Seconds of silence after which an end sends a ping, and how many such spans of silence mean that the other end is
#: gone. Seconds that a write may take.
KEEP_ALIVE = 30.0
SILENCE = 2.5
WRITE_DEADLINE = 10.0

#: Seconds that a client gives a new connection, and then the server's hello.
CONNECT_TIMEOUT = 10.0

_LENGTH = struct.Struct(">I")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Token = Annotated[bytes, msgspec.Meta(min_length=1, max_length=100)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Label = Annotated[str, msgspec.Meta(max_length=255)]
Environment = Literal["production", "sandbox"]
Pairs = dict[Name, list[Token]]


# What a client sends.


class ClientHello(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="hello"):
    """First of all. `acknowledge`: whether this client will acknowledge; otherwise written counts as delivered."""

    version: Number
    client: Annotated[str, msgspec.Meta(max_length=255)] = ""
    acknowledge: bool = True


class Register(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="register"):
    """Asks for the token of a device for a topic, channel and environment."""

    id: Number
    device: Name
    topic: Name
    channel: Name = "device"
    environment: Environment = "production"


class Retire(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="retire"):
    """The device is gone: providers get 410 for this token."""

    id: Number
    topic: Name
    token: Token


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="subscribe"):
    """Listen for these tokens, by topic.

    `devices`: by topic, whose each token is, in the same order; for people who look for a device. `environment`: of
    tokens that are registered by this.
    """

    id: Number
    topics: Pairs
    devices: dict[Name, list[Label]] = {}
    environment: Environment = "production"


class Unsubscribe(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="unsubscribe"):
    """Listen no more for these tokens, by topic."""

    id: Number
    topics: Pairs


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="ack"):
    """The pushes of these numbers arrived."""

    numbers: Annotated[list[Number], msgspec.Meta(max_length=100_000)]


class Acted(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="acted"):
    """The devices of these tokens did what the last push asked for: they connected to their server."""

    topics: Pairs


class Called(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="called"):
    """Other names of devices: UDID, serial number. For people who look for a device by one of them."""

    devices: dict[Name, Annotated[list[Name], msgspec.Meta(max_length=10)]]


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="ping"):
    """Are you there? The other end sends the same frame with `reply` set."""

    id: Number = 0
    reply: bool = False


# What the server sends, besides Ping. Answers carry the id of the request.


class ServerHello(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="hello"):
    """The answer to the client's. `epoch` names the run of push numbers; `keep_alive`: seconds between pings."""

    version: Number
    epoch: str = ""
    keep_alive: float = KEEP_ALIVE


class Registered(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="register"):
    id: Number
    token: Token


class Retired(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="retire"):
    id: Number


class Subscribed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="subscribe"):
    """`refused`: tokens that are retired or not registered; all others are subscribed."""

    id: Number
    refused: Pairs = {}


class Unsubscribed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="unsubscribe"):
    """With an id: the answer. With id 0: a notice, another connection subscribed these tokens later."""

    id: Number = 0
    topics: Pairs = {}


class PushFrame(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="push"):
    """One push. `number` grows with every push of one epoch."""

    number: Number
    topic: Name
    token: Token
    payload: bytes


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="error"):
    """A request was refused, or, with id 0, the connection is about to be closed. `reason` is a stable word."""

    id: Number = 0
    reason: Annotated[str, msgspec.Meta(max_length=255)]
    detail: str = ""


FromClient = ClientHello | Register | Retire | Subscribe | Unsubscribe | Ack | Acted | Called | Ping
FromServer = ServerHello | Registered | Retired | Subscribed | Unsubscribed | PushFrame | Ping | Failure
_T = TypeVar("_T")

_encoder = msgspec.msgpack.Encoder()
_from_client: msgspec.msgpack.Decoder[FromClient] = msgspec.msgpack.Decoder(FromClient)
_from_server: msgspec.msgpack.Decoder[FromServer] = msgspec.msgpack.Decoder(FromServer)


def encode(frame: FromClient | FromServer) -> bytes:
    """One frame with its length in front. Raises ValueError if it is longer than the other end would take."""
    body = _encoder.encode(frame)
    if len(body) > MAX_FRAME:
        raise ValueError(f"{type(frame).__name__} of {len(body)} bytes: a frame holds at most {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def encode_request(frame: FromClient) -> bytes:
    """As `encode`, for values from a caller. Raises ValueError for what the server would not take for a frame."""
    data = encode(frame)
    try:
        _from_client.decode(memoryview(data)[4:])
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"{type(frame).__name__}: {error}") from None
    return data


class FrameReader(Generic[_T]):
    """Cuts a stream of bytes into frames. Holds at most one incomplete frame.

    `error` is set by the first bytes that are not a frame; from then on nothing is read any more.
    """

    def __init__(self, decoder: msgspec.msgpack.Decoder[_T]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()
        self.error: BadFrame | None = None

    def feed(self, data: bytes) -> list[_T]:
        """The frames completed by `data`, up to the first error."""
        if self.error is not None:
            return []
        buffer = self._buffer
        buffer += data
        frames: list[_T] = []
        start = 0
        while len(buffer) - start >= 4:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if not 1 <= length <= MAX_FRAME:
                self.error = BadFrame(f"a frame of {length} bytes: a frame has 1 to {MAX_FRAME}")
                break
            if len(buffer) - start - 4 < length:
                break
            start += 4
            # bytes, because what is decoded must not keep the buffer alive.
            body = bytes(memoryview(buffer)[start : start + length])
            start += length
            try:
                frames.append(self._decoder.decode(body))
            except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
                self.error = BadFrame(f"not a frame of this protocol: {error}")
                break
        if start:
            del buffer[:start]
        return frames


def client_frames() -> FrameReader[FromClient]:
    """A reader of what clients send."""
    return FrameReader(_from_client)


def server_frames() -> FrameReader[FromServer]:
    """A reader of what the server sends."""
    return FrameReader(_from_server)


def grouped(pairs: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """Pairs of topic and token as a frame holds them: tokens by topic."""
    topics: dict[str, list[bytes]] = {}
    for topic, token in pairs:
        topics.setdefault(topic, []).append(token)
    return topics


def batches(pairs: Sequence[tuple[str, bytes]]) -> Iterator[Sequence[tuple[str, bytes]]]:
    """Pairs in portions that fit into a frame each."""
    for start in range(0, len(pairs), BATCH):
        yield pairs[start : start + BATCH]


def flat(topics: Mapping[str, Iterable[bytes]]) -> list[tuple[str, bytes]]:
    """What `grouped` made, as pairs again."""
    return [(topic, token) for topic, tokens in topics.items() for token in tokens]


def labels(topics: Pairs, devices: Mapping[str, Sequence[str]]) -> list[str]:
    """Whose the tokens of `flat(topics)` are, in that order; "" where nobody said."""
    found: list[str] = []
    for topic, tokens in topics.items():
        names = devices.get(topic, ())
        found += names[: len(tokens)]
        found += [""] * (len(tokens) - len(names))
    return found
