"""What a plist may hold, shared by the writer and both readers."""

from __future__ import annotations

import re
from datetime import UTC, datetime

#: The largest body that is read at all: 17 MiB.
MAX_BYTES = 17 * 2**20
#: Containers within containers. The deepest captured message has seven.
MAX_DEPTH = 64
#: Values in one plist, repeated ones counted each time. The largest captured answer has some thousands; without a
#: limit 17 MiB of `<true/>` would keep a server busy for seconds.
MAX_VALUES = 300_000

#: 64-bit integers, signed or unsigned: what CFPropertyList stores.
INT_MIN, INT_MAX = -(2**63), 2**64

#: The dates that Python can hold; what a device's reader takes beyond them becomes the nearer one.
FIRST_DATE, LAST_DATE = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

#: Characters that XML 1.0 (section 2.2, "Char") does not allow.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Unreadable(Exception):
    """Why a plist cannot be read; becomes Malformed with the caller's `what` at the module's edge."""
