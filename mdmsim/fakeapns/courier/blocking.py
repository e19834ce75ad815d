"""The courier's client on plain sockets and one reader thread: for Locust under gevent, and for a REPL.

Under gevent's monkey patching the thread is a greenlet. Modules are used by name (`socket.socket`), never by names
taken at import, so that patching later still counts; trio is not imported, because it does not run in a patched process.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from types import TracebackType

from mdmsim.apple_network import refuse_apple_resolved_blocking
from mdmsim.chance import Chance
from mdmsim.fakeapns.courier.backoff import Backoff
from mdmsim.fakeapns.courier.client_core import Answered, Broken, ClientCore, Greeted, Happening, Heard, Lost
from mdmsim.fakeapns.courier.interface import OnLost, OnPush
from mdmsim.fakeapns.courier.protocol import CONNECT_TIMEOUT, SILENCE, Environment
from mdmsim.fakeapns.errors import CourierError, CourierUnreachable
from mdmsim.http import ConnectFailed


class BlockingCourier:
    """One connection to a fake APNs, for all devices of a process. Use it with `with`.

    As `CourierClient`, without `await`. `on_push` and `on_lost` are called on the reader thread; what they raise
    ends the courier, and every later call raises CourierError with that cause. `timeout`: seconds that a request may
    take, breaks of the connection included; longer raises CourierError.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        on_push: OnPush,
        chance: Chance,
        on_lost: OnLost | None = None,
        name: str = "",
        manual: bool = False,
        timeout: float = 60.0,
    ) -> None:
        self._address = (host, port)
        self._on_push = on_push
        self._on_lost = on_lost
        self._manual = manual
        self._timeout = timeout
        self._core = ClientCore(name)
        self._backoff = Backoff(chance)
        # Guards the core and the writing: one writer at a time, and frames in the order of the core.
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._stopped = threading.Event()
        self._greeted = threading.Event()
        self._waiting: dict[int, threading.Event] = {}
        self._answers: dict[int, Answered] = {}
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        #: How many connections were made so far; more than one means that it broke in between.
        self.connections = 0

    @property
    def subscriptions(self) -> int:
        return len(self._core.subscriptions)

    def __enter__(self) -> BlockingCourier:
        try:
            connection = self._connect()
        except OSError as error:
            raise self._unreachable(str(error)) from None
        self._thread = threading.Thread(target=self._run, args=(connection,), name="courier", daemon=True)
        self._thread.start()
        if not self._greeted.wait(CONNECT_TIMEOUT):
            self.close()
            raise self._unreachable("no hello in time")
        if not self.connections:
            why = str(self._failure or "it hung up")
            self.close()
            raise self._unreachable(why)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and the thread; a second time is without effect."""
        self._stopped.set()
        with self._lock:
            _shut(self._socket)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def register(
        self, device: str, topic: str, channel: str = "device", environment: Environment = "production"
    ) -> bytes:
        with self._lock:
            ids = self._wait_for([self._core.register(device, topic, channel, environment)])
        return self._answers_to(ids)[0].token

    def subscribe(
        self,
        pairs: Iterable[tuple[str, bytes]],
        device: str = "",
        channel: str | None = None,
        environment: Environment | None = None,
    ) -> list[tuple[str, bytes]]:
        with self._lock:
            ids = self._wait_for(self._core.subscribe(pairs, device, channel, environment))
        return [pair for answer in self._answers_to(ids) for pair in answer.refused]

    def unsubscribe(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        with self._lock:
            ids = self._wait_for(self._core.unsubscribe(pairs))
        self._answers_to(ids)

    def retire(self, topic: str, token: bytes) -> None:
        with self._lock:
            ids = self._wait_for([self._core.retire(topic, token)])
        self._answers_to(ids)

    def ack(self, topic: str, token: bytes) -> None:
        with self._lock:
            self._core.acknowledge(topic, token)
            self._flush()

    def acted(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        with self._lock:
            self._core.acted(pairs)
            self._flush()

    def call(self, device: str, names: Iterable[str]) -> None:
        with self._lock:
            self._core.call(device, names)
            self._flush()

    # asking

    def _wait_for(self, ids: list[int]) -> list[int]:
        """Send what was asked, and prepare for the answers. Holds the lock."""
        for number in ids:
            self._waiting[number] = threading.Event()
        self._flush()
        return ids

    def _answers_to(self, ids: list[int]) -> list[Answered]:
        answers = []
        try:
            for number in ids:
                arrived = self._waiting[number].wait(self._timeout) if not self._stopped.is_set() else False
                answer = self._answers.get(number)
                if answer is None:
                    why = f"no answer in {self._timeout:g} s" if not arrived else "the courier is closed"
                    raise CourierError("the courier is closed" if self._stopped.is_set() else why) from self._failure
                answers.append(answer)
        finally:
            with self._lock:
                self._core.give_up(ids)
                for number in ids:
                    self._waiting.pop(number, None)
                    self._answers.pop(number, None)
        for answer in answers:
            if answer.refusal is not None:
                raise answer.refusal
        return answers

    # the reader thread

    def _run(self, connection: socket.socket) -> None:
        try:
            while not self._stopped.is_set():
                self._talk(connection)
                if not self.connections:
                    return
                while not self._stopped.wait(self._backoff.next()):
                    try:
                        connection = self._connect()
                        break
                    except OSError:
                        continue
        except BaseException as error:
            # Kept for whoever asks next: a thread has nobody to raise to.
            self._failure = error
            if not isinstance(error, Exception):
                raise
        finally:
            self._stopped.set()
            self._greeted.set()
            for event in tuple(self._waiting.values()):
                event.set()

    def _talk(self, connection: socket.socket) -> None:
        """Hear one connection to its end."""
        silent = 0
        with connection:
            with self._lock:
                self._socket = connection
                self._core.connected()
                self._flush()
            try:
                while not self._stopped.is_set():
                    try:
                        data = connection.recv(65536)
                    except TimeoutError:
                        silent += 1
                        if silent >= SILENCE:
                            return
                        with self._lock:
                            self._core.ping()
                            self._flush()
                        continue
                    except OSError:
                        return
                    silent = 0
                    if not data or not self._hear(data, connection):
                        return
            finally:
                with self._lock:
                    self._socket = None
                    self._core.disconnected()

    def _hear(self, data: bytes, connection: socket.socket) -> bool:
        with self._lock:
            happenings = self._core.receive(data)
        good = True
        for happening in happenings:
            good = self._handle(happening, connection) and good
        with self._lock:
            self._flush()
        return good

    def _handle(self, happening: Happening, connection: socket.socket) -> bool:
        match happening:
            case Heard(topic=topic, token=token, payload=payload):
                self._on_push(topic, token, payload)
                if not self._manual:
                    with self._lock:
                        self._core.acknowledge(topic, token)
            case Answered(id=number):
                if (event := self._waiting.get(number)) is not None:
                    self._answers[number] = happening
                    event.set()
            case Lost(pairs=pairs):
                for topic, token in pairs:
                    if self._on_lost is not None:
                        self._on_lost(topic, token)
            case Greeted():
                self.connections += 1
                self._backoff.reset()
                connection.settimeout(self._core.keep_alive)
                self._greeted.set()
            case Broken(error=error):
                if not self.connections:
                    self._failure = error
                return False
        return True

    def _connect(self) -> socket.socket:
        try:
            refuse_apple_resolved_blocking(*self._address)
        except ConnectFailed as refused:
            raise ConnectionRefusedError(str(refused)) from None
        connection = socket.create_connection(self._address, timeout=CONNECT_TIMEOUT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _flush(self) -> None:
        """Write what the core has to say. Holds the lock; what cannot be written goes again on the next connection."""
        if self._socket is None or not (data := self._core.outgoing()):
            return
        try:
            self._socket.sendall(data)
        except OSError:
            # The reader notices, and connects again.
            _shut(self._socket)

    def _unreachable(self, why: str) -> CourierUnreachable:
        host, port = self._address
        return CourierUnreachable(
            f"courier {host}:{port}: {why}. Is the fake APNs running, and is this its courier port?"
        )


def _shut(connection: socket.socket | None) -> None:
    if connection is None:
        return
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It was gone already.
        return
