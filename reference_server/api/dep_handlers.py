"""What each call about Apple's device enrollment service does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from mdmsim.clock import Clock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.protocol.errors import Malformed
from reference_server.api.dep_models import (
    DepAccountList,
    DepAccountOrder,
    DepAssignOrder,
    DepCertificate,
    DepDevicePage,
    DepDeviceQuery,
    DepProfileList,
    DepProfileOrder,
    DepRound,
    DepSyncOrder,
    DepTokenOrder,
    DepUserOrder,
)
from reference_server.dep.client import DepError
from reference_server.dep.definitions import definition
from reference_server.dep.rounds import NoToken, Outcome, Rounds
from reference_server.dep.token import DepToken, open_token
from reference_server.errors import ApiProblem
from reference_server.settings import Settings, profile_wishes_problem
from reference_server.storage.dep_interface import AutomatedStore, DepAccountStore, DepRoundStore
from reference_server.storage.dep_records import DEFAULT_PROFILE, DepAccount, DepDevice, DepProfile, DeviceUser

#: Days that the certificate for tokens is good for; only its key matters, when a token is opened.
KEY_DAYS = 3650

_NAME = re.compile("[A-Za-z0-9._-]{1,64}")


class DepApiStore(DepAccountStore, DepRoundStore, AutomatedStore, Protocol):
    """What these calls need of the storage."""


class DepHandlers:
    """The calls. `path` holds the values of the URL's placeholders. `wake`: the background job looks what is due."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: DepApiStore,
        rounds: Rounds,
        authority: Authority,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._rounds = rounds
        self._authority = authority
        self._clock = clock
        self._wake = wake

    # ---- accounts and tokens

    async def list_accounts(self, path: dict[str, str], query: None, body: None) -> DepAccountList:
        return DepAccountList(accounts=await self._store.dep_accounts())

    async def add_account(self, path: dict[str, str], query: None, body: DepAccountOrder) -> DepAccount:
        if await self._store.dep_account(body.name) is not None:
            raise _taken(body.name)
        pair = self._authority.client_identity(f"mdmsim DEP {body.name}", days=KEY_DAYS)
        if not await self._store.add_dep_account(
            body.name, certificate=pair.certificate, key=pair.key, now_ms=self._clock.now_ms()
        ):
            raise _taken(body.name)
        return await self._account(body.name)

    async def get_account(self, path: dict[str, str], query: None, body: None) -> DepAccount:
        return await self._account(path["name"])

    async def remove_account(self, path: dict[str, str], query: None, body: None) -> None:
        async with self._rounds.lock(path["name"]):
            if not await self._store.remove_dep_account(path["name"]):
                raise _unknown(path["name"])

    async def get_certificate(self, path: dict[str, str], query: None, body: None) -> DepCertificate:
        pair = await self._pair(path["name"])
        return DepCertificate(file_name=f"{path['name']}.pem", pem=to_pem(pair.certificate).decode("ascii"))

    async def set_token(self, path: dict[str, str], query: None, body: DepTokenOrder) -> DepAccount:
        name = path["name"]
        pair = await self._pair(name)
        token = _token(body, pair)
        async with self._rounds.lock(name):
            before = (await self._account(name)).consumer_key
            anew = before is not None and before != token.consumer_key
            if anew and not body.force:
                raise ApiProblem(
                    409,
                    "other-server",
                    "the token has another consumer key than the one before: it belongs to another server at Apple",
                    where="content" if body.content is not None else "plain",
                    hint='Send it with "force": true if that is meant; all that is known of the other one is forgotten',
                )
            await self._store.set_dep_token(
                name,
                msgspec.json.encode(token),
                consumer_key=token.consumer_key,
                expires_ms=token.expires_ms,
                anew=anew,
                now_ms=self._clock.now_ms(),
            )
        self._wake()
        return await self._account(name)

    # ---- rounds

    async def sync(self, path: dict[str, str], query: None, body: DepSyncOrder) -> DepRound:
        return await self._with_apple(path["name"], lambda: self._rounds.run(path["name"], full=body.full))

    async def assign(self, path: dict[str, str], query: None, body: DepAssignOrder) -> DepRound:
        name = path["name"]
        await self._account(name)
        if body.profile != DEFAULT_PROFILE:
            await self._profile(name, body.profile)
        await self._store.dep_want(name, body.profile, body.devices)
        return await self._with_apple(name, lambda: self._rounds.assign(name))

    async def _with_apple(self, name: str, ask: Callable[[], Any]) -> DepRound:
        await self._account(name)
        try:
            outcome: Outcome = await ask()
        except NoToken:
            raise _no_token(name) from None
        except DepError as error:
            raise _failed(error) from None
        finally:
            self._wake()
        return DepRound(
            added=outcome.changes.added,
            modified=outcome.changes.modified,
            deleted=outcome.changes.deleted,
            defined=outcome.defined,
            assigned=outcome.results,
        )

    # ---- profiles

    async def list_profiles(self, path: dict[str, str], query: None, body: None) -> DepProfileList:
        await self._account(path["name"])
        return DepProfileList(profiles=await self._store.dep_profiles(path["name"]))

    async def get_profile(self, path: dict[str, str], query: None, body: None) -> DepProfile:
        await self._account(path["name"])
        return await self._profile(path["name"], path["profile"])

    async def set_profile(self, path: dict[str, str], query: None, body: DepProfileOrder) -> DepProfile:
        name, profile = path["name"], path["profile"]
        account = await self._account(name)
        if not _NAME.fullmatch(profile):
            raise ApiProblem(
                400, "bad-name", f"{profile[:80]!r}", where="profile", hint="1 to 64 of letters, digits, . _ and -"
            )
        problem = profile_wishes_problem(body.keys or {})
        if problem is not None:
            raise ApiProblem(400, "bad-dep-profile", problem, where="keys", hint='See Apple\'s page "Profile"')
        async with self._rounds.lock(name):
            if account.has_token:
                await self._define(name, profile, definition(self._settings, body.keys))
            await self._store.set_dep_profile(name, profile, body.keys)
        await self._store.dep_hurry(name, now_ms=self._clock.now_ms())
        self._wake()
        return await self._profile(name, profile)

    async def _define(self, name: str, profile: str, wanted: dict[str, Any]) -> None:
        known = next((each for each in await self._store.dep_profiles(name) if each.name == profile), None)
        if known is not None and known.uuid is not None and known.definition == wanted:
            return
        try:
            await self._rounds.define(name, await self._rounds.client(name), profile, wanted)
        except NoToken:
            raise _no_token(name) from None
        except DepError as error:
            if error.status == 400:
                raise ApiProblem(
                    400,
                    "bad-dep-profile",
                    f"Apple refuses it: {error.reason}",
                    where="keys",
                    hint='See Apple\'s page "Define a profile"; nothing was changed',
                ) from None
            raise _failed(error) from None

    # ---- devices

    async def list_devices(self, path: dict[str, str], query: DepDeviceQuery, body: None) -> DepDevicePage:
        await self._account(path["name"])
        devices = await self._store.dep_devices(path["name"], gone=query.gone, after=query.after, limit=query.limit)
        return DepDevicePage(devices=devices, next=devices[-1].serial_number if len(devices) == query.limit else None)

    async def get_device(self, path: dict[str, str], query: None, body: None) -> DepDevice:
        await self._account(path["name"])
        device = await self._store.dep_device(path["name"], path["serial"])
        if device is None:
            raise ApiProblem(
                404,
                "unknown-device",
                f"Apple never named {path['serial'][:80]!r} to this account",
                where="serial",
                hint="POST /api/v1/dep/{name}/sync asks Apple now",
            )
        return device

    # ---- users of devices

    async def get_user(self, path: dict[str, str], query: None, body: None) -> DeviceUser:
        device = await self.get_device(path, None, None)
        chosen = await self._store.device_user(device.serial_number)
        return chosen or DeviceUser(login=self._settings.automated_login != "none")

    async def set_user(self, path: dict[str, str], query: None, body: DepUserOrder) -> DeviceUser:
        device = await self.get_device(path, None, None)
        problem = _user_problem(body, self._settings)
        if problem is not None:
            raise problem
        chosen = DeviceUser(user=body.user, login=body.login)
        await self._store.set_device_user(device.serial_number, chosen)
        return chosen

    async def remove_user(self, path: dict[str, str], query: None, body: None) -> None:
        device = await self.get_device(path, None, None)
        await self._store.set_device_user(device.serial_number, None)

    # ---- what is not there

    async def _account(self, name: str) -> DepAccount:
        account = await self._store.dep_account(name)
        if account is None:
            raise _unknown(name)
        return account

    async def _pair(self, name: str) -> Identity:
        secrets = await self._store.dep_secrets(name)
        if secrets is None:
            raise _unknown(name)
        return Identity(secrets.certificate, secrets.key)

    async def _profile(self, name: str, profile: str) -> DepProfile:
        for each in await self._store.dep_profiles(name):
            if each.name == profile:
                return each
        raise ApiProblem(
            404,
            "unknown-profile",
            f"{name!r} has no profile {profile[:80]!r}",
            where="profile",
            hint="GET /api/v1/dep/{name}/profiles lists them; PUT makes one",
        )


