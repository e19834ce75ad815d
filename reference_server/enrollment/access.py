"""Who may fetch an enrollment profile at /enroll."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from reference_server.clients import Clients
from reference_server.enrollment.login import Login
from reference_server.errors import LoginNeeded, Refusal
from reference_server.settings import AccessMode, Settings

#: Who that is, as people read it on the page and in refusals.
WHO: dict[AccessMode, str] = {
    "loopback": "programs on this machine",
    "token": "whoever has the token",
    "login": "a user with a password",
    "anyone": "anyone",
}
_HOW = "The administrator may change who does with enroll_access, or mint profiles with POST /api/v1/profiles"


class EnrollAccess:
    """Judges requests for /enroll by the setting `enroll_access`."""

    def __init__(self, settings: Settings, login: Login) -> None:
        self._mode = settings.enroll_access
        self._token = (settings.enroll_token or "").encode("ascii")
        self._clients = Clients(settings.trusted_proxies)
        self._login = login

    def check(self, scope: Mapping[str, Any], authorization: str | None) -> None:
        """Raise Refusal 403 (not from this machine), or LoginNeeded for a missing or wrong token, name or password."""
        match self._mode:
            case "loopback":
                if not self._clients.is_loopback(scope):
                    raise Refusal(403, f"enrollment profiles are for {WHO['loopback']} only. {_HOW}")
            case "token":
                if not self._has_token(scope["query_string"].decode("latin-1"), authorization or ""):
                    raise LoginNeeded(f"the token is missing or wrong: /enroll?token=... . {_HOW}", "Bearer")
            case "login":
                user, why = self._login.check_basic(authorization)
                if user is None:
                    raise LoginNeeded(f"{why}. {_HOW}", self._login.basic_challenge)

    def _has_token(self, query: str, authorization: str) -> bool:
        try:
            given = parse_qs(query, max_num_fields=50).get("token", [])
        except ValueError:
            return False
        scheme, _, rest = authorization.partition(" ")
        if not given and scheme.lower() == "bearer":
            given = [rest.strip()]
        return len(given) == 1 and hmac.compare_digest(given[0].encode("utf-8", "surrogatepass"), self._token)
