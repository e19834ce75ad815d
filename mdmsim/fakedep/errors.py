"""What the fake DEP says no with: Apple's statuses and words, and the errors of its portal."""

from __future__ import annotations

from dataclasses import dataclass

#: Words of error bodies and their statuses. Apple, "Device Assignment Services", pages of each endpoint.
REASONS: dict[str, int] = {
    "APPLE_SEED_FOR_IT_TURNED_OFF": 403,
    "ACCESS_DENIED": 403,
    "CONFIG_NAME_INVALID": 400,
    "CONFIG_NAME_REQUIRED": 400,
    "CONFIG_URL_INVALID": 400,
    "CONFIG_URL_REQUIRED": 400,
    "CURSOR_REQUIRED": 400,
    "DEPARTMENT_INVALID": 400,
    "DEVICE_ID_REQUIRED": 400,
    "DEVICE_NOT_FOUND": 400,
    "EXHAUSTED_CURSOR": 400,
    "EXPIRED_CURSOR": 400,
    "FLAGS_INVALID": 400,
    "FORBIDDEN": 403,
    "INVALID_CURSOR": 400,
    "LOCALE_INVALID": 400,
    "MAGIC_INVALID": 400,
    "MALFORMED_REQUEST_BODY": 400,
    "MDM_SERVICE_DISCOVERY_URL_NOT_VALID": 400,
    "MDM_SERVICE_DISCOVERY_URL_REQUIRED": 400,
    "NOT_FOUND": 404,
    "ORG_NOT_SUPPORTED": 400,
    "PROFILE_UUID_REQUIRED": 400,
    "SUPPORT_EMAIL_INVALID": 400,
    "SUPPORT_PHONE_INVALID": 400,
    "TOO_MANY_REQUESTS": 429,
    "T_C_NOT_SIGNED": 403,
    "UNAUTHORIZED": 401,
    "USER_AGENT_INVALID": 400,
    "USER_AGENT_MISSING": 400,
}

# GET /session answers with an OAuth problem and, directly behind it, the reason phrase of the status.
OAUTH_BAD_REQUEST = "oauth_problem_adviceBad Request"
OAUTH_UNAUTHORIZED = "oauth_problem_adviceUnauthorized"
OAUTH_TOKEN_REPLACED = "token_expiredForbidden"


@dataclass(frozen=True, slots=True)
class DepError:
    """A refusal as Apple words it. `why` is for people, and for events; it does not go to the client.

    `retry_after_s`: the Retry-After header, where there is one. `allow`: the methods of a 405.
    """

    status: int
    body: str = ""
    why: str = ""
    retry_after_s: int | None = None
    allow: str | None = None

    @classmethod
    def of(cls, reason: str, why: str = "", *, retry_after_s: int | None = None) -> DepError:
        """The refusal with that word and the status Apple gives it. Raises ValueError for an unknown word."""
        status = REASONS.get(reason)
        if status is None:
            raise ValueError(f'reason "{reason}" is not one of Apple\'s. Allowed: {", ".join(sorted(REASONS))}.')
        return cls(status, reason, why, retry_after_s)


class Refused(Exception):
    """Raised by an endpoint: the request is answered with `error`."""

    def __init__(self, error: DepError) -> None:
        super().__init__(error.body)
        self.error = error


def refuse(reason: str, why: str = "") -> Refused:
    """The exception for one of `REASONS`."""
    return Refused(DepError.of(reason, why))


class PortalError(ValueError):
    """Somebody at the portal asked for what cannot be; nothing was changed. The message says what to do."""


class UnknownDevice(PortalError):
    """No such serial number in any organisation."""


class UnknownServer(PortalError):
    """No MDM server of that name or UUID."""
