"""The courier's frames: a four-byte length, big endian, and one msgpack map of that many bytes. No I/O.

Every map has a `kind`; unknown further keys are ignored, unknown kinds are an error. `docs/courier.md` is the
reference; what is here must match it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from mdmsim.fakeapns.errors import BadFrame

VERSION = 1

#: The longest body of a frame, in bytes, and of one that a client sends: shorter, because the answer to a subscribe may
#: hold all of its tokens and must be a frame, too. Room for some 25,000 tokens in one subscribe.
MAX_FRAME = 1 << 20
MAX_REQUEST = 1_000_000

#: How many pairs, or devices, go into one frame at most, and their bytes: what is left is for the frame's other keys.
BATCH = 2_000
_ROOM = MAX_REQUEST - 1_000

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

    `devices` and `channels`: by topic, whose each token is, and of which channel, in the same order; for people who
    look for a device. `environment`: of tokens that are registered by this.
    """

    id: Number
    topics: Pairs
    devices: dict[Name, list[Label]] = {}
    channels: dict[Name, list[Label]] = {}
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
    """A request was refused; or, where `reason` is one of FATAL, the connection is about to be closed.

    `reason` is a stable word. The id is that of the request, and 0 where the error is about the connection.
    """

    id: Number = 0
    reason: Annotated[str, msgspec.Meta(max_length=255)]
    detail: str = ""


#: The reasons of errors that are about the connection and not about a request.
FATAL = frozenset({"bad-frame", "bad-version"})

FromClient = ClientHello | Register | Retire | Subscribe | Unsubscribe | Ack | Acted | Called | Ping
FromServer = ServerHello | Registered | Retired | Subscribed | Unsubscribed | PushFrame | Ping | Failure
_T = TypeVar("_T")

_encoder = msgspec.msgpack.Encoder()
_from_client: msgspec.msgpack.Decoder[FromClient] = msgspec.msgpack.Decoder(FromClient)
_from_server: msgspec.msgpack.Decoder[FromServer] = msgspec.msgpack.Decoder(FromServer)


def encode(frame: FromClient | FromServer) -> bytes:
    """One frame with its length in front. Raises ValueError if it is longer than the other end would take."""
    body = _encoder.encode(frame)
    if len(body) > MAX_REQUEST:
        limit = MAX_REQUEST if isinstance(frame, FromClient) else MAX_FRAME
        if len(body) > limit:
            raise ValueError(f"{type(frame).__name__} of {len(body)} bytes: a frame holds at most {limit}")
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

    def __init__(self, decoder: msgspec.msgpack.Decoder[_T], limit: int) -> None:
        self._decoder = decoder
        self._limit = limit
        self._buffer = bytearray()
        self._count = 0
        self.error: BadFrame | None = None

    @property
    def unfinished(self) -> int | None:
        """The number of the frame of which a part has come; None where there is none."""
        return self._count if self._buffer else None

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
            if not 1 <= length <= self._limit:
                self.error = BadFrame(f"a frame of {length} bytes: a frame has 1 to {self._limit}")
                break
            if len(buffer) - start - 4 < length:
                break
            start += 4
            # bytes, because what is decoded must not keep the buffer alive.
            body = bytes(memoryview(buffer)[start : start + length])
            start += length
            self._count += 1
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
    return FrameReader(_from_client, MAX_REQUEST)


def server_frames() -> FrameReader[FromServer]:
    """A reader of what the server sends."""
    return FrameReader(_from_server, MAX_FRAME)


def grouped(pairs: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """Pairs of topic and token as a frame holds them: tokens by topic."""
    topics: dict[str, list[bytes]] = {}
    for topic, token in pairs:
        topics.setdefault(topic, []).append(token)
    return topics


def batches(
    pairs: Sequence[tuple[str, bytes]], labels: Callable[[tuple[str, bytes]], Sequence[str]] | None = None
) -> Iterator[Sequence[tuple[str, bytes]]]:
    """Pairs in portions that fit into a frame each. `labels`: what is said of a pair beside it, as `devices` is.

    Names are limited in characters and not in bytes, so it is the bytes that are counted.
    """
    start = size = 0
    topics: set[str] = set()
    for at, pair in enumerate(pairs):
        topic, token = pair
        told = labels(pair) if labels is not None else ()
        own = _taken(len(token)) + sum(_taken(len(label.encode())) for label in told)
        # A topic is there once for its tokens, and once more for each kind of labels, each time with an array's head.
        head = (_taken(len(topic.encode())) + 5) * (1 + len(told)) if topic not in topics else 0
        if at > start and (at - start == BATCH or size + own + head > _ROOM):
            yield pairs[start:at]
            start, size = at, 0
            topics.clear()
            head = (_taken(len(topic.encode())) + 5) * (1 + len(told))
        topics.add(topic)
        size += own + head
    if start < len(pairs):
        yield pairs[start:]


def portions(names: Mapping[str, Sequence[str]]) -> Iterator[dict[str, list[str]]]:
    """Names of devices in portions that fit into a frame each."""
    portion: dict[str, list[str]] = {}
    size = 0
    for device, called in names.items():
        own = _taken(len(device.encode())) + 5 + sum(_taken(len(name.encode())) for name in called)
        if portion and (len(portion) == BATCH or size + own > _ROOM):
            yield portion
            portion, size = {}, 0
        portion[device] = list(called)
        size += own
    if portion:
        yield portion


def _taken(length: int) -> int:
    """The most that a string or binary of that many bytes takes in a frame."""
    return length + 5


def flat(topics: Mapping[str, Iterable[bytes]]) -> list[tuple[str, bytes]]:
    """What `grouped` made, as pairs again."""
    return [(topic, token) for topic, tokens in topics.items() for token in tokens]


def labels(topics: Pairs, said: Mapping[str, Sequence[str]]) -> list[str]:
    """What is said of the tokens of `flat(topics)`, by `devices` or `channels`, in that order; "" where nothing is."""
    found: list[str] = []
    for topic, tokens in topics.items():
        names = said.get(topic, ())
        found += names[: len(tokens)]
        found += [""] * (len(tokens) - len(names))
    return found
