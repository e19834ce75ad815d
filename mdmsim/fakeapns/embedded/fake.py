"""The fake APNs inside anybody's test suite: the real one, TLS and all, in a thread of its own.

    with FakeApns() as apns:
        phone = apns.device()
        my_server.push(apns.url, apns.certificate().file, phone.token)
        assert phone.wait_for_push().json == {"mdm": "magic"}

Every method may be called from any thread, from plain code as from inside an asyncio or trio loop (where waiting blocks
that loop: use a thread for it). State is in memory and ends with the block, unless a `store` is given.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, get_args

import msgspec
import trio

from mdmsim.chance import Chance
from mdmsim.clock import Clock, WallClock
from mdmsim.fakeapns.embedded.credentials import Certificate, Environments, KeyFormat, Mint, TokenKey
from mdmsim.fakeapns.embedded.device import PATIENCE, SimulatedDevice, token_bytes
from mdmsim.fakeapns.embedded.loop_thread import LoopThread
from mdmsim.fakeapns.embedded.pushes import HeardPush, Received, ReceivedPush
from mdmsim.fakeapns.errors import UnknownToken
from mdmsim.fakeapns.fault_spec import FaultSpec, end_fault, plan_fault
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.provider import Environment
from mdmsim.fakeapns.provider_tokens import SigningKey
from mdmsim.fakeapns.serve import Ready, ServeSettings, serve
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.faults import Fault
from mdmsim.mistakes import explain
from mdmsim.pki.push_certificate import new_topic

T = TypeVar("T")

#: Seconds that a request which is still open when the block ends gets before it is cut.
_GRACE = 0.25


class FakeApns:
    """A fake APNs on loopback, running from `with` to the end of the block. Raises ServeError where it cannot start.

    `topic`: of certificates and tokens that are asked for without one; drawn where none is given. `port`: of the provider
    side; 0 takes any free one. `settings`, `front`: the switches of the service and of its HTTP/2 side. `store`: a file that
    tokens, kept pushes and certificates outlive the block in. `seed` makes tokens and ids repeatable. `clock`: another
    than the machine's, by which pushes expire and certificates grow old. Raises ValueError, TypeError for an argument
    that cannot be.
    """

    def __init__(
        self,
        *,
        topic: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: ApnsSettings | None = None,
        front: FrontSettings | None = None,
        store: str | Path | None = None,
        seed: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        for name, given, kind in (("settings", settings, ApnsSettings), ("front", front, FrontSettings)):
            if given is not None and not isinstance(given, kind):
                raise TypeError(f"{name}={given!r}: give {name}={kind.__name__}(...), from {kind.__module__}")
        if store is not None and not isinstance(store, str | Path):
            raise TypeError(f"store={store!r}: a file's name, as text or as a Path")
        if store is not None and not str(store):
            raise ValueError('store="": name a file, or leave it out for a store in memory')
        if not 0 <= port <= 65535:
            raise ValueError(f"port={port}: 0 for any free one, or 1 to 65535")
        self._chance = Chance(seed) if seed is not None else Chance.of_machine()
        self.clock: Clock = clock or WallClock()
        self.host = host
        self.topic = _topic(topic, new_topic(self._chance.stream("topic")))
        self.faults = Faults(self)
        self._port = port
        self._settings = settings or ApnsSettings()
        self._front = front or FrontSettings(grace=_GRACE)
        self._store = Path(store) if store is not None else None
        self._seed = seed
        self._received = Received()
        self._devices = itertools.count(1)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._loop: LoopThread | None = None
        self._service: ApnsService | None = None
        self._ready: Ready | None = None
        self._mint: Mint | None = None

    def __enter__(self) -> FakeApns:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin, for fixtures that have no `with`; then `close` is theirs to call. Raises ServeError."""
        if self._loop is not None:
            raise RuntimeError("this FakeApns has been started before: make another one")
        self._folder = tempfile.TemporaryDirectory(prefix="mdmsim-apns-")
        self._mint = Mint(self.clock, self._chance.stream("certificates"), Path(self._folder.name))
        self._loop = LoopThread(self._main, "the fake APNs")
        try:
            self._loop.start()
        except BaseException:
            self._folder.cleanup()
            raise

    def close(self) -> None:
        """End it: connections are closed, files removed. May be called again."""
        if self._loop is None or self._folder is None:
            return
        try:
            self._loop.close()
        finally:
            self._folder.cleanup()

    # where it is

    @property
    def port(self) -> int:
        """Where providers connect: HTTP/2 over TLS."""
        return self._told.port

    @property
    def url(self) -> str:
        """The base URL for providers that take one: `https://127.0.0.1:PORT`."""
        return self._told.url

    @property
    def sandbox_url(self) -> str:
        """The same for the sandbox. Whoever asks for one of Apple's names is where the name says, on either port."""
        return self._told.sandbox_url or ""

    @property
    def ca(self) -> str:
        """The certificate that clients must trust, as PEM. The server's certificate carries Apple's names and loopback's."""
        return self._told.ca or ""

    @property
    def ca_file(self) -> str:
        """The same as a file, for `SSL_CERT_FILE`, `NODE_EXTRA_CA_CERTS`, `cafile=`."""
        return self._told.ca_file or ""

    @property
    def courier_port(self) -> int:
        """Where processes with simulated devices connect (docs/courier.md)."""
        return self._told.courier_port

    @property
    def admin_url(self) -> str:
        return self._told.admin_url

    @property
    def admin_key(self) -> str:
        """What the admin API wants as bearer key."""
        return self._told.admin_key

    # what providers need

    def certificate(
        self,
        topic: str | None = None,
        *,
        environment: Environments = "production",
        topics: Sequence[str] = (),
        key_format: KeyFormat = "pkcs8",
        days: float = 365,
    ) -> Certificate:
        """A new throw-away push certificate for the topic (default: `self.topic`), which the fake accepts from now on.

        Asked for again, it is a renewed one: both are good. `environment`: where it may push, by Apple's marks in it;
        "production" is what MDM has, and clients that look for another mark want "both". `topics`: makes a certificate
        for several topics, as apps have. `key_format`: "pkcs8" (BEGIN PRIVATE KEY) or "pkcs1" (BEGIN
        RSA PRIVATE KEY), which some servers insist on. `days`: how long it is good, at most 3650; a negative number makes
        one that has expired. Raises ValueError for what cannot be.
        """
        self._told  # noqa: B018 - says so where the fake is not running
        assert self._mint is not None
        made = self._mint.make(
            _topic(topic, self.topic), environment=environment, topics=topics, key_format=key_format, days=days
        )
        self._do(lambda service: service.register_certificate(made.der))
        return made

    def signing_key(
        self,
        team_id: str | None = None,
        key_id: str | None = None,
        *,
        topics: Sequence[str] | None = None,
        environments: Sequence[Environment] = ("production", "sandbox"),
    ) -> TokenKey:
        """A new key for provider tokens (JWT, ES256), which the fake knows from now on. Not for MDM topics: Apple's rule.

        `topics`: the only ones that it may push to. Raises BadSigningKey for identifiers that are not ten characters,
        ValueError for environments that there are not.
        """
        if isinstance(environments, str) or not environments:
            raise ValueError(f'environments={environments!r}: a list, e.g. ["production"]')
        for one in environments:
            _check_environment(one)
        self._told  # noqa: B018 - says so where the fake is not running
        assert self._mint is not None
        made = self._mint.make_key(team_id, key_id)
        known = SigningKey(
            key_id=made.key_id,
            team_id=made.team_id,
            public_key=made.public_key,
            environments=tuple(environments),
            topics=tuple(topics) if topics is not None else None,
        )
        self._do(lambda service: service.signing_keys.register(known))
        return made

    # what devices need

    def token(self, device: str, topic: str | None = None, *, environment: Environment = "production") -> str:
        """The push token (hex) of a device that is registered and not listening: pushes are kept for it.

        Raises ValueError for an environment that there is not, and for an empty topic.
        """
        wanted = _topic(topic, self.topic)
        _check_environment(environment)
        return self._do(lambda service: service.register(device, wanted, environment=environment)).hex()

    def device(
        self,
        name: str | None = None,
        *,
        topic: str | None = None,
        environment: Environment = "production",
        online: bool = True,
    ) -> SimulatedDevice:
        """A registered device that listens, unless `online` is false. Named `device-1` and so on where no name is given.

        Raises ValueError as `token` does.
        """
        wanted = _topic(topic, self.topic)
        _check_environment(environment)
        if name is None:
            name = f"device-{next(self._devices)}"
        device = SimulatedDevice(self, name, wanted, self.token(name, wanted, environment=environment), environment)
        if online:
            device.go_online()
        return device

    def retire(self, token: str | SimulatedDevice) -> None:
        """The device is gone: providers get 410 Unregistered. For every topic of the token. Raises UnknownToken."""
        text = token if isinstance(token, str) else token.token
        raw = token_bytes(text)

        def act(service: ApnsService) -> None:
            topics = service.tokens.topics(raw)
            if not topics:
                raise UnknownToken(f"token {text}: not registered")
            for topic in topics:
                service.retire(topic, raw)

        self._do(act)

    # what happened

    @property
    def pushes(self) -> list[ReceivedPush]:
        """Every push request so far with its verdict, oldest first: accepted and refused ones."""
        return self._received.all()

    def wait_for(
        self, matches: Callable[[ReceivedPush], bool] = lambda push: True, timeout: float = PATIENCE
    ) -> ReceivedPush:
        """The first push request that matches, seen already or still to come. Raises TimeoutError after `timeout` seconds."""
        return self._received.wait_for(matches, timeout)

    # what goes wrong

    def fail_next(
        self, reason: str, times: int = 1, *, topic: str | None = None, token: str | SimulatedDevice | None = None
    ) -> Fault:
        """Refuse the next push, or the next `times`, with that reason and the status that Apple gives it.

        Only pushes that are otherwise in order count. Raises ValueError for a word that is not one of Apple's reasons.
        """
        return self.faults.add("push.refused", reason=reason, times=times, topic=topic, token=token)

    # inside

    @property
    def _told(self) -> Ready:
        if self._ready is None:
            raise RuntimeError('the fake APNs is not running: use it inside "with FakeApns() as apns:"')
        return self._ready

    def call(self, job: Callable[[ApnsService], Awaitable[T]]) -> T:
        """Run an async function on the service inside, in its own loop: for what this class has no method for."""
        self._told  # noqa: B018 - says so where the fake is not running
        assert self._loop is not None and self._service is not None
        return self._loop.call(partial(job, self._service))

    def _do(self, act: Callable[[ApnsService], T]) -> T:
        async def job(service: ApnsService) -> T:
            return act(service)

        return self.call(job)

    async def _main(self, task_status: trio.TaskStatus[None]) -> None:
        assert self._folder is not None
        settings = ServeSettings(
            host=self.host,
            port=self._port,
            sandbox_port=0,
            seed=self._seed,
            store=self._store,
            ca_file=Path(self._folder.name) / "ca.pem",
            apns=self._settings,
            front=self._front,
        )
        async with trio.open_nursery() as nursery:
            self._ready = await nursery.start(partial(serve, settings, clock=self.clock, on_service=self._opened))
            task_status.started()

    def _opened(self, service: ApnsService) -> None:
        self._service = service
        service.journal.watch(self._received.notice)


