"""What the admin API gives, as types: the OpenAPI document is made from them. Times are world time in milliseconds."""

from __future__ import annotations

import msgspec

from mdmsim.fakeapns.admin.asked import LogLevel
from mdmsim.fakeapns.history import Sample


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever is answered."""


class Problem(Answered, frozen=True, kw_only=True):
    """Why a call was refused, for people."""

    error: str


class Pushes(Answered, frozen=True, kw_only=True):
    """How many went which way since the start."""

    accepted: int
    refused: int
    delivered: int
    acknowledged: int
    acted: int
    expired: int
    superseded: int


class Latency(Answered, frozen=True, kw_only=True):
    """Durations since the push was accepted, in milliseconds; percentiles are estimated from a histogram."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Blackout(Answered, frozen=True, kw_only=True):
    """Until when each side cannot be reached; null while it can."""

    providers_until_ms: int | None
    devices_until_ms: int | None


class Stats(Answered, frozen=True, kw_only=True):
    """The whole at a glance. `tokens` counts retired ones, too; `listening`: those with a device at the other end.

    `connections`: how connections ended, by word, and `providers` and `couriers` that are open. `reasons`: refusals by
    reason; `faults`: injected faults by name. `remembered`: requests that can be looked at, of all `requests`.
    """

    now_ms: int
    started_ms: int
    pushes: Pushes
    reasons: dict[str, int]
    faults: dict[str, int]
    planned_faults: int
    tokens: int
    retired: int
    listening: int
    pending: int
    requests: int
    remembered: int
    delivery: Latency
    acting: Latency
    connections: dict[str, int]
    blackout: Blackout
    log_level: LogLevel
    trouble: str | None


class HistoryView(Answered, frozen=True, kw_only=True):
    """The last quarter of an hour, oldest first, and what happened since the last sample as far as it is known."""

    every_seconds: int
    now_ms: int
    samples: list[Sample]


class Changes(Answered, frozen=True, kw_only=True):
    """`cursor` is another one as soon as anything that can be looked at has changed."""

    cursor: str
    changed: bool
    now_ms: int


class TransactionView(Answered, frozen=True, kw_only=True):
    """A request with its verdict, why, and what became of the push.

    `state`: refused, lost, expired, superseded, acted, acknowledged, delivered, stored or accepted, whichever came last;
    unanswered: a fault ended the request. `push`: its number, 0 where nothing was taken in. `expires_ms` 0: now or never.
    """

    number: int
    at_ms: int
    provider: int
    environment: str
    method: str
    topic: str
    token: str
    device: str
    apns_id: str
    status: int
    reason: str
    why: str
    fault: str
    state: str
    push: int
    expires_ms: int
    stored_ms: int | None
    delivered_ms: int | None
    acknowledged_ms: int | None
    acted_ms: int | None
    ended: str
    ended_ms: int | None


class TransactionDetail(TransactionView, frozen=True, kw_only=True):
    """A request with everything that was sent. Credentials are masked; the push magic, too, unless it was asked for."""

    path: str
    headers: list[tuple[str, str]]
    payload: str
    payload_size: int
    masked: bool


class TransactionPage(Answered, frozen=True, kw_only=True):
    """Newest first. `next`: what to give as `before` for older ones; null at the end. `remembered` of `requests`."""

    transactions: list[TransactionView]
    next: int | None
    requests: int
    remembered: int


class TokenView(Answered, frozen=True, kw_only=True):
    """A token and how it is. `listening`: the courier connection that has it. `pending`: whether a push is kept for it.

    `accepted_ms`, `delivered_ms`, `acted_ms`: the last time since the start; 0: never.
    """

    topic: str
    token: str
    device: str
    channel: str
    environment: str
    generation: int
    registered_ms: int
    retired_ms: int | None
    listening: str | None
    pending: bool
    accepted_ms: int
    delivered_ms: int
    acted_ms: int


