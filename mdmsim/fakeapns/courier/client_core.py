"""The client's end of the courier, without I/O: wishes and bytes in; frames, answers and pushes out.

It outlives connections: what was subscribed is subscribed again, requests without an answer are sent again (each of
them can be repeated without harm), and a push that comes a second time because its acknowledgement was lost is
acknowledged again and not reported again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mdmsim.fakeapns.courier import protocol
from mdmsim.fakeapns.errors import BadFrame, CourierRefused

Pair = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Heard:
    """A push for one of our tokens. To be acknowledged by its number."""

    topic: str
    token: bytes
    payload: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a request: a token, the refused pairs, or nothing; or the refusal."""

    id: int
    token: bytes = b""
    refused: tuple[Pair, ...] = ()
    refusal: CourierRefused | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """These pairs are not ours any more: another connection subscribed them later, or they were retired meanwhile."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Greeted:
    """The server answered hello: the connection is good."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection cannot go on: the server speaks another protocol (BadFrame) or ends it (CourierRefused)."""

    error: BadFrame | CourierRefused


Happening = Heard | Answered | Lost | Greeted | Broken
_Asked = protocol.Register | protocol.Retire | protocol.Subscribe | protocol.Unsubscribe


class _Said(NamedTuple):
    """What is said of a token with its subscription: a fake that forgot everything registers it as it was."""

    device: str = ""
    channel: str = ""
    environment: protocol.Environment = "production"


