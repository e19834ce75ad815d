"""What the fake APNs says no with: Apple's statuses and reasons, and the errors of its own channels."""

from __future__ import annotations

from dataclasses import dataclass

#: Every reason word and its status. Apple, "Handling notification responses from APNs".
REASONS: dict[str, int] = {
    "BadCollapseId": 400,
    "BadDeviceToken": 400,
    "BadExpirationDate": 400,
    "BadMessageId": 400,
    "BadPriority": 400,
    "BadTopic": 400,
    "DeviceTokenNotForTopic": 400,
    "DuplicateHeaders": 400,
    "IdleTimeout": 400,
    "InvalidPushType": 400,
    "MissingDeviceToken": 400,
    "MissingTopic": 400,
    "PayloadEmpty": 400,
    "TopicDisallowed": 400,
    "BadCertificate": 403,
    "BadCertificateEnvironment": 403,
    "BadEnvironmentKeyIdInToken": 403,
    # Seen from live servers in place of the one above (swift-server-community/APNSwift issue 229).
    "BadEnvironmentKeyInToken": 403,
    "ExpiredProviderToken": 403,
    "Forbidden": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "UnrelatedKeyIdInToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "ExpiredToken": 410,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "Shutdown": 503,
}


@dataclass(frozen=True, slots=True)
class ApnsError:
    """A refusal as Apple words it. `timestamp_ms`: since when the token is inactive; every 410 carries one."""

    status: int
    reason: str
    timestamp_ms: int | None = None

    @classmethod
    def of(cls, reason: str, *, timestamp_ms: int | None = None) -> ApnsError:
        """The refusal with that reason and the status Apple gives it. Raises ValueError for an unknown reason."""
        status = REASONS.get(reason)
        if status is None:
            raise ValueError(f'reason "{reason}" is not one of Apple\'s. Allowed: {", ".join(sorted(REASONS))}.')
        return cls(status, reason, timestamp_ms)


class TooManyTokens(ValueError):
    """No room for another token: see `ApnsSettings.max_tokens`."""


class UnknownToken(ValueError):
    """No such token is registered for that topic."""


class BadPushCertificate(ValueError):
    """A certificate that cannot be registered for pushing: not a certificate, or no topic in its subject."""


class NotDurable(Exception):
    """What the storage was told could not be made safe: no 200 may go out for it. The text says why."""


class BadSigningKey(ValueError):
    """A key for provider tokens that cannot be registered: not P-256, or identifiers that Apple would not give."""


class FaultMistake(ValueError):
    """A fault that cannot be planned: an unknown name, or parameters that it does not take or that are missing."""


class BadFrame(ValueError):
    """Bytes on a courier connection that are not a frame of its protocol; the connection cannot go on."""


class CourierError(Exception):
    """The courier could not do what was asked."""


class CourierUnreachable(CourierError):
    """Nothing that speaks the courier protocol answers there."""


#: The reason of a CourierRefused: no such token is registered for that topic.
UNKNOWN_TOKEN = "unknown-token"

#: The courier's word for a registration that the fake has no room for.
TOO_MANY_TOKENS = "too-many-tokens"


class CourierRefused(CourierError):
    """The fake APNs refused a request: `reason` is a stable word, `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
