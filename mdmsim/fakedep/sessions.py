"""Session tokens of the web service: opened at /session, sent in X-ADM-Auth-Session, replaced from time to time."""

from __future__ import annotations

from dataclasses import dataclass

from mdmsim.chance import Chance
from mdmsim.clock import DAY, Clock
from mdmsim.fakedep.settings import DepSettings

#: The header that carries a session token, in requests and answers. Apple, "Authenticating for Automated Device Enrollment".
HEADER = "X-ADM-Auth-Session"

#: Expired tokens are told from unknown ones for a day; beyond this many they are looked through.
_SWEEP_AT = 1024


@dataclass(slots=True)
class Session:
    """One token. `server`: UUID. `successor`: the token that replaces it, `until_ms`: when it ends."""

    token: str
    server: str
    issued_ms: int
    until_ms: int
    successor: Session | None = None


class Sessions:
    """All session tokens. Several may be open for one server at once."""

    def __init__(self, clock: Clock, chance: Chance, settings: DepSettings) -> None:
        self._clock = clock
        self._chance = chance
        self._settings = settings
        self._sessions: dict[str, Session] = {}

    def open(self, server: str) -> Session:
        now_ms = self._clock.now_ms()
        if len(self._sessions) >= _SWEEP_AT and len(self._sessions) % _SWEEP_AT == 0:
            self._sessions = {
                token: session for token, session in self._sessions.items() if session.until_ms > now_ms - DAY
            }
        # Milliseconds and groups of hex between letters O, about 190 characters, as live ones were reported to look.
        groups = "O".join(self._chance.hex(size).upper() for size in (4, 16, 16, 32, 16))
        session = Session(f"{now_ms}O{groups}", server, now_ms, now_ms + self._settings.session_life_ms)
        self._sessions[session.token] = session
        return session

    def find(self, token: str) -> Session | None:
        """The session of that token, an expired one included; None for a token that was never handed out."""
        return self._sessions.get(token)

    def is_open(self, session: Session) -> bool:
        return self._clock.now_ms() < session.until_ms

    def renewal(self, session: Session) -> str | None:
        """The token that the answer to a request with `session` brings; None where it brings none."""
        after_ms = self._settings.rotate_session_after_ms
        now_ms = self._clock.now_ms()
        if after_ms is None or now_ms - session.issued_ms < after_ms:
            return None
        if session.successor is None:
            session.successor = self.open(session.server)
            if self._settings.session_grace_ms is not None:
                session.until_ms = min(session.until_ms, now_ms + self._settings.session_grace_ms)
        return session.successor.token

    def expire(self, server: str | None = None) -> None:
        """End all sessions, or those of one server: their tokens are known, but expired."""
        now_ms = self._clock.now_ms()
        for session in self._sessions.values():
            if server in (None, session.server):
                session.until_ms = min(session.until_ms, now_ms)

    def forget(self, server: str | None = None) -> None:
        """Forget all sessions, or those of one server: their tokens are as if never handed out."""
        self._sessions = {
            token: session for token, session in self._sessions.items() if server not in (None, session.server)
        }
