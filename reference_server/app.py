"""The application: everything wired together, once."""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.applications import Starlette

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.http import Outbound
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.pki.keys import FreshKeys, KeySource
from reference_server.api.dep_endpoints import dep_endpoints
from reference_server.api.dep_handlers import DepHandlers
from reference_server.api.endpoints import endpoints
from reference_server.api.handlers import Handlers
from reference_server.api.http import ApiRoutes
from reference_server.api.renewals import Renewals, renewal_endpoints
from reference_server.bodies import Message, Receive, Send
from reference_server.checkin import CheckIns, new_command
from reference_server.connect import Connects
from reference_server.dep.job import JOB as DEP_JOB
from reference_server.dep.job import DepJob
from reference_server.dep.rounds import Rounds
from reference_server.enrollment.access import EnrollAccess
from reference_server.enrollment.automated import Automated
from reference_server.enrollment.login import Login
from reference_server.enrollment.pkcs12 import Pkcs12Identities
from reference_server.enrollment.profile import Profiles
from reference_server.enrollment.routes import automated_routes
from reference_server.health import Health, keep_running
from reference_server.identity import Senders, Trusted
from reference_server.ladder import Ladder
from reference_server.logs import Log, level_of
from reference_server.mdm import CHECKIN_PATH, CONNECT_PATH, MdmEndpoint
from reference_server.push import JOB, Pushes
from reference_server.refusals import Refusals
from reference_server.scep import Scep
from reference_server.settings import BadSettings, Settings
from reference_server.storage.migrations import TooNew
from reference_server.storage.records import NewCommand
from reference_server.storage.sqlite import SqliteStorage
from reference_server.web import exception_handlers, web_routes


def create_app(
    settings: Settings,
    clock: Clock,
    chance: Chance,
    outbound: Outbound,
    *,
    events: Events | None = None,
    log: Log | None = None,
    keys: KeySource | None = None,
) -> App:
    """The server as one ASGI application, for trio and asyncio alike.

    Pushes are sent, and Apple is asked for devices, only while its lifespan is entered. `keys`: where identities that
    this server makes itself come from; None: made on the spot. Raises BadSettings for a database that cannot be opened.
    """
    log = log or Log(clock)
    storage = _open(settings)
    # A second start with the same seed must not draw the serials and UUIDs that this database has already seen.
    chance = chance.stream("reference server").stream(str(storage.count_start()))
    refusals = Refusals(storage.refusal_rules())
    health = Health()
    pushes = Pushes(settings, storage, outbound, clock, health=health, log=log, events=events)
    authority = Authority.from_pem(
        identity_to_pem(settings.ca), keys=keys or FreshKeys(), clock=clock, chance=chance.stream("authority")
    )
    identities = Pkcs12Identities(settings, storage, authority, clock, chance.stream("pkcs12"))
    profiles = Profiles(settings, storage, identities, clock, chance.stream("profiles"))
    releases = chance.stream("releases")

    def release() -> NewCommand:
        return new_command("DeviceConfigured", {}, str(releases.uuid()).upper())

    releasing = release if settings.device_configured == "automatic" else None
    mdm = MdmEndpoint(
        senders=Senders(settings),
        trusted=Trusted(settings, clock),
        identities=storage,
        checkins=CheckIns(settings, storage, refusals, clock, chance, wake_pushes=pushes.wake, release=releasing),
        connects=Connects(storage, refusals, clock, wake_pushes=pushes.wake, release=releasing),
        clock=clock,
        chance=chance.stream("requests"),
        log=log,
        events=events,
        max_body=settings.max_body,
        content_type=settings.content_type,
    )
    handlers = Handlers(
        store=storage,
        profiles=profiles,
        pushes=pushes,
        refusals=refusals,
        clock=clock,
        chance=chance.stream("commands"),
        events=events,
        wake_pushes=pushes.wake,
    )
    rounds = Rounds(settings, storage, outbound, clock, chance.stream("dep"), log=log, events=events)
    dep = DepJob(rounds, storage, clock, health=health)
    dep_handlers = DepHandlers(
        settings=settings, store=storage, rounds=rounds, authority=authority, clock=clock, wake=dep.wake
    )
    login = Login(settings, clock, chance.stream("login"))
    automated = Automated(settings, storage, profiles, login, clock, events=events)
    renewals = Renewals(handlers, profiles, storage)
    scep = Scep(settings, storage, clock, chance.stream("scep"), events=events)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async def push_job() -> None:
            await keep_running(JOB, pushes.run, health=health, clock=clock, log=log)

        async def dep_job() -> None:
            await keep_running(DEP_JOB, dep.run, health=health, clock=clock, log=log)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(dep_job)
                if settings.apns_url is not None:
                    group.start_soon(push_job)
                yield
                group.cancel_scope.cancel()
        finally:
            storage.close()

    web = Starlette(
        routes=[
            *web_routes(
                settings=settings,
                access=EnrollAccess(settings, login),
                profiles=profiles,
                scep=scep,
                storage=storage,
                health=health,
            ),
            *automated_routes(settings, automated, login),
            *ApiRoutes(
                (*endpoints(handlers), *renewal_endpoints(renewals), *dep_endpoints(dep_handlers)), settings
            ).routes(),
        ],
        lifespan=lifespan,
        exception_handlers=exception_handlers(),
    )
    # A redirect would lead to whatever host the request claims to be for.
    web.router.redirect_slashes = False
    return App(mdm=mdm, web=web, storage=storage, clock=clock, chance=chance.stream("web requests"), log=log)


def _open(settings: Settings) -> SqliteStorage:
    ladder = Ladder(settings.push_ladder_s, settings.push_repeat_s)
    try:
        return SqliteStorage(settings.database, ladder)
    except (sqlite3.Error, OSError, TooNew) as error:
        raise BadSettings(
            f"{settings.database!r} cannot be opened: {error}",
            where="database",
            hint="Name a file in a folder that can be written to",
        ) from None


class App:
    """Hands devices to the hot path and everybody else to Starlette; every answer carries its request's id."""

    def __init__(
        self, *, mdm: MdmEndpoint, web: Starlette, storage: SqliteStorage, clock: Clock, chance: Chance, log: Log
    ) -> None:
        self._mdm = mdm
        self._web = web
        self._storage = storage
        self._clock = clock
        self._request_ids = chance
        self._log = log

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._web(scope, receive, send)
        elif scope["path"] in (CONNECT_PATH, CHECKIN_PATH):
            await self._mdm(scope, receive, send)
        else:
            await self._browse(scope, receive, send)

    def close(self) -> None:
        """Close the database, for those who never entered the lifespan. May be called twice."""
        self._storage.close()

    async def _browse(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        request_id = self._request_ids.hex(8)
        state = scope.setdefault("state", {})
        started_ms = self._clock.now_ms()
        status: int | None = None

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [*message.get("headers", ()), (b"x-request-id", request_id.encode("ascii"))],
                }
            await send(message)

        try:
            await self._web(scope, receive, numbered)
        except Exception:
            # Starlette has answered 500 already and raises for the log's sake.
            self._log.write("error", "exception", request_id=request_id, trace=traceback.format_exc())
            if status is None:
                raise
        self._log.write(
            level_of(status or 500),
            "web",
            request_id=request_id,
            method=scope["method"],
            path=scope["path"],
            status=status,
            why=state.get("why"),
            ms=self._clock.now_ms() - started_ms,
        )
