"""What each call of the API does."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.protocol import plist
from mdmsim.protocol.connect import parse_command
from mdmsim.protocol.errors import Malformed
from reference_server.api.models import (
    Cancelled,
    CommandOrder,
    CommandOrders,
    CommandPage,
    CommandQuery,
    Commands,
    DevicePage,
    DeviceQuery,
    Profile,
    Pushed,
    RefusalList,
    RefusalOrder,
)
from reference_server.api.values import from_json, to_json
from reference_server.checkin import new_command
from reference_server.enrollment.profile import Profiles, ProfileWishes
from reference_server.errors import ApiProblem
from reference_server.push import Pushes
from reference_server.refusals import Refusals
from reference_server.storage.interface import CommandStore, DeviceStore, PushStore, RefusalStore
from reference_server.storage.records import (
    CommandRecord,
    CommandResult,
    Device,
    NewCommand,
    RefusalRule,
    StoredResult,
)

_ENVELOPE = frozenset(
    [
        "Status",
        "UDID",
        "EnrollmentID",
        "CommandUUID",
        "ErrorChain",
        "UserID",
        "UserShortName",
        "UserLongName",
        "EnrollmentUserID",
        "NotOnConsole",
    ]
)


#: Any string is legal, and 36 characters are usual.
MAX_COMMAND_UUID = 128


class ApiStore(CommandStore, DeviceStore, PushStore, RefusalStore, Protocol):
    """What the API needs of the storage."""


class Handlers:
    """The calls. `path` holds the values of the URL's placeholders."""

    def __init__(
        self,
        *,
        store: ApiStore,
        profiles: Profiles,
        pushes: Pushes,
        refusals: Refusals,
        clock: Clock,
        chance: Chance,
        events: Events | None,
        wake_pushes: Callable[[int], None],
    ) -> None:
        self._store = store
        self._profiles = profiles
        self._pushes = pushes
        self._refusals = refusals
        self._clock = clock
        self._chance = chance
        self._events = events
        self._wake_pushes = wake_pushes

    async def list_devices(self, path: dict[str, str], query: DeviceQuery, body: None) -> DevicePage:
        devices = await self._store.devices(
            status=query.status, serial=query.serial, after=query.after, limit=query.limit
        )
        return DevicePage(devices=devices, next=devices[-1].id if len(devices) == query.limit else None)

    async def get_device(self, path: dict[str, str], query: None, body: None) -> Device:
        return await self._device(path["id"])

    async def _device(self, enrollment_id: str) -> Device:
        device = await self._store.device(enrollment_id)
        if device is None:
            raise ApiProblem(
                404,
                "unknown-device",
                f"no enrollment has the id {enrollment_id!r}",
                where="id",
                hint="GET /api/v1/devices lists them",
            )
        return device

    async def remove_device(self, path: dict[str, str], query: None, body: None) -> Device:
        before = await self._device(path["id"])
        await self._store.remove(path["id"], now_ms=self._clock.now_ms())
        if before.status != "removed":
            self._emit("server.removed", enrollment_id=path["id"], why="removed by the administrator")
        return await self._device(path["id"])

    async def push_device(self, path: dict[str, str], query: None, body: None) -> Pushed:
        device = await self._device(path["id"])
        target = await self._store.push_target(path["id"])
        if target is None or device.push.dead:
            raise ApiProblem(
                409,
                "no-push-token",
                f"APNs said that its token is gone ({device.push.last_reason})"
                if target is not None
                else f"the enrollment is {device.status} and has no push token",
                where="id",
                hint="It needs a TokenUpdate from the device",
            )
        answer = await self._pushes.push(target)
        return Pushed(status=answer.status, reason=answer.reason, apns_id=answer.apns_id)

    async def queue_command(self, path: dict[str, str], query: None, body: CommandOrder) -> CommandRecord:
        return (await self._queue([path["id"]], body))[0]

    async def queue_commands(self, path: dict[str, str], query: None, body: CommandOrders) -> Commands:
        return Commands(commands=await self._queue(list(dict.fromkeys(body.devices)), body))

    async def _queue(self, devices: list[str], order: CommandOrder) -> list[CommandRecord]:
        now_ms = self._clock.now_ms()
        pairs = [(device, self._new_command(await self._unlocking(device, order))) for device in devices]
        records = await self._store.queue(pairs, push=order.push, now_ms=now_ms)
        for record in records:
            self._emit(
                "server.command-queued",
                enrollment_id=record.device,
                command_uuid=record.command_uuid,
                request_type=record.request_type,
            )
        if order.push:
            self._wake_pushes(now_ms)
        return records

    async def _unlocking(self, device: str, order: CommandOrder) -> CommandOrder:
        """ClearPasscode without its UnlockToken gets the one that this device told last."""
        if order.request_type != "ClearPasscode" or "UnlockToken" in order.keys:
            return order
        token = await self._store.unlock_token(device)
        if token is None:
            await self._device(device)
            raise ApiProblem(
                409,
                "no-unlock-token",
                "the device never told an unlock token",
                where="keys",
                hint="iPhones and iPads do, if AccessRights has the right to remove passcodes; or give UnlockToken",
            )
        data = {"base64": base64.b64encode(token).decode("ascii")}
        return msgspec.structs.replace(order, keys={**order.keys, "UnlockToken": data})

    def _new_command(self, order: CommandOrder) -> NewCommand:
        if (order.request_type is None) == (order.plist is None):
            raise ApiProblem(
                400,
                "bad-command",
                "both request_type and plist" if order.plist is not None else "neither request_type nor plist",
                where="request_type, plist",
                hint="Give exactly one of the two",
            )
        if order.plist is not None and (order.keys or order.command_uuid is not None):
            raise ApiProblem(
                400,
                "bad-command",
                "a plist, and keys or a command_uuid beside it",
                where="plist",
                hint="The plist is sent byte for byte: put them into it",
            )
        if "RequestType" in order.keys:
            raise ApiProblem(
                400, "bad-command", "a RequestType among the keys", where="keys", hint="Its place is request_type"
            )
        try:
            if order.plist is not None:
                command = parse_command(order.plist)
                if len(command.command_uuid) > MAX_COMMAND_UUID:
                    raise Malformed("command", f"its CommandUUID is longer than {MAX_COMMAND_UUID} characters")
                return NewCommand(
                    command_uuid=command.command_uuid,
                    request_type=command.request_type,
                    body=order.plist,
                    urgent=order.urgent,
                )
            return new_command(
                order.request_type or "",
                from_json(order.keys),
                order.command_uuid or str(self._chance.uuid()).upper(),
                urgent=order.urgent,
            )
        except Malformed as error:
            where = "plist" if order.plist is not None else "keys"
            raise ApiProblem(400, "bad-command", str(error), where=where, hint="See Apple's schema") from None

    async def list_commands(self, path: dict[str, str], query: CommandQuery, body: None) -> CommandPage:
        await self._device(path["id"])
        commands = await self._store.commands(path["id"], state=query.state, after=query.after, limit=query.limit)
        return CommandPage(commands=commands, next=commands[-1].seq if len(commands) == query.limit else None)

    async def get_command(self, path: dict[str, str], query: None, body: None) -> CommandRecord:
        record = await self._store.command(path["id"], path["uuid"])
        if record is None:
            await self._device(path["id"])
            raise ApiProblem(
                404,
                "unknown-command",
                f"no command {path['uuid']!r} was queued for {path['id']!r}",
                where="uuid",
                hint="GET /api/v1/devices/{id}/commands lists them",
            )
        results = await self._store.results(path["id"], path["uuid"])
        return msgspec.structs.replace(record, results=[_result(stored) for stored in results])

    async def cancel_command(self, path: dict[str, str], query: None, body: None) -> CommandRecord:
        record = await self.get_command(path, None, None)
        if not await self._store.cancel(path["id"], path["uuid"], now_ms=self._clock.now_ms()):
            raise ApiProblem(
                409, "command-closed", f"the command is closed already ({record.state})", where="uuid", hint=""
            )
        return await self.get_command(path, None, None)

    async def cancel_commands(self, path: dict[str, str], query: None, body: None) -> Cancelled:
        await self._device(path["id"])
        return Cancelled(cancelled=await self._store.cancel(path["id"], None, now_ms=self._clock.now_ms()))

    async def mint_profile(self, path: dict[str, str], query: None, body: ProfileWishes) -> Profile:
        try:
            minted = await self._profiles.mint(body)
        except Malformed as error:
            raise ApiProblem(400, "bad-profile", str(error), hint="See ProfileWishes in /api/v1/openapi.json") from None
        return Profile(
            identifier=minted.identifier,
            uuid=minted.uuid,
            topic=minted.topic,
            server_url=minted.server_url,
            checkin_url=minted.checkin_url,
            challenge=minted.challenge,
            signed=minted.signed,
            content=minted.content,
        )

    async def list_refusals(self, path: dict[str, str], query: None, body: None) -> RefusalList:
        return RefusalList(refusals=await self._store.refusals())

    async def add_refusal(self, path: dict[str, str], query: None, body: RefusalOrder) -> RefusalRule:
        if bool(body.udid) == bool(body.serial):
            raise ApiProblem(
                400,
                "bad-refusal",
                "both udid and serial" if body.udid else "neither udid nor serial",
                where="udid, serial",
                hint="Name the device by exactly one of the two",
            )
        rule = await self._store.add_refusal(
            body.udid or None, body.serial or None, body.at, now_ms=self._clock.now_ms()
        )
        self._refusals.replace(await self._store.refusals())
        return rule

    async def remove_refusal(self, path: dict[str, str], query: None, body: None) -> None:
        number = path["id"]
        if not (number.isascii() and number.isdigit()) or not await self._store.remove_refusal(int(number[:18])):
            raise ApiProblem(
                404, "unknown-refusal", f"no rule {number!r}", where="id", hint="GET /api/v1/refusals lists them"
            )
        self._refusals.replace(await self._store.refusals())

    def _emit(self, kind: str, **data: Any) -> None:
        if self._events is not None:
            self._events.emit(kind, source="server", **data)


def _result(stored: StoredResult) -> CommandResult:
    # It was parsed before it was kept.
    report = plist.loads(stored.body, what="report")
    return CommandResult(
        status=stored.status,
        at_ms=stored.at_ms,
        late=stored.late,
        response=to_json({key: value for key, value in report.items() if key not in _ENVELOPE}),
        error_chain=to_json(report.get("ErrorChain", [])),
    )