class ClientCore:
    """One courier client's memory and framing. Raises ValueError for a name of more than 255 characters."""

    def __init__(self, name: str = "") -> None:
        self._hello = protocol.ClientHello(version=protocol.VERSION, client=name)
        protocol.encode_request(self._hello)
        self._reader = protocol.server_frames()
        self._outgoing = bytearray()
        # Pushes taken since the last frame that was made: one frame tells of them all.
        self._taken: list[int] = []
        self._connected = False
        self._greeted = False
        self._last_id = 0
        self._asked: dict[int, _Asked] = {}
        # What is subscribed; and what the tokens are that were registered here, subscribed or not.
        self._wanted: dict[Pair, _Said] = {}
        self._registered: dict[Pair, _Said] = {}
        # The subscriptions that this connection was asked for and did not answer yet, given up or not.
        self._subscribing: dict[int, frozenset[Pair]] = {}
        self._called: dict[str, tuple[str, ...]] = {}
        self._epoch = ""
        self._seen: dict[Pair, int] = {}
        self._unanswered_push: dict[Pair, int] = {}
        #: Seconds between pings, as the server says.
        self.keep_alive = protocol.KEEP_ALIVE

    @property
    def subscriptions(self) -> Sequence[Pair]:
        """What is subscribed, or will be as soon as there is a connection."""
        return tuple(self._wanted)

    # connection

    def connected(self) -> None:
        """A new connection is there: hello, all subscriptions and all requests without an answer are outgoing."""
        self._reader = protocol.server_frames()
        self._outgoing = bytearray()
        self._taken.clear()
        self._connected, self._greeted = True, False
        self._unanswered_push.clear()
        self._send(self._hello)
        self._subscribing = {
            number: frozenset(protocol.flat(asked.topics))
            for number, asked in self._asked.items()
            if isinstance(asked, protocol.Subscribe)
        }
        waiting = frozenset[Pair]().union(*self._subscribing.values())
        for batch in self._batches([pair for pair in self._wanted if pair not in waiting]):
            # Id 0: nobody waits for the answer.
            self._send(self._subscribe(0, batch))
        for names in protocol.portions(self._called):
            self._send(protocol.Called(devices=names))
        for asked in self._asked.values():
            self._send(asked)

    def disconnected(self) -> None:
        """The connection is gone; wishes are kept for the next one."""
        self._connected = self._greeted = False
        self._taken.clear()
        self._outgoing = bytearray()

    @property
    def pending(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._outgoing or self._taken)

    def outgoing(self) -> bytes:
        """What to write now; empty: nothing."""
        self._tell_taken()
        data = bytes(self._outgoing)
        self._outgoing = bytearray()
        return data

    @property
    def unfinished(self) -> int | None:
        """The number of the frame of which a part has come; None where there is none."""
        return self._reader.unfinished

    def receive(self, data: bytes) -> list[Happening]:
        """Take in bytes; return what they say, in order. After `Broken`, drop the connection."""
        happenings: list[Happening] = []
        try:
            for frame in self._reader.feed(data):
                if not self._greeted and not isinstance(frame, protocol.ServerHello | protocol.Failure):
                    raise BadFrame(f"the first frame must be hello, not {type(frame).__name__}")
                happening = self._handle(frame)
                if happening is not None:
                    happenings.append(happening)
            if self._reader.error is not None:
                raise self._reader.error
        except (BadFrame, CourierRefused) as error:
            happenings.append(Broken(error))
        return happenings

    def ping(self) -> None:
        """Ask whether the server is there."""
        self._send(protocol.Ping())

    # wishes; each returns the ids that `Answered` will carry

    def register(self, device: str, topic: str, channel: str, environment: protocol.Environment = "production") -> int:
        frame = protocol.Register(
            id=self._next_id(), device=device, topic=topic, channel=channel, environment=environment
        )
        return self._ask([frame])[0]

    def retire(self, topic: str, token: bytes) -> int:
        (number,) = self._ask([protocol.Retire(id=self._next_id(), topic=topic, token=token)])
        self._registered.pop((topic, token), None)
        self._forget((topic, token))
        return number

    def subscribe(
        self,
        pairs: Iterable[Pair],
        device: str = "",
        channel: str | None = None,
        environment: protocol.Environment | None = None,
    ) -> list[int]:
        """`channel` and `environment`: None: as they were registered here, else the device's, production."""
        unique = tuple(dict.fromkeys(pairs))
        before = {pair: self._wanted.get(pair) for pair in unique}
        said = _Said(device, channel or "", environment or "production")
        for pair in unique:
            known = self._registered.get(pair)
            self._wanted[pair] = (
                said
                if known is None
                else _Said(
                    device or known.device,
                    known.channel if channel is None else channel,
                    environment or known.environment,
                )
            )
        try:
            return self._ask([self._subscribe(self._next_id(), batch) for batch in self._batches(unique)])
        except ValueError:
            for pair, was in before.items():
                if was is None:
                    del self._wanted[pair]
                else:
                    self._wanted[pair] = was
            raise

    def call(self, device: str, names: Iterable[str]) -> None:
        """Tell other names of a device, now and on every later connection. Raises ValueError for what is no name."""
        given = tuple(names)
        frame = protocol.Called(devices={device: list(given)})
        protocol.encode_request(frame)
        self._called[device] = given
        self._send(frame)

    def acted(self, pairs: Iterable[Pair]) -> None:
        """Tell that these devices connected to their servers; lost with the connection, like the news that it is.

        Raises ValueError for what cannot be a topic or a token.
        """
        frames = [protocol.Acted(topics=protocol.grouped(batch)) for batch in protocol.batches(tuple(pairs))]
        data = b"".join(map(protocol.encode_request, frames))
        if self._connected:
            self._tell_taken()
            self._outgoing += data

    def unsubscribe(self, pairs: Iterable[Pair]) -> list[int]:
        unique = tuple(dict.fromkeys(pairs))
        ids = self._ask(
            [
                protocol.Unsubscribe(id=self._next_id(), topics=protocol.grouped(batch))
                for batch in protocol.batches(unique)
            ]
        )
        for pair in unique:
            self._forget(pair)
        return ids

    def acknowledge(self, topic: str, token: bytes) -> None:
        """The last push heard for this pair is taken; without effect if it was acknowledged before."""
        if (number := self._unanswered_push.pop((topic, token), None)) is not None:
            self._acknowledge(topic, token, number)

    def give_up(self, ids: Iterable[int]) -> None:
        """Nobody waits for these answers any more: do not send the requests again."""
        for number in ids:
            self._asked.pop(number, None)

    # inside

    def _handle(self, frame: protocol.FromServer) -> Happening | None:
        match frame:
            case protocol.PushFrame(number=number, topic=topic, token=token, payload=payload):
                pair = (topic, token)
                if number <= self._seen.get(pair, -1):
                    self._taken.append(number)
                    return None
                self._unanswered_push[pair] = number
                return Heard(topic, token, payload, number)
            case protocol.ServerHello(version=version, epoch=epoch, keep_alive=keep_alive):
                if version != protocol.VERSION or self._greeted:
                    raise BadFrame(f"a hello of version {version}: expected one, of version {protocol.VERSION}")
                if epoch != self._epoch:
                    self._epoch = epoch
                    self._seen.clear()
                # A server that never speaks, or always, is not believed.
                self.keep_alive = min(max(keep_alive, 0.05), 3600.0)
                self._greeted = True
                return Greeted()
            case protocol.Registered(id=number, token=token):
                if isinstance(asked := self._asked.get(number), protocol.Register):
                    self._registered[asked.topic, token] = _Said(asked.device, asked.channel, asked.environment)
                return self._answered(number, Answered(number, token=token), protocol.Register)
            case protocol.Retired(id=number):
                return self._answered(number, Answered(number), protocol.Retire)
            case protocol.Subscribed(id=number, refused=refused):
                self._subscribing.pop(number, None)
                pairs = tuple(protocol.flat(refused))
                for pair in pairs:
                    self._registered.pop(pair, None)
                    if not self._asked_anew(pair):
                        self._forget(pair)
                if number == 0:
                    return Lost(pairs) if pairs else None
                return self._answered(number, Answered(number, refused=pairs), protocol.Subscribe)
            case protocol.Unsubscribed(id=0, topics=topics):
                lost = tuple(
                    pair for pair in protocol.flat(topics) if pair in self._wanted and not self._asked_anew(pair)
                )
                for pair in lost:
                    self._forget(pair)
                return Lost(lost) if lost else None
            case protocol.Unsubscribed(id=number):
                return self._answered(number, Answered(number), protocol.Unsubscribe)
            case protocol.Ping(id=number, reply=reply):
                if not reply:
                    self._send(protocol.Ping(id=number, reply=True))
                return None
            case protocol.Failure(id=number, reason=reason, detail=detail):
                refusal = CourierRefused(reason, detail)
                if reason in protocol.FATAL:
                    raise refusal
                return self._answered(number, Answered(number, refusal=refusal), None)

    def _answered(self, number: int, answer: Answered, expected: type[_Asked] | None) -> Answered | None:
        self._subscribing.pop(number, None)
        asked = self._asked.get(number)
        if asked is None:
            return None
        if expected is not None and not isinstance(asked, expected):
            raise BadFrame(
                f"request {number} was a {type(asked).__name__}, and got the answer to a {expected.__name__}"
            )
        del self._asked[number]
        return answer

    def _acknowledge(self, topic: str, token: bytes, number: int) -> None:
        self._seen[topic, token] = number
        if self._connected:
            self._taken.append(number)

    def _asked_anew(self, pair: Pair) -> bool:
        """Whether a subscription is on its way that the server had not seen when it said what came just now."""
        return any(pair in pairs for pairs in self._subscribing.values())

    def _batches(self, pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
        """Wanted pairs in portions that fit into a frame each, of one environment each."""
        by_environment: dict[str, list[Pair]] = {}
        for pair in pairs:
            by_environment.setdefault(self._wanted[pair].environment, []).append(pair)
        for those in by_environment.values():
            yield from protocol.batches(those, lambda pair: self._wanted[pair][:2])

    def _subscribe(self, number: int, pairs: Sequence[Pair]) -> protocol.Subscribe:
        said = [self._wanted[pair] for pair in pairs]
        devices: dict[str, list[str]] = {}
        channels: dict[str, list[str]] = {}
        if any(one.device for one in said):
            for (topic, _), one in zip(pairs, said, strict=True):
                devices.setdefault(topic, []).append(one.device)
        if any(one.channel not in ("", "device") for one in said):
            for (topic, _), one in zip(pairs, said, strict=True):
                channels.setdefault(topic, []).append(one.channel)
        return protocol.Subscribe(
            id=number,
            topics=protocol.grouped(pairs),
            devices=devices,
            channels=channels,
            environment=said[0].environment,
        )

    def _forget(self, pair: Pair) -> None:
        self._wanted.pop(pair, None)
        self._seen.pop(pair, None)
        self._unanswered_push.pop(pair, None)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _ask(self, frames: Sequence[_Asked]) -> list[int]:
        # Encoding first: what cannot be sent must not be kept for sending again.
        data = b"".join(map(protocol.encode_request, frames))
        for frame in frames:
            self._asked[frame.id] = frame
            if self._connected and isinstance(frame, protocol.Subscribe):
                self._subscribing[frame.id] = frozenset(protocol.flat(frame.topics))
        if self._connected:
            self._tell_taken()
            self._outgoing += data
        return [frame.id for frame in frames]

    def _tell_taken(self) -> None:
        # Before anything else is said: what is unsubscribed after it was taken must not come again.
        if self._taken:
            taken, self._taken = self._taken, []
            for start in range(0, len(taken), protocol.BATCH):
                self._outgoing += protocol.encode(protocol.Ack(numbers=taken[start : start + protocol.BATCH]))

    def _send(self, frame: protocol.FromClient) -> None:
        if self._connected:
            self._tell_taken()
            self._outgoing += protocol.encode(frame)
