"""GET /session: who holds a server token gets a session."""

from __future__ import annotations

from mdmsim.clock import SECOND
from mdmsim.fakedep.core import Core, DepRequest
from mdmsim.fakedep.errors import OAUTH_BAD_REQUEST, OAUTH_TOKEN_REPLACED, OAUTH_UNAUTHORIZED, DepError, Refused, refuse
from mdmsim.fakedep.model import ServerToken
from mdmsim.fakedep.oauth import Authorization, BadAuthorization, parse_authorization, signed_by
from mdmsim.fakedep.server import MdmServer
from mdmsim.fakedep.sessions import Sessions
from mdmsim.http import Headers, find_header

#: What clients that send a realm send. Apple, "Authenticating for Automated Device Enrollment".
REALM = "ADM"

#: How many nonces are kept where timestamps are not judged.
_MOST_NONCES = 100_000


class Login:
    """Judges OAuth requests, and remembers their nonces as long as their timestamps could be accepted."""

    def __init__(self, core: Core, sessions: Sessions) -> None:
        self._core = core
        self._sessions = sessions
        # (consumer key, token, timestamp, nonce): when it can be forgotten. In order of time.
        self._nonces: dict[tuple[str, str, int, str], int] = {}

    def server(self, headers: Headers) -> MdmServer | None:
        """Whose consumer key the request names, whether or not the rest is in order."""
        try:
            key = parse_authorization(find_header(headers, "authorization")).consumer_key
        except BadAuthorization:
            return None
        return self._core.register.server_by_consumer_key(key)

    def open(self, request: DepRequest, url: str) -> str:
        """A new session token. `url`: what the client signed. Raises Refused."""
        found = sum(name.lower() == "authorization" for name, _ in request.headers)
        try:
            if found > 1:
                raise BadAuthorization("two Authorization headers")
            authorization = parse_authorization(find_header(request.headers, "authorization"))
        except BadAuthorization as error:
            raise Refused(DepError(400, OAUTH_BAD_REQUEST, str(error))) from None
        server = self._core.register.server_by_consumer_key(authorization.consumer_key)
        if server is None:
            raise _unauthorized("no server has this consumer key")
        if authorization.realm not in (None, REALM):
            raise _unauthorized(f"the realm is not {REALM}")
        token = next((each for each in server.tokens if each.access_token == authorization.token), None)
        if token is None or token.consumer_key != authorization.consumer_key:
            raise _unauthorized("no such access token")
        try:
            signed = signed_by(authorization, request.method, url, token.consumer_secret, token.access_secret)
        except ValueError as error:  # a Host header that is none
            raise Refused(DepError(400, OAUTH_BAD_REQUEST, f"the URL cannot be read: {error}")) from None
        if not signed:
            raise _unauthorized(f"the signature is not over GET {url}, or made with other secrets")
        self._fresh(authorization)
        self._usable(server, token)
        session = self._sessions.open(server.uuid)
        self._core.emit(
            "dep.session",
            server=server.name,
            consumer_key=token.consumer_key,
            user_agent=find_header(request.headers, "user-agent"),
            version=find_header(request.headers, "x-server-protocol-version"),
        )
        return session.token

    def _fresh(self, authorization: Authorization) -> None:
        settings, now_ms = self._core.settings, self._core.clock.now_ms()
        window_ms = settings.oauth_window_ms
        at_ms = authorization.timestamp * SECOND
        if window_ms is not None and abs(now_ms - at_ms) > window_ms:
            off_s = abs(now_ms - at_ms) // SECOND
            raise _unauthorized(f"the timestamp is off by {off_s} s: the client's clock is wrong")
        if not settings.nonce_once:
            return
        for key, until_ms in list(self._nonces.items())[:16]:
            if until_ms >= now_ms and len(self._nonces) < _MOST_NONCES:
                break
            del self._nonces[key]
        key = (authorization.consumer_key, authorization.token, authorization.timestamp, authorization.nonce)
        if key in self._nonces:
            raise _unauthorized("the nonce was used before")
        self._nonces[key] = now_ms + 2 * (window_ms if window_ms is not None else settings.token_life_ms)

    def _usable(self, server: MdmServer, token: ServerToken) -> None:
        now_ms = self._core.clock.now_ms()
        if server.removed:
            raise refuse("ACCESS_DENIED", "the MDM server was removed in the portal")
        if now_ms >= token.expires_ms:
            raise _unauthorized("the server token has expired: renew it in the portal")
        if token.replaced_ms is not None and now_ms >= token.replaced_ms + self._core.settings.replaced_token_life_ms:
            raise Refused(DepError(403, OAUTH_TOKEN_REPLACED, "the server token was renewed in the portal"))
        if self._core.register.organisations[server.organisation].terms_pending:
            raise refuse("T_C_NOT_SIGNED", "the organisation has not accepted the new terms")


def _unauthorized(why: str) -> Refused:
    return Refused(DepError(401, OAUTH_UNAUTHORIZED, why))
