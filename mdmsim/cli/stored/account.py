"""What there is to say of a stored device in one line: what it is, where it belongs, what it is about to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mdmsim.cli.enrollment.meanings import SYSTEMS
from mdmsim.clock import DAY, HOUR, MINUTE, SECOND, iso
from mdmsim.device.device import Device, Wish
from mdmsim.device.personas import Persona, PersonaError
from mdmsim.device.state import DEVICE_CHANNEL, DeviceState

#: What a device wants to do, as people say it.
WISHES = {
    "remove-expired": "remove a profile whose time is over",
    "leave": "say goodbye to its server",
    "setup": "go on in Setup Assistant",
    "install": "ask the CA again",
    "token-update": "send TokenUpdate",
    "push": "answer a push",
    "connect": "connect",
    "boot": "come up again",
}

#: What keeps a device from doing anything, or the server from reaching it.
CONDITIONS = {
    "off": "off",
    "restarting": "restarting",
    "behind-pin": "behind a PIN",
    "no-network": "no network",
    "setup-assistant": "in Setup Assistant",
    "before-first-unlock": "not unlocked since it started",
    "locked": "screen locked",
}

STATES = {
    "enrolled": "enrolled",
    "awaiting": "awaiting configuration",
    "unconfirmed": "TokenUpdate not accepted",
    "leaving": "leaving",
    "waiting": "waits for the CA",
    "not-enrolled": "not enrolled",
}


def model_of(persona: Persona) -> str:
    """iPhone 15; the product name where the catalog does not know it (any more)."""
    try:
        return persona.marketing_name
    except PersonaError:
        return persona.product_name


def system_of(persona: Persona) -> str:
    return f"{SYSTEMS[persona.platform]} {persona.os_version}"


def state_of(state: DeviceState) -> str:
    """One of STATES."""
    if state.leaving is not None:
        return "leaving"
    enrollment = state.enrollment
    if enrollment is None:
        return "waiting" if state.installation is not None else "not-enrolled"
    if not enrollment.confirmed:
        return "unconfirmed"
    return "awaiting" if enrollment.awaiting else "enrolled"


def condition_of(device: Device) -> str | None:
    """One of CONDITIONS; None for a device that is as devices usually are."""
    state = device.state
    if state.pin_lock is not None:
        return "behind-pin"
    if state.power != "on":
        return "restarting" if state.power == "restarting" else "off"
    if not state.network:
        return "no-network"
    if not device.reachable:
        return "before-first-unlock"
    if state.setup == "welcome":
        return "setup-assistant"
    return "locked" if state.screen_locked else None


def wishes_of(device: Device) -> list[Wish]:
    """What it will do by itself, the earliest first; a boot that is under way included."""
    wishes = device.wishes()
    if device.state.boot_ms is not None:
        wishes.append(Wish("boot", device.state.boot_ms))
    return sorted(wishes, key=lambda wish: wish.at_ms)


def from_now(ms: int) -> str:
    """now, in 45 s, in 3 min, in 2 h, in 5 d."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if ms >= unit:
            return f"in {ms // unit} {name}"
    return "now"


@dataclass(frozen=True, slots=True)
class Account:
    """A device in a few words; `of` takes them from it."""

    device_id: str
    persona: Persona
    server: str | None
    state: str
    condition: str | None
    report: str | None
    """RequestType of the command whose report no server has confirmed yet."""
    wishes: tuple[Wish, ...]
    now_ms: int

    @classmethod
    def of(cls, device: Device) -> Account:
        enrollment, undelivered = device.state.enrollment, device.undelivered(DEVICE_CHANNEL)
        return cls(
            device_id=device.device_id,
            persona=device.persona,
            server=enrollment.server_url if enrollment is not None else None,
            state=state_of(device.state),
            condition=condition_of(device),
            report=undelivered.request_type if undelivered is not None else None,
            wishes=tuple(wishes_of(device)),
            now_ms=device.clock.now_ms(),
        )

    @property
    def pending(self) -> str:
        """The undelivered report and the next wake, for people."""
        said = [f"report of {self.report}"] if self.report is not None else []
        if self.wishes:
            first = self.wishes[0]
            said.append(f"{WISHES.get(first.reason, first.reason)} {from_now(first.at_ms - self.now_ms)}")
        return ", ".join(said)

    @property
    def columns(self) -> tuple[str, ...]:
        server = urlsplit(self.server).netloc if self.server is not None else "-"
        state = ", ".join(filter(None, (STATES[self.state], CONDITIONS.get(self.condition or ""))))
        return (self.device_id, model_of(self.persona), system_of(self.persona), server, state, self.pending or "-")

    def as_json(self) -> dict[str, Any]:
        persona = self.persona
        return {
            "id": self.device_id,
            "platform": persona.platform,
            "model": model_of(persona),
            "product_name": persona.product_name,
            "os_version": persona.os_version,
            "udid": persona.udid,
            "serial_number": persona.serial,
            "server": self.server,
            "state": self.state,
            "condition": self.condition,
            "pending": {
                "report": self.report,
                "wakes": [
                    {"reason": wish.reason, "channel": wish.channel, "at": iso(wish.at_ms)} for wish in self.wishes
                ],
            },
        }


HEADINGS = ("device", "model", "system", "server", "state", "next")


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as lines of aligned columns; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
