"""One round with Apple: what is said of the account, profiles that are not defined yet, the list, assignments.

Everything is kept as soon as it is known, so that a round may fail or the server be killed anywhere in it: the next
one goes on where it was. A page and the cursor behind it are kept together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import DAY, HOUR, SECOND, Clock
from mdmsim.events import Events
from mdmsim.http import Outbound, Trust
from reference_server.dep.client import BATCH, DepClient, DepError
from reference_server.dep.definitions import definition
from reference_server.dep.token import DepToken
from reference_server.logs import Log
from reference_server.settings import Settings
from reference_server.storage.dep_interface import DepRoundStore
from reference_server.storage.dep_records import DEFAULT_PROFILE, DepChanges, DepPlace

#: An assignment that was refused is not tried again before this; Apple throttles devices for about a day.
ASSIGN_AGAIN_MS = 1 * HOUR

#: Words after which the full list must be read anew. Apple, "Sync the List of Devices".
_LOST = frozenset({"EXPIRED_CURSOR", "INVALID_CURSOR", "CURSOR_REQUIRED"})


@dataclass(slots=True)
class Outcome:
    """What a round brought: devices that came, changed and went, and how assignments ended, by Apple's word."""

    changes: DepChanges = field(default_factory=DepChanges)
    defined: list[str] = field(default_factory=list)
    results: dict[str, int] = field(default_factory=dict)


class NoToken(Exception):
    """The account is gone, or has no token."""


