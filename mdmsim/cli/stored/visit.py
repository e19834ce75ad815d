"""What came of one device's turn, put together from its events and its last exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mdmsim.cli.enrollment.obstacle import Obstacle
from mdmsim.cli.enrollment.rollout import Newcomer
from mdmsim.events import Event

Result = Literal["connected", "absent", "refused", "unreachable"]

#: How a result with an obstacle is called.
WORDS = {"refused": "was refused", "unreachable": "could not connect", "absent": "cannot act now"}

#: What ended an enrollment, where it was not a refusal (that is an obstacle).
ENDS = {
    "command": "enrollment removed by its server",
    "erased": "erased",
    "user": "enrollment removed",
    "replaced": "enrollment replaced",
    "expired": "enrollment expired",
}


def answer_text(request_type: str, status: str, *, simulated: bool) -> str:
    """A command and its answer in a few words. A device that cannot be simulated in this is not to be taken for a refusal."""
    said = request_type if status == "Acknowledged" else f"{request_type} {status}"
    return said if simulated else f"{said} (not simulated)"


@dataclass(slots=True)
class Diary:
    """What a device did: an observer of its events."""

    device_id: str
    answered: list[dict[str, Any]] = field(default_factory=list)
    delivered: dict[str, str] = field(default_factory=dict)
    """CommandUUID to RequestType of the reports that a server confirmed."""
    ended: str | None = None
    checkout: dict[str, Any] | None = None
    told_token: bool = False
    power: str | None = None
    not_simulated: list[str] = field(default_factory=list)
    """What real devices would do with the profiles that came, and mdmsim does not."""

    def __call__(self, event: Event) -> None:
        if event.device != self.device_id:
            return
        data = event.data
        match event.kind:
            case "device.command-answered":
                self.answered.append(
                    {
                        "request_type": data["request_type"],
                        "status": data["status"],
                        "command_uuid": data["command_uuid"],
                        "simulated": data["simulated"],
                    }
                )
            case "device.report-delivered":
                self.delivered[data["command_uuid"]] = data["request_type"]
            case "device.unenrolled":
                self.ended = data["reason"]
            case "device.checkout":
                self.checkout = {"delivered": data["delivered"], "status": data["status"]}
            case "device.token-updated":
                self.told_token = True
            case "device.power":
                self.power = data["state"]
            case "device.not-simulated":
                self.not_simulated.append(data["what"])

    @property
    def steps(self) -> tuple[str, ...]:
        """What was done, as people read it."""
        new = {answer["command_uuid"] for answer in self.answered}
        earlier = [f"report of {name}" for uuid, name in self.delivered.items() if uuid not in new]
        answers = [
            answer_text(answer["request_type"], answer["status"], simulated=answer["simulated"])
            for answer in self.answered
        ]
        ends = [ENDS.get(self.ended, self.ended)] if self.ended is not None and self.ended != "refused" else []
        power = (
            [{"restarting": "restarts", "off": "shuts down"}[self.power]] if self.power in ("restarting", "off") else []
        )
        left_out = [f"not simulated: {what}" for what in self.not_simulated]
        said = [*(["TokenUpdate"] if self.told_token else []), *earlier, *answers, *left_out, *ends, *power]
        return tuple(said) or ("nothing was queued",)


@dataclass(frozen=True, slots=True)
class Visit:
    """What became of one device's turn. `absent`: it is off, or not enrolled; nothing was sent."""

    newcomer: Newcomer
    result: Result
    steps: tuple[str, ...]
    took_ms: int
    answered: tuple[dict[str, Any], ...] = ()
    ended: str | None = None
    obstacle: Obstacle | None = None
    not_simulated: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        obstacle = self.obstacle
        return {
            "id": self.newcomer.device_id,
            "platform": self.newcomer.persona.platform,
            "udid": self.newcomer.persona.udid,
            "result": self.result,
            "took_ms": self.took_ms,
            "answered": list(self.answered),
            "not_simulated": list(self.not_simulated),
            "unenrolled": self.ended,
            "problem": None
            if obstacle is None
            else {"what": obstacle.what, "seen": obstacle.seen, "means": obstacle.meaning, "do": obstacle.advice},
        }
