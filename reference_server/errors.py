"""What this server refuses, as exceptions: to devices, and to users of its API."""

from __future__ import annotations


class Refusal(Exception):
    """A device's request that is answered with `status` and nothing else; `why` goes into the log and the answer.

    Only an enrollment that the administrator removed or refused ever sees 401, because a device that is answered
    401 unenrols (Apple, MDM Protocol Reference, "Terminating a Management Relationship").
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class LoginNeeded(Refusal):
    """A 401 on the way to a profile: not on an MDM URL, so that nobody unenrols. `challenge`: WWW-Authenticate."""

    def __init__(self, why: str, challenge: str) -> None:
        super().__init__(401, why)
        self.challenge = challenge


class TooManyOutstanding(Refusal):
    """A 429: so many profiles were given out and not used that there is no more before some are used, or expire."""

    def __init__(self, limit: int, *, retry_after_s: int) -> None:
        super().__init__(
            429,
            f"{limit} enrollment profiles were given out that nobody has finished enrolling with (setting enroll_limit): "
            "enrol with those, or come again when the oldest has expired",
        )
        self.retry_after_s = retry_after_s


class ClientGone(Exception):
    """The other end hung up before its request was complete; there is nobody to answer."""


class ApiProblem(Exception):
    """A user's mistake in a call of the API. `error` is a stable word that programs may compare."""

    def __init__(self, status: int, error: str, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.status = status
        self.error = error
        self.what = what
        self.where = where
        self.hint = hint