class TokenPage(Answered, frozen=True, kw_only=True):
    """By topic, oldest first. `next`: the `offset` of the following page; null on the last. `total`: of all that match."""

    tokens: list[TokenView]
    next: int | None
    total: int


class PendingView(Answered, frozen=True, kw_only=True):
    """A push that is kept for its device. `payload` with the push magic masked unless it was asked for."""

    topic: str
    token: str
    device: str
    apns_id: str
    accepted_ms: int
    expires_ms: int
    listening: str | None
    held: bool
    payload: str
    payload_size: int


class PendingPage(Answered, frozen=True, kw_only=True):
    """By topic and token. `next`: the `offset` of the following page; null on the last."""

    pending: list[PendingView]
    next: int | None
    total: int


class TokenDetail(Answered, frozen=True, kw_only=True):
    """A token with all that is known of it. `aliases`: other names of its device. `transactions`: the newest."""

    token: TokenView
    aliases: list[str]
    pending: PendingView | None
    transactions: list[TransactionView]


class Topic(Answered, frozen=True, kw_only=True):
    """A topic that a token or a certificate is for."""

    topic: str
    tokens: int
    retired: int
    listening: int
    pending: int
    certificates: int


class ProviderView(Answered, frozen=True, kw_only=True):
    """A provider's connection. What the front tells of it is null where no front is known.

    `certificate`: the subject of the client's; `topic`: that of a registered one. `refusal`: why it is not served.
    """

    number: int
    peer: str
    environment: str
    opened_ms: int
    topic: str | None
    accepted: int
    refused: int
    refusal: str | None
    certificate: str | None = None
    tls: str | None = None
    alpn: str | None = None
    requests: int | None = None
    open_streams: int | None = None
    received: int | None = None
    sent: int | None = None


class CourierView(Answered, frozen=True, kw_only=True):
    """A courier connection: how many tokens it listens for, how many pushes it took and did not acknowledge yet."""

    name: str
    opened_ms: int
    subscriptions: int
    in_flight: int


class Connections(Answered, frozen=True, kw_only=True):
    """Open just now, oldest first."""

    providers: list[ProviderView]
    couriers: list[CourierView]


class Told(Answered, frozen=True, kw_only=True):
    """How many connections were told."""

    connections: int


class Certificate(Answered, frozen=True, kw_only=True):
    """A push certificate. `id`: SHA-256 of its DER. `environments`: those that it is marked for."""

    id: str
    topic: str
    topics: list[str]
    environments: list[str]
    not_before_ms: int
    not_after_ms: int
    revoked: bool


class SigningKeyView(Answered, frozen=True, kw_only=True):
    """A key for provider tokens, without the key itself."""

    key_id: str
    team_id: str
    environments: list[str]
    topics: list[str] | None
    related: str | None


class TokenMade(Answered, frozen=True, kw_only=True):
    """A registered token, in hex."""

    token: str


class FaultView(Answered, frozen=True, kw_only=True):
    """A planned fault: its rule, whom it is for (`aim`), its parameters, and how often it came.

    `considered`: on how many occasions it could have; `injected`: on how many it did. `over`: it cannot come any more.
    """

    number: int
    name: str
    what: str
    why: str
    rate: float
    after: int
    every: int
    times: int | None
    aim: dict[str, str]
    parameters: dict[str, str | float | bool]
    considered: int
    injected: int
    over: bool


class FaultKind(Answered, frozen=True, kw_only=True):
    """A fault that there is: what it does, why it is fair, and which parameters it takes beside the rule."""

    name: str
    what: str
    why: str
    takes: list[str]


class FaultKinds(Answered, frozen=True, kw_only=True):
    """All faults, Apple's reasons with their statuses, and the TLS alerts that can be named."""

    faults: list[FaultKind]
    reasons: dict[str, int]
    tls_alerts: list[str]


class LogState(Answered, frozen=True, kw_only=True):
    """What is logged now, what level it goes back to by signal, and where to; null: no log was asked for at the start."""

    level: LogLevel
    usual: LogLevel
    file: str | None
