"""What was sent in a flow, taken out of recorded exchanges."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization

from mdmsim.events import Event
from mdmsim.pki.keys import FreshKeys, KeySource, load_key


class TakenKeys:
    """A source of keys that remembers which it gave, to open what was meant for a device or an authority."""

    def __init__(self, source: KeySource | None = None) -> None:
        self._source = source or FreshKeys()
        self._by_public: dict[bytes, bytes] = {}

    def take(self, *, bits: int = 2048) -> bytes:
        return self._note(self._source.take(bits=bits))

    def take_ec(self) -> bytes:
        return self._note(self._source.take_ec())

    def _note(self, key: bytes) -> bytes:
        public = load_key(key).public_key()
        spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._by_public[spki] = key
        return key

    def of(self, spki: bytes) -> bytes:
        """The private key (PKCS#8 DER) of a public one. Raises KeyError for one that came from elsewhere."""
        return self._by_public[spki]


@dataclass(frozen=True)
class Exchange:
    """One request of a device and its answer."""

    device: str
    label: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    status: int | None
    answer_headers: dict[str, str]
    answer: bytes
    at_ms: int

    @property
    def signature(self) -> str | None:
        """Mdm-Signature, as it stands in the header."""
        return self.headers.get("mdm-signature")

    @property
    def pki_message(self) -> bytes:
        """The SCEP message that was sent, by POST or by GET."""
        if self.method == "POST":
            return self.body
        # "+" stays bare in the GET form, and a form parser reads it as a blank.
        return base64.b64decode(parse_qs(urlsplit(self.url).query)["message"][0].replace(" ", "+"))


def exchanges(events: Iterable[Event], label: str | None = None) -> list[Exchange]:
    """The device exchanges among events, in order; of one label where one is named."""
    return [
        Exchange(
            device=event.device or "",
            label=event.data["label"],
            method=event.data["method"],
            url=event.data["url"],
            headers={name.lower(): value for name, value in event.data["request_headers"]},
            body=event.data["request_body"],
            status=event.data["status"],
            answer_headers={name.lower(): value for name, value in event.data["response_headers"]},
            answer=event.data["response_body"],
            at_ms=event.at_ms,
        )
        for event in events
        if event.kind == "exchange" and event.device is not None and label in (None, event.data["label"])
    ]
