"""From a YAML tree to typed values: one struct per step, and a complaint with file, line, key and what is allowed."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from mdmsim.scenario.durations import Duration
from mdmsim.scenario.errors import ScenarioError, WrongKey, did_you_mean
from mdmsim.scenario.yaml_tree import Entry, Mapping, Node, Scalar, Sequence, kind, plain

S = TypeVar("S", bound=msgspec.Struct)


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a mapping in a scenario may hold. Fields carry a description and an example for messages and editors."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What a field says about itself."""

    description: str = ""
    example: str = ""
    refers_to: str = ""
    """`device` or `command`: the value is a name that the scenario gave earlier."""
    minimum: int | None = None
    filled: bool = False
    """The mapping or list holds something, where it is given at all: an empty one would compare nothing."""


def about(
    description: str, *, example: str = "", refers_to: str = "", minimum: int | None = None, filled: bool = False
) -> msgspec.Meta:
    """The annotation of a field."""
    extra = {"hint": Hint(description, example, refers_to, minimum, filled)}
    shown: dict[str, Any] = {"examples": [example]} if example else {}
    if minimum is not None:  # not as `ge`, which a number that may be absent does not take
        shown["extra_json_schema"] = {"minimum": minimum}
    if filled:  # each of the two counts for its own type only
        shown["extra_json_schema"] = {"minProperties": 1, "minItems": 1}
    return msgspec.Meta(description=description, extra=extra, **shown)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct as a scenario's author sees it. `key` is the word in YAML."""

    key: str
    name: str
    type: Any
    required: bool
    hint: Hint


