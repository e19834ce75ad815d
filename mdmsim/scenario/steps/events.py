"""Events: wait for something to happen, or see that it does not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mdmsim.events import KINDS, VALUES, Event
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.errors import WrongKey, did_you_mean, nearest
from mdmsim.scenario.match import WORDS, check_keys, mismatch, shown
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.shared import DeviceName, Within, patience
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed
from mdmsim.world.abilities import Ability

Since = Annotated[
    Literal["last-action", "start"], about("From when events count: the last step that did something, or the beginning")
]

_KIND = about("The kind of event", example="device.unenrolled")


#: What entries of an error chain hold (MDM protocol, ErrorChain), the only list of mappings that expectations look into.
_CHAIN = dict.fromkeys(("ErrorCode", "ErrorDomain", "LocalizedDescription", "USEnglishDescription"))


def check_event(kind: str, data: dict[str, Any]) -> None:
    """Raises ValueError for what no event can be: no such kind, one about no device, data with a key it never holds."""
    known = KINDS.get(kind)
    if known is None:
        raise ValueError(f'there are no events of the kind "{kind}". {did_you_mean(kind, KINDS)}')
    if known.subject is None:
        about_devices = [name for name, other in KINDS.items() if other.subject is not None]
        near = nearest(kind, about_devices)
        hint = f' Did you mean "{near}"?' if near else ""
        raise ValueError(f'"{kind}" is about no device, so it never happens to one.{hint}')
    if len(data) == 1 and next(iter(data)) in WORDS:
        raise WrongKey(f'"data" takes keys of {kind}: {", ".join(known.all_keys) or "it has none"}.', ("data",))
    shape = {key: _CHAIN if key == "error_chain" else None for key in known.all_keys}
    check_keys(data, shape, kind, ("data",))
    for key, wanted in data.items():
        allowed = VALUES.get((kind, key))
        if allowed is not None and not isinstance(wanted, dict) and wanted not in allowed:
            what = f'"{key}" of {kind} is never {shown(wanted)}. {did_you_mean(str(wanted), allowed)}'
            raise WrongKey(what, ("data", key))


#: Who tells events of these kinds, where it is not the device or the wire.
_SIGHT = {
    "device.activated": Ability.DEP,
    "device.remote-management": Ability.DEP,
    "device.push-heard": Ability.PUSHES,
    "server.": Ability.SERVER_EVENTS,
    "dep.": Ability.DEP,
    **dict.fromkeys(("push.", "token.", "provider.", "courier."), Ability.APNS),
}


def sight_of(kind: str) -> tuple[Ability, ...]:
    """What an expectation about events of that kind needs."""
    return tuple(ability for beginning, ability in _SIGHT.items() if kind.startswith(beginning))


def place_of(run: Run, since: str) -> int:
    return run.begin if since == "start" else run.mark


class ExpectEvent(Arguments, frozen=True, kw_only=True):
    """Something happens to the device, or about it at the server or APNs."""

    kind: Annotated[str, _KIND]
    device: DeviceName
    data: Annotated[
        dict[str, Any], about("Keys of the event's data; it may hold more", example="{reason: refused}", filled=True)
    ] = msgspec.field(default_factory=dict)
    times: Annotated[int | None, about("Exactly how often it has happened by then", minimum=1)] = None
    since: Since = "last-action"
    within: Within = None

    def __post_init__(self) -> None:
        check_event(self.kind, self.data)


@step(
    "expect_event",
    ExpectEvent,
    title=lambda a: f"{a.device}: {a.kind}{_with(a.data)}",
    expects=True,
    needs=lambda a: sight_of(a.kind),
)
async def expect_event(run: Run, arguments: ExpectEvent) -> Outcome:
    what = f"{arguments.kind}{_with(arguments.data)}"
    place = place_of(run, arguments.since)
    for device_id in run.ids(arguments.device):

        def matches(event: Event, device_id: str = device_id) -> bool:
            return is_event(run, event, arguments.kind, device_id, arguments.data)

        came = await run.wait_for(matches, within_ms=patience(arguments.within), since=place)
        if came is None:
            others = _others(run, place, arguments.kind, device_id)
            seen = f"{arguments.kind} with {shown(dict(others[-1].data))}" if others else f"no {arguments.kind}"
            raise StepFailed(f"{what} for {device_id} within {_time(arguments.within)}", seen)
        if arguments.times is not None:
            number = len(run.since(place, matches))
            while number < arguments.times:
                later = await run.wait_for(matches, within_ms=patience(arguments.within), since=run.place())
                if later is None:
                    break
                number = len(run.since(place, matches))
            if number != arguments.times:
                raise StepFailed(f"{what} for {device_id}, {arguments.times} times", f"{number} times")
    return Outcome(what, what)


def _others(run: Run, place: int, kind: str, device_id: str) -> list[Event]:
    return run.since(place, lambda event: event.kind == kind and run.concerns(event, device_id))


def is_event(run: Run, event: Event, kind: str, device_id: str, data: dict[str, Any]) -> bool:
    """Whether an event is of that kind, about that device, and holds that data."""
    return event.kind == kind and run.concerns(event, device_id) and mismatch(data, event.data) is None


def _with(data: dict[str, Any]) -> str:
    return f" {shown(data)}" if data else ""


def _time(within: Duration | None) -> str:
    return str(within) if within else "30s"


class ExpectNoEvent(Arguments, frozen=True, kw_only=True):
    """Something does not happen, since the last step that did something and for the time given."""

    kind: Annotated[str, _KIND]
    device: DeviceName
    data: Annotated[dict[str, Any], about("Keys of the event's data; it may hold more", filled=True)] = msgspec.field(
        default_factory=dict
    )
    since: Since = "last-action"
    for_: Annotated[Duration, about("For how long it must not happen", example="10m")] = msgspec.field(name="for")

    def __post_init__(self) -> None:
        check_event(self.kind, self.data)


@step(
    "expect_no_event",
    ExpectNoEvent,
    title=lambda a: f"{a.device}: no {a.kind}{_with(a.data)} for {a.for_}",
    expects=True,
    needs=lambda a: sight_of(a.kind),
)
async def expect_no_event(run: Run, arguments: ExpectNoEvent) -> Outcome:
    ids = run.ids(arguments.device)
    came = await run.wait_for(
        lambda event: any(is_event(run, event, arguments.kind, i, arguments.data) for i in ids),
        within_ms=arguments.for_.ms,
        since=place_of(run, arguments.since),
    )
    what = f"no {arguments.kind}{_with(arguments.data)} for {arguments.for_}"
    if came is not None:
        raise StepFailed(what, f"{came[0].device or ids[0]}: {arguments.kind} with {shown(dict(came[0].data))}")
    return Outcome(what, "none")
