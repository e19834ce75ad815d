"""Pushes: the server's, and those that the courier delivers whatever the server knows."""

from __future__ import annotations

from typing import Annotated, Literal

from mdmsim.device.state import DEVICE_CHANNEL
from mdmsim.protocol.mdm_push import build_payload
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run, Token
from mdmsim.scenario.steps.shared import DeviceName, Recipient, Within, patience
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed
from mdmsim.world.abilities import Ability
from mdmsim.world.due import due_in


class Push(Arguments, frozen=True, kw_only=True):
    """The administrator has the server push now."""

    to: Recipient
    status: Annotated[int, about("What APNs answers to the server; 0: it was not reached")] = 200


@step("push", Push, title=lambda a: f"push to {a.to}", needs=lambda _: (Ability.PUSH, Ability.PUSHES))
async def push(run: Run, arguments: Push) -> Outcome:
    for device_id in run.ids(arguments.to):
        status = await run.adapter.push(run.udid(device_id))
        if status != arguments.status:
            raise StepFailed(f"APNs answers {arguments.status} to the push for {device_id}", f"it answered {status}")
    return Outcome(f"APNs answers {arguments.status}", f"it answered {arguments.status}")


class DeliverPush(Arguments, frozen=True, kw_only=True):
    """The courier delivers a push to the token that the device has, or had before it gave up its enrollment."""

    device: DeviceName
    magic: Annotated[Literal["right", "wrong"], about("Whether the push carries the enrollment's push magic")] = "right"


@step("deliver_push", DeliverPush, title=lambda a: f"the courier delivers a push to {a.device}")
async def deliver_push(run: Run, arguments: DeliverPush) -> Outcome:
    for device_id in run.ids(arguments.device):
        token = _token(run, device_id)
        if token is None:
            raise StepFailed(f"{device_id} has had a push token", "it never told the server one")
        magic = token.push_magic if arguments.magic == "right" else "00000000-0000-4000-8000-000000000000"
        run.world.fleet.on_push(token.topic, token.token, build_payload(magic))
    return Outcome("the push is delivered", "delivered")


def _token(run: Run, device_id: str) -> Token | None:
    state = run.device(device_id).state
    voice = state.channels.get(DEVICE_CHANNEL)
    if state.enrollment is not None and voice is not None and voice.push_token:
        return Token(state.enrollment.topic, voice.push_token, voice.push_magic)
    return run.tokens.get(device_id)


class ExpectPendingPushes(Arguments, frozen=True, kw_only=True):
    """How many pushes APNs keeps for a device that does not listen: one at most, the newest."""

    device: DeviceName
    count: Annotated[int, about("How many", minimum=0)]
    within: Within = None


@step(
    "expect_pending_pushes",
    ExpectPendingPushes,
    title=lambda a: f"APNs keeps {a.count or 'no'} push{'' if a.count == 1 else 'es'} for {a.device}",
    expects=True,
    needs=lambda _: (Ability.APNS,),
)
async def expect_pending_pushes(run: Run, arguments: ExpectPendingPushes) -> Outcome:
    for device_id in run.ids(arguments.device):

        async def problem(device_id: str = device_id) -> str | None:
            token = _token(run, device_id)
            pending = [p for p in await run.world.apns.pending() if token is not None and p.token == token.token]
            return None if len(pending) == arguments.count else f"{len(pending)}"

        found = await run.until(problem, within_ms=patience(arguments.within))
        if found is not None:
            raise StepFailed(f"APNs keeps {arguments.count} pushes for {device_id}", found)
    return Outcome(f"{arguments.count} pending", f"{arguments.count} pending")


class ExpectPushed(Arguments, frozen=True, kw_only=True):
    """For everything that the server queued for these devices, APNs accepted a push: nothing that was due is missing."""

    device: DeviceName
    late: Annotated[
        Duration | None, about("How late the push may have been, counted from the queueing", example="10s")
    ] = None
    within: Within = None


@step(
    "expect_pushed",
    ExpectPushed,
    title=lambda a: f"everything due for {a.device} was pushed",
    expects=True,
    needs=lambda _: (Ability.APNS, Ability.SERVER_EVENTS),
)
async def expect_pushed(run: Run, arguments: ExpectPushed) -> Outcome:
    ids = run.ids(arguments.device)
    expected = f"APNs accepted a push for everything that was queued for {arguments.device}"
    if arguments.late is not None:
        expected += f", at most {arguments.late} late"

    async def problem() -> str | None:
        entries = due_in(run.world.log, run.world.fleet, ids)
        if not entries:
            return "the server told of nothing that it queued"
        for answer in (await run.world.apns.due(entries)).answers:
            if answer.accepted is None:
                return f"{answer.what} for {answer.device}: {answer.why}"
            if arguments.late is not None and answer.accepted.late_ms > arguments.late.ms:
                return f"{answer.what} for {answer.device}: pushed {answer.accepted.late_ms / 1000:g} s late"
        return None

    found = await run.until(problem, within_ms=patience(arguments.within))
    if found is not None:
        raise StepFailed(expected, found)
    return Outcome(expected, expected)