def _token(order: DepTokenOrder, pair: Identity) -> DepToken:
    if (order.content is None) == (order.plain is None):
        raise ApiProblem(
            400,
            "bad-token",
            "both content and plain" if order.plain is not None else "neither content nor plain",
            where="content, plain",
            hint="Give exactly one of the two",
        )
    if order.plain is not None:
        plain = msgspec.structs.asdict(order.plain)
        if not all(plain.values()):
            raise ApiProblem(400, "bad-token", "an empty value", where="plain", hint="All five are needed")
        return DepToken(**plain)
    try:
        return open_token(order.content or b"", pair)
    except Malformed as error:
        raise ApiProblem(
            400,
            "bad-token",
            str(error),
            where="content",
            hint="Upload this account's certificate to Apple's portal and send the token file it gives out, unchanged",
        ) from None


def _unknown(name: str) -> ApiProblem:
    return ApiProblem(
        404, "unknown-account", f"no account {name[:80]!r}", where="name", hint="GET /api/v1/dep lists them"
    )


def _taken(name: str) -> ApiProblem:
    return ApiProblem(409, "name-taken", f"there is an account {name!r}", where="name", hint="Choose another name")


def _no_token(name: str) -> ApiProblem:
    return ApiProblem(
        409,
        "no-token",
        f"the account {name!r} has no token",
        where="name",
        hint="POST /api/v1/dep/{name}/token takes what Apple's portal gave out",
    )