class Rounds:
    """Rounds for all accounts; one at a time for each, whoever asks for it."""

    def __init__(
        self,
        settings: Settings,
        store: DepRoundStore,
        outbound: Outbound,
        clock: Clock,
        chance: Chance,
        *,
        log: Log,
        events: Events | None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._outbound = outbound
        self._clock = clock
        self._chance = chance
        self._log = log
        self._events = events
        self._trust = Trust(anchors=settings.dep_anchors, system=not settings.dep_anchors, allow_http=True)
        self._clients: dict[str, DepClient] = {}
        self._locks: dict[str, anyio.Lock] = {}

    def lock(self, name: str) -> anyio.Lock:
        """Held by whoever talks to Apple for that account."""
        return self._locks.setdefault(name, anyio.Lock())

    def guard_ms(self) -> int:
        """When a round that never came to its end is tried again."""
        return self._clock.now_ms() + int(self._settings.dep_timeout_s + self._settings.dep_retry_s[0]) * SECOND

    async def run(self, name: str, *, full: bool = False) -> Outcome:
        """One whole round; `full`: the list from its beginning. Raises DepError, which is kept, and NoToken."""
        async with self.lock(name):
            outcome = Outcome()
            try:
                client = await self.client(name)
                if full:
                    await self._store.dep_start_over(name)
                place = await self._account(name, client)
                outcome.defined = await self.define_all(name, client)
                outcome.changes = await self._read(name, client, place)
                await self._assign(name, client, outcome, place)
            except DepError as error:
                await self._failed(name, error)
                raise
            now_ms = self._clock.now_ms()
            await self._store.dep_done(name, now_ms=now_ms, next_ms=now_ms + self._settings.dep_sync_s * SECOND)
            self._tell(name, outcome, None)
            return outcome

    async def assign(self, name: str) -> Outcome:
        """Assignments alone, of devices that are known. Raises DepError, which is kept, and NoToken."""
        async with self.lock(name):
            outcome = Outcome()
            try:
                client = await self.client(name)
                place = await self._account(name, client)
                outcome.defined = await self.define_all(name, client)
                await self._assign(name, client, outcome, place)
            except DepError as error:
                await self._failed(name, error)
                raise
            self._tell(name, outcome, None)
            return outcome

    async def hurry_changed(self) -> None:
        """Let accounts whose profile is another by the settings than Apple knows have their round now."""
        wanted = definition(self._settings, None)
        for account in await self._store.dep_accounts():
            for profile in await self._store.dep_profiles(account.name):
                if profile.name == DEFAULT_PROFILE and profile.wishes is None and profile.definition != wanted:
                    await self._store.dep_hurry(account.name, now_ms=self._clock.now_ms())

    async def _failed(self, name: str, error: DepError) -> None:
        now_ms, ladder = self._clock.now_ms(), self._settings.dep_retry_s
        account = next((each for each in await self._store.dep_accounts() if each.name == name), None)
        failures = account.trouble.failures if account is not None and account.trouble is not None else 0
        wait_ms = (ladder[failures] if failures < len(ladder) else self._settings.dep_sync_s) * SECOND
        if error.retry_after_ms is not None:
            wait_ms = max(wait_ms, error.retry_after_ms)
        await self._store.dep_failed(name, str(error), now_ms=now_ms, next_ms=now_ms + wait_ms)
        self._tell(name, Outcome(), str(error))

    async def client(self, name: str) -> DepClient:
        """The client of an account's token. Raises NoToken."""
        secrets = await self._store.dep_secrets(name)
        if secrets is None or secrets.token is None:
            raise NoToken(name)
        token = msgspec.json.decode(secrets.token, type=DepToken)
        client = self._clients.get(name)
        if client is None or client.token != token:
            client = self._clients[name] = DepClient(
                token,
                url=self._settings.dep_url,
                outbound=self._outbound,
                clock=self._clock,
                chance=self._chance,
                trust=self._trust,
                timeout_s=self._settings.dep_timeout_s,
            )
        return client

    async def _account(self, name: str, client: DepClient) -> DepPlace:
        """Where the account stands, after asking what Apple says of it, once a day."""
        place = await self._store.dep_place(name)
        if place is None:
            raise NoToken(name)
        now_ms = self._clock.now_ms()
        if place.account_ms is None or now_ms - place.account_ms >= DAY:
            account = await client.account()
            await self._store.keep_dep_account(name, account, now_ms=now_ms)
            place = msgspec.structs.replace(place, account=account, account_ms=now_ms)
        return place

    # ---- profiles

    async def define_all(self, name: str, client: DepClient) -> list[str]:
        """Define what Apple does not know yet; the names of these profiles. An unchanged one is not sent again."""
        known = {profile.name: profile for profile in await self._store.dep_profiles(name)}
        defined = []
        for profile in sorted({DEFAULT_PROFILE, *known}):
            found = known.get(profile)
            wanted = definition(self._settings, found.wishes if found is not None else None)
            if found is None or found.uuid is None or found.definition != wanted:
                await self.define(name, client, profile, wanted)
                defined.append(profile)
        return defined

    async def define(self, name: str, client: DepClient, profile: str, wanted: dict[str, Any]) -> str:
        """Define one profile at Apple; its UUID. Raises DepError, and then nothing has changed."""
        uuid = await client.define(wanted)
        await self._store.dep_defined(name, profile, uuid, wanted, now_ms=self._clock.now_ms())
        return uuid

    # ---- the list

    async def _read(self, name: str, client: DepClient, place: DepPlace) -> DepChanges:
        changes, resets = DepChanges(), 0
        if self._is_time_for_all(place):
            await self._store.dep_start_over(name)
        while True:
            now = await self._store.dep_place(name)
            if now is None:
                raise NoToken(name)
            fetching = now.fetching or now.cursor is None
            try:
                limit = self._limit(place, "/server/devices" if fetching else "/devices/sync")
                if fetching:
                    page = await client.fetch(now.cursor, limit)
                else:
                    page = await client.sync(now.cursor or "", limit)
            except DepError as error:
                if fetching and error.status == 400 and error.reason == "EXHAUSTED_CURSOR" and now.cursor is not None:
                    await self._store.dep_fetch_is_over(name, now_ms=self._clock.now_ms())
                    continue
                is_lost = error.status == 400 and (error.reason in _LOST or error.reason == "EXHAUSTED_CURSOR")
                # Twice in a round, it is Apple that is lost.
                if not is_lost or resets:
                    raise
                resets += 1
                self._log.write("warning", "dep", account=name, why=f"{error.reason}: the full list is read anew")
                await self._store.dep_start_over(name)
                continue
            changes += await self._store.dep_page(
                name,
                page.devices,
                cursor=page.cursor,
                fetched=fetching and not page.more_to_follow,
                now_ms=self._clock.now_ms(),
            )
            if page.more_to_follow and page.cursor in ("", now.cursor):
                # Seen of the real service: more is promised, and the cursor stays. The next round goes on.
                self._log.write("warning", "dep", account=name, why="more to follow, but the cursor does not move")
                return changes
            if not page.more_to_follow and (not fetching or not page.cursor):
                return changes
            # After a full list one sync: what changed while it was being read. Without a cursor there is none.

    def _is_time_for_all(self, place: DepPlace) -> bool:
        # Apple's sync was seen to leave devices out that the full list has.
        due_ms = (place.fetched_ms or 0) + self._settings.dep_full_fetch_s * SECOND
        return not place.fetching and place.fetched_ms is not None and self._clock.now_ms() >= due_ms

    def _limit(self, place: DepPlace, path: str) -> int:
        """How many devices to ask for: no more than Apple advertises for that path."""
        for entry in _entries(place.account):
            if entry.get("uri") == path and isinstance(entry.get("limit"), dict):
                most = entry["limit"].get("maximum")
                if isinstance(most, int) and most > 0:
                    return min(most, self._settings.dep_page)
        return self._settings.dep_page

    # ---- assignments

    async def _assign(self, name: str, client: DepClient, outcome: Outcome, place: DepPlace) -> None:
        """Give every device the profile it is to have; then ask what devices really have."""
        offered = _methods(place.account, "/profile/devices")
        method = "PUT" if "PUT" in offered and "POST" not in offered else "POST"
        for profile in await self._store.dep_profiles(name):
            if profile.uuid is None:
                continue
            while serials := await self._store.dep_unassigned(
                name, profile.name, profile.uuid, now_ms=self._clock.now_ms(), limit=BATCH
            ):
                await self._assign_batch(name, client, outcome, profile.uuid, serials, method)

    async def _assign_batch(
        self, name: str, client: DepClient, outcome: Outcome, uuid: str, serials: list[str], method: str
    ) -> None:
        answer = await client.assign(uuid, serials, method=method)
        # What Apple does not mention was not assigned.
        results = {serial: answer.devices.get(serial, "FAILED") for serial in serials}
        now_ms = self._clock.now_ms()
        retry_ms = now_ms + max(ASSIGN_AGAIN_MS, answer.retry_after_seconds * SECOND)
        await self._store.dep_assigned(name, results.items(), uuid=uuid, now_ms=now_ms, retry_ms=retry_ms)
        for result in results.values():
            outcome.results[result] = outcome.results.get(result, 0) + 1
        assigned = [serial for serial, result in results.items() if result == "SUCCESS"]
        if assigned:
            details = await client.details(assigned)
            await self._store.dep_read_back(
                name, {serial: details.get(serial, {}) for serial in assigned}, uuid=uuid, retry_ms=retry_ms
            )

    # ---- telling

    def _tell(self, name: str, outcome: Outcome, why: str | None) -> None:
        counts: dict[str, Any] = {
            "added": outcome.changes.added,
            "modified": outcome.changes.modified,
            "deleted": outcome.changes.deleted,
            "defined": outcome.defined,
            "assigned": outcome.results,
        }
        self._log.write("warning" if why is not None else "info", "dep", account=name, why=why, **counts)
        if self._events is not None:
            self._events.emit("server.dep-round", source="server", account=name, why=why, **counts)


def _entries(account: dict[str, Any] | None) -> list[dict[str, Any]]:
    urls = (account or {}).get("urls")
    return [entry for entry in urls if isinstance(entry, dict)] if isinstance(urls, list) else []


def _methods(account: dict[str, Any] | None, path: str) -> set[object]:
    for entry in _entries(account):
        if entry.get("uri") == path and isinstance(entry.get("http_method"), list):
            return set(map(str, entry["http_method"]))
    return set()
