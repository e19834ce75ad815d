"""Apple, for the reference server's tests: the fake DEP behind the server's outbound calls, and devices of its factory."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

from mdmsim.chance import Chance
from mdmsim.fakedep.core import FAULTS
from mdmsim.fakedep.inprocess import InProcessDep
from mdmsim.fakedep.model import Device as DepDevice
from mdmsim.fakedep.portal import DeviceOrder
from mdmsim.fakedep.service import DepService
from mdmsim.fakedep.settings import DepSettings
from mdmsim.http import ExchangeCut, Identity, Request, Response
from mdmsim.pki.authority import Authority
from mdmsim.pki.cms import sign
from mdmsim.protocol import plist
from tests.reference_server.kit import Answer, Server, authority

HOST = "https://mdmenrollment.apple.com"


class AppleServer(Server):
    """A reference server whose DEP calls reach a fake DEP, with an account `abm` that has its token."""

    def __init__(self, *, dep: DepSettings | None = None, **changes: Any) -> None:
        super().__init__(**({"automated_anchors": factory_chain()} | changes))
        self.changes = {"automated_anchors": factory_chain()} | {k: v for k, v in changes.items() if k != "clock"}
        self.dep = DepService(self.clock, Chance("apple"), self.events, settings=dep)
        self.way = InProcessDep(self.dep)
        self.calls: list[Request] = []
        self.down: Callable[[Request], Exception | None] = lambda request: None
        self.apns_send, self.apns.send = self.apns.send, self._send  # type: ignore[method-assign]

    async def _send(self, request: Request) -> Response:
        if not request.url.startswith(HOST):
            return await self.apns_send(request)
        self.calls.append(request)
        if (error := self.down(request)) is not None:
            raise error
        try:
            return await self.way.handle(request)
        except ConnectionError as error:
            raise ExchangeCut(str(error), sent=True) from error

    def paths(self, *, since: int = 0) -> list[str]:
        """The paths that were called, in order; `since`: leave out that many."""
        return [request.url.removeprefix(HOST) for request in self.calls[since:]]

    def fault(self, name: str, **more: Any) -> Any:
        """Plan a fault of the fake DEP; once, unless told otherwise."""
        assert name in FAULTS, name
        return self.dep.faults.add(name, why="a test", **({"times": 1} | more))

    async def connect_dep(self, *serials: str, name: str = "abm", portal_name: str = "MDM") -> None:
        """What an administrator does: an account, its certificate to the portal, the token back, devices ordered."""
        made = await self.api("POST", "/dep", {"name": name})
        assert made.status == 201, made.body
        pem = (await self.api("GET", f"/dep/{name}/certificate")).json()["pem"]
        self.dep.portal.add_server(portal_name, certificate=pem.encode())
        taken = await self.upload(name=name, portal_name=portal_name)
        assert taken.status == 200, taken.body
        if serials:
            self.order(*serials, portal_name=portal_name)

    async def upload(self, *, name: str = "abm", portal_name: str = "MDM", **more: Any) -> Answer:
        content = self.dep.portal.token(portal_name).content
        body = {"content": base64.b64encode(content).decode(), **more}
        return await self.api("POST", f"/dep/{name}/token", body)

    def order(self, *serials: str, portal_name: str = "MDM", family: str = "iPhone") -> None:
        self.dep.portal.order(
            [DeviceOrder(serial_number=serial, device_family=family) for serial in serials], server=portal_name
        )

    async def sync(self, name: str = "abm", **body: Any) -> Answer:
        return await self.api("POST", f"/dep/{name}/sync", body or None)

    async def synced(self, name: str = "abm", **body: Any) -> Any:
        answer = await self.sync(name, **body)
        assert answer.status == 200, answer.body
        return answer.json()

    async def account(self, name: str = "abm") -> Any:
        return (await self.api("GET", f"/dep/{name}")).json()

    async def known(self, name: str = "abm", query: str = "gone=false&limit=1000") -> dict[str, Any]:
        answer = await self.api("GET", f"/dep/{name}/devices?{query}")
        assert answer.status == 200, answer.body
        return {device["serial_number"]: device for device in answer.json()["devices"]}

    def at_apple(self, serial: str) -> DepDevice:
        return self.dep.device(serial)


@cache
def _factory() -> tuple[Authority, Authority]:
    root = authority("Acme Factory Root")
    return root, root.subordinate("Acme Device Factory CA")


def factory_chain() -> tuple[bytes, ...]:
    """The certificates that a server trusts for MachineInfo: the device CA and what is above it."""
    root, device_ca = _factory()
    return (device_ca.certificate, root.certificate)


@cache
def factory_identity(name: str = "device", **validity: int) -> Identity:
    """What a device leaves the factory with."""
    return _factory()[1].client_identity(name, **validity)


def machine_info(serial: str = "SERIAL1", udid: str = "UDID-1", **more: Any) -> bytes:
    values = {
        "LANGUAGE": "en-US",
        "PRODUCT": "iPhone15,4",
        "SERIAL": serial,
        "UDID": udid,
        "VERSION": "22D64",
        "OS_VERSION": "18.2.1",
        "MDM_CAN_REQUEST_SOFTWARE_UPDATE": True,
    }
    return plist.dumps({key: value for key, value in (values | more).items() if value is not None})


def signed_info(
    content: bytes | None = None,
    identity: Identity | None = None,
    *,
    chain: tuple[bytes, ...] | None = None,
    **more: Any,
) -> bytes:
    """A signed MachineInfo: SHA-1, as devices sign it (captured: iOS 16.7.8)."""
    identity = identity or factory_identity()
    return sign(
        content if content is not None else machine_info(),
        identity,
        certificates=factory_chain() if chain is None else chain,
        **({"digest": "sha1", "attributes": True, "form": "der"} | more),
    )
