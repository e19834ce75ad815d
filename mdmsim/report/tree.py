"""Plain values as trees for a reader: JSON, with secrets hidden and data values named for what they are.

Objects, arrays, texts, integers, booleans and null stand for themselves. Every other value is an object whose keys
begin with `$`: `$real` and `$date` (text), `$data` (number of bytes; with `about`, `facts`, `base64`, `value` where
there is more to say), `$hidden` (length of a secret; with `unit`), `$cut` (what was left out).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mdmsim.clock import from_utc, iso
from mdmsim.protocol import device_plist, plist
from mdmsim.protocol.errors import Malformed
from mdmsim.report.crypto import describe_der
from mdmsim.report.redact import Long, Redactor, is_secret_key

#: How many values a tree may have, and how deep it goes, before the rest is cut.
TREE_CAP = 1_500
DEPTH_CAP = 24
#: So many characters are shown of a data value that is nothing known, in base64.
DATA_CAP = 88
#: A text longer than this is cut inside a tree.
TEXT_CAP = 4_096
#: How deep documents are opened that stand in data values of documents (a profile in a command in a ...).
NESTING_CAP = 3
#: Bytes larger than this are not looked into.
LOOK_CAP = 4 * 2**20


@dataclass(slots=True)
class Insight:
    """What some bytes are. `document`: the value in them that can be shown as a tree, if there is one."""

    about: str
    facts: list[list[str]] = field(default_factory=list)
    document: Any = None


class Tree:
    """Builds one tree. `secrets`: what was hidden in it, so that other forms of the value can be checked for it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._left = TREE_CAP
        self.secrets: list[str | bytes] = []

    def build(self, value: Any, *, secret: bool = False, depth: int = 0, nesting: int = 0) -> Any:
        """The tree of a plain value. `secret`: every scalar in it is one, because of the key above it."""
        self._left -= 1
        if isinstance(value, Mapping):
            return self._mapping(value, secret, depth, nesting)
        if isinstance(value, list | tuple):
            return self._array(value, secret, depth, nesting)
        if value is None or isinstance(value, bool):
            return value
        if secret and isinstance(value, str | bytes | int | float) and value != "" and value != b"":
            return self._hide(value)
        if isinstance(value, str):
            return value if len(value) <= TEXT_CAP else Long.of(value, TEXT_CAP)
        if isinstance(value, bytes | bytearray):
            return self._data(bytes(value), depth, nesting)
        if isinstance(value, float):
            return {"$real": f"{value:.17g}"}
        if isinstance(value, datetime):
            return {"$date": iso(from_utc(value)).replace(".000Z", "Z")}
        return value if isinstance(value, int) else str(value)

    def _mapping(self, value: Mapping[Any, Any], secret: bool, depth: int, nesting: int) -> dict[str, Any]:
        if depth >= DEPTH_CAP:
            self._redactor.learn_from(value)
            return {"$cut": f"a dictionary of {len(value)}, nested too deep to show"}
        shown: dict[str, Any] = {}
        for position, (key, item) in enumerate(value.items()):
            name = str(key)
            if self._left <= 0:
                # What is cut is not shown here, but a secret in it may turn up elsewhere.
                self._redactor.learn_from(dict(list(value.items())[position:]))
                shown["$cut"] = f"{len(value) - position} more"
                break
            # A key that looks like one of our marks must not be taken for one.
            kept = name if not name.startswith("$") else f"\\{name}"
            shown[kept] = self.build(item, secret=secret or is_secret_key(name), depth=depth + 1, nesting=nesting)
        return shown

    def _array(self, value: Sequence[Any], secret: bool, depth: int, nesting: int) -> Any:
        if depth >= DEPTH_CAP:
            self._redactor.learn_from(value)
            return {"$cut": f"an array of {len(value)}, nested too deep to show"}
        rows: list[Any] = []
        for position, item in enumerate(value):
            if self._left <= 0:
                self._redactor.learn_from(value[position:])
                rows.append({"$cut": f"{len(value) - position} more"})
                break
            rows.append(self.build(item, secret=secret, depth=depth + 1, nesting=nesting))
        return rows

    def _hide(self, value: str | bytes | float) -> dict[str, Any]:
        kept = value if isinstance(value, str | bytes) else str(value)
        self._redactor.learn(kept)
        self.secrets.append(kept)
        return {"$hidden": len(kept), "unit": "bytes" if isinstance(kept, bytes) else "characters"}

    def _data(self, value: bytes, depth: int, nesting: int) -> dict[str, Any]:
        node: dict[str, Any] = {"$data": len(value)}
        insight = look_into(value, self._redactor)
        if insight is None:
            node["base64"] = Long.of(base64.b64encode(value).decode("ascii"), DATA_CAP)
            return node
        node["about"] = insight.about
        if insight.facts:
            node["facts"] = insight.facts
        if insight.document is not None and nesting < NESTING_CAP:
            node["value"] = self.build(insight.document, depth=depth + 1, nesting=nesting + 1)
        else:
            self._redactor.learn_from(insight.document)
        return node


def look_into(value: bytes, redactor: Redactor) -> Insight | None:
    """What these bytes are: a document, JSON, a certificate, CMS (with a document in it), a key; None if unknown."""
    if not value or len(value) > LOOK_CAP:
        return None
    document = read_document(value)
    if document is not None:
        return Insight(name_of(document), document=document)
    if value[:1] in (b"{", b"["):
        try:
            return Insight("JSON", document=json.loads(value))
        except (ValueError, RecursionError):
            return None
    found = describe_der(value, redactor)
    if found is None:
        return None
    inner = read_document(found.content) if found.content else None
    about = found.about if inner is None else f"{name_of(inner)}, {found.about}"
    return Insight(about, found.facts, inner)


#: How a property list begins that a server or a device reads; UTF-16 is told by its byte order mark.
_BEGINNINGS = (
    b"<?xml",
    b"<plist",
    b"<!DOCTYPE plist",
    b"bplist",
    b"<!--",
    b"<dict",
    b"<array",
    b"\xff\xfe",
    b"\xfe\xff",
)


def is_document(value: bytes) -> bool:
    """Whether these bytes claim to be a property list, XML or binary."""
    return value[:64].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_BEGINNINGS)


def read_plist(value: bytes) -> Any:
    """The value of a property list that a server or else a device can read. Raises Malformed, in the server's words."""
    try:
        return plist.loads_any(value)
    except Malformed as error:
        try:
            return device_plist.loads_any(value)
        except Malformed:
            raise error from None


def read_document(value: bytes) -> Any:
    """The value of a property list; None if the bytes are none, or a broken one."""
    if not is_document(value):
        return None
    try:
        return read_plist(value)
    except Malformed:
        return None


def name_of(document: Any) -> str:
    """What a property list is: a profile, a check-in message, a report, a command."""
    if isinstance(document, Mapping):
        if document.get("PayloadType") == "Configuration":
            return f"profile {document.get('PayloadIdentifier') or 'without identifier'}"
        if "MessageType" in document:
            return f"check-in {document['MessageType']}"
        command = document.get("Command")
        if isinstance(command, Mapping) and "RequestType" in command:
            return f"command {command['RequestType']}"
        if "Status" in document and ("UDID" in document or "EnrollmentID" in document):
            return f"report {document['Status']}"
    return "property list"