def _failed(error: DepError) -> ApiProblem:
    hint = "See the account's trouble; the server tries again by itself"
    if error.reason == "T_C_NOT_SIGNED":
        hint = "Somebody must accept Apple's new terms in its portal"
    return ApiProblem(502, "dep-failed", f"Apple's device enrollment service: {error}", where="dep_url", hint=hint)


def _user_problem(order: DepUserOrder, settings: Settings) -> ApiProblem | None:
    """What is wrong with an order, as WSO2's manual has it ("Assign device to profile", enrollment configurations)."""
    hint = 'Write {"user": "ada"}, or {"login": true} for whoever enrols it to sign in'
    if order.login == (order.user is not None):
        what = "both a user and a login" if order.login else "neither a user nor a login"
        return ApiProblem(400, "bad-user", f"{what}: a device has one of the two", where="user, login", hint=hint)
    if order.user is not None:
        name = order.user
        if "@" in name:
            return ApiProblem(
                400,
                "bad-user",
                f"{name!r} has a domain",
                where="user",
                hint=f"Write the short name, without the tenant's domain: {name.partition('@')[0]!r}",
            )
        if ":" in name or not name.isprintable() or not name.strip():
            return ApiProblem(400, "bad-user", f"{name!r} is no name that could sign in", where="user", hint=hint)
        if settings.users and name not in settings.users:
            return ApiProblem(
                400, "bad-user", f"{name!r} is none of the server's users", where="user", hint="See the setting users"
            )
    if order.login and settings.automated_login == "none":
        return ApiProblem(
            409,
            "no-login",
            "nobody can sign in here: the setting automated_login is none",
            where="login",
            hint='Start the server with automated_login "basic", "digest" or "web", and users; or assign a user',
        )
    return None
