"""The client's end of the courier, without I/O: wishes and bytes in; frames, answers and pushes out.

It outlives connections: what was subscribed is subscribed again, requests without an answer are sent again (each of
them can be repeated without harm), and a push that comes a second time because its acknowledgement was lost is
acknowledged again and not reported again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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


class ClientCore:
    """One courier client's memory and framing."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._reader = protocol.server_frames()
        self._outgoing = bytearray()
        self._connected = False
        self._greeted = False
        self._last_id = 0
        self._asked: dict[int, _Asked] = {}
        # What is subscribed, and whose it is, where that was said.
        self._wanted: dict[Pair, str] = {}
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
        self._connected, self._greeted = True, False
        self._unanswered_push.clear()
        self._send(protocol.ClientHello(version=protocol.VERSION, client=self._name))
        waiting = set()
        for asked in self._asked.values():
            if isinstance(asked, protocol.Subscribe):
                waiting.update(protocol.flat(asked.topics))
        again = [pair for pair in self._wanted if pair not in waiting]
        for batch in protocol.batches(again):
            # Id 0: nobody waits for the answer.
            self._send(self._subscribe(0, batch))
        for names in _portions(self._called):
            self._send(protocol.Called(devices=names))
        for asked in self._asked.values():
            self._send(asked)

    def disconnected(self) -> None:
        """The connection is gone; wishes are kept for the next one."""
        self._connected = self._greeted = False
        self._outgoing = bytearray()

    def outgoing(self) -> bytes:
        """What to write now; empty: nothing."""
        data = bytes(self._outgoing)
        self._outgoing = bytearray()
        return data

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
        return self._ask(
            protocol.Register(id=self._next_id(), device=device, topic=topic, channel=channel, environment=environment)
        )

    def retire(self, topic: str, token: bytes) -> int:
        number = self._ask(protocol.Retire(id=self._next_id(), topic=topic, token=token))
        self._forget((topic, token))
        return number

    def subscribe(self, pairs: Iterable[Pair], device: str = "") -> list[int]:
        unique = tuple(dict.fromkeys(pairs))
        before = {pair: self._wanted.get(pair) for pair in unique}
        self._wanted.update(dict.fromkeys(unique, device))
        try:
            return [self._ask(self._subscribe(self._next_id(), batch)) for batch in protocol.batches(unique)]
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
        """Tell that these devices connected to their servers; lost with the connection, like the news that it is."""
        for batch in protocol.batches(tuple(pairs)):
            self._send(protocol.Acted(topics=protocol.grouped(batch)))

    def unsubscribe(self, pairs: Iterable[Pair]) -> list[int]:
        unique = tuple(dict.fromkeys(pairs))
        ids = [
            self._ask(protocol.Unsubscribe(id=self._next_id(), topics=protocol.grouped(batch)))
            for batch in protocol.batches(unique)
        ]
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
                    self._send(protocol.Ack(numbers=[number]))
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
                return self._answered(number, Answered(number, token=token), protocol.Register)
            case protocol.Retired(id=number):
                return self._answered(number, Answered(number), protocol.Retire)
            case protocol.Subscribed(id=number, refused=refused):
                pairs = tuple(protocol.flat(refused))
                for pair in pairs:
                    self._forget(pair)
                if number == 0:
                    return Lost(pairs) if pairs else None
                return self._answered(number, Answered(number, refused=pairs), protocol.Subscribe)
            case protocol.Unsubscribed(id=0, topics=topics):
                lost = tuple(pair for pair in protocol.flat(topics) if pair in self._wanted)
                for pair in lost:
                    self._forget(pair)
                return Lost(lost)
            case protocol.Unsubscribed(id=number):
                return self._answered(number, Answered(number), protocol.Unsubscribe)
            case protocol.Ping(id=number, reply=reply):
                if not reply:
                    self._send(protocol.Ping(id=number, reply=True))
                return None
            case protocol.Failure(id=number, reason=reason, detail=detail):
                refusal = CourierRefused(reason, detail)
                if number == 0:
                    raise refusal
                return self._answered(number, Answered(number, refusal=refusal), None)

    def _answered(self, number: int, answer: Answered, expected: type[_Asked] | None) -> Answered | None:
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
        self._send(protocol.Ack(numbers=[number]))

    def _subscribe(self, number: int, pairs: Sequence[Pair]) -> protocol.Subscribe:
        devices: dict[str, list[str]] = {}
        if any(self._wanted.get(pair) for pair in pairs):
            for topic, token in pairs:
                devices.setdefault(topic, []).append(self._wanted.get((topic, token), ""))
        return protocol.Subscribe(id=number, topics=protocol.grouped(pairs), devices=devices)

    def _forget(self, pair: Pair) -> None:
        self._wanted.pop(pair, None)
        self._seen.pop(pair, None)
        self._unanswered_push.pop(pair, None)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _ask(self, frame: _Asked) -> int:
        # Encoding first: what cannot be sent must not be kept for sending again.
        data = protocol.encode_request(frame)
        self._asked[frame.id] = frame
        if self._connected:
            self._outgoing += data
        return frame.id

    def _send(self, frame: protocol.FromClient) -> None:
        if self._connected:
            self._outgoing += protocol.encode(frame)


def _portions(called: Mapping[str, Sequence[str]]) -> Iterator[dict[str, list[str]]]:
    """Names in portions that fit into a frame each."""
    devices = list(called)
    for start in range(0, len(devices), protocol.BATCH // 10):
        yield {device: list(called[device]) for device in devices[start : start + protocol.BATCH // 10]}
