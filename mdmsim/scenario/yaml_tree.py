"""YAML with its lines kept: text in, a small tree out, so that every later complaint can name a line.

A strict subset on purpose: `on`, `off`, `yes`, `no`, dates and 12:30 stay text; keys are unique strings; no tags but
`!!binary` and no merge keys; aliases are few. Anything else is a ScenarioError with file and line.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from mdmsim.scenario.errors import ScenarioError, excerpt

#: Far more than any story needs; an alias bomb or a generated monster ends here, with a message.
MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_VALUES = 20_000
MAX_ALIASES = 100

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_ZEROES = re.compile(r"0[0-9]+\Z")
_REAL = re.compile(r"[-+]?[0-9]+(\.[0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)\Z")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}

_BINARY = "tag:yaml.org,2002:binary"

#: Keys whose values must be quoted strings wherever they stand: a number would lose its leading zeros.
SECRETS = frozenset({"PIN", "pin", "passcode", "Passcode", "PhoneNumber", "phone"})


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `text` is as it was written; `quoted` also for block texts."""

    line: int
    value: Any
    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping, the line of the key, and its value."""

    key: str
    line: int
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    line: int
    entries: tuple[Entry, ...]

    def get(self, key: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.key == key), None)


@dataclass(frozen=True, slots=True)
class Sequence:
    line: int
    items: tuple[Node, ...]


Node = Scalar | Mapping | Sequence


def plain(node: Node) -> Any:
    """The bare Python value of a node."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {entry.key: plain(entry.value) for entry in node.entries}


