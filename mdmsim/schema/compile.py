"""`python -m mdmsim.schema.compile DIR`: Apple's YAML files in, the committed fact file out.

DIR is a working copy of apple/device-management. The output depends on the YAML alone, so that the same release gives
the same bytes. What the files hold beyond what is known here stops the compilation: a new attribute may change what
the old ones mean.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from mdmsim.protocol.errors import Malformed
from mdmsim.schema import facts
from mdmsim.schema.platforms import COLUMNS, AccessRights, version

T = TypeVar("T")

#: The schema's names of access rights; two rights have two names each.
_RIGHTS: Mapping[str, facts.Right] = {
    "None": 0,
    "AllowInspection": AccessRights.INSPECT_PROFILES,
    "AllowInstallationRemoval": AccessRights.INSTALL_PROFILES,
    "AllowPasscodeRemovalAndLock": AccessRights.LOCK_AND_REMOVE_PASSCODE,
    "DeviceLockAndRemovePasscode": AccessRights.LOCK_AND_REMOVE_PASSCODE,
    "AllowDeviceErase": AccessRights.ERASE,
    "AllowQueryDeviceInformation": AccessRights.QUERY_DEVICE,
    "AllowQueryNetworkInformation": AccessRights.QUERY_NETWORK,
    "AllowProvisioningInspection": AccessRights.INSPECT_PROVISIONING,
    "AllowProvisioningInstallationRemoval": AccessRights.INSTALL_PROVISIONING,
    "AllowQueryApplications": AccessRights.INSPECT_APPS,
    "QueryInstalledApps": AccessRights.INSPECT_APPS,
    "AllowQueryRestrictions": AccessRights.QUERY_RESTRICTIONS,
    "AllowQuerySecurity": AccessRights.QUERY_SECURITY,
    "AllowSettings": AccessRights.SETTINGS,
    "AllowAppInstallation": AccessRights.MANAGE_APPS,
    "Special Case": "query",
}

#: Attributes of supportedOS entries that these facts leave out: they belong to declarations and prose.
_IGNORED_OS = {
    "allowed-enrollments",
    "allowed-scopes",
    "always-skippable",
    "beta",
}
_IGNORED_KEY = {
    "title",
    "content",
    "subkeytype",
    "subtype",
    "assettypes",
    "combinetype",
    "range",
    "format",
    "repetition",
}


class CompileError(Exception):
    """A schema file that cannot be compiled: file, place in it, what is wrong."""


class _Loader(yaml.SafeLoader):
    """Leaves numbers with a point as text: 10.10 is a version, and as a number it would be 10.1."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def compile_tree(directory: Path) -> facts.Facts:
    """The facts in a working copy of the schema. Raises CompileError."""
    commands: dict[str, facts.CommandFacts] = {}
    for source, document in _documents(directory, "mdm/commands"):
        name = _request_type(source, document)
        if name in commands:
            raise CompileError(f"{source}: request type {name} is in {commands[name].source} already")
        platforms = _platforms(f"{source}: payload", document["payload"].get("supportedOS", {}))
        answer = _names(f"{source}: responsekeys", document.get("responsekeys", []))
        commands[name] = facts.CommandFacts(source=source, platforms=platforms, answer=answer or {})
    checkin: dict[str, facts.CheckinFacts] = {}
    for source, document in _documents(directory, "mdm/checkin"):
        name = _request_type(source, document)
        checkin[name] = facts.CheckinFacts(
            source=source,
            platforms=_platforms(f"{source}: payload", document["payload"].get("supportedOS", {})),
            keys=_keys(f"{source}: payloadkeys", document.get("payloadkeys", [])),
            response_keys=_keys(f"{source}: responsekeys", document.get("responsekeys", [])),
        )
    return facts.Facts(
        format=facts.FORMAT,
        source=facts.Source(
            repository="apple/device-management",
            license="MIT, see NOTICE",
            newest=_newest(directory),
        ),
        commands=dict(sorted(commands.items())),
        checkin=dict(sorted(checkin.items())),
        payloads=dict(sorted(_payloads(directory).items())),
        declarations=_declarative(directory, "declarative/declarations", "declarationtype"),
        status=_declarative(directory, "declarative/status", "statusitemtype"),
    )


#: Files that describe no declaration or status item: what all have in common, and what assets may hold.
_COMMON_DECLARATIVE = (
    "declarative/declarations/declarationbase.yaml",
    "declarative/declarations/assets/credentials/",
    "declarative/status/statusreason.yaml",
)


def _declarative(directory: Path, folder: str, key: str) -> dict[str, facts.DeclarativeFacts]:
    """The declaration types or the status items, by name."""
    found: dict[str, facts.DeclarativeFacts] = {}
    for source, document in _documents(directory, folder):
        if source.startswith(_COMMON_DECLARATIVE):
            continue
        name = document["payload"].get(key)
        if not isinstance(name, str) or not name:
            raise CompileError(f"{source}: payload has no {key}")
        if name in found:
            raise CompileError(f"{source}: {name} is in {found[name].source} already")
        platforms = _platforms(f"{source}: payload", document["payload"].get("supportedOS", {}))
        found[name] = facts.DeclarativeFacts(source=source, platforms=platforms)
    return dict(sorted(found.items()))


