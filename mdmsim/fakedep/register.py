"""Organisations, MDM servers and devices, and the transitions that devices make. Each change of a device is logged for sync."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from mdmsim.clock import Clock
from mdmsim.fakedep.errors import UnknownDevice, UnknownServer
from mdmsim.fakedep.model import Device, Operation, Organisation, Profile, ServerToken
from mdmsim.fakedep.server import MdmServer
from mdmsim.fakedep.settings import DepSettings


class Register:
    """Everything that Apple knows about its customers' devices."""

    def __init__(self, clock: Clock, settings: DepSettings) -> None:
        self._clock = clock
        self._settings = settings
        self.organisations: dict[str, Organisation] = {}
        self._devices: dict[str, Device] = {}
        self._servers: dict[str, MdmServer] = {}
        self._by_consumer_key: dict[str, MdmServer] = {}

    # finding

    def devices(self) -> list[Device]:
        """All devices, in the order in which they were ordered; released ones left out."""
        return list(self._devices.values())

    def device(self, serial_number: str) -> Device:
        """The device as it is now. Raises UnknownDevice."""
        device = self._devices.get(serial_number)
        if device is None:
            raise UnknownDevice(
                f'device "{serial_number[:40]}": no organisation owns it. Order it in the portal first.'
            )
        return device

    def find_device(self, serial_number: str) -> Device | None:
        return self._devices.get(serial_number)

    def servers(self) -> Iterator[MdmServer]:
        """All MDM servers that were not removed."""
        return (server for server in self._servers.values() if not server.removed)

    def server(self, name_or_uuid: str) -> MdmServer:
        """The server of that name or UUID. Raises UnknownServer."""
        server = self._servers.get(name_or_uuid)
        if server is not None and not server.removed:
            return server
        for server in self.servers():
            if server.name == name_or_uuid:
                return server
        known = ", ".join(server.name for server in self.servers()) or "none"
        raise UnknownServer(
            f'MDM server "{name_or_uuid[:60]}": there is none of that name or UUID. There are: {known}.'
        )

    def server_by_uuid(self, uuid: str) -> MdmServer | None:
        """Removed servers included: their sessions must still be told why."""
        return self._servers.get(uuid)

    def server_by_consumer_key(self, consumer_key: str) -> MdmServer | None:
        """Removed servers included."""
        return self._by_consumer_key.get(consumer_key)

    # keeping

    def keep_server(self, server: MdmServer) -> None:
        self._servers[server.uuid] = server

    def keep_token(self, server: MdmServer, token: ServerToken) -> None:
        """`token` is the server's from now on; the one before is replaced."""
        now_ms = self._clock.now_ms()
        server.tokens = [
            replace(old, replaced_ms=now_ms) if old.replaced_ms is None else old for old in server.tokens[-4:]
        ]
        server.tokens.append(token)
        self._by_consumer_key[token.consumer_key] = server

    def keep_device(self, device: Device) -> None:
        """A new device, or one that changed in a way that no MDM server hears of."""
        self._devices[device.serial_number] = device

    # transitions

    def assign_to_server(self, device: Device, server: MdmServer, by: str) -> Device:
        """The device belongs to `server` now; what another server had assigned is dropped with it."""
        moved = device.server is not None
        if moved:
            device = self.unassign(device)
        now_ms = self._clock.now_ms()
        device = replace(device, server=server.uuid, device_assigned_ms=now_ms, device_assigned_by=by)
        operation: Operation = self._settings.move_shows_as if moved else "added"
        server.add(device, now_ms, operation)
        self._log_kept(server, now_ms)
        return self._keep(device)

    def unassign(self, device: Device) -> Device:
        """The device belongs to no server; its profile is gone."""
        now_ms = self._clock.now_ms()
        if device.server is not None:
            server = self._servers[device.server]
            server.drop(device, now_ms)
            self._log_kept(server, now_ms)
        return self._keep(
            replace(
                device,
                server=None,
                device_assigned_ms=None,
                device_assigned_by=None,
                profile_status="empty",
                profile_uuid=None,
                profile_assign_ms=None,
                profile_push_ms=None,
                mdm_migration_deadline_ms=None,
            )
        )

    def release(self, device: Device) -> None:
        """The organisation gives the device up for good."""
        self.unassign(device)
        del self._devices[device.serial_number]

    def assign_profile(self, device: Device, profile: Profile) -> Device:
        return self.change(
            replace(
                device,
                profile_status="assigned",
                profile_uuid=profile.uuid,
                profile_assign_ms=self._clock.now_ms(),
                profile_push_ms=None,
            )
        )

    def remove_profile(self, device: Device) -> Device:
        if device.profile_status in ("empty", "removed"):
            return device
        if self._settings.after_removal == "removed":
            # Records with this status were seen with UUID and assignment time still in them.
            return self.change(replace(device, profile_status="removed"))
        return self.change(
            replace(device, profile_status="empty", profile_uuid=None, profile_assign_ms=None, profile_push_ms=None)
        )

    def push_profile(self, device: Device) -> Device:
        """The device has fetched its profile."""
        return self.change(replace(device, profile_status="pushed", profile_push_ms=self._clock.now_ms()))

    def change(self, device: Device) -> Device:
        """The device is now as given; its server hears of it as `modified`."""
        if device.server is not None:
            now_ms = self._clock.now_ms()
            server = self._servers[device.server]
            server.change(device, now_ms)
            self._log_kept(server, now_ms)
        return self._keep(device)

    def _keep(self, device: Device) -> Device:
        self._devices[device.serial_number] = device
        return device

    def _log_kept(self, server: MdmServer, now_ms: int) -> None:
        server.forget_before(now_ms - self._settings.cursor_life_ms)
