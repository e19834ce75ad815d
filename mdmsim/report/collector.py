"""Groups the stream of events into cases. Subscribe a `Collector` to `Events`; read `cases` at any time."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdmsim.events import Event
from mdmsim.report.model import Case, Grade, StepResult, grade_of, text


@dataclass(slots=True)
class _Open:
    """A case under way: what its steps said before they finished, and which exchange each one ended on."""

    case: Case
    titles: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # step -> title, where
    last_exchange: Event | None = None
    proof: int | None = None
    proof_event: Event | None = None


class Collector:
    """An observer that makes cases of what happens between `case.started` and `case.finished`.

    Which data keys are read is in `docs/report.md`. A case may be open while another is: an event then belongs to
    the case it names, to the one whose `devices` name its device, or to the latest opened.
    """

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self._open: dict[str, _Open] = {}  # by the id in the events; insertion order is opening order
        self._last: _Open | None = None
        self._ids: set[str] = set()
        self._closed = False

    def __call__(self, event: Event) -> None:
        self.take(event)

    def take(self, event: Event) -> Case | None:
        """Put an event where it belongs; the case that it went into, None for an event outside all cases."""
        if self._closed:
            return None
        if event.kind == "case.started":
            return self._start(event)
        place = self._place(event)
        if place is None:
            return None
        if event.kind == "case.finished":
            self._finish(event, place)
            return place.case
        place.case.events.append(event)
        if event.kind == "exchange":
            place.last_exchange = event
        elif event.kind == "step.started":
            step = str(event.data.get("step"))
            place.titles[step] = (text(event.data, "title") or step, text(event.data, "where"))
        elif event.kind == "step.finished":
            self._step(event, place)
        if place is self._last and place.case.id not in {opened.case.id for opened in self._open.values()}:
            _settle(place)  # came late, from another process: the case is already closed
        return place.case

    def close(self, at_ms: int) -> list[Case]:
        """End the run: cases still open become errors. Later events are ignored. Returns all cases."""
        if not self._closed:
            for place in self._open.values():
                _abandon(place, at_ms)
            self._open.clear()
            self._closed = True
        return self.cases

    def _start(self, event: Event) -> Case:
        name = str(event.data.get("case"))
        if name in self._open:
            # Told twice, by whoever clears up after a world that broke: still the one case.
            return self._open[name].case
        unique, again = name, 2
        while unique in self._ids:  # one case run twice keeps both verdicts, and each its own permalink
            unique, again = f"{name} ({again})", again + 1
        self._ids.add(unique)
        devices = event.data.get("devices")
        case = Case(
            id=unique,
            story=text(event.data, "story") or name.partition("/")[0],
            title=text(event.data, "title") or name,
            platform=text(event.data, "platform") or "",
            level=text(event.data, "level"),
            requirement=text(event.data, "requirement"),
            source=text(event.data, "source"),
            where=text(event.data, "where"),
            replay=text(event.data, "replay"),
            started_ms=event.at_ms,
            ended_ms=event.at_ms,
            devices={str(key): str(value) for key, value in devices.items()} if isinstance(devices, dict) else {},
        )
        self.cases.append(case)
        self._open[name] = self._last = _Open(case)
        return case

    def _place(self, event: Event) -> _Open | None:
        named = event.data.get("case")
        if isinstance(named, str) and named in self._open:
            return self._open[named]
        if event.device is not None:
            for place in reversed(self._open.values()):
                if event.device in place.case.devices:
                    return place
        if self._open:
            return next(reversed(self._open.values()))
        # Not before its start either: the next world may have a clock of its own.
        last = self._last
        late = last is not None and last.case.started_ms <= event.at_ms <= last.case.ended_ms
        return last if late and event.kind != "case.finished" else None

    def _step(self, event: Event, place: _Open) -> None:
        data = event.data
        step = str(data.get("step"))
        title, where = place.titles.get(step, (text(data, "title") or step, None))
        result = StepResult(
            title=title,
            grade=grade_of(data.get("grade")),
            expected=text(data, "expected"),
            observed=text(data, "observed"),
            where=text(data, "where") or where,
            at_ms=event.at_ms,
        )
        place.case.steps.append(result)
        if not result.grade.ok and place.proof_event is None and place.proof is None:
            named = data.get("exchange")
            if isinstance(named, int) and not isinstance(named, bool):
                place.proof = named
            else:
                place.proof_event = place.last_exchange

    def _finish(self, event: Event, place: _Open) -> None:
        data, case = event.data, place.case
        case.grade = grade_of(data.get("grade"))
        case.ended_ms = max(event.at_ms, case.started_ms)
        failed = case.failed_step if not case.ok else None
        case.expected = text(data, "expected") or (failed.expected if failed else None)
        case.observed = text(data, "observed") or (failed.observed if failed else None)
        case.where = text(data, "where") or (failed.where if failed else None) or case.where
        named = data.get("exchange")
        if isinstance(named, int) and not isinstance(named, bool):
            place.proof = named
        elif not case.ok and place.proof is None and place.proof_event is None:
            place.proof_event = place.last_exchange
        self._open = {name: other for name, other in self._open.items() if other is not place}
        self._last = place
        _settle(place)


def _abandon(place: _Open, at_ms: int) -> None:
    """End a case that did not end itself."""
    case = place.case
    case.grade = Grade.ERROR
    case.ended_ms = max(at_ms, case.started_ms)
    case.expected = case.expected or "the case runs to its end"
    case.observed = case.observed or "the run ended before the case did"
    _settle(place)


def _settle(place: _Open) -> None:
    """Put a case's events in the order of time, and count its exchanges in that order."""
    case = place.case
    # Stable: events of one millisecond stay in the order in which they came.
    case.events.sort(key=_at)
    _causes_first(case.events)
    case.exchanges = [index for index, event in enumerate(case.events) if event.kind == "exchange"]
    case.proof = place.proof if place.proof is not None and 0 <= place.proof < len(case.exchanges) else None
    if place.proof is None and place.proof_event is not None:
        position = next(index for index, event in enumerate(case.events) if event is place.proof_event)
        case.proof = case.exchanges.index(position)


#: What a server does while it answers. Virtual time stands still meanwhile, and an exchange is told when it is over.
_CAUSED = frozenset(
    [
        "server.checkin",
        "server.connect",
        "server.scep",
        "server.enrolled",
        "server.command-served",
        "server.command-result",
        "server.removed",
        "server.push-sent",
        "push.accepted",
        "push.refused",
        "push.stored",
        "token.retired",
    ]
)


def _causes_first(events: list[Event]) -> None:
    """Put each exchange before what the server did because of it in the same millisecond."""
    for index, event in enumerate(events):
        if event.kind != "exchange":
            continue
        place, at = index, _at(event)
        while place and events[place - 1].kind in _CAUSED and events[place - 1].at_ms == at:
            place -= 1
        if place != index:
            events.insert(place, events.pop(index))


def _at(event: Event) -> int:
    """When an event belongs on the page: an exchange where it began, everything else where it was seen."""
    started = event.data.get("started_ms") if event.kind == "exchange" else None
    return started if isinstance(started, int) else event.at_ms
