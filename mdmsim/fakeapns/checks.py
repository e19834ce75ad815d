"""The checks on a push request, each a small function; the service runs them in the order of its settings.

A check returns the reason of its refusal, or None. What it finds out on its way it leaves in the `Judgement`.
Rules: Apple, "Sending notification requests to APNs" and "Handling notification responses from APNs".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from mdmsim.clock import SECOND
from mdmsim.fakeapns.certificates import PushCertificates
from mdmsim.fakeapns.errors import ApnsError
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

_UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_SECONDS = re.compile(r"-?[0-9]{1,18}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,255}")

#: The longest token of the lenient mode, in bytes: tokens of up to 100 bytes are documented in push libraries.
MAX_TOKEN = 100


class Registry(Protocol):
    """What the checks ask about tokens."""

    def registration(self, topic: str, token: bytes) -> Registration | None: ...

    def topics(self, token: bytes) -> tuple[str, ...]: ...


class Judgement:
    """One request on its way through the checks."""

    __slots__ = (
        "certificate",
        "certificate_topic",
        "duplicate",
        "expires_ms",
        "headers",
        "method",
        "now_ms",
        "path",
        "payload",
        "silent",
        "timestamp_ms",
        "token",
        "topic",
    )

    def __init__(
        self, method: str, path: str, headers: Headers, payload: bytes, certificate: bytes | None, now_ms: int
    ) -> None:
        self.method = method
        self.path = path
        self.payload = payload
        self.certificate = certificate
        self.now_ms = now_ms
        self.headers: dict[str, str] = {}
        self.duplicate: str | None = None
        for name, value in headers:
            if name in self.headers and self.duplicate is None:
                self.duplicate = name
            self.headers.setdefault(name, value)
        self.token = b""
        self.topic = ""
        self.certificate_topic: str | None = None
        #: When the push stops being worth keeping; 0: now or never; None: no `apns-expiration` was sent.
        self.expires_ms: int | None = None
        #: Why the push is accepted and dropped in silence, where a setting says so.
        self.silent: str | None = None
        #: What a 410 carries.
        self.timestamp_ms: int | None = None


class Checks:
    """The checks of one service, ready to run."""

    def __init__(self, settings: ApnsSettings, certificates: PushCertificates, registry: Registry) -> None:
        self._settings = settings
        self._certificates = certificates
        self._registry = registry
        self._order: tuple[Callable[[Judgement], str | None], ...] = tuple(
            getattr(self, "_" + name.replace("-", "_")) for name in settings.order
        )

    def judge(self, judgement: Judgement) -> ApnsError | None:
        """The first refusal, or None when the push is to be accepted."""
        for check in self._order:
            if (reason := check(judgement)) is not None:
                return ApnsError.of(reason, timestamp_ms=judgement.timestamp_ms)
        return None

    def _method(self, judgement: Judgement) -> str | None:
        return None if judgement.method == "POST" else "MethodNotAllowed"

    def _path(self, judgement: Judgement) -> str | None:
        if not judgement.path.startswith(PATH):
            return "MissingDeviceToken" if judgement.path == PATH[:-1] else "BadPath"
        if len(judgement.path) == len(PATH):
            return "MissingDeviceToken"
        return "BadPath" if "/" in judgement.path[len(PATH) :] else None

    def _duplicates(self, judgement: Judgement) -> str | None:
        # HTTP/2 clients may split `cookie` (RFC 9113 section 8.2.3); every other header comes once.
        return "DuplicateHeaders" if judgement.duplicate not in (None, "cookie") else None

    def _apns_id(self, judgement: Judgement) -> str | None:
        value = judgement.headers.get("apns-id")
        return None if value is None or _UUID.fullmatch(value) else "BadMessageId"

    def _expiration(self, judgement: Judgement) -> str | None:
        value = judgement.headers.get("apns-expiration")
        if value is None:
            return None
        if not _SECONDS.fullmatch(value):
            return "BadExpirationDate"
        at_ms = int(value) * SECOND
        judgement.expires_ms = at_ms if at_ms > judgement.now_ms else 0
        return None

    def _priority(self, judgement: Judgement) -> str | None:
        return None if judgement.headers.get("apns-priority", "10") in ("10", "5", "1") else "BadPriority"

    def _collapse_id(self, judgement: Judgement) -> str | None:
        value = judgement.headers.get("apns-collapse-id")
        # The value is bytes read as Latin-1, so that its length is the number of bytes on the wire.
        return None if value is None or len(value) <= 64 else "BadCollapseId"

    def _push_type(self, judgement: Judgement) -> str | None:
        # Most MDM servers send none, and must be accepted.
        return None if judgement.headers.get("apns-push-type", "mdm") in PUSH_TYPES else "InvalidPushType"

    def _credential(self, judgement: Judgement) -> str | None:
        if judgement.certificate is None:
            # No signing key is known here: MDM pushes go by certificate alone (Apple, "Setting up push
            # notifications for your MDM customers").
            return "InvalidProviderToken" if "authorization" in judgement.headers else "MissingProviderToken"
        verdict = self._certificates.judge(judgement.certificate, dates=self._settings.certificate_dates == "world")
        if isinstance(verdict, ApnsError):
            return verdict.reason
        judgement.certificate_topic = verdict
        return None

    def _topic(self, judgement: Judgement) -> str | None:
        asked = judgement.headers.get("apns-topic")
        if asked is None:
            # A certificate for one topic needs no header: its subject's UID is the topic.
            if judgement.certificate_topic is None:
                return "MissingTopic"
            judgement.topic = judgement.certificate_topic
            return None
        if not _TOPIC.fullmatch(asked):
            return "BadTopic"
        judgement.topic = asked
        if judgement.certificate_topic is not None and asked != judgement.certificate_topic:
            if self._settings.foreign_topic != "accept":
                return self._settings.foreign_topic
            judgement.silent = "topic of another certificate"
        return None

    def _token(self, judgement: Judgement) -> str | None:
        text = judgement.path[len(PATH) :]
        try:
            token = bytes.fromhex(text)
        except ValueError:
            return "BadDeviceToken"
        # fromhex passes over blanks; a token has none.
        if len(text) != 2 * len(token) or not 1 <= len(token) <= MAX_TOKEN:
            return "BadDeviceToken"
        if self._settings.strict_tokens and len(token) != 32:
            return "BadDeviceToken"
        judgement.token = token
        return None

    def _payload(self, judgement: Judgement) -> str | None:
        if not judgement.payload:
            return "PayloadEmpty"
        voip = judgement.headers.get("apns-push-type") == "voip"
        return "PayloadTooLarge" if len(judgement.payload) > (MAX_VOIP_PAYLOAD if voip else MAX_PAYLOAD) else None

    def _token_state(self, judgement: Judgement) -> str | None:
        registration = self._registry.registration(judgement.topic, judgement.token)
        if registration is None:
            if judgement.silent or not (topics := self._registry.topics(judgement.token)):
                return None if judgement.silent else "BadDeviceToken"
            if self._settings.wrong_topic != "accept":
                return self._settings.wrong_topic
            judgement.silent = f"token of another topic: {', '.join(topics)}"
            return None
        if registration.retired_ms is None:
            return None
        delay = self._settings.unregistered_after_ms
        if delay is None or judgement.now_ms < registration.retired_ms + delay:
            judgement.silent = "the device stopped listening"
            return None
        judgement.timestamp_ms = registration.retired_ms
        return "Unregistered"
