"""How an enrollment of many devices is told: to people line by line, to machines as one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mdmsim.cli.enrollment.obstacle import Obstacle
from mdmsim.cli.enrollment.profile import Facts
from mdmsim.cli.enrollment.rollout import Newcomer, Outcome
from mdmsim.cli.progress import Bar

#: With more devices than this, only those that did not enrol get a line.
EACH = 20

_WORDS = {
    "unconfirmed": "installed, but TokenUpdate was not accepted",
    "waiting": "waits for the CA",
    "refused": "was refused",
    "unreachable": "could not enrol",
    "not-simulated": "was not tried",
}


def profile_lines(where: str, facts: Facts) -> list[str]:
    """What is about to be installed."""
    if facts.server_url is None:
        named = f': "{facts.name}"' if facts.name else ""
        return [f"  profile   {where}{named}: {facts.unread}. What a device makes of it:", ""]
    by = f" by {facts.organization}" if facts.organization else ""
    signed = f"signed by {facts.signer}" if facts.signer else "not signed"
    at = facts.server_url if facts.server_url == facts.checkin_url else f"{facts.server_url}, {facts.checkin_url}"
    return [
        f'  profile   {where}: "{facts.name}"{by}, {signed}',
        f"  server    {at}   topic {facts.topic or 'none: it has no push certificate yet'}",
        "",
    ]


class Told(Protocol):
    """What became of one device."""

    @property
    def newcomer(self) -> Newcomer: ...
    @property
    def result(self) -> str: ...
    @property
    def steps(self) -> Sequence[str]: ...
    @property
    def obstacle(self) -> Obstacle | None: ...


class Teller:
    """Tells each outcome as it comes; the same obstacle is told whole once, and counted after that.

    `words`: how a result that has an obstacle is called. A result `absent` is neither good nor bad.
    """

    def __init__(self, bar: Bar, newcomers: Sequence[Newcomer], words: Mapping[str, str] = _WORDS) -> None:
        self._bar = bar
        self._words = words
        self._total = len(newcomers)
        self._widths = (
            max(len(newcomer.device_id) for newcomer in newcomers),
            max(len(newcomer.description) for newcomer in newcomers),
        )
        self._done = 0
        self._met: Counter[str] = Counter()

    def __call__(self, outcome: Told) -> None:
        self._done += 1
        name, description = self._widths
        head = f"{outcome.newcomer.device_id:<{name}}  {outcome.newcomer.description:<{description}} "
        if outcome.obstacle is None:
            if self._total <= EACH:
                mark = "–" if outcome.result == "absent" else "✓"
                self._bar.say(f"  {mark} {head} {' · '.join(outcome.steps)}")
        else:
            self._trouble(head, outcome, outcome.obstacle)
        self._bar.at(self._done)

    def _trouble(self, head: str, outcome: Told, obstacle: Obstacle) -> None:
        self._met[obstacle.what] += 1
        times = self._met[obstacle.what]
        if times == 1:
            self._bar.say(f"  ✗ {head} {self._words[outcome.result]}", style="red")
            self._bar.say(f"    {obstacle.what}")
            for label, text in obstacle.rows:
                self._bar.say(f"      {label:<7}{text}")
        elif self._total <= EACH:
            self._bar.say(f"  ✗ {head} the same", style="red")

    def repeated(self) -> list[str]:
        """Obstacles that were met more often than they were told."""
        if self._total <= EACH:
            return []
        return [f"  {times} devices: {what}" for what, times in self._met.most_common() if times > 1]


def verdict(outcomes: Sequence[Outcome], *, took_ms: int, store: str, seed: int | str) -> str:
    """The last line but one."""
    good = sum(1 for outcome in outcomes if outcome.result == "enrolled")
    bad = len(outcomes) - good
    counted = f"{good} enrolled" + (f", {bad} not" if bad else "")
    mark = "✗" if bad else "✓"
    return f"  {mark} {counted} in {took_ms / 1000:.1f} s      store: {store}      seed {seed}"


def as_json(outcomes: Sequence[Outcome], facts: Facts, *, where: str, store: str, seed: int | str) -> dict[str, Any]:
    """As `mdmsim enroll --json` prints it (docs/command-line.md)."""
    counts = Counter(outcome.result for outcome in outcomes)
    return {
        "seed": seed,
        "store": store,
        "profile": {"from": where, "name": facts.name, "organization": facts.organization, "signer": facts.signer},
        "server": {"server_url": facts.server_url, "checkin_url": facts.checkin_url, "topic": facts.topic},
        "enrolled": counts["enrolled"],
        "failed": len(outcomes) - counts["enrolled"],
        "devices": [_device(outcome) for outcome in outcomes],
    }


def _device(outcome: Outcome) -> dict[str, Any]:
    persona, obstacle = outcome.newcomer.persona, outcome.obstacle
    return {
        "id": outcome.newcomer.device_id,
        "platform": persona.platform,
        "product_name": persona.product_name,
        "os_version": persona.os_version,
        "udid": persona.udid,
        "serial_number": persona.serial,
        "result": outcome.result,
        "took_ms": outcome.took_ms,
        "not_simulated": list(outcome.not_simulated),
        "problem": None
        if obstacle is None
        else {
            "what": obstacle.what,
            "seen": obstacle.seen,
            "means": obstacle.meaning,
            "do": obstacle.advice,
            "error_chain": [{"domain": i.domain, "code": i.code, "text": i.localized} for i in obstacle.chain],
        },
    }
