"""What the stories do not send: every command on every platform, systems that were captured, and rarer SCEP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mdmsim.chance import Chance
from mdmsim.clock import MINUTE, ManualClock, VirtualClock
from mdmsim.device.commands.registry import FLOW_HANDLERS, HANDLERS
from mdmsim.device.device import Device
from mdmsim.device.flows.unenroll import leave
from mdmsim.device.locking import enter_pin, lock_screen, unlock_screen
from mdmsim.device.power import set_power_nap, switch_on
from mdmsim.events import Event
from mdmsim.http import Request, Response, Trust
from mdmsim.pki.scep.capabilities import Capabilities
from mdmsim.pki.scep.server import ScepService, decode_message
from mdmsim.protocol.profile import build_profile
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS, World
from tests.device.bench import Bench, settings_payload
from tests.interop.recorded import TakenKeys

#: Asked of devices that wait in Setup Assistant, by the stories of automated enrollment; nobody waits there on the tour.
BY_STORIES = ("DeviceConfigured",)

Ask = Callable[[Device], dict[str, Any]]


def _plainly(**keys: Any) -> Ask:
    return lambda device: keys


#: How each command is asked for, in the order in which that is done, and which platforms answer it Acknowledged. Every
#: handler must be in here: say how, and the table grows rows.
ASKED: dict[str, tuple[Ask, tuple[str, ...]]] = {
    "DeviceInformation": (
        lambda device: {"Queries": MAC_QUERIES if device.persona.is_mac else QUERIES},
        ("iOS", "macOS", "tvOS"),
    ),
    "SecurityInfo": (_plainly(), ("iOS", "macOS", "tvOS")),
    "InstalledApplicationList": (_plainly(), ("iOS", "macOS", "tvOS")),
    "InstallProfile": (
        _plainly(
            Payload=build_profile(
                identifier="test.tour", uuid="0E1C1E0A-5C1B-4E0B-9D0D-0E6D2C1F7A31", payloads=(settings_payload(),)
            )
        ),
        ("iOS", "macOS", "tvOS"),
    ),
    "ProfileList": (_plainly(), ("iOS", "macOS", "tvOS")),
    "CertificateList": (_plainly(), ("iOS", "macOS", "tvOS")),
    "RemoveProfile": (_plainly(Identifier="test.tour"), ("iOS", "macOS", "tvOS")),
    "DeviceConfigured": (_plainly(), ("iOS", "macOS", "tvOS")),
    "DeviceLock": (_plainly(PIN="123456", Message="Lost"), ("iOS", "macOS")),
    "RestartDevice": (_plainly(), ("iOS", "macOS", "tvOS")),
    "ShutDownDevice": (_plainly(), ("iOS", "macOS")),
    "ClearPasscode": (lambda device: {"UnlockToken": device.voice().unlock_token or b"none"}, ("iOS",)),
    "EraseDevice": (_plainly(PIN="123456"), ("iOS", "macOS", "tvOS")),
}


def answered() -> Iterator[tuple[str, str]]:
    """Every implemented command and each platform that answers it Acknowledged."""
    for request_type in sorted({*HANDLERS, *FLOW_HANDLERS}):
        assert request_type in ASKED, f"{request_type} is new: say in tests/interop/tour.py how it is asked for"
        for platform in ASKED[request_type][1]:
            yield request_type, platform


#: What was asked when DeviceInformation was captured, on iOS 11.3 and macOS 10.12.
QUERIES = [
    "AvailableDeviceCapacity",
    "BatteryLevel",
    "CurrentCarrierNetwork",
    "DataRoamingEnabled",
    "DeviceCapacity",
    "IsRoaming",
    "IsSupervised",
    "Model",
    "SubscriberMCC",
    "WiFiMAC",
    "iTunesStoreAccountIsActive",
]
MAC_QUERIES = ["ActiveManagedUsers", "AvailableDeviceCapacity", "BluetoothMAC", "DeviceCapacity", "DeviceName"]

#: Who goes on the tour: every kind, and the systems of which messages were captured.
TRAVELLERS: tuple[tuple[str, str, str | None], ...] = (
    ("iphone-now", "iphone", None),
    ("iphone-11", "iphone", "11.3.1"),
    ("ipad-now", "ipad", None),
    ("mac-silicon", "mac-silicon", None),
    ("mac-intel", "mac-intel", None),
    ("mac-10.12", "mac-intel", "10.12.6"),
    ("mac-13", "mac-silicon", "13.0"),
    ("tv-now", "appletv", None),
)


def tour(keys: TakenKeys, travellers: Sequence[tuple[str, str, str | None]] = TRAVELLERS) -> list[Event]:
    """The exchanges of everyone on the tour (name, kind, system), with the reference server."""

    async def run(clock: VirtualClock) -> list[Event]:
        async with in_process_world(clock, seed="tour", keys=keys) as world:
            trust = Trust(anchors=world.server.anchors)
            server = ReferenceAdapter(world.outbound, world.server.url, world.server.api_key, trust)
            for name, kind, system in travellers:
                await _travel(world, server, name, kind, system)
            return world.log.events

    return run_virtual(run, seed="tour", start_ms=START_MS)


async def _travel(world: World, server: ReferenceAdapter, name: str, kind: str, system: str | None) -> None:
    fleet = world.fleet
    device = world.add_device(name, kind, os_version=system, supervised=True)
    udid, passcode = device.persona.udid, device.state.passcode
    await fleet.install(name, await server.enrollment_profile())
    await server.queue(udid, "NoSuchCommand", {})
    await server.queue(udid, "InstallProfile", {"Payload": "not data"})
    await world.sleep(MINUTE)
    nap = device.persona.is_mac
    await fleet.change(name, lambda work: set_power_nap(work, napping=True) if nap else lock_screen(work, by="person"))
    await server.queue(udid, "SecurityInfo", {})
    await world.sleep(MINUTE)
    await fleet.change(name, lambda work: set_power_nap(work, napping=False))
    await _wake(world, name, passcode)
    for request_type, (ask, _) in ASKED.items():
        if request_type in ("EraseDevice", *BY_STORIES) or request_type not in {*HANDLERS, *FLOW_HANDLERS}:
            continue
        await server.queue(udid, request_type, ask(fleet[name]))
        await world.sleep(3 * MINUTE)
        if request_type == "DeviceLock" and fleet[name].state.pin_lock is not None:
            await fleet.change(name, lambda work: enter_pin(work, "123456"))
        await _wake(world, name, passcode)
    await fleet.perform(name, lambda device: leave(device, reason="user"))
    if "EraseDevice" in HANDLERS:
        await fleet.install(name, await server.enrollment_profile())
        await server.queue(udid, "EraseDevice", ASKED["EraseDevice"][0](fleet[name]))
        await world.sleep(3 * MINUTE)


async def _wake(world: World, name: str, passcode: str) -> None:
    """A person switches the device on and unlocks it, whatever it is in."""
    await world.fleet.change(name, switch_on)
    await world.sleep(MINUTE)
    await world.fleet.change(name, lambda work: unlock_screen(work, passcode))


def scep_tour(keys: TakenKeys) -> list[Event]:
    """An enrollment with a CA that takes its time, one with a CA that knows no POST, and one with an RA before the CA."""
    events: list[Event] = []
    for name, settings in (
        ("iphone-pending", {"pending": True}),
        ("mac-get", {"capabilities": Capabilities(("SHA-256", "AES"))}),
        ("tv-ra", {"ra": True}),
    ):
        events += _with_ca(name, keys, **settings)
    return events


def _with_ca(name: str, keys: TakenKeys, **settings: Any) -> list[Event]:
    kind = {"iphone": "iphone", "mac": "mac-silicon", "tv": "appletv"}[name.partition("-")[0]]
    bench = Bench(kind, keys=keys)
    chance = Chance(name)
    if settings.pop("ra", False):
        settings["ra"] = bench.authority.registration_authority("Bench RA")
    service = ScepService(bench.authority, clock=bench.clock, chance=chance, **settings)
    bench.server.scep = service
    events: list[Event] = []

    def answer(request: Request) -> Response | None:
        if "PKIOperation" not in request.url:
            return None
        message = request.body if request.method == "POST" else decode_message(request.url.partition("?")[2])
        handled = service.handle(message)
        if handled.outcome == "pending":
            service.approve(handled.request.transaction_id)
        return Response(200, (("Content-Type", handled.content_type),), handled.body)

    bench.server.interfere = lambda request: _noted(bench, name, request, answer(request), events)
    bench.enroll()
    return events


def _noted(bench: Bench, name: str, request: Request, response: Response | None, events: list[Event]) -> Response:
    """The bench's answer, with the exchange written down as a recorder would."""
    interfere, bench.server.interfere = bench.server.interfere, None
    answered = response or bench.server(request)
    bench.server.interfere = interfere
    events.append(_event(bench.clock, name, request, answered))
    return answered


def _event(clock: ManualClock, name: str, request: Request, response: Response) -> Event:
    data = {
        "label": request.label,
        "method": request.method,
        "url": request.url,
        "request_headers": [list(pair) for pair in request.headers],
        "request_body": request.body,
        "status": response.status,
        "response_headers": [list(pair) for pair in response.headers],
        "response_body": response.body,
    }
    return Event(kind="exchange", at_ms=clock.now_ms(), source="wire", device=name, data=data)
