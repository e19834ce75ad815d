"""The stable words that scenarios may use for requests: labels such as `checkin:TokenUpdate`, and patterns over them."""

from __future__ import annotations

from fnmatch import fnmatchcase

from mdmsim.protocol.checkin import MESSAGE_TYPES
from mdmsim.protocol.connect import Status
from mdmsim.scenario.errors import did_you_mean

#: Every label that a device's request can have.
LABELS: tuple[str, ...] = (
    *(f"checkin:{name}" for name in MESSAGE_TYPES),
    *(f"connect:{status.value}" for status in Status),
    *(f"scep:{operation}" for operation in ("GetCACaps", "GetCACert", "PKIOperation")),
    "dep:activation",
    "enroll:profile",
    "enroll:web",
)


def check_label(pattern: str) -> None:
    """Raises ValueError for a label or pattern that no request can have."""
    if not any(fnmatchcase(label, pattern) for label in LABELS):
        raise ValueError(f'no request is called "{pattern}". {did_you_mean(pattern, LABELS)}')
