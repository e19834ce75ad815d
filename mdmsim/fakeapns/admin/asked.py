"""What the admin API takes: bodies and queries, as types. The OpenAPI document is made from them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from mdmsim.fakeapns.due import DueEntry, Verdict
from mdmsim.fakeapns.provider import Environment

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="How many at most")]
Offset = Annotated[int, msgspec.Meta(ge=0, description="How many to pass over")]
Words = Annotated[
    str,
    msgspec.Meta(
        max_length=500,
        description="Words that must all be found: parts of a device's name, token, topic, apns-id or reason, or a whole "
        "UDID or serial number",
    ),
]
Since = Annotated[str, msgspec.Meta(description="Not before: ISO 8601, or seconds or milliseconds since 1970")]
Reveal = Annotated[bool, msgspec.Meta(description="Whether payloads are shown with their push magic")]
DeviceName = Annotated[str, msgspec.Meta(description="Name, UDID or serial number of a device")]
LogLevel = Literal["off", "warning", "info", "debug"]


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body or a query whose every field is known; a misspelt one is refused."""


class NewToken(Model, frozen=True, kw_only=True):
    """Asks for the token of a device, or adopts the token (hex) that the device made itself."""

    device: str
    topic: str
    channel: str = "device"
    token: str | None = None
    environment: Environment = "production"


class NewSigningKey(Model, frozen=True, kw_only=True):
    """A key for provider tokens. `key`: PEM, P-256; of a private key (.p8) the public half is taken.

    `topics`: null for all of the team's. `related`: the other key that may be used on the same connection.
    """

    key_id: str
    team_id: str
    key: str
    environments: tuple[Environment, ...] = ("production", "sandbox")
    topics: list[str] | None = None
    related: str | None = None


class NewBlackout(Model, frozen=True, kw_only=True):
    """From now on that side cannot be reached for so many seconds; one that is on already is not made shorter."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]
    side: Literal["providers", "devices", "both"] = "both"


class Goaway(Model, frozen=True, kw_only=True):
    """GOAWAY on the connections of these numbers, or on all. `reason`: debug data; `code`: HTTP/2's error code.

    Open streams up to `last_stream` (null: all that arrived) are answered, then the connections are closed.
    """

    reason: Annotated[str, msgspec.Meta(max_length=255)] = ""
    code: Annotated[int, msgspec.Meta(ge=0, le=13)] = 0
    connections: list[int] | None = None
    last_stream: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None


class NewLogLevel(Model, frozen=True, kw_only=True):
    level: LogLevel


class DueList(Model, frozen=True, kw_only=True):
    """Devices for which something is due."""

    due: list[DueEntry]


class TokenQuery(Model, frozen=True, kw_only=True):
    limit: Limit = 100
    offset: Offset = 0
    q: Words = ""
    device: DeviceName | None = None
    topic: Annotated[str | None, msgspec.Meta(description="Only tokens for this topic")] = None
    state: Annotated[
        Literal["active", "retired", "listening", "deaf", "pending"] | None,
        msgspec.Meta(description="Only tokens of this state; deaf: active, and nobody listens"),
    ] = None


class PendingQuery(Model, frozen=True, kw_only=True):
    limit: Limit = 100
    offset: Offset = 0
    q: Words = ""
    reveal: Reveal = False


class TransactionQuery(Model, frozen=True, kw_only=True):
    limit: Limit = 100
    before: Annotated[int | None, msgspec.Meta(description="`number` of the last transaction seen")] = None
    q: Words = ""
    device: DeviceName | None = None
    token: Annotated[str | None, msgspec.Meta(description="The whole token, in hex")] = None
    topic: Annotated[str | None, msgspec.Meta(description="Only requests for this topic")] = None
    apns_id: Annotated[str | None, msgspec.Meta(description="Only this apns-id")] = None
    verdict: Annotated[
        Literal["accepted", "refused"] | None, msgspec.Meta(description="Only requests with this verdict")
    ] = None
    status: Annotated[int | None, msgspec.Meta(description="Only requests answered with this status")] = None
    reason: Annotated[str | None, msgspec.Meta(description="Only requests refused with this reason")] = None
    provider: Annotated[int | None, msgspec.Meta(description="Only requests over the connection of this number")] = None
    fault: Annotated[str | None, msgspec.Meta(description="Only requests that met this fault; `any`: any fault")] = None
    since: Since | None = None


class DetailQuery(Model, frozen=True, kw_only=True):
    reveal: Reveal = False


class DueQuery(Model, frozen=True, kw_only=True):
    verdict: Annotated[Verdict | None, msgspec.Meta(description="Only answers with this verdict")] = None
    limit: Annotated[int, msgspec.Meta(ge=0, description="How many answers at most")] | None = None


class ChangesQuery(Model, frozen=True, kw_only=True):
    since: Annotated[str, msgspec.Meta(description="`cursor` of the last answer; empty: answer at once")] = ""
    wait: Annotated[float, msgspec.Meta(ge=0, le=60, description="Seconds to wait for a change")] = 25.0
