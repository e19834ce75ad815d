"""Apple's device enrollment service as a scenario reaches it: the portal, in process or through the admin API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
import trio

from mdmsim.fakedep.admin.values import NewFault
from mdmsim.fakedep.errors import PortalError, UnknownDevice
from mdmsim.fakedep.portal import DeviceOrder
from mdmsim.fakedep.service import DepService
from mdmsim.faults import Fault
from mdmsim.http import Outbound, Request, Response, TransportError, Trust


class DepProblem(Exception):
    """The portal did not do what was asked: what, and why not."""


class DepUnreachable(Exception):
    """Our own fake DEP did not answer: an error of the run."""


class DepControl(Protocol):
    """What people do in Apple Business Manager. `server` is the name of an MDM server there. All raise DepProblem."""

    async def add_server(self, server: str, certificate: bytes) -> None:
        """Register an MDM server with its public key (a certificate, PEM)."""

    async def token(self, server: str) -> bytes:
        """The server's token file (.p7m); asked again, it is renewed."""

    async def order(self, serial: str, family: str, *, server: str | None = None) -> None:
        """Buy a device, and assign it to a server."""

    async def assign(self, serial: str, server: str | None) -> None:
        """Assign a device to a server, or to none."""

    async def status(self, serial: str) -> str | None:
        """What the portal shows of the device's profile: empty, assigned, pushed, removed; None: nobody owns it."""

    async def plan_fault(self, fault: NewFault) -> int:
        """Plan a fault; the number that ends it."""

    async def end_fault(self, number: int) -> None:
        """No more of it."""


class LocalDep:
    """The portal of a service in this process."""

    def __init__(self, service: DepService) -> None:
        self._service = service
        self._faults: list[Fault] = []

    async def _do(self, action: Callable[[], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        try:
            return action()
        except PortalError as error:
            raise DepProblem(str(error)) from None

    async def add_server(self, server: str, certificate: bytes) -> None:
        await self._do(lambda: self._service.portal.add_server(server, certificate=certificate))

    async def token(self, server: str) -> bytes:
        content: bytes = (await self._do(lambda: self._service.portal.token(server))).content
        return content

    async def order(self, serial: str, family: str, *, server: str | None = None) -> None:
        order = DeviceOrder(serial_number=serial, device_family=family)
        await self._do(lambda: self._service.portal.order([order], server=server))

    async def assign(self, serial: str, server: str | None) -> None:
        portal = self._service.portal
        await self._do(lambda: portal.unassign([serial]) if server is None else portal.assign([serial], server))

    async def status(self, serial: str) -> str | None:
        await trio.lowlevel.checkpoint()
        try:
            return self._service.device(serial).profile_status
        except UnknownDevice:
            return None

    async def plan_fault(self, fault: NewFault) -> int:
        await trio.lowlevel.checkpoint()
        try:
            self._faults.append(fault.plan(self._service.faults))
        except ValueError as error:
            raise DepProblem(str(error)) from None
        return len(self._faults) - 1

    async def end_fault(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        self._service.faults.remove(self._faults[number])


class RemoteDep:
    """The portal of a fake DEP in another process, by its admin API."""

    def __init__(self, outbound: Outbound, url: str, key: str) -> None:
        self._outbound = outbound
        self._url = url
        self._headers = (("Authorization", f"Bearer {key}"),)

    async def _send(self, method: str, path: str, body: bytes = b"") -> Response:
        request = Request(
            method, f"{self._url}{path}", self._headers, body, label="dep:admin", trust=Trust(allow_http=True)
        )
        try:
            return await self._outbound.send(request)
        except TransportError as error:
            raise DepUnreachable(f"{method} {path}: the fake DEP cannot be reached: {error}") from error

    async def _call(self, method: str, path: str, value: Any = None) -> bytes:
        body = b"" if value is None else json.dumps(value).encode()
        response = await self._send(method, path, body)
        if not response.is_success:
            raise DepProblem(
                f"{method} {path} answered {response.status}: {response.body[:300].decode(errors='replace')}"
            )
        return response.body

    async def add_server(self, server: str, certificate: bytes) -> None:
        await self._call("POST", "/servers", {"name": server, "certificate": certificate.decode("ascii")})

    async def token(self, server: str) -> bytes:
        return await self._call("POST", f"/servers/{quote(server, safe='')}/token")

    async def order(self, serial: str, family: str, *, server: str | None = None) -> None:
        device = {"serial_number": serial, "device_family": family}
        await self._call("POST", "/devices", {"devices": [device], "server": server})

    async def assign(self, serial: str, server: str | None) -> None:
        await self._call("POST", "/assignments", {"serials": [serial], "server": server})

    async def status(self, serial: str) -> str | None:
        response = await self._send("GET", f"/devices/{serial}")
        if response.status == 404:
            return None
        if not response.is_success:
            raise DepProblem(f"GET /devices/{serial} answered {response.status}")
        return str(json.loads(response.body)["profile_status"])

    async def plan_fault(self, fault: NewFault) -> int:
        value = {name: found for name, found in msgspec.structs.asdict(fault).items() if found is not None}
        return int(json.loads(await self._call("POST", "/faults", value))["number"])

    async def end_fault(self, number: int) -> None:
        await self._call("DELETE", f"/faults/{number}")


#: Device families of the portal, by platform.
FAMILIES = {"ios": "iPhone", "ipados": "iPad", "macos": "Mac", "tvos": "AppleTV"}
