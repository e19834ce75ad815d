"""The server's end of one courier connection, without I/O: bytes in, bytes out, the service in between."""

from __future__ import annotations

from collections.abc import Callable

from mdmsim.fakeapns.aliases import PER_CONNECTION
from mdmsim.fakeapns.courier import protocol
from mdmsim.fakeapns.errors import TOO_MANY_TOKENS, UNKNOWN_TOKEN, TooManyTokens, UnknownToken
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.session import Session

#: Bytes of unsent answers at which a shell stops reading: a client that asks and never reads is made to wait.
BACKLOG = 1 << 20


class Conversation:
    """One connection. The shell feeds `receive`, and writes what `outgoing` returns whenever it can write.

    `notify` is called when there may be something to write; it must return at once.
    """

    def __init__(
        self, service: ApnsService, notify: Callable[[], None], *, keep_alive: float = protocol.KEEP_ALIVE
    ) -> None:
        self._service = service
        self._notify = notify
        self.keep_alive = keep_alive
        self._reader = protocol.client_frames()
        self._session: Session | None = None
        self._acknowledge = True
        self._written_numbers: list[int] = []
        self._replies = bytearray()
        self._lost: list[tuple[str, bytes]] = []
        self._closing: str | None = None
        self._promises = False
        # Bytes of devices' other names that came over this connection.
        self._told = 0

    @property
    def backlog(self) -> int:
        """Bytes of answers that were not fetched yet."""
        return len(self._replies)

    @property
    def unfinished(self) -> int | None:
        """The number of the frame of which a part has come; None where there is none."""
        return self._reader.unfinished

    @property
    def closing(self) -> str | None:
        """Why the connection is to be closed once everything outgoing is written; None while it goes on."""
        return self._closing

    @property
    def promises(self) -> bool:
        """Whether what is outgoing next says that tokens are registered or retired, which must be durable then."""
        return self._promises

    @property
    def name(self) -> str:
        return self._session.name if self._session is not None else ""

    def receive(self, data: bytes) -> None:
        """Take in bytes. What is no frame, or comes before hello, ends the conversation; see `closing`."""
        if self._closing is not None:
            return
        for frame in self._reader.feed(data):
            if self._closing is None:
                self._handle(frame)
        if self._reader.error is not None and self._closing is None:
            self._end("bad-frame", str(self._reader.error))
        if self._replies:
            self._notify()

    def outgoing(self, limit: int = 65536) -> bytes:
        """What to write next: answers first, then pushes, about `limit` bytes of them; empty: nothing now."""
        self._tell_losses()
        data, self._replies = self._replies, bytearray()
        self._promises = False
        # A client that hears that it is at the end may read no further: pushes are for the next connection then.
        session = self._session if self._closing is None else None
        while session is not None and len(data) < limit and (pushes := session.take()):
            for push in pushes:
                data += protocol.encode(
                    protocol.PushFrame(number=push.number, topic=push.topic, token=push.token, payload=push.payload)
                )
                if not self._acknowledge:
                    self._written_numbers.append(push.number)
        return bytes(data)

    def written(self) -> None:
        """All that `outgoing` returned was written. Without acknowledgements, that is delivery."""
        if self._session is None or not self._written_numbers:
            return
        numbers, self._written_numbers = self._written_numbers, []
        for number in numbers:
            self._session.acknowledge(number)

    def ping(self) -> None:
        """Ask whether the other end is there."""
        self._reply(protocol.Ping())

    def close(self, why: str) -> None:
        """The connection ended, for whatever reason; what was not acknowledged stays pending."""
        self._closing = self._closing or why
        if self._session is not None:
            self._session.close(self._closing)
            self._session = None

    # what the session calls

    def wake(self) -> None:
        self._notify()

    def replaced(self, topic: str, token: bytes) -> None:
        self._lost.append((topic, token))
        self._notify()

    # inside

    def _handle(self, frame: protocol.FromClient) -> None:
        session = self._session
        if session is None:
            self._greet(frame)
            return
        match frame:
            case protocol.Ack(numbers=numbers):
                for number in numbers:
                    session.acknowledge(number)
            case protocol.Subscribe(id=number, topics=topics, environment=environment):
                self._promises = True
                refused = session.subscribe(
                    protocol.flat(topics),
                    protocol.labels(topics, frame.devices),
                    environment,
                    protocol.labels(topics, frame.channels),
                )
                self._reply(protocol.Subscribed(id=number, refused=protocol.grouped(refused)))
            case protocol.Unsubscribe(id=number, topics=topics):
                session.unsubscribe(protocol.flat(topics))
                self._reply(protocol.Unsubscribed(id=number))
            case protocol.Register(id=number, device=device, topic=topic, channel=channel, environment=environment):
                self._promises = True
                try:
                    token = self._service.register(device, topic, channel, environment)
                except TooManyTokens as error:
                    self._reply(protocol.Failure(id=number, reason=TOO_MANY_TOKENS, detail=str(error)))
                else:
                    self._reply(protocol.Registered(id=number, token=token))
            case protocol.Retire(id=number, topic=topic, token=token):
                self._promises = True
                try:
                    self._service.retire(topic, token)
                except UnknownToken as error:
                    self._reply(protocol.Failure(id=number, reason=UNKNOWN_TOKEN, detail=str(error)))
                else:
                    self._reply(protocol.Retired(id=number))
            case protocol.Acted(topics=topics):
                session.acted(protocol.flat(topics))
            case protocol.Called(devices=devices):
                for device, names in devices.items():
                    self._told += self._service.tokens.call(device, names, room=PER_CONNECTION - self._told)
            case protocol.Ping(id=number, reply=reply):
                if not reply:
                    self._reply(protocol.Ping(id=number, reply=True))
            case protocol.ClientHello():
                self._end("bad-frame", "hello comes once, first of all")

    def _greet(self, frame: protocol.FromClient) -> None:
        if not isinstance(frame, protocol.ClientHello):
            self._end("bad-frame", "the first frame must be hello")
            return
        if frame.version != protocol.VERSION:
            self._end("bad-version", f"version {frame.version} was asked for, {protocol.VERSION} is spoken here")
            return
        self._acknowledge = frame.acknowledge
        self._session = self._service.open_session(self, frame.client)
        self._reply(
            protocol.ServerHello(version=protocol.VERSION, epoch=self._service.epoch, keep_alive=self.keep_alive)
        )

    def _reply(self, frame: protocol.FromServer) -> None:
        # In the order in which it happened: a token that was lost and is subscribed again is not lost.
        self._tell_losses()
        self._replies += protocol.encode(frame)

    def _tell_losses(self) -> None:
        lost, self._lost = self._lost, []
        for batch in protocol.batches(lost):
            self._replies += protocol.encode(protocol.Unsubscribed(topics=protocol.grouped(batch)))

    def _end(self, reason: str, detail: str) -> None:
        self._reply(protocol.Failure(reason=reason, detail=detail))
        self._closing = f"{reason}: {detail}"
        self._notify()