#: Files of mdm/profiles that describe no payload type but what all profiles and payloads have in common.
_COMMON = ("TopLevel", "CommonPayloadKeys")


def _payloads(directory: Path) -> dict[str, facts.PayloadFacts]:
    """The payload types. A type that several files describe has what they agree on, and the first one's source."""
    found: dict[str, facts.PayloadFacts] = {}
    for source, document in _documents(directory, "mdm/profiles"):
        name = document["payload"].get("payloadtype")
        if not isinstance(name, str) or not name:
            raise CompileError(f"{source}: payload has no payloadtype")
        if name in _COMMON:
            continue
        keys = document.get("payloadkeys") or []
        if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            raise CompileError(f"{source}: payloadkeys is no list of keys")
        required = [
            {attribute: value for attribute, value in key.items() if attribute != "subkeys"}
            for key in keys
            if key.get("presence") == "required"
        ]
        entry = facts.PayloadFacts(
            source=source,
            platforms=_platforms(f"{source}: payload", document["payload"].get("supportedOS", {})),
            required=_keys(f"{source}: payloadkeys", required),
        )
        found[name] = _common_ground(found[name], entry) if name in found else entry
    return found


def _common_ground(first: facts.PayloadFacts, second: facts.PayloadFacts) -> facts.PayloadFacts:
    """One type in two files: a key is required if both say so; several are allowed, or by hand, if either says so."""
    platforms = dict(first.platforms)
    for column, other in second.platforms.items():
        mine = platforms.get(column)
        if mine is None or not mine.available:
            platforms[column] = other
        elif other.available:
            platforms[column] = msgspec.structs.replace(
                mine,
                multiple=None if None in (mine.multiple, other.multiple) else mine.multiple or other.multiple,
                manual=None if None in (mine.manual, other.manual) else mine.manual or other.manual,
            )
    names = {key.name for key in second.required}
    return facts.PayloadFacts(first.source, platforms, tuple(key for key in first.required if key.name in names))


def render(compiled: facts.Facts) -> bytes:
    """The fact file: JSON with one command, message or payload type to a line, so that a new release reads well as a diff."""
    lines = [f'"format": {compiled.format}', f'"source": {_json(compiled.source)}']
    sections: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("commands", compiled.commands),
        ("checkin", compiled.checkin),
        ("payloads", compiled.payloads),
        ("declarations", compiled.declarations),
        ("status", compiled.status),
    )
    for section, entries in sections:
        rows = ",\n".join(f"{_json(name)}: {_json(entry)}" for name, entry in entries.items())
        lines.append(f'"{section}": {{\n{rows}\n}}')
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _json(value: Any) -> str:
    return facts.encode_value(value).decode()


_INTRODUCED = re.compile(
    r"^( *)(iOS|macOS|tvOS|visionOS|watchOS):\n\1 +introduced: '?([0-9]+(?:[.][0-9]+)*)'?$", re.MULTILINE
)


def _newest(directory: Path) -> dict[str, str]:
    """The highest version that any file of the schema introduces something in, by column: it tells the release."""
    newest: dict[str, str] = {}
    for path in sorted(directory.rglob("*.yaml")):
        for _, column, introduced in _INTRODUCED.findall(path.read_text(encoding="utf-8", errors="replace")):
            if version(introduced) > version(newest.get(column, "0")):
                newest[column] = introduced
    return {column: newest[column] for column in COLUMNS if column in newest}


