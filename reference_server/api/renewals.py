"""Renewal over management: a fresh enrollment profile of the same identifier, sent by InstallProfile.

The device installs it over the old one, enrols with the new identity and, should that fail, goes back to the old one
(Apple, MDM Protocol Reference, "Updating Expired Profiles"). Challenge or identity in it are good for that enrollment
only. One renewal is under way at a time: a second one withdraws the first.
"""

from __future__ import annotations

import base64
from typing import Protocol

import msgspec

from mdmsim.protocol.errors import Malformed
from reference_server.api.endpoints import Endpoint
from reference_server.api.handlers import Handlers
from reference_server.api.models import CommandOrder
from reference_server.enrollment.profile import Profiles, ProfileWishes
from reference_server.errors import ApiProblem
from reference_server.storage.dep_interface import AutomatedStore
from reference_server.storage.interface import DeviceStore
from reference_server.storage.records import ChallengeTerms, CommandRecord


class RenewalStore(AutomatedStore, DeviceStore, Protocol):
    """What renewals need of the storage."""


class Renewals:
    """The call that renews an enrollment."""

    def __init__(self, handlers: Handlers, profiles: Profiles, store: RenewalStore) -> None:
        self._handlers = handlers
        self._profiles = profiles
        self._store = store

    async def renew(self, path: dict[str, str], query: None, body: ProfileWishes) -> CommandRecord:
        device = await self._handlers.get_device(path, None, None)
        if device.status != "enrolled":
            raise ApiProblem(
                409,
                "not-enrolled",
                f"the enrollment {device.id!r} is {device.status}",
                where="id",
                hint="Only a device that is managed can install a profile",
            )
        given = await self._store.automated(device.serial_number) if device.serial_number is not None else None
        if body.removal_disallowed is None and given is not None and given.udid == device.id and not given.removable:
            body = msgspec.structs.replace(body, removal_disallowed=True)
        try:
            minted = await self._profiles.mint(body, ChallengeTerms(owner=device.id, user=device.user))
        except Malformed as error:
            hint = "See ProfileWishes in /api/v1/openapi.json"
            raise ApiProblem(400, "bad-profile", str(error), hint=hint) from None
        payload = {"base64": base64.b64encode(minted.content).decode("ascii")}
        order = CommandOrder(request_type="InstallProfile", keys={"Payload": payload})
        record = await self._handlers.queue_command(path, None, order)
        await self._store.renewal_queued(device.id, record.command_uuid)
        return record


def renewal_endpoints(renewals: Renewals) -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            "POST",
            "/devices/{id}/renew",
            "renewDevice",
            "Send a fresh enrollment profile: new identity, same enrollment",
            renewals.renew,
            CommandRecord,
            status=201,
            body=ProfileWishes,
            body_optional=True,
            problems=(404, 409),
        ),
    )
