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
    #: The order of the checks; all of `CHECKS`, each once.
    order: tuple[str, ...] = CHECKS

    def __post_init__(self) -> None:
        if self.default_storage_ms < 0:
            raise ValueError(f"default_storage_ms={self.default_storage_ms}: 0 for now or never, or milliseconds")
        if self.unregistered_after_ms is not None and self.unregistered_after_ms < 0:
            raise ValueError(f"unregistered_after_ms={self.unregistered_after_ms}: 0 or more, or null for never")
        if sorted(self.order) != sorted(CHECKS):
            raise ValueError(f"order={list(self.order)}: it must name each of {', '.join(CHECKS)} once")
        for earlier, later in (("credential", "topic"), ("topic", "token-state"), ("token", "token-state")):
            if self.order.index(earlier) > self.order.index(later):
                raise ValueError(
                    f'order={list(self.order)}: "{later}" needs what "{earlier}" finds out, so it comes later'
                )
