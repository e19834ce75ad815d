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
