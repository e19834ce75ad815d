"""The one error that parsing raises, and its form for commands."""

from __future__ import annotations

from typing import Literal

#: What kind of mistake it is: broken syntax or structure, a required key missing, a wrong type, a value not allowed.
#: A device answers the last three with different codes (MDM Protocol Reference, "MCPayloadErrorDomain": 2002 to 2004).
Problem = Literal["syntax", "missing", "type", "value"]


class Malformed(ValueError):
    """Bytes or values from outside that are not what they claim to be.

    `what` names the thing ("Authenticate", "command", "plist"), `reason` says what was found and what is allowed,
    never a secret and never a whole body; `key` is the wire key at fault, where there is one.
    """

    def __init__(self, what: str, reason: str, *, key: str | None = None, problem: Problem = "syntax") -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason
        self.key = key
        self.problem: Problem = problem

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


class MalformedCommand(Malformed):
    """A body that is no command. `command_uuid` is what a CommandFormatError can echo; None if not even that is there."""

    def __init__(
        self,
        what: str,
        reason: str,
        *,
        key: str | None = None,
        problem: Problem = "syntax",
        command_uuid: str | None = None,
    ) -> None:
        super().__init__(what, reason, key=key, problem=problem)
        self.command_uuid = command_uuid
