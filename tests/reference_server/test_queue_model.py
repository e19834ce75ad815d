"""The queue against a model of it, under whatever a device and an administrator may do."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.protocol.connect import Status
from tests.reference_server.kit import Answer, Device, Server

_ANSWERS = {
    "acknowledge": Status.ACKNOWLEDGED,
    "error": Status.ERROR,
    "format error": Status.COMMAND_FORMAT_ERROR,
    "not now": Status.NOT_NOW,
}
_STEPS = st.sampled_from(
    ["queue", "queue urgent", "idle", *_ANSWERS, "lose the answer", "again", "cancel", "reenrol", "restart"]
)


@dataclass
class Model:
    """What must be true, kept by hand."""

    open: list[str] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    offered: list[str] = field(default_factory=list)
    in_hand: str | None = None
    last_answered: str | None = None

    def served(self, answer: Answer) -> None:
        command = answer.command
        self.in_hand = command.command_uuid if command is not None else None
        if self.in_hand is None:
            assert set(self.open) <= set(self.offered), "a session ended with a command that was never offered"
            self.offered = []
            return
        assert self.in_hand in self.open, "a command was served that is closed"
        assert self.in_hand not in self.offered, "a command was offered twice in a session"
        self.offered.append(self.in_hand)


async def _act(step: str, server: Server, device: Device, model: Model) -> None:
    if step in ("queue", "queue urgent"):
        model.open.append(await server.queue(device, urgent=step == "queue urgent"))
    elif step == "idle":
        model.offered = []
        model.served(await device.idle())
    elif step in _ANSWERS and model.in_hand is not None:
        if step != "not now":
            model.open = [uuid for uuid in model.open if uuid != model.in_hand]
            model.closed.add(model.in_hand)
            model.last_answered = model.in_hand
        model.served(await device.report(_ANSWERS[step], model.in_hand))
    elif step == "lose the answer":
        model.in_hand, model.offered = None, []
        await device.idle()
    elif step == "again" and model.last_answered is not None and model.in_hand is not None:
        model.served(await device.report(Status.ACKNOWLEDGED, model.last_answered))
    elif step == "cancel" and model.open:
        uuid = model.open[0]
        assert (await server.api("DELETE", f"/devices/{device.udid}/commands/{uuid}")).status == 200
        model.open.remove(uuid)
        model.closed.add(uuid)
        if model.in_hand == uuid:
            model.in_hand, model.offered = None, []
    elif step == "reenrol":
        await device.enrol()
        model.closed |= set(model.open)
        model.open, model.offered, model.in_hand = [], [], None
    elif step == "restart":
        server.app.close()
        server.start()


async def _story(steps: list[str], path: str) -> None:
    server = Server(database=path)
    device, model = await server.enrolled(), Model()
    for step in steps:
        await _act(step, server, device, model)
    # Whatever happened: a patient device gets everything that is still open, once, and nothing else.
    for _ in range(4):
        model.offered = []
        answer = await device.idle()
        model.served(answer)
        while model.in_hand is not None:
            model.open.remove(model.in_hand)
            answer = await device.report(Status.ACKNOWLEDGED, model.in_hand)
            model.served(answer)
    assert model.open == []
    page = (await server.api("GET", f"/devices/{device.udid}/commands?limit=1000")).json()["commands"]
    assert all(command["state"] not in ("queued", "notnow") for command in page)
    server.app.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(_STEPS, max_size=25))
def test_nothing_is_lost_served_twice_in_a_session_or_served_after_its_answer(
    tmp_path_factory: object, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("model")  # type: ignore[attr-defined]
    anyio.run(_story, steps, f"{folder}/server.sqlite", backend="trio")


def test_commands_queued_while_devices_drain_at_full_speed_all_arrive_once() -> None:
    async def story() -> None:
        server = Server()
        devices = [await server.enrolled(f"UDID-{number}") for number in range(15)]
        accepted: dict[str, list[str]] = {device.udid: [] for device in devices}
        answered: dict[str, list[str]] = {device.udid: [] for device in devices}

        async def enqueue(device: Device) -> None:
            for _ in range(8):
                accepted[device.udid].append(await server.queue(device))

        async def drain(device: Device) -> None:
            while len(answered[device.udid]) < 8:
                answer = await device.idle()
                while (command := answer.command) is not None:
                    answered[device.udid].append(command.command_uuid)
                    answer = await device.acknowledge(command.command_uuid)

        async with anyio.create_task_group() as group:
            for device in devices:
                group.start_soon(enqueue, device)
                group.start_soon(drain, device)
        assert answered == accepted

    anyio.run(story, backend="trio")
