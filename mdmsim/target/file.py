"""The target file: where a server under test is, how to reach its administrator's API, and how devices enrol there."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec
import yaml

from mdmsim.chance import Chance
from mdmsim.http import Outbound, Trust, is_loopback
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.protocol.errors import Malformed
from mdmsim.target.adapter import Adapter
from mdmsim.target.nanomdm import NanoMDMAdapter
from mdmsim.target.reference import ReferenceAdapter

AdapterName = Literal["reference", "nanomdm"]
ADAPTERS: tuple[AdapterName, ...] = get_args(AdapterName)

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class TargetError(Exception):
    """The author's mistake in a target file. The message says which file and key, what, and what to do."""

    def __init__(self, file: str, key: str, what: str) -> None:
        super().__init__(f"{file}: {key}: {what}" if key else f"{file}: {what}")
        self.file = file
        self.key = key


class _Text(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may stand under `target`."""

    adapter: str
    url: str
    api_key: str | None = None
    enroll: dict[str, Any] | None = None
    trust: str | list[str] = []
    allow_http: bool = False
    courier: str | None = None
    push_certificate: str | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A server under test. `profile`: what enrols devices, or its URL; None where the adapter asks the server for one.

    `anchors` (DER): trusted by devices and by the adapter. `allow_http`: devices accept `http://` to this machine.
    `courier`: host and port of a fake APNs' courier. `push_certificate`: PEM, certificate and key, for the server.
    """

    file: str
    adapter: AdapterName
    url: str
    api_key: str
    profile: bytes | str | None = None
    anchors: tuple[bytes, ...] = ()
    allow_http: bool = False
    courier: tuple[str, int] | None = None
    push_certificate: bytes | None = None


def read_target(path: Path, *, environment: Mapping[str, str] | None = None) -> Target:
    """The target in a file. Paths in it are relative to it; `${NAME}` is taken from the environment. Raises TargetError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TargetError(str(path), "", f"{(error.strerror or str(error)).lower()}. Name a target file.") from None
    return parse_target(data, path, environment=os.environ if environment is None else environment)


def parse_target(data: bytes, path: Path, *, environment: Mapping[str, str]) -> Target:
    """The target in a file's bytes. Raises TargetError."""
    file = str(path)
    text = _text(_expanded(_mapping(data, file), file, environment), file)
    _check_url(text.url, file)
    if text.adapter not in ADAPTERS:
        raise TargetError(file, "adapter", f'"{text.adapter}" is none. Allowed: {", ".join(ADAPTERS)}.')
    adapter: AdapterName = "nanomdm" if text.adapter == "nanomdm" else "reference"
    if not text.api_key:
        raise TargetError(
            file, "api_key", f"is missing; the adapter {adapter} needs it. Write ${{NAME}} for a variable."
        )
    if not (text.api_key.isascii() and text.api_key.isprintable()):
        raise TargetError(
            file, "api_key", "holds characters that no HTTP header takes. Write printable ASCII, on one line."
        )
    profile = _profile(text.enroll, path)
    if adapter == "nanomdm" and profile is None:
        raise TargetError(
            file,
            "enroll",
            "is missing: NanoMDM hands out no profile. Write e.g. enroll: {profile: enroll.mobileconfig}",
        )
    if text.push_certificate is not None and adapter != "nanomdm":
        raise TargetError(file, "push_certificate", f"the adapter {adapter} takes none. Leave it out.")
    return Target(
        file=file,
        adapter=adapter,
        url=text.url.rstrip("/"),
        api_key=text.api_key,
        profile=profile,
        anchors=_anchors([text.trust] if isinstance(text.trust, str) else text.trust, path),
        allow_http=text.allow_http,
        courier=_courier(text.courier, file),
        push_certificate=_contents(path, "push_certificate", text.push_certificate),
    )


async def open_target(target: Target, outbound: Outbound, *, chance: Chance) -> Adapter:
    """The adapter for a target, after its server has answered. `chance`: of CommandUUIDs. Raises AdapterError."""
    trust = Trust(anchors=target.anchors, system=True, allow_http=True)
    if target.adapter == "nanomdm":
        adapter = NanoMDMAdapter(outbound, target.url, target.api_key, trust, profile=target.profile, chance=chance)
        await adapter.check()
        if target.push_certificate is not None:
            await adapter.set_push_certificate(target.push_certificate)
        return adapter
    reference = ReferenceAdapter(outbound, target.url, target.api_key, trust)
    await reference.check()
    return reference


def _mapping(data: bytes, file: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f"{file}:{mark.line + 1}" if mark is not None else file
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise TargetError(at, "", f'not YAML: {problem}. It begins with "target:" and keys under it.') from None
    if not isinstance(values, dict) or "target" not in values:
        raise TargetError(
            file, "", 'no "target" in it. It begins with "target:" and keys such as adapter and url under it.'
        )
    for key in values:
        if key != "target":
            raise TargetError(file, str(key), 'is unknown. Everything stands under "target".')
    inner = values["target"]
    if not isinstance(inner, dict):
        raise TargetError(file, "target", f"takes keys such as {', '.join(_KEYS[:3])}, not {_kind(inner)}.")
    return inner


_KEYS = tuple(_Text.__struct_fields__)


def _expanded(values: dict[str, Any], file: str, environment: Mapping[str, str]) -> dict[str, Any]:
    return {key: _expand(value, file, str(key), environment) for key, value in values.items()}


def _expand(value: Any, file: str, key: str, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {inner: _expand(entry, file, f"{key}.{inner}", environment) for inner, entry in value.items()}
    if isinstance(value, list):
        return [_expand(entry, file, key, environment) for entry in value]
    if not isinstance(value, str):
        return value

    def filled(match: re.Match[str]) -> str:
        name = match[1]
        if not _NAME.match(name):
            raise TargetError(file, key, f"{match[0]} names no variable. Write ${{NAME}}.")
        if name not in environment:
            raise TargetError(file, key, f"the environment has no {name}. Set it: export {name}=...")
        return environment[name]

    return _VARIABLE.sub(filled, value)


def _text(values: dict[str, Any], file: str) -> _Text:
    for key in values:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"Allowed: {', '.join(_KEYS)}."
            raise TargetError(file, str(key), f"is unknown. {hint}")
    for key in ("adapter", "url"):
        if key not in values:
            example = "adapter: nanomdm" if key == "adapter" else "url: http://127.0.0.1:9000"
            raise TargetError(file, key, f'is missing. Write e.g. "{example}".')
    try:
        return msgspec.convert(values, _Text)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        key = where.strip("`").removeprefix("$").strip(".")
        raise TargetError(file, key or "target", f"{what[:1].lower()}{what[1:]}.") from None


def _check_url(url: str, file: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise TargetError(file, "url", f'"{url}" is none: {error}.') from None
    if parts.scheme not in ("http", "https") or not host:
        raise TargetError(
            file, "url", f'"{url}" is none. Write e.g. "https://mdm.example.com" or "http://127.0.0.1:9000".'
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise TargetError(
            file, "url", f"{url} would send the API key in the clear. Use https, or a server on this machine."
        )


def _profile(enroll: dict[str, Any] | None, path: Path) -> bytes | str | None:
    if enroll is None:
        return None
    for key in enroll:
        if key in ("ade", "ota", "account"):
            raise TargetError(str(path), f"enroll.{key}", "is not simulated yet. Use enroll: {profile: FILE_OR_URL}.")
        if key != "profile":
            raise TargetError(str(path), f"enroll.{key}", "is unknown. Allowed: profile.")
    profile = enroll.get("profile")
    if not isinstance(profile, str) or not profile:
        raise TargetError(str(path), "enroll.profile", f"takes a file or a URL, not {_kind(profile)}.")
    if "://" in profile:
        return profile
    return _contents(path, "enroll.profile", profile)


def _anchors(files: Sequence[str], path: Path) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for file in files:
        try:
            ders = certificates_from_pem(_contents(path, "trust", file) or b"")
        except Malformed as error:
            raise TargetError(
                str(path), "trust", f"{file}: {error}. Name a PEM file with the CA's certificate."
            ) from None
        found.extend(ders)
    return tuple(found)


def _contents(path: Path, key: str, name: str | None) -> bytes | None:
    if name is None:
        return None
    try:
        return (path.parent / name).read_bytes()
    except OSError as error:
        raise TargetError(
            str(path), key, f"{name}: {(error.strerror or str(error)).lower()}. Paths are relative to the target file."
        ) from None


def _courier(text: str | None, file: str) -> tuple[str, int] | None:
    if text is None:
        return None
    host, colon, port = (text.partition("://")[2] or text).rstrip("/").rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise TargetError(file, "courier", f'"{text}" is no address. Write HOST:PORT, as mdmsim up prints it.')
    return host.removeprefix("[").removesuffix("]"), int(port)


def _kind(value: object) -> str:
    names: dict[type, str] = {str: "text", bool: "true or false", int: "a number", list: "a list", dict: "a mapping"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)
