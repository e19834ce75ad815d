"""The switches of the fake APNs: where Apple's behaviour is undocumented or contested, each with a default.

Defaults are what is best documented or most often reported; every field says what the choice is about.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from mdmsim.clock import DAY

#: The checks on a push, in the order in which they are made. Apple's own order is unknown: a setting.
CHECKS = (
    "method",
    "path",
    "duplicates",
    "apns-id",
    "expiration",
    "priority",
    "collapse-id",
    "push-type",
    "credential",
    "topic",
    "token",
    "payload",
    "token-state",
    "rate",
)


class ApnsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the service judges. Times are in milliseconds. Raises ValueError for a value that is not allowed."""

    #: How long a push without `apns-expiration` is kept for an offline device; 0: it is tried once and dropped.
    #: Contested: reports go from "once" to 30 days.
    default_storage_ms: int = DAY
    #: A push whose `apns-topic` is not one of its certificate's. `accept`: 200, and the push is dropped.
    foreign_topic: Literal["TopicDisallowed", "BadTopic", "accept"] = "TopicDisallowed"
    #: A push whose topic is the certificate's while the token belongs to another. `accept`: 200, dropped, as was
    #: reported for servers whose push certificate was created anew instead of renewed.
    wrong_topic: Literal["DeviceTokenNotForTopic", "accept"] = "DeviceTokenNotForTopic"
    #: Whether a courier may subscribe a token that was never registered, which registers it.
    auto_register: bool = True
    #: Tokens are exactly 32 bytes, as all seen in practice; otherwise any 1 to 100 bytes.
    strict_tokens: bool = True
    #: How long after a token was retired the provider is told (410); None: never. Apple's delay is unknown.
    unregistered_after_ms: int | None = 0
    #: Who judges the dates of push certificates: the service, by world time, with 403 BadCertificate, or OpenSSL in
    #: the handshake, by the machine's clock, with the alert `certificate_expired`.
    certificate_dates: Literal["world", "handshake"] = "world"
    #: A push certificate that Apple's extensions mark for no environment, or for the other one. `strict`: the
    #: connection gets GOAWAY with BadCertificateEnvironment, as seen at Apple's. `lenient`: one without any mark is
    #: good everywhere, as people make them by hand.
    certificate_environments: Literal["strict", "lenient"] = "strict"
    #: A provider token for an MDM topic. MDM pushes go by certificate alone; Apple's word for it is not documented.
    provider_token_for_mdm: Literal["Forbidden", "TopicDisallowed", "InvalidProviderToken"] = "Forbidden"
    #: A provider token of another team than the connection's first. pushy's mock server says InvalidProviderToken,
    #: others report Forbidden.
    other_team: Literal["InvalidProviderToken", "Forbidden"] = "InvalidProviderToken"
    #: How a key of the other environment is refused: Apple's documents have the longer word, live servers were seen
    #: to send the shorter one.
    environment_key_reason: Literal["BadEnvironmentKeyInToken", "BadEnvironmentKeyIdInToken"] = (
        "BadEnvironmentKeyInToken"
    )
    #: Whether a connection that showed an expired provider token takes no other one: reported, not documented.
    expired_token_sticks: bool = False
    #: How many pushes one token may get in a minute before TooManyRequests; None: any number. Apple publishes none.
    max_pushes_per_minute: int | None = None
    #: Whether a payload must be a JSON object. What Apple does with another for MDM is unknown.
    json_payload: bool = False
    #: Whether answers carry `apns-unique-id`: in the sandbox only, as Apple documents it, everywhere, or never.
    unique_id: Literal["sandbox", "always", "never"] = "sandbox"
    #: How many tokens there may be at once, retired ones included: memory is bounded whatever couriers ask for.
    max_tokens: int = 2_000_000
    #: How many of the last requests are remembered for people to look at.
    journal_size: int = 10_000
    #: The order of the checks; all of `CHECKS`, each once.
    order: tuple[str, ...] = CHECKS

    def __post_init__(self) -> None:
        if self.default_storage_ms < 0:
            raise ValueError(f"default_storage_ms={self.default_storage_ms}: 0 for now or never, or milliseconds")
        if self.unregistered_after_ms is not None and self.unregistered_after_ms < 0:
            raise ValueError(f"unregistered_after_ms={self.unregistered_after_ms}: 0 or more, or null for never")
        if self.max_pushes_per_minute is not None and self.max_pushes_per_minute < 1:
            raise ValueError(f"max_pushes_per_minute={self.max_pushes_per_minute}: 1 or more, or null for any number")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens={self.max_tokens}: 1 or more")
        if not 1 <= self.journal_size <= 10_000_000:
            raise ValueError(f"journal_size={self.journal_size}: 1 to 10000000 requests")
        if sorted(self.order) != sorted(CHECKS):
            raise ValueError(f"order={list(self.order)}: it must name each of {', '.join(CHECKS)} once")
        for earlier, later in (
            ("credential", "topic"),
            ("topic", "token-state"),
            ("token", "token-state"),
            ("token-state", "rate"),
        ):
            if self.order.index(earlier) > self.order.index(later):
                raise ValueError(
                    f'order={list(self.order)}: "{later}" needs what "{earlier}" finds out, so it comes later'
                )
