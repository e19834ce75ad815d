"""What Apple's catalogue of operating systems and its lookup of app metadata answer here: files, and a built-in catalogue.

Shape of the catalogue, as servers read it from `https://gdmf.apple.com/v2/pmv`: `PublicAssetSets` (what everybody is
offered), `AssetSets` (also what only MDM may install), `PublicRapidSecurityResponses`; each maps `iOS` (also iPad and
Apple TV) and `macOS` to lists of `ProductVersion`, `Build`, `PostingDate`, `ExpirationDate` and `SupportedDevices`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mdmsim.clock import DAY, Clock, iso
from mdmsim.device.personas.catalog import MODELS, PLATFORMS
from mdmsim.device.personas.releases import RELEASES, Release
from mdmsim.json_body import BadJson, refuse_ambiguous
from mdmsim.startup import ServeError

ASSET_SETS = ("PublicAssetSets", "AssetSets", "PublicRapidSecurityResponses")

#: Apple lets a release expire about so long after its successor. Here everything does after the catalogue was made.
EXPIRES_AFTER_MS = 90 * DAY

#: When each release of `RELEASES` was published, as commonly listed. iPadOS came with iOS.
POSTED: Mapping[str, Mapping[str, str]] = {
    "ios": {
        "9.3.2": "2016-05-16", "9.3.5": "2016-08-25", "11.3.1": "2018-04-24", "11.4": "2018-05-29", "12.5.7": "2023-01-23",
        "15.7": "2022-09-12", "15.8.3": "2024-07-29", "16.2": "2022-12-13", "16.6.1": "2023-09-07", "16.7.10": "2024-09-03",
        "17.0": "2023-09-18", "17.4.1": "2024-03-21", "17.5.1": "2024-05-20", "17.6.1": "2024-08-07", "17.7": "2024-09-16",
        "18.0": "2024-09-16", "18.1": "2024-10-28", "18.2": "2024-12-11", "18.2.1": "2025-01-06", "18.3.1": "2025-02-10",
        "18.4": "2025-03-31", "18.5": "2025-05-12", "26.0": "2025-09-15",
    },
    "macos": {
        "10.11.6": "2016-07-18", "10.12.2": "2016-12-13", "10.12.6": "2017-07-19", "10.13.1": "2017-10-31",
        "10.14.6": "2019-07-22", "10.15.7": "2020-09-24", "11.7.10": "2023-09-11", "12.7.6": "2024-07-29",
        "13.0": "2022-10-24", "13.3.1": "2023-04-07", "14.0": "2023-09-26", "14.5": "2024-05-13", "14.6.1": "2024-08-07",
        "15.0": "2024-09-16", "15.1": "2024-10-28", "15.2": "2024-12-11", "15.3.1": "2025-02-10", "15.4.1": "2025-04-16",
        "15.5": "2025-05-12", "26.0": "2025-09-15",
    },
    "tvos": {"16.0": "2022-09-12", "17.0": "2023-09-18", "18.0": "2024-09-16", "18.1": "2024-10-28", "18.2": "2024-12-11"},
}  # fmt: skip

#: The catalogue's own names: everything that is no Mac stands under iOS.
_NAMES = {"ios": "iOS", "tvos": "iOS", "macos": "macOS"}

_Path = tuple[str | int, ...]


def built_in(clock: Clock) -> bytes:
    """The catalogue of the releases that simulated devices run, as JSON.

    `AssetSets` has all of them, `PublicAssetSets` the newest of each major version. Versions, builds, devices and
    posting dates are Apple's; `ExpirationDate` is 90 days from now for all, so that nothing has expired.
    """
    expires = iso(clock.now_ms() + EXPIRES_AFTER_MS)[:10]
    every: dict[str, list[dict[str, Any]]] = {"iOS": [], "macOS": []}
    public: dict[str, list[dict[str, Any]]] = {"iOS": [], "macOS": []}
    for platform, posted in POSTED.items():
        newest: dict[str, dict[str, Any]] = {}
        for release in RELEASES[platform]:
            asset = {
                "ProductVersion": release.version,
                "Build": release.build,
                "PostingDate": posted[release.version],
                "ExpirationDate": expires,
                "SupportedDevices": _devices(platform, release),
            }
            every[_NAMES[platform]].append(asset)
            newest[_major(release.version)] = asset
        public[_NAMES[platform]].extend(newest.values())
    catalogue = {"PublicAssetSets": public, "AssetSets": every, "PublicRapidSecurityResponses": {}}
    return json.dumps(catalogue, indent=1).encode()


def _devices(platform: str, release: Release) -> list[str]:
    kinds = {kind for kind, runs in PLATFORMS.items() if runs == platform or (platform == "ios" and runs == "ipados")}
    return sorted(
        model.board or model.identifier for model in MODELS.values() if model.kind in kinds and model.runs(release)
    )


def _major(version: str) -> str:
    parts = version.split(".")
    return ".".join(parts[:2]) if parts[0] == "10" else parts[0]


def read_catalogue(file: Path) -> bytes:
    """A catalogue of the user's, as it is. Raises ServeError that names file and line."""
    data, value = _json(file)
    if not any(name in value for name in ASSET_SETS):
        raise ServeError(f"{file}: none of {', '.join(ASSET_SETS)} in it. What Apple answers to /v2/pmv has them.")
    for where, problem in _problems(value):
        raise ServeError(f"{file}{_line(data, where)}: {_spelled(where)} {problem}.")
    return data


