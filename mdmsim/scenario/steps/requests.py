"""Requests: what a device sends on the wire, and what it does not send."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from mdmsim.events import Event
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.names import check_label
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.events import Since, place_of
from mdmsim.scenario.steps.shared import DeviceName, Within, patience, words
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed
from mdmsim.world.abilities import Ability

_LABEL = about("Which requests: a label, or a pattern with *", example="connect:Idle")


def is_request(event: Event, device_id: str, label: str, status: int | None = None) -> bool:
    """Whether an event is an exchange that this device began under such a label, answered with that status."""
    if event.kind != "exchange" or event.device != device_id or not fnmatchcase(label_of(event), label):
        return False
    return status is None or status_of(event) == status


def label_of(event: Event) -> str:
    return str(event.data.get("label"))


def status_of(event: Event) -> int | None:
    """The status that came; None when no answer did."""
    status = event.data.get("status")
    return status if isinstance(status, int) else None


class ExpectRequest(Arguments, frozen=True, kw_only=True):
    """The device sends such a request. `times` and `at_most` count; without them one is enough."""

    device: DeviceName
    label: Annotated[str, _LABEL]
    status: Annotated[int | None, about("What it was answered", example="401")] = None
    times: Annotated[int | None, about("Exactly how many there are by then", minimum=1)] = None
    at_most: Annotated[int | None, about("No more than this many so far; does not wait", minimum=0)] = None
    since: Since = "last-action"
    within: Within = None

    def __post_init__(self) -> None:
        check_label(self.label)
        if self.times is not None and self.at_most is not None:
            raise ValueError('"times" and "at_most" exclude each other.')


def _what(arguments: ExpectRequest) -> str:
    answered = f" answered {arguments.status}" if arguments.status is not None else ""
    number = (
        f", {arguments.times} times"
        if arguments.times is not None
        else f", {arguments.at_most} at most"
        if arguments.at_most is not None
        else ""
    )
    return f"{arguments.label}{answered}{number}"


@step(
    "expect_request",
    ExpectRequest,
    title=lambda a: f"{a.device} sends {_what(a)}",
    expects=True,
    needs=lambda a: (Ability.DEP,) if a.label.startswith("dep:") else (),
)
async def expect_request(run: Run, arguments: ExpectRequest) -> Outcome:
    place = place_of(run, arguments.since)
    seen: list[str] = []
    for device_id in run.ids(arguments.device):

        def matches(event: Event, device_id: str = device_id) -> bool:
            return is_request(event, device_id, arguments.label, arguments.status)

        if arguments.at_most is None:
            for number in range(arguments.times or 1):
                if len(run.since(place, matches)) > number:
                    continue
                came = await run.wait_for(matches, within_ms=patience(arguments.within), since=run.place())
                if came is None:
                    break
        number = len(run.since(place, matches))
        if arguments.at_most is not None:
            as_wanted = number <= arguments.at_most
        else:
            as_wanted = number == arguments.times if arguments.times is not None else number >= 1
        if not as_wanted:
            sent = [f"{label_of(e)} → {status_of(e) or 'no answer'}" for e in _all_of(run, place, device_id)]
            raise StepFailed(
                f"{device_id} sends {_what(arguments)}", f"{number} of them; it sent {words(sent[-8:]) or 'nothing'}"
            )
        seen.append(f"{device_id}: {number}")
    return Outcome(_what(arguments), "; ".join(seen))


def _all_of(run: Run, place: int, device_id: str) -> list[Event]:
    return run.since(place, lambda event: is_request(event, device_id, "*"))


class ExpectNoRequest(Arguments, frozen=True, kw_only=True):
    """The device sends no such request, since the last step that did something and for the time given."""

    device: DeviceName
    label: Annotated[str, _LABEL] = "*"
    since: Since = "last-action"
    for_: Annotated[Duration, about("For how long the device must stay silent", example="30d")] = msgspec.field(
        name="for"
    )

    def __post_init__(self) -> None:
        check_label(self.label)


@step(
    "expect_no_request",
    ExpectNoRequest,
    title=lambda a: f"{a.device} {'stays silent' if a.label == '*' else f'sends no {a.label}'} for {a.for_}",
    expects=True,
    needs=lambda a: (Ability.DEP,) if a.label.startswith("dep:") else (),
)
async def expect_no_request(run: Run, arguments: ExpectNoRequest) -> Outcome:
    ids = run.ids(arguments.device)
    came = await run.wait_for(
        lambda event: any(is_request(event, i, arguments.label) for i in ids),
        within_ms=arguments.for_.ms,
        since=place_of(run, arguments.since),
    )
    what = (
        f"no request for {arguments.for_}" if arguments.label == "*" else f"no {arguments.label} for {arguments.for_}"
    )
    if came is not None:
        event = came[0]
        seen = f"{label_of(event)} → {status_of(event) or 'no answer'}"
        raise StepFailed(f"{event.device} sends {what}", seen, proof=event)
    return Outcome(what, "none")
