"""Due-lists as people have them: JSON, CSV and YAML. A mistake is told with its line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import yaml

from mdmsim.fakeapns.due import DueEntry, DueMistake, check_due
from mdmsim.json_body import BadJson, refuse_ambiguous
from mdmsim.mistakes import explain
from mdmsim.printable import printable

Format = Literal["json", "csv", "yaml"]

#: Names that columns and keys may have instead.
_ALSO = {"serial_number": "serial", "serialnumber": "serial", "device_id": "device", "push_token": "token"}
_FIELDS = DueEntry.__struct_fields__
_EXAMPLE = '{"udid": "...", "since": "2026-01-31T12:00:00Z"}'


class BadDueList(ValueError):
    """A due-list that cannot be read. The text says where and what to do."""


def due_text(data: bytes, *, name: str = "due-list") -> str:
    """The text of a due-list. Raises BadDueList for what is no UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadDueList(f"{name}: it is not UTF-8. Save it as UTF-8.") from None


def read_due(text: str, form: Format | None = None, *, name: str = "due-list") -> list[DueEntry]:
    """The entries of a due-list, checked. `form`: None looks at the text. `name` is what messages call it.

    JSON and YAML: a list of entries, or an object with the list under `due`. CSV: the first line names the columns, and
    columns that are not an entry's fields are left aside. Raises BadDueList.
    """
    text = text.removeprefix("\ufeff")
    form = form or _looks_like(text)
    found = {"json": _json, "csv": _csv, "yaml": _yaml}[form](text, name)
    entries: list[DueEntry] = []
    for number, (fields, line) in enumerate(found, 1):
        where = f"{name}, line {line}"
        if not isinstance(fields, dict):
            raise BadDueList(f"{where}: entry {number} is no object. Write e.g. {_EXAMPLE}")
        fields = {_ALSO.get(str(key).lower(), key): value for key, value in fields.items() if value is not None}
        if any(isinstance(value, str) and not _encodable(value) for value in (*fields, *fields.values())):
            raise BadDueList(f"{where}: half of a surrogate pair is no character")
        try:
            entries.append(msgspec.convert(fields, DueEntry))
            check_due(entries[-1:])
        except (msgspec.ValidationError, DueMistake) as error:
            raise BadDueList(f"{where}: {printable(explain(error, DueEntry))}. Write e.g. {_EXAMPLE}") from None
    return entries


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _looks_like(text: str) -> Format:
    start = text.lstrip()[:1]
    if start in ("[", "{"):
        return "json"
    first = text.lstrip().partition("\n")[0].lower()
    named = any(name in first for name in ("since", "device", "udid", "serial", "token"))
    return "csv" if named and any(mark in first for mark in ",;\t") and ":" not in first else "yaml"


def _json(text: str, name: str) -> Iterator[tuple[Any, int]]:
    try:
        whole = refuse_ambiguous(text)
    except json.JSONDecodeError as error:
        raise BadDueList(f"{name}, line {error.lineno}: no JSON: {error.msg}") from None
    except BadJson as error:
        raise BadDueList(f"{name}: {printable(str(error))}") from None
    except RecursionError:
        raise BadDueList(f"{name}: nested too deeply") from None
    yield from zip(_listed(whole, name), _json_lines(text), strict=False)


def _json_lines(text: str) -> Iterator[int]:
    """The line on which each element of the list begins. The text is JSON that holds one."""
    decoder = json.JSONDecoder()
    at = text.index("[")
    line, counted = 1, 0
    while True:
        at += 1
        while text[at] in " \t\r\n,":
            at += 1
        if text[at] == "]":
            return
        line += text.count("\n", counted, at)
        counted = at
        yield line
        at = decoder.raw_decode(text, at)[1] - 1


def _csv(text: str, name: str) -> Iterator[tuple[Any, int]]:
    first = text.partition("\n")[0]
    mark = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=mark, strict=True)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        columns = [_ALSO.get(cell, cell) for cell in header]
        if "since" not in columns:
            raise BadDueList(f"{name}, line 1: no column since. The first line names the columns, e.g. udid,since")
        for row in reader:
            if any(cell.strip() for cell in row):
                cells = zip(columns, (cell.strip() for cell in row), strict=False)
                yield {column: cell for column, cell in cells if cell and column in _FIELDS}, reader.line_num
    except csv.Error as error:
        raise BadDueList(f"{name}, line {reader.line_num}: no CSV: {error}") from None


def _yaml(text: str, name: str) -> Iterator[tuple[Any, int]]:
    try:
        # Everything is text here: a serial number of digits stays one.
        whole = yaml.load(text, Loader=yaml.BaseLoader)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise BadDueList(f"{name}, line {line}: no YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise BadDueList(f"{name}: no YAML: {error}") from None
    listed = _listed(whole, name)
    while isinstance(node, yaml.MappingNode):
        node = next(value for key, value in node.value if key.value == "due")
    assert isinstance(node, yaml.SequenceNode)
    yield from zip(listed, (item.start_mark.line + 1 for item in node.value), strict=True)


def _listed(whole: Any, name: str) -> list[Any]:
    if isinstance(whole, dict) and whole.keys() == {"due"}:
        whole = whole["due"]
    if isinstance(whole, list):
        return whole
    raise BadDueList(f"{name}: no list of entries. Write e.g. [{_EXAMPLE}], or the same under the key due")