def read_metadata(file: Path) -> dict[str, Any]:
    """What the lookup answers, by adamId. Raises ServeError that names file and line."""
    data, value = _json(file)
    for adam_id, answer in value.items():
        if not re.fullmatch(r"\d{1,20}", adam_id):
            raise ServeError(f'{file}{_line(data, (adam_id,))}: "{adam_id}" is no adamId: those are digits.')
        if not isinstance(answer, dict):
            raise ServeError(
                f'{file}{_line(data, (adam_id,))}: {adam_id} must be an object, such as {{"name": ..., "bundleId": ...}}.'
            )
    return value


def _json(file: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        data = file.read_bytes()
        value = refuse_ambiguous(data)
    except OSError as error:
        raise ServeError(f"{file}: cannot be read ({error.strerror}). Name a JSON file.") from None
    except json.JSONDecodeError as error:
        raise ServeError(f"{file}:{error.lineno}: not JSON: {error.msg} (column {error.colno}).") from None
    except (UnicodeDecodeError, RecursionError, BadJson) as error:
        raise ServeError(f"{file}: not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ServeError(f"{file}:1: a JSON object is needed, not {_kind(value)}.")
    return data, value


def _problems(catalogue: Mapping[str, Any]) -> Iterator[tuple[_Path, str]]:
    for name in ASSET_SETS:
        sets = catalogue.get(name, {})
        if not isinstance(sets, dict):
            yield (name,), f"must be an object with a list for each platform, not {_kind(sets)}"
            continue
        for platform, assets in sets.items():
            if not isinstance(assets, list):
                yield (name, platform), f"must be a list, not {_kind(assets)}"
                continue
            for number, asset in enumerate(assets):
                yield from _asset_problems((name, platform, number), asset)


def _asset_problems(where: _Path, asset: Any) -> Iterator[tuple[_Path, str]]:
    if not isinstance(asset, dict):
        yield where, f"must be an object, not {_kind(asset)}"
        return
    if "ProductVersion" not in asset:
        yield where, "has no ProductVersion"
    for key, pattern, example in (
        ("ProductVersion", r"\d+(\.\d+){0,3}", "18.1"),
        ("Build", r"\S+", "22B83"),
        ("PostingDate", r"\d{4}-\d\d-\d\d", "2024-10-28"),
        ("ExpirationDate", r"\d{4}-\d\d-\d\d", "2025-01-28"),
    ):
        value = asset.get(key)
        if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value)):
            yield (*where, key), f'must be text such as "{example}", not {json.dumps(value)[:60]}'
    devices = asset.get("SupportedDevices", [])
    if not isinstance(devices, list) or not all(isinstance(device, str) for device in devices):
        yield (*where, "SupportedDevices"), "must be a list of texts"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _spelled(where: _Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.removeprefix(".")


def _line(data: bytes, where: _Path) -> str:
    """`:LINE` of a value in a JSON text. JSON is YAML (1.2), whose parser knows lines; nothing where it disagrees."""
    try:
        node = yaml.compose(data.decode(), Loader=yaml.SafeLoader)
        for part in where:
            if isinstance(part, int) and isinstance(node, yaml.SequenceNode):
                node = node.value[part]
            elif isinstance(node, yaml.MappingNode):
                node = next(value for key, value in node.value if key.value == part)
    except (yaml.YAMLError, StopIteration, IndexError, RecursionError):
        return ""
    return f":{node.start_mark.line + 1}" if node is not None else ""