@cache
def fields_of(struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of a struct, in order."""
    hints = get_type_hints(struct, include_extras=True)
    fields: list[Field] = []
    for described in msgspec.structs.fields(struct):
        declared, hint = _bare(hints[described.name])
        fields.append(Field(described.encode_name, described.name, declared, described.required, hint))
    return tuple(fields)


def _bare(declared: Any) -> tuple[Any, Hint]:
    if get_origin(declared) is Annotated:
        inner, *notes = get_args(declared)
        for note in notes:
            if isinstance(note, msgspec.Meta) and note.extra:
                return inner, note.extra.get("hint", Hint())
        return inner, Hint()
    return declared, Hint()


class Converter:
    """Converts nodes of one file. `special`: how to read types that this module does not know (steps)."""

    def __init__(self, file: str, special: dict[type, Callable[[Node, str], Any]] | None = None) -> None:
        self.file = file
        self._special = special or {}

    def error(self, line: int, what: str) -> ScenarioError:
        return ScenarioError(f"{self.file}:{line}", what)

    def struct(self, node: Node, struct: type[S], context: str) -> S:
        """A mapping as that struct. `context` names it in messages: `step "push"`."""
        if isinstance(node, Scalar) and node.value is None:
            node = Mapping(node.line, ())
        fields = fields_of(struct)
        if not isinstance(node, Mapping):
            needed = [field.key for field in fields if field.required]
            example = _example(fields)
            hint = f" Write {example} under it." if example else ""
            needs = f" with {' and '.join(quoted(needed))}" if needed else ""
            raise self.error(node.line, f"{context} takes a mapping{needs}, not {kind(node)}.{hint}")
        by_key = {field.key: field for field in fields}
        values: dict[str, Any] = {}
        for entry in node.entries:
            known = by_key.get(entry.key)
            if known is None:
                raise self.error(entry.line, f'{context} has no "{entry.key}". {did_you_mean(entry.key, by_key)}')
            what = f'"{known.key}" of {context}'
            values[known.name] = self.value(entry.value, known.type, what, known.hint)
            if known.hint.filled and not values[known.name]:
                raise self.error(
                    entry.line, f"{what} is empty: it compares nothing. Say what to compare, or leave it out."
                )
        for field in fields:
            if field.required and field.name not in values:
                raise self.error(node.line, f'{context} needs "{field.key}".{_advice(field)}')
        try:
            return struct(**values)
        except ValueError as error:  # what __post_init__ of a struct has against a combination of values
            path = error.path if isinstance(error, WrongKey) else ()
            raise self.error(_line_at(node, path), f"{context}: {error}") from None

    def value(self, node: Node, declared: Any, context: str, hint: Hint) -> Any:
        """A node as a value of that type."""
        origin = get_origin(declared)
        if declared is Any:
            return plain(node)
        if origin in (Union, types.UnionType):
            return self._union(node, get_args(declared), context, hint)
        if origin is Literal:
            return self._choice(node, get_args(declared), context)
        if origin is tuple:
            item = get_args(declared)[0]
            if not isinstance(node, Sequence):
                raise self.error(node.line, f"{context} takes a list, not {kind(node)}.{_eg(hint)}")
            return tuple(self.value(entry, *_bare_first(item), context, hint) for entry in node.items)
        if origin is dict:
            if not isinstance(node, Mapping):
                raise self.error(node.line, f"{context} takes a mapping, not {kind(node)}.{_eg(hint)}")
            item = get_args(declared)[1]
            return {
                entry.key: self.value(entry.value, *_bare_first(item), f'"{entry.key}" in {context}', hint)
                for entry in node.entries
            }
        if isinstance(declared, type):
            special = self._special.get(declared)
            if special is not None:
                return special(node, context)
            if issubclass(declared, msgspec.Struct):
                return self.struct(node, declared, context)
            return self._scalar(node, declared, context, hint)
        raise TypeError(f"{context}: no way to read {declared!r}")

    def _union(self, node: Node, options: tuple[Any, ...], context: str, hint: Hint) -> Any:
        if type(None) in options and isinstance(node, Scalar) and node.value is None:
            return None
        left = [option for option in options if option is not type(None)]
        for option in left:
            if _fits(node, option):
                return self.value(node, option, context, hint)
        if len(left) == 1:
            return self.value(node, left[0], context, hint)
        raise self.error(
            node.line, f"{context} takes {' or '.join(_word(option) for option in left)}, not {kind(node)}.{_eg(hint)}"
        )

    def _choice(self, node: Node, allowed: tuple[Any, ...], context: str) -> Any:
        if isinstance(node, Scalar) and node.value in allowed and isinstance(node.value, str):
            return node.value
        found = node.text if isinstance(node, Scalar) else kind(node)
        raise self.error(node.line, f'{context} cannot be "{found}". {did_you_mean(found, allowed)}')

    def _scalar(self, node: Node, declared: type, context: str, hint: Hint) -> Any:
        value = node.value if isinstance(node, Scalar) else None
        wrong = f"{context} takes {_word(declared)}, not {kind(node)}."
        if declared is Duration:
            if not isinstance(value, str):
                unit = f" Add the unit: {value}s?" if isinstance(value, int) and not isinstance(value, bool) else ""
                raise self.error(node.line, f"{wrong}{unit}")
            try:
                return Duration(value)
            except ValueError as error:
                raise self.error(node.line, f'{context} is "{value}": {error}.') from None
        if declared is str:
            if not isinstance(value, str):
                quote = f' Put it in quotes: "{node.text}".' if isinstance(node, Scalar) and value is not None else ""
                raise self.error(node.line, f"{wrong}{quote or _eg(hint)}")
            return value
        if declared is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, declared) or (declared is not bool and isinstance(value, bool)):
            raise self.error(node.line, wrong + _eg(hint))
        if hint.minimum is not None and isinstance(value, int) and value < hint.minimum:
            raise self.error(node.line, f"{context} is {value}; it must be {hint.minimum} or more.")
        return value


def _line_at(node: Node, path: Collection[str]) -> int:
    """The line of the last key of the path; list items are looked into in order."""
    line = node.line
    for key in path:
        entry = _entry(node, key)
        if entry is None:
            break
        node, line = entry.value, entry.line
    return line


def _entry(node: Node, key: str) -> Entry | None:
    if isinstance(node, Sequence):
        return next((found for item in node.items if (found := _entry(item, key)) is not None), None)
    return node.get(key) if isinstance(node, Mapping) else None


def _bare_first(declared: Any) -> tuple[Any]:
    return (_bare(declared)[0],)


def _fits(node: Node, option: Any) -> bool:
    """Whether a node looks like a value of that type, to choose one of several."""
    origin = get_origin(option)
    if isinstance(node, Mapping):
        return origin is dict or (isinstance(option, type) and issubclass(option, msgspec.Struct))
    if isinstance(node, Sequence):
        return origin is tuple
    if origin is Literal:
        return node.value in get_args(option)
    if option is Duration:
        return isinstance(node.value, str)
    if option is int:
        return isinstance(node.value, int) and not isinstance(node.value, bool)
    return isinstance(option, type) and isinstance(node.value, option)


_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Duration: "a duration such as 30s, 5m or 30d",
}


def _word(option: Any) -> str:
    origin = get_origin(option)
    if origin is tuple:
        return "a list"
    if origin is dict:
        return "a mapping"
    if origin is Literal:
        return "one of " + ", ".join(quoted(get_args(option)))
    return _WORDS.get(option, "a mapping")


def quoted(words: Any) -> list[str]:
    return [f'"{word}"' for word in words]


def _advice(field: Field) -> str:
    said = f" {field.hint.description}" if field.hint.description else ""
    example = f', e.g. "{field.key}: {field.hint.example}"' if field.hint.example else ""
    return f"{said}{example}." if said or example else ""


def _eg(hint: Hint) -> str:
    return f" E.g. {hint.example}." if hint.example else ""


def _example(fields: tuple[Field, ...]) -> str:
    shown = [f'"{field.key}: {field.hint.example}"' for field in fields if field.required and field.hint.example]
    return " and ".join(shown)