def _names(where: str, entries: Any) -> dict[str, Any] | None:
    """The names of keys, each with those inside; None where the schema names none, or allows any."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "key" in entry for entry in entries):
        raise CompileError(f"{where}: no list of keys")
    if not entries or any(str(entry["key"]).startswith("ANY") for entry in entries):
        return None
    return {str(entry["key"]): _names_inside(f"{where}.{entry['key']}", entry) for entry in entries}


def _names_inside(where: str, entry: dict[str, Any]) -> dict[str, Any] | None:
    inner = entry.get("subkeys") or []
    if entry.get("type") == "<dictionary>":
        return _names(where, inner)
    if entry.get("type") == "<array>" and len(inner) == 1:  # its one subkey describes every entry
        return _names_inside(where, inner[0])
    return None


def _documents(directory: Path, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    files = sorted((directory / folder).rglob("*.yaml"))
    if not files:
        raise CompileError(f"{directory}: no {folder}/*.yaml. Name a working copy of apple/device-management.")
    for path in files:
        source = path.relative_to(directory).as_posix()
        try:
            document = yaml.load(path.read_bytes(), Loader=_Loader)
        except (OSError, yaml.YAMLError, UnicodeError) as error:
            raise CompileError(f"{source}: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.get("payload"), dict):
            raise CompileError(f"{source}: no mapping with a payload")
        yield source, document


def _request_type(source: str, document: dict[str, Any]) -> str:
    name = document["payload"].get("requesttype")
    if not isinstance(name, str) or not name:
        raise CompileError(f"{source}: payload has no requesttype")
    return name


def _platforms(where: str, entries: Any) -> dict[str, facts.Availability]:
    if not isinstance(entries, dict):
        raise CompileError(f"{where}: supportedOS is no mapping")
    unknown = entries.keys() - set(COLUMNS)
    if unknown:
        raise CompileError(f"{where}: supportedOS has {sorted(unknown)}; known are {', '.join(COLUMNS)}")
    return {column: _availability(f"{where}: {column}", entries[column]) for column in COLUMNS if column in entries}


def _availability(where: str, stated: Any) -> facts.Availability:
    if not isinstance(stated, dict):
        raise CompileError(f"{where}: no mapping")
    entry = dict(stated)
    versions: dict[str, str | None] = {}
    available = True
    for key in ("introduced", "deprecated", "removed"):
        value = entry.pop(key, None)
        if value == "n/a":
            available, value = available and key != "introduced", None
        if value is not None:
            value = str(value)
            try:
                version(value)
            except Malformed as error:
                raise CompileError(f"{where}: {key}: {error}") from None
        versions[key] = value
    right = entry.pop("accessrights", None)
    if right is not None and right not in _RIGHTS:
        raise CompileError(f"{where}: accessrights {right!r} is not known; known are {', '.join(_RIGHTS)}")
    user_enrollment = _mapping(where, entry, "userenrollment")
    shared = _mapping(where, entry, "sharedipad")
    raw = {
        "available": available,
        **versions,
        "right": None if right is None else _RIGHTS[right],
        "supervised": entry.pop("supervised", None),
        "dep": entry.pop("requiresdep", None),
        "device": entry.pop("devicechannel", None),
        "user": entry.pop("userchannel", None),
        "user_enrollment": None if user_enrollment is None else user_enrollment.get("mode", "allowed"),
        "shared_ipad": None
        if shared is None
        else {
            "mode": shared.get("mode", "allowed"),
            "device": shared.get("devicechannel"),
            "user": shared.get("userchannel"),
        },
        "multiple": entry.pop("multiple", None),
        "manual": entry.pop("allowmanualinstall", None),
        "user_approved": entry.pop("userapprovedmdm", None),
    }
    _nothing_left(where, entry, _IGNORED_OS)
    return _typed(where, raw, facts.Availability)


def _keys(where: str, entries: Any) -> tuple[facts.Key, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CompileError(f"{where}: no list of keys")
    return tuple(_key(f"{where}: {entry.get('key')}", dict(entry)) for entry in entries)


def _key(where: str, entry: dict[str, Any]) -> facts.Key:
    kind = str(entry.pop("type", "")).strip("<>")
    values = entry.pop("rangelist", [])
    if not isinstance(values, list):
        raise CompileError(f"{where}: rangelist is no list")
    default = entry.pop("default", None)
    if kind == "real":  # the loader leaves numbers with a point as text
        values = [_number(where, value) for value in values]
        default = None if default is None else _number(where, default)
    raw = {
        "name": entry.pop("key", None),
        "type": kind,
        "required": entry.pop("presence", "optional") == "required",
        "values": values,
        "default": default,
    }
    platforms = _platforms(where, entry.pop("supportedOS", {}))
    subkeys = _keys(where, entry.pop("subkeys", []))
    _nothing_left(where, entry, _IGNORED_KEY)
    return msgspec.structs.replace(_typed(where, raw, facts.Key), platforms=platforms, subkeys=subkeys)


def _number(where: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CompileError(f"{where}: {value!r} is no number") from None


def _mapping(where: str, entry: dict[str, Any], key: str) -> dict[str, Any] | None:
    value = entry.pop(key, None)
    if value is not None and not isinstance(value, dict):
        raise CompileError(f"{where}: {key} is no mapping")
    return value


def _nothing_left(where: str, entry: dict[str, Any], ignored: set[str]) -> None:
    unknown = entry.keys() - ignored
    if unknown:
        raise CompileError(f"{where}: {sorted(unknown)} is not known to this compiler")


def _typed(where: str, raw: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise CompileError(f"{where}: {error}") from None


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 when the file was written, 2 for a mistake in DIR or the files in it."""
    parser = argparse.ArgumentParser(
        prog="python -m mdmsim.schema.compile", description="Compile Apple's schema to facts.json."
    )
    parser.add_argument("directory", type=Path, help="a working copy of apple/device-management")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("facts.json"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        compiled = compile_tree(options.directory)
        options.out.write_bytes(render(compiled))
    except (CompileError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"{options.out}: {len(compiled.commands)} commands, {len(compiled.checkin)} check-in messages,"
        f" {len(compiled.payloads)} payload types, {len(compiled.declarations)} declarations,"
        f" {len(compiled.status)} status items\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
