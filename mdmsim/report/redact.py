"""What a report must not show, and what it shows instead: secrets by their length, key material by stable aliases.

Secrets are found by the name of their key and then hidden wherever their value turns up. Certificates differ from
run to run even with one seed, so they are called `certificate-1`, `certificate-2`... in the order of first sight.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Keys whose values are secrets, in small letters. MDM's own: mdm/checkin/tokenupdate.yaml (PushMagic, Token,
#: UnlockToken), setbootstraptoken.yaml, com.apple.security.scep.yaml (Challenge), device.lock.yaml (PIN); `mdm` is the
#: push magic inside an APNs payload.
SECRET_KEYS = frozenset(
    [
        "pushmagic",
        "push_magic",
        "mdm",
        "token",
        "pushtoken",
        "push_token",
        "device_token",
        "devicetoken",
        "unlocktoken",
        "unlock_token",
        "bootstraptoken",
        "bootstrap_token",
        "challenge",
        "pin",
        "passcode",
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "accesstoken",
        "access_token",
        "refresh_token",
        "id_token",
        "bearer_token",
        "bearertoken",
        "stoken",
        "x-api-key",
        "api-key",
        "apikey",
        "secret",
        "private_key",
        "privatekey",
        "unlock_pin",
        "api_token",
        "auth_token",
        "session_token",
        "x-auth-token",
    ]
)
_SECRET_ENDS = (
    "password",
    "passwordhash",
    "passcode",
    "secret",
    "apikey",
    "api_key",
    "api-key",
    "recoverykey",
    "privatekey",
)

#: A value shorter than this is hidden under its key but not hunted for elsewhere: it would blot out ordinary text.
SHORTEST_HUNTED = 8

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)(?:-----END \1-----|\Z)", re.DOTALL)


def is_secret_key(key: str) -> bool:
    """Whether a value under that key (of a plist, JSON object, header or query) is a secret."""
    small = key.lower()
    return small in SECRET_KEYS or small.endswith(_SECRET_ENDS)


def hidden(length: int, unit: str = "characters") -> str:
    """What stands in place of a secret: `•••• 36 characters`."""
    return f"•••• {length} {unit if length != 1 else unit.removesuffix('s')}"


class Long(str):
    """A text to be cut to `cap` characters, but only once it is clean: half a secret is not recognised any more."""

    cap: int

    @classmethod
    def of(cls, value: str, cap: int) -> Long:
        long = cls(value)
        long.cap = cap
        return long

    def cut(self, clean: str) -> str:
        """The beginning of the cleaned text, and how much is missing."""
        return clean if len(clean) <= self.cap else f"{clean[: self.cap]}… ({len(clean) - self.cap:,} characters more)"


class Redactor:
    """Learns secrets and certificates while things are decoded; then cleans every text that leaves the house."""

    def __init__(self) -> None:
        self._replacements: dict[str, str] = {}
        self._aliases: dict[str, str] = {}  # SHA-256 of a certificate, hex -> alias
        self.subjects: dict[str, str] = {}  # alias -> subject, as far as certificates were seen whole
        self._pattern: re.Pattern[str] | None = None

    def learn(self, value: object) -> None:
        """Take note of a secret, to be hidden in all its spellings: as text, base64, hex, XML-escaped."""
        if isinstance(value, bytes):
            if len(value) < 6:
                return
            shown = hidden(len(value), "bytes")
            plain = base64.b64encode(value).decode("ascii")
            spellings = [plain, base64.urlsafe_b64encode(value).decode("ascii"), value.hex(), value.hex().upper()]
            spellings += [spelling.rstrip("=") for spelling in spellings[:2]]
            try:
                spellings.append(value.decode("utf-8"))
            except UnicodeDecodeError:
                pass
            for spelling in spellings:
                self._replace(spelling, shown)
        elif isinstance(value, str):
            for spelling in (value, html.escape(value), html.escape(value, quote=False)):
                self._replace(spelling, hidden(len(value)))
        elif isinstance(value, Mapping):
            for item in value.values():
                self.learn(item)
        elif isinstance(value, list | tuple):
            for item in value:
                self.learn(item)

    def learn_from(self, data: object) -> None:
        """Take note of every secret below a plain value, told by its key."""
        if isinstance(data, Mapping):
            for key, value in data.items():
                if isinstance(key, str) and is_secret_key(key):
                    self.learn(value)
                self.learn_from(value)
        elif isinstance(data, list | tuple):
            for item in data:
                self.learn_from(item)

    def certificate(self, der: bytes) -> str:
        """The alias of a certificate; its thumbprints are shown as that from now on."""
        alias = self.thumbprint(hashlib.sha256(der).hexdigest())
        # SHA-1 only because people and other software still name certificates by it.
        self._spell(hashlib.sha1(der, usedforsecurity=False).hexdigest(), alias)
        return alias

    def thumbprint(self, sha256: str) -> str:
        """The alias of the certificate with that SHA-256, known or not yet."""
        key = sha256.lower()
        if key not in self._aliases:
            self._aliases[key] = f"certificate-{len(self._aliases) + 1}"
            self._spell(key, self._aliases[key])
        return self._aliases[key]

    def text(self, value: str) -> str:
        """The text with every known secret hidden, every known thumbprint under its alias, PEM blocks named only."""
        if "-----BEGIN " in value:
            value = _PEM.sub(self._pem, value)
        if len(value) < SHORTEST_HUNTED or not self._replacements:
            return value
        if self._pattern is None:
            self._pattern = re.compile(_trie_pattern(self._replacements))
        return self._pattern.sub(lambda match: self._replacements[match.group()], value)

    def clean(self, value: Any) -> Any:
        """A plain value (of dicts, lists, text, numbers) with every text in it but keys cleaned, then cut."""
        if isinstance(value, str):
            return value.cut(self.text(value)) if isinstance(value, Long) else self.text(value)
        if isinstance(value, dict):
            return {key: self.clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean(item) for item in value]
        return value

    def _pem(self, match: re.Match[str]) -> str:
        kind = match.group(1)
        if kind == "CERTIFICATE":
            try:
                return f"[{self.certificate(base64.b64decode(match.group(2)))}]"
            except ValueError:
                pass
        return f"[PEM {kind}, {hidden(len(match.group()))}]"

    def _spell(self, thumbprint: str, alias: str) -> None:
        pairs = ":".join(thumbprint[index : index + 2] for index in range(0, len(thumbprint), 2))
        for spelling in (thumbprint, pairs):
            self._replace(spelling, alias)
            self._replace(spelling.upper(), alias)

    def _replace(self, spelling: str, shown: str) -> None:
        # "characters" is our own word in every mask.
        if len(spelling) >= SHORTEST_HUNTED and spelling != "characters" and spelling not in self._replacements:
            self._replacements[spelling] = shown
            self._pattern = None


def _trie_pattern(words: Iterable[str]) -> str:
    """One pattern for many words. A trie, because plain alternation tries every word at every position."""
    root: dict[str, Any] = {}
    for word in words:
        node = root
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}  # a word may end here
    return _branch(root)


def _branch(node: dict[str, Any]) -> str:
    # A chain without forks is taken in one stride: words are long, and recursion is not.
    options = []
    for letter, below in node.items():
        if letter == "":
            continue
        stride = letter
        while len(below) == 1 and "" not in below:
            ((following, below),) = below.items()
            stride += following
        options.append(re.escape(stride) + (_branch(below) if any(below) else ""))
    body = "(?:" + "|".join(options) + ")" if len(options) != 1 else options[0]
    # Longest first: the end of a word is taken only where no longer word matches.
    return f"(?:{body})?" if "" in node else body