class Faults:
    """The faults of a fake, planned from a test."""

    def __init__(self, apns: FakeApns) -> None:
        self._apns = apns

    def add(self, name: str, *, token: str | SimulatedDevice | None = None, **wishes: Any) -> Fault:
        """Plan a fault; see docs/fake-apns.md for the names. `injected` of what it returns counts how often it came.

        `wishes`: the fields of `FaultSpec`. `rate`: how probable each time, 0 to 1; `after`: how many occasions pass
        first; `every`: then each n-th; `times`: how often at most. `topic`, `token`, `device`: only pushes for these.
        `reason`, `status`, `seconds` and so on: what the fault takes. Raises ValueError.
        """
        given = token.token if isinstance(token, SimulatedDevice) else token
        fields = {key: value for key, value in {**wishes, "name": name, "token": given}.items() if value is not None}
        try:
            spec = msgspec.convert(fields, FaultSpec)
        except msgspec.ValidationError as error:
            raise ValueError(f'fault "{name}": {explain(error, FaultSpec)}') from None
        return self._apns._do(lambda service: plan_fault(service, spec))

    def remove(self, fault: Fault) -> None:
        """End it; one that has ended is left alone."""
        self._apns._do(lambda service: end_fault(service, fault))


def _topic(given: str | None, usual: str) -> str:
    if given == "":
        raise ValueError('topic="": a topic has a name; leave it out for the one of this fake')
    return usual if given is None else given


def _check_environment(given: str) -> None:
    if given not in get_args(Environment):
        raise ValueError(f'environment="{given}": allowed are {", ".join(get_args(Environment))}')


__all__ = ["Certificate", "FakeApns", "Faults", "HeardPush", "ReceivedPush", "SimulatedDevice", "TokenKey"]
