"""The checks on a push request, each a small function; the service runs them in the order of its settings.

A check returns the reason of its refusal, or None. What it finds out on its way it leaves in the `Judgement`.
Rules: Apple, "Sending notification requests to APNs" and "Handling notification responses from APNs".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

import msgspec

from mdmsim.clock import SECOND, iso
from mdmsim.fakeapns.certificates import PushCertificates
from mdmsim.fakeapns.errors import ApnsError
from mdmsim.fakeapns.provider import Provider
from mdmsim.fakeapns.provider_tokens import SigningKeys
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.fakeapns.storage import Registration
from mdmsim.http import Headers

PATH = "/3/device/"

#: Apple, "Sending notification requests to APNs": 4096 bytes, 5120 for VoIP.
MAX_PAYLOAD = 4096
MAX_VOIP_PAYLOAD = 5120

#: Apple, "Sending notification requests to APNs" and "Setting up push notifications for controls and widgets".
PUSH_TYPES = frozenset(
    (
        "alert",
        "background",
        "complication",
        "controls",
        "fileprovider",
        "liveactivity",
        "location",
        "mdm",
        "pushtotalk",
        "voip",
        "widgets",
    )
)

#: The last moment that is told apart: the end of the year 9999. Later ones mean the same to whoever waits.
LATEST_MS = 253_402_300_799_000

_UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_SECONDS = re.compile(r"-?[0-9]{1,18}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,255}")

#: The longest token of the lenient mode, in bytes: tokens of up to 100 bytes are documented in push libraries.
MAX_TOKEN = 100


class Registry(Protocol):
    """What the checks ask about tokens."""

    def registration(self, topic: str, token: bytes) -> Registration | None: ...

    def topics(self, token: bytes) -> tuple[str, ...]: ...

    def too_many(self, topic: str, token: bytes, now_ms: int) -> bool: ...


class Judgement:
    """One request on its way through the checks."""

    __slots__ = (
        "certificate_topics",
        "duplicate",
        "expires_ms",
        "headers",
        "method",
        "now_ms",
        "path",
        "payload",
        "provider",
        "silent",
        "timestamp_ms",
        "token",
        "topic",
        "why",
    )

    def __init__(
        self, method: str, path: str, headers: Headers, payload: bytes, provider: Provider, now_ms: int
    ) -> None:
        self.method = method
        self.path = path
        self.payload = payload
        self.provider = provider
        self.now_ms = now_ms
        self.duplicate: str | None = None
        self.headers = dict(headers)
        if len(self.headers) != len(headers):
            # Of a repeated header the first counts.
            self.headers = dict(reversed(headers))
            names = [name for name, _ in headers if name != "cookie"]
            self.duplicate = next((name for name in names if names.count(name) > 1), None)
        self.token = b""
        self.topic = ""
        #: The topics that the certificate is good for; None where a provider token is the credential.
        self.certificate_topics: tuple[str, ...] | None = None
        #: When the push stops being worth keeping; 0: now or never; None: no `apns-expiration` was sent.
        self.expires_ms: int | None = None
        #: Why the push is accepted and dropped in silence, where a setting says so.
        self.silent: str | None = None
        #: What a 410 carries.
        self.timestamp_ms: int | None = None
        #: What a refusal is about, in words, for whoever looks inside.
        self.why = ""


class Checks:
    """The checks of one service, ready to run."""

    def __init__(
        self, settings: ApnsSettings, certificates: PushCertificates, keys: SigningKeys, registry: Registry
    ) -> None:
        self._settings = settings
        self._certificates = certificates
        self._keys = keys
        self._registry = registry
        self._world_dates = settings.certificate_dates == "world"
        self._order: tuple[Callable[[Judgement], str | None], ...] = tuple(
            getattr(self, "_" + name.replace("-", "_")) for name in settings.order
        )

    def judge(self, judgement: Judgement) -> ApnsError | None:
        """The first refusal, or None when the push is to be accepted."""
        for check in self._order:
            if (reason := check(judgement)) is not None:
                return ApnsError.of(reason, timestamp_ms=judgement.timestamp_ms)
        return None

    def recognise(self, provider: Provider) -> None:
        """Look the connection's certificate up, and whether it is for this environment."""
        if provider.certificate is None:
            return
        provider.known = known = self._certificates.find(provider.certificate)
        provider.known_version = self._certificates.version
        fits = known is None or provider.environment in known.environments
        if known is not None and not known.environments and self._settings.certificate_environments == "lenient":
            fits = True
        provider.refusal = None if fits else ApnsError.of("BadCertificateEnvironment")

    def _method(self, judgement: Judgement) -> str | None:
        if judgement.method == "POST":
            return None
        judgement.why = f"method {judgement.method[:20]}; POST is the only one"
        return "MethodNotAllowed"

    def _path(self, judgement: Judgement) -> str | None:
        path = judgement.path
        if not path.startswith(PATH):
            if path == PATH[:-1]:
                return "MissingDeviceToken"
            judgement.why = f"path {path[:80]}; {PATH}TOKEN is the only one"
            return "BadPath"
        if len(path) == len(PATH):
            return "MissingDeviceToken"
        if "/" in path[len(PATH) :]:
            judgement.why = f"path {path[:80]} goes on after the token"
            return "BadPath"
        return None

    def _duplicates(self, judgement: Judgement) -> str | None:
        # HTTP/2 clients may split `cookie` (RFC 9113 section 8.2.3); every other header comes once.
        if judgement.duplicate is None:
            return None
        judgement.why = f"header {judgement.duplicate} comes more than once"
        return "DuplicateHeaders"

    def _apns_id(self, judgement: Judgement) -> str | None:
        value = judgement.headers.get("apns-id")
        if value is None or _UUID.fullmatch(value):
            return None
        judgement.why = f"apns-id {value[:50]!r} is no UUID of the form 8-4-4-4-12"
        return "BadMessageId"

    def _expiration(self, judgement: Judgement) -> str | None:
        value = judgement.headers.get("apns-expiration")
        if value is None:
            return None
        if not _SECONDS.fullmatch(value):
            judgement.why = f"apns-expiration {value[:30]!r} is no number of seconds since 1970"
            return "BadExpirationDate"
        at_ms = min(int(value) * SECOND, LATEST_MS)
        judgement.expires_ms = at_ms if at_ms > judgement.now_ms else 0
        return None

    def _priority(self, judgement: Judgement) -> str | None:
        value = judgement.headers.get("apns-priority", "10")
        if value in ("10", "5", "1"):
            return None
        judgement.why = f"apns-priority {value[:10]!r}; allowed are 10, 5 and 1"
        return "BadPriority"

    def _collapse_id(self, judgement: Judgement) -> str | None:
        value = judgement.headers.get("apns-collapse-id")
        # The value is bytes read as Latin-1, so that its length is the number of bytes on the wire.
        if value is None or len(value) <= 64:
            return None
        judgement.why = f"apns-collapse-id of {len(value)} bytes; at most 64"
        return "BadCollapseId"

    def _push_type(self, judgement: Judgement) -> str | None:
        # Most MDM servers send none, and must be accepted.
        value = judgement.headers.get("apns-push-type")
        if value is None or value in PUSH_TYPES:
            return None
        judgement.why = f"apns-push-type {value[:30]!r}; allowed are {', '.join(sorted(PUSH_TYPES))}"
        return "InvalidPushType"

    def _credential(self, judgement: Judgement) -> str | None:
        provider = judgement.provider
        if provider.certificate is None:
            return None if provider.plain else self._provider_token(judgement)
        if provider.known_version != self._certificates.version:
            self.recognise(provider)
        refused = self._certificates.judge(provider.known, dates=self._world_dates)
        if refused is not None or provider.known is None:
            error, judgement.why = refused or (ApnsError.of("BadCertificate"), "unknown")
            return error.reason
        if provider.refusal is not None:
            judgement.why = f"the certificate is for {' and '.join(provider.known.environments) or 'no environment'}"
            return provider.refusal.reason
        judgement.certificate_topics = provider.known.topics
        return None

    def _provider_token(self, judgement: Judgement) -> str | None:
        authorization = judgement.headers.get("authorization")
        if authorization is None:
            judgement.why = "no client certificate and no authorization header"
            return "MissingProviderToken"
        verdict = self._keys.judge(
            authorization,
            judgement.provider.tokens,
            judgement.now_ms,
            environment=judgement.provider.environment,
            sticky=self._settings.expired_token_sticks,
            wrong_team=self._settings.other_team,
        )
        if verdict.key is None:
            judgement.why = verdict.why
            if verdict.reason == "BadEnvironmentKeyIdInToken":
                return self._settings.environment_key_reason
            return verdict.reason
        topic = judgement.headers.get("apns-topic")
        if topic is not None and topic.startswith("com.apple.mgmt."):
            judgement.why = "MDM topics take certificates only"
            return self._settings.provider_token_for_mdm
        if topic is not None and verdict.key.topics is not None and topic not in verdict.key.topics:
            judgement.why = f"key {verdict.key.key_id} is not for topic {topic[:80]}"
            return "TopicDisallowed"
        return None

    def _topic(self, judgement: Judgement) -> str | None:
        asked = judgement.headers.get("apns-topic")
        allowed = judgement.certificate_topics
        if asked is None:
            if judgement.provider.plain:
                return self._topic_of_token(judgement)
            known = judgement.provider.known
            # A certificate for one topic needs no header: its subject's UID is the topic.
            if known is None or known.listed:
                judgement.why = "a provider token" if known is None else "a certificate for several topics"
                judgement.why += " needs an apns-topic header"
                return "MissingTopic"
            judgement.topic = known.topic
            return None
        if not _TOPIC.fullmatch(asked):
            judgement.why = f"apns-topic {asked[:80]!r} is no topic"
            return "BadTopic"
        judgement.topic = asked
        if allowed is not None and asked not in allowed:
            judgement.why = f"apns-topic {asked[:80]}, and the certificate is for {', '.join(allowed)}"
            if self._settings.foreign_topic != "accept":
                return self._settings.foreign_topic
            judgement.silent = "topic of another certificate"
        return None

    def _topic_of_token(self, judgement: Judgement) -> str | None:
        try:
            topics = self._registry.topics(bytes.fromhex(judgement.path[len(PATH) :]))
        except ValueError:
            topics = ()
        if len(topics) > 1:
            judgement.why = f"the token is for topics {', '.join(topics)}; the apns-topic header must say which"
            return "MissingTopic"
        # Without any, the token is refused for what it is.
        judgement.topic = topics[0] if topics else ""
        return None

    def _token(self, judgement: Judgement) -> str | None:
        text = judgement.path[len(PATH) :]
        try:
            token = bytes.fromhex(text)
        except ValueError:
            judgement.why = "the token in the path is not hex"
            return "BadDeviceToken"
        # fromhex passes over blanks; a token has none.
        if len(text) != 2 * len(token) or not 1 <= len(token) <= MAX_TOKEN:
            judgement.why = f"the token in the path has {len(token)} bytes; at most {MAX_TOKEN} are allowed"
            return "BadDeviceToken"
        if self._settings.strict_tokens and len(token) != 32:
            judgement.why = f"the token in the path has {len(token)} bytes; 32 are expected (strict_tokens)"
            return "BadDeviceToken"
        judgement.token = token
        return None

    def _payload(self, judgement: Judgement) -> str | None:
        payload = judgement.payload
        if not payload:
            return "PayloadEmpty"
        limit = MAX_VOIP_PAYLOAD if judgement.headers.get("apns-push-type") == "voip" else MAX_PAYLOAD
        if len(payload) > limit:
            judgement.why = f"a payload of more than {limit} bytes"
            return "PayloadTooLarge"
        if self._settings.json_payload and not _is_object(payload):
            judgement.why = "the payload is no JSON object (json_payload)"
            # Apple's word is unknown; the nearest documented one is about the payload, too.
            return "PayloadEmpty"
        return None

    def _token_state(self, judgement: Judgement) -> str | None:
        registration = self._registry.registration(judgement.topic, judgement.token)
        if registration is None:
            if judgement.silent:
                return None
            if not (topics := self._registry.topics(judgement.token)):
                judgement.why = "no device ever had this token"
                return "BadDeviceToken"
            if self._settings.wrong_topic != "accept":
                judgement.why = f"the token is for topic {', '.join(topics)}, not {judgement.topic}"
                return self._settings.wrong_topic
            judgement.silent = f"token of another topic: {', '.join(topics)}"
            return None
        if registration.environment != judgement.provider.environment:
            judgement.why = f"the token is of the {registration.environment} environment"
            return "BadDeviceToken"
        if registration.retired_ms is None:
            return None
        delay = self._settings.unregistered_after_ms
        if delay is None or judgement.now_ms < registration.retired_ms + delay:
            judgement.silent = "the device stopped listening"
            return None
        judgement.timestamp_ms = registration.retired_ms
        judgement.why = f"the device stopped listening at {iso(registration.retired_ms)}"
        return "Unregistered"

    def _rate(self, judgement: Judgement) -> str | None:
        if self._settings.max_pushes_per_minute is None:
            return None
        if not self._registry.too_many(judgement.topic, judgement.token, judgement.now_ms):
            return None
        judgement.why = f"more than {self._settings.max_pushes_per_minute} pushes to this token in a minute"
        return "TooManyRequests"


def _is_object(payload: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(payload), dict)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
