"""The switches of the fake DEP: where Apple's behaviour is undocumented or contested, each with a default."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from mdmsim.clock import DAY, MINUTE


class DepSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the service judges. Times are in milliseconds. Raises ValueError for a value that is not allowed."""

    #: How far the timestamp of a session request may be off; None: it is not looked at. Not documented.
    oauth_window_ms: int | None = 5 * MINUTE
    #: Whether a nonce may be used once only (per consumer key, token and timestamp, RFC 5849 section 3.3).
    nonce_once: bool = True
    #: The scheme that clients dialled, where something in front of the fake speaks TLS for it; None: as it came in.
    external_scheme: Literal["http", "https"] | None = None
    #: How long a session token is good for after it was issued. Not documented; clients renew after 3 minutes or on 401.
    session_life_ms: int = 5 * MINUTE
    #: How old a session token is when an answer brings a new one; 0: each answer does; None: none does.
    rotate_session_after_ms: int | None = MINUTE
    #: How long a token is good after a new one was handed out, but never past its life; None: to the end of its life.
    #: Some clients ignore the new ones.
    session_grace_ms: int | None = None
    #: How long a server token is good after it was renewed in the portal. Not documented.
    replaced_token_life_ms: int = 0
    #: How long a server token lasts.
    token_life_ms: int = 365 * DAY
    #: A client whose User-Agent matches this pattern gets USER_AGENT_INVALID; None: none does. What Apple refuses is
    #: not documented.
    deny_user_agent: str | None = None
    #: Devices per page where the client names no limit, and the most it can have. The most is advertised by /account.
    default_limit: int = 100
    maximum_limit: int = 1000
    #: A limit above the most: served as the most, or 400 MALFORMED_REQUEST_BODY. Not documented.
    excessive_limit: Literal["clamp", "refuse"] = "clamp"
    #: How long a cursor is good for. Apple, "Sync the List of Devices": 7 days.
    cursor_life_ms: int = 7 * DAY
    #: Cursors are at least this long; Apple allows 1000 characters, some servers keep 128.
    cursor_length: int = 0
    #: A fetch with the cursor of a finished fetch or of a sync: EXHAUSTED_CURSOR, or an empty page.
    finished_fetch: Literal["EXHAUSTED_CURSOR", "empty"] = "EXHAUSTED_CURSOR"
    #: A sync with the cursor of an unfinished fetch. Not documented.
    unfinished_sync: Literal["INVALID_CURSOR", "accept"] = "INVALID_CURSOR"
    #: The cursor of an empty sync: a new one, which starts another 7 days, or the one that was sent.
    empty_sync_cursor: Literal["new", "same"] = "new"
    #: How a device that was moved here from another server shows in sync.
    move_shows_as: Literal["added", "modified"] = "added"
    #: `profile_status` after a profile was removed from a device. Contested.
    after_removal: Literal["removed", "empty"] = "removed"
    #: Whether `deleted` records carry the whole device or serial and operation only.
    deleted_records: Literal["full", "sparse"] = "full"
    #: Whether empty `org_magic` and `department` are refused as documented; clients that work send them.
    refuse_empty_strings: bool = False
    #: An unknown profile: 404 NOT_FOUND as documented, or 400 PROFILE_NOT_FOUND as Apple's old simulator said.
    unknown_profile: Literal["NOT_FOUND", "PROFILE_NOT_FOUND"] = "NOT_FOUND"
    #: Error bodies as JSON strings, with quotes, as Apple's old simulator sent them, instead of bare text.
    quoted_errors: bool = False
    #: Requests per minute and server before 429 TOO_MANY_REQUESTS; None: no limit.
    requests_per_minute: int | None = None
    #: How the server token's envelope is encrypted and encoded.
    token_cipher: Literal["aes128", "aes256", "3des"] = "aes256"
    token_form: Literal["der", "ber"] = "der"

    def __post_init__(self) -> None:
        for name in ("session_life_ms", "token_life_ms", "cursor_life_ms", "default_limit", "maximum_limit"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name}={value}: 1 or more")
        for name in (
            "oauth_window_ms",
            "rotate_session_after_ms",
            "session_grace_ms",
            "replaced_token_life_ms",
            "requests_per_minute",
        ):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}={value}: 0 or more, or null where the switch can be off")
        if not 0 <= self.cursor_length <= 1000:
            raise ValueError(f"cursor_length={self.cursor_length}: 0 to 1000 characters")
        if self.deny_user_agent is not None:
            try:
                re.compile(self.deny_user_agent)
            except re.error as error:
                raise ValueError(
                    f"deny_user_agent={self.deny_user_agent!r}: not a regular expression ({error})"
                ) from None