def kind(node: Node) -> str:
    """What a node is, for messages."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return f"{node.text} (true or false)"
    if isinstance(node.value, int | float):
        return f"the number {node.text}"
    if isinstance(node.value, bytes):
        return "binary data"
    return f'"{excerpt(node.text)}"'


@dataclass(slots=True)
class _Reader:
    file: str
    values: int = 0
    aliases: int = 0
    anchors: dict[str, Node] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    open_anchors: set[str] = field(default_factory=set)

    def error(self, line: int, what: str) -> ScenarioError:
        return ScenarioError(f"{self.file}:{line}", what)

    def count(self, line: int, number: int = 1) -> None:
        self.values += number
        if self.values > MAX_VALUES:
            raise self.error(line, f"more than {MAX_VALUES} values, aliases counted. Split the file.")


def parse(data: bytes, file: str) -> list[Node]:
    """The documents of a YAML file. Raises ScenarioError for anything that is not the YAML described above."""
    if len(data) > MAX_BYTES:
        raise ScenarioError(file, f"{len(data)} bytes; a scenario file has at most {MAX_BYTES}. Split it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{file}:{line}", "not UTF-8. Save the file as UTF-8 text.") from None
    reader = _Reader(file)
    documents: list[Node] = []
    try:
        events = iter(list(yaml.parse(text, Loader=yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise _broken(error, text, file) from None
    except RecursionError:  # the pure-Python parser, for thousands of brackets
        raise ScenarioError(file, f"nested more than {MAX_DEPTH} deep.") from None
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            reader.anchors, reader.sizes = {}, {}
            documents.append(_node(reader, next(events), events, 1))
    return [document for document in documents if not (isinstance(document, Scalar) and document.value is None)]


def _broken(error: yaml.YAMLError, text: str, file: str) -> ScenarioError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else 1
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position if isinstance(error.position, int) else 0) + 1
        return ScenarioError(f"{file}:{line}", "a control character that YAML does not allow. Remove it.")
    lines = text.splitlines()
    around = lines[line - 1] if line <= len(lines) else ""
    before = around[: len(around) - len(around.lstrip())]
    if "\t" in before:
        return ScenarioError(f"{file}:{line}", "a tab at the beginning of the line. YAML is indented with blanks only.")
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    said = f"{context}: {problem}" if context else problem
    return ScenarioError(f"{file}:{line}", f"not YAML: {said}. Look at the indentation, colons and quotes around here.")


def _node(reader: _Reader, event: Any, events: Any, depth: int) -> Node:
    line: int = event.start_mark.line + 1
    if depth > MAX_DEPTH:
        raise reader.error(line, f"nested more than {MAX_DEPTH} deep.")
    if isinstance(event, yaml.AliasEvent):
        return _alias(reader, str(event.anchor), line)
    anchor: str | None = event.anchor
    before = reader.values
    if anchor is not None:
        reader.open_anchors.add(anchor)
    node: Node
    if isinstance(event, yaml.ScalarEvent):
        node = _scalar(reader, event, line)
    elif isinstance(event, yaml.SequenceStartEvent):
        node = _sequence(reader, event, events, line, depth)
    else:
        node = _mapping(reader, event, events, line, depth)
    reader.count(line)
    if anchor is not None:
        reader.open_anchors.discard(anchor)
        reader.anchors[anchor] = node
        reader.sizes[anchor] = reader.values - before
    return node


def _alias(reader: _Reader, anchor: str, line: int) -> Node:
    reader.aliases += 1
    if reader.aliases > MAX_ALIASES:
        raise reader.error(line, f"more than {MAX_ALIASES} aliases. Write the steps out, or use `repeat`.")
    if anchor in reader.open_anchors:
        raise reader.error(line, f"*{anchor} stands inside &{anchor}: it would contain itself.")
    if anchor not in reader.anchors:
        raise reader.error(line, f"*{anchor} has no &{anchor} before it.")
    reader.count(line, reader.sizes[anchor])
    return reader.anchors[anchor]


def _tagged(reader: _Reader, event: Any, line: int) -> None:
    if event.tag is not None and event.tag != "!":
        raise reader.error(line, f'the tag "{event.tag}" is not allowed here. Only !!binary is known, for data.')


def _scalar(reader: _Reader, event: Any, line: int) -> Scalar:
    text: str = event.value
    quoted = bool(event.style)  # None from the pure-Python parser, empty from libyaml, for plain words
    if event.tag == _BINARY:
        try:
            return Scalar(line, base64.b64decode("".join(text.split()), validate=True), text, True)
        except (binascii.Error, ValueError):
            raise reader.error(line, "!!binary is followed by base64; this is not.") from None
    _tagged(reader, event, line)
    if quoted:
        return Scalar(line, text, text, True)
    if text in _CONSTANTS:
        return Scalar(line, _CONSTANTS[text], text, False)
    if _INTEGER.match(text):
        if len(text) > 20:
            raise reader.error(line, f"the number {excerpt(text)} is too large. If it is text, put it in quotes.")
        return Scalar(line, int(text), text, False)
    if _ZEROES.match(text):
        raise reader.error(line, f'{excerpt(text)} begins with a zero: put it in quotes, "{excerpt(text)}".')
    if _REAL.match(text):
        return Scalar(line, float(text), text, False)
    return Scalar(line, text, text, False)


def _sequence(reader: _Reader, event: Any, events: Any, line: int, depth: int) -> Sequence:
    _tagged(reader, event, line)
    items: list[Node] = []
    while not isinstance(following := next(events), yaml.SequenceEndEvent):
        items.append(_node(reader, following, events, depth + 1))
    return Sequence(line, tuple(items))


def _mapping(reader: _Reader, event: Any, events: Any, line: int, depth: int) -> Mapping:
    _tagged(reader, event, line)
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    while not isinstance(following := next(events), yaml.MappingEndEvent):
        key_line: int = following.start_mark.line + 1
        key = _node(reader, following, events, depth + 1)
        if not isinstance(key, Scalar) or not isinstance(key.value, str):
            raise reader.error(key_line, f"a key must be a word, not {kind(key)}.")
        if key.value == "<<":
            raise reader.error(key_line, "merge keys (<<) are not allowed. Write the keys out.")
        if key.value in seen:
            raise reader.error(
                key_line, f'"{excerpt(key.value)}" stands here a second time (first in line {seen[key.value]}).'
            )
        seen[key.value] = key_line
        value = _node(reader, next(events), events, depth + 1)
        if (
            key.value in SECRETS
            and isinstance(value, Scalar)
            and isinstance(value.value, int | float)
            and not isinstance(value.value, bool)
        ):
            raise reader.error(
                value.line,
                f'{key.value} {value.text} is a number. Put it in quotes, so that leading zeros stay: {key.value}: "{value.text}".',
            )
        entries.append(Entry(key.value, key_line, value))
    return Mapping(line, tuple(entries))
