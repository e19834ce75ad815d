"""Every kind of message that mdmsim emits, who accepts it that nobody here wrote, and which capture it equals.

`python -m tests.interop.message_table` writes `docs/message-table.md`. The tests fill the table with life: each row's
parsers are shown that kind of message, and a kind that is emitted without a row is a failure.
"""

from __future__ import annotations

import plistlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from mdmsim.fakeapns.courier.protocol import FromClient, FromServer
from mdmsim.fakeapns.errors import REASONS
from tests.interop.corpus import Sample
from tests.interop.tour import answered

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "message-table.md"
DATA = ROOT / "tests" / "data"

#: The parsers, and what it means that one accepts a message.
PARSERS: dict[str, str] = {
    "openssl": "`cms`, `req`, `x509`, `verify`, `pkcs7`: signatures verify under the CA, envelopes open, what is inside is whole",
    "NanoMDM": "v0.9.0, its decoders and the running server: it understands the message, and reads the values that were meant",
    "micromdm/plist": "v0.2.1, a plist parser in Go: finds exactly the values that Python's plistlib finds",
    "smallstep/scep": "what scepserver and scepclient parse with: reads and decrypts the message as the CA or the client",
    "scepserver": "v2.3.0, running: answers the request",
    "scepclient": "v2.3.0, running: enrols with the reference server, or reports its refusal",
    "Go": "the standard library's net/http (HTTP/2) and encoding/json: finds what was meant",
    "curl": "with nghttp2: takes the answer for what it is",
    "msgpack": "the msgpack library of PyPI: one map with a kind per frame",
}

IOS, MACOS, TVOS = "iOS", "macOS", "tvOS"
PLATFORMS = (IOS, MACOS, TVOS)


@dataclass(frozen=True)
class Capture:
    """A captured message that ours equals key for key, values' keys included.

    `without`, `plus`: keys that differ in a documented way, which `why` tells. `every`: each message of the kind does
    so (in one of its captures' forms); otherwise those that were asked the same.
    """

    fixture: str
    without: tuple[str, ...] = ()
    plus: tuple[str, ...] = ()
    why: str = ""
    every: bool = True

    def keys(self) -> frozenset[str]:
        captured = set(paths(plistlib.loads((DATA / f"{self.fixture}.plist").read_bytes())))
        return frozenset((captured - set(self.without)) | set(self.plus))

    def __str__(self) -> str:
        changes = [*(f"without {key}" for key in self.without), *(f"with {key}" for key in self.plus)]
        detail = ", ".join([*changes, *([self.why] if self.why else [])])
        return f"`{self.fixture}`" + (f" ({detail})" if detail else "")


@dataclass(frozen=True)
class Row:
    """One kind of message."""

    kind: str
    parsers: tuple[str, ...]
    captures: tuple[Capture, ...] = ()
    no_capture: str = ""


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Every key in a plist, with the keys above it: `ErrorChain[].ErrorCode`."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield prefix + key
            yield from paths(entry, f"{prefix}{key}.")
    elif isinstance(value, list):
        for entry in value:
            yield from paths(entry, f"{prefix.removesuffix('.')}[].")


# ---- rows

_OLD_MAC = ("RequestType",)
_OLD_MAC_WHY = "as macOS up to 10.12 has it in every result"
_TEXTS = ("PayloadDescription", "PayloadDisplayName", "PayloadOrganization", "PayloadRemovalDisallowed")

_CAPTURES: dict[str, tuple[Capture, ...]] = {
    f"checkin:Authenticate [{IOS}]": (Capture("authenticate-ios-9.3"), Capture("authenticate-ios-11.3-cellular")),
    f"checkin:Authenticate [{MACOS}]": (
        Capture("authenticate-macos-10.12"),
        Capture("authenticate-macos-10.12", without=("Challenge",), why="seen up to 10.12 only"),
    ),
    f"checkin:TokenUpdate [{IOS}]": (Capture("tokenupdate-ios-9.3"),),
    f"checkin:TokenUpdate [{MACOS}]": (Capture("tokenupdate-macos-10.12"),),
    f"checkin:CheckOut [{IOS}]": (Capture("checkout-ios-11.3"),),
    f"checkin:CheckOut [{MACOS}]": (Capture("checkout-ios-11.3", why="the same on both"),),
    f"connect:Idle [{IOS}]": (Capture("idle-macos-11", why="the same on both"),),
    f"connect:Idle [{MACOS}]": (Capture("idle-macos-11"),),
    f"connect:NotNow [{IOS}]": (Capture("notnow-ios-11.3"),),
    f"connect:NotNow [{MACOS}]": (
        Capture("notnow-ios-11.3", why="the same on both"),
        Capture("notnow-ios-11.3", plus=_OLD_MAC, why=_OLD_MAC_WHY),
    ),
    f"connect:CommandFormatError [{IOS}]": (Capture("commandformaterror-ios-11.3"),),
    f"connect:CommandFormatError [{MACOS}]": (
        Capture("commandformaterror-ios-11.3", why="the same on both"),
        Capture("commandformaterror-ios-11.3", plus=_OLD_MAC, why=_OLD_MAC_WHY),
    ),
    f"connect:Error [{IOS}]": (Capture("error-ios-11.3-removeprofile"),),
    f"connect:Error [{MACOS}]": (
        Capture("error-macos-10.13-unknown"),
        Capture("error-macos-10.13-unknown", plus=_OLD_MAC, why=_OLD_MAC_WHY),
    ),
    f"connect:Acknowledged DeviceLock [{IOS}]": (Capture("devicelock-ios-11.3-no-passcode"),),
    f"connect:Acknowledged DeviceInformation [{IOS}]": (Capture("deviceinformation-ios-11.3", every=False),),
    f"connect:Acknowledged DeviceInformation [{MACOS}]": (Capture("deviceinformation-macos-10.12", every=False),),
    f"connect:Acknowledged CertificateList [{MACOS}]": (
        Capture("certificatelist-macos-13"),
        Capture("certificatelist-macos-13", plus=_OLD_MAC, why=_OLD_MAC_WHY),
    ),
    f"connect:Acknowledged ProfileList [{MACOS}]": (
        Capture(
            "profilelist-macos-13",
            plus=tuple(f"ProfileList[].{key}" for key in _TEXTS),
            why="a profile that has these texts",
            every=False,
        ),
    ),
}

_NO_CAPTURE = {IOS: "none known", MACOS: "none known", TVOS: "none known: no tvOS message was ever captured"}


def _from_devices() -> Iterator[Row]:
    for message in ("Authenticate", "TokenUpdate", "CheckOut"):
        for platform in PLATFORMS:
            yield _plist(f"checkin:{message} [{platform}]", platform)
    for status in ("Idle", "NotNow", "Error", "CommandFormatError"):
        for platform in PLATFORMS:
            if (status, platform) != ("NotNow", TVOS):  # nothing locks an Apple TV
                yield _plist(f"connect:{status} [{platform}]", platform)
    for request_type, platform in answered():
        yield _plist(f"connect:Acknowledged {request_type} [{platform}]", platform)
    own = "bytes of its own every time"
    yield Row("Mdm-Signature", ("openssl", "NanoMDM"), no_capture=own)
    yield Row("device HTTP requests", ("NanoMDM",), no_capture="headers are compared in the tests of personas")
    yield Row("scep:GetCACaps", ("scepserver",), no_capture="a query, compared in the tests of SCEP")
    yield Row("scep:GetCACert", ("scepserver",), no_capture="a query, compared in the tests of SCEP")
    post = ("openssl", "smallstep/scep", "scepserver")
    yield Row("scep:PKIOperation PKCSReq by POST", post, no_capture=own)
    yield Row("scep:PKIOperation PKCSReq by GET", ("openssl", "smallstep/scep"), no_capture=own)
    yield Row("scep:PKIOperation CertPoll by POST", ("openssl",), no_capture="none known")
    for platform in PLATFORMS:
        yield Row(
            f"enroll:profile MachineInfo [{platform}]",
            ("openssl",),
            no_capture="the keys of those described are all there, and newer ones",
        )
    for platform in (IOS, MACOS):
        yield Row(
            f"enroll:web MachineInfo [{platform}]",
            ("openssl",),
            no_capture="the keys of those described are all there, and newer ones",
        )
    yield Row("enroll:web POST form", ("Go",), no_capture="a web page's form")
    yield Row("dep:activation", ("Go",), no_capture="a request of the fake's own: Apple's is private")


def _plist(kind: str, platform: str) -> Row:
    captures = _CAPTURES.get(kind, ())
    return Row(kind, ("NanoMDM", "micromdm/plist"), captures, "" if captures else _NO_CAPTURE[platform])


def _from_the_server() -> Iterator[Row]:
    for request_type in (*sorted({name for name, _ in answered()}), "(unknown RequestType)"):
        yield _others(f"command:{request_type}", "NanoMDM", "micromdm/plist")
    yield _others("enrollment profile", "openssl", "smallstep/scep", "micromdm/plist", "curl")
    yield _others("CA capabilities", "scepclient")
    yield _others("CA certificate", "openssl", "scepclient")
    yield _others("CA certificates", "openssl", "smallstep/scep")
    yield _others("CertRep issued", "openssl", "smallstep/scep", "scepclient")
    yield _others("CertRep refused", "openssl", "smallstep/scep", "scepclient")
    yield _others("CertRep pending", "openssl", "smallstep/scep")
    yield _others("refusal", "curl")
    yield _others("push request", "Go")
    for call in _API:
        empty = call.startswith("DELETE") and not call.startswith("DELETE /api/v1/devices")
        yield _others(f"API {call}", "curl") if empty else _others(f"API {call}", "curl", "Go")


#: The REST API, and what anybody may ask. Compared in the tests with the API's own description.
_API = (
    "GET /api/v1/devices",
    "GET /api/v1/devices/{id}",
    "POST /api/v1/devices/{id}/remove",
    "POST /api/v1/devices/{id}/push",
    "POST /api/v1/devices/{id}/renew",
    "GET /api/v1/devices/{id}/commands",
    "POST /api/v1/devices/{id}/commands",
    "DELETE /api/v1/devices/{id}/commands",
    "GET /api/v1/devices/{id}/commands/{uuid}",
    "DELETE /api/v1/devices/{id}/commands/{uuid}",
    "POST /api/v1/commands",
    "POST /api/v1/profiles",
    "GET /api/v1/refusals",
    "POST /api/v1/refusals",
    "DELETE /api/v1/refusals/{id}",
    "GET /api/v1/dep",
    "POST /api/v1/dep",
    "GET /api/v1/dep/{name}",
    "DELETE /api/v1/dep/{name}",
    "GET /api/v1/dep/{name}/certificate",
    "POST /api/v1/dep/{name}/token",
    "POST /api/v1/dep/{name}/sync",
    "GET /api/v1/dep/{name}/devices",
    "GET /api/v1/dep/{name}/devices/{serial}",
    "GET /api/v1/dep/{name}/devices/{serial}/user",
    "PUT /api/v1/dep/{name}/devices/{serial}/user",
    "DELETE /api/v1/dep/{name}/devices/{serial}/user",
    "GET /api/v1/dep/{name}/profiles",
    "GET /api/v1/dep/{name}/profiles/{profile}",
    "PUT /api/v1/dep/{name}/profiles/{profile}",
    "POST /api/v1/dep/{name}/assign",
    "GET /api/v1/openapi.json",
    "GET error",
    "GET /healthz",
    "GET /readyz",
    "GET /version",
)


def _from_apns() -> Iterator[Row]:
    yield _others("APNs answer 200", "NanoMDM")
    for reason, status in sorted(REASONS.items(), key=lambda entry: (entry[1], entry[0])):
        yield _others(f"APNs answer {status} {reason}", "NanoMDM")
    for side, frames in (("client", FromClient), ("server", FromServer)):
        for frame in get_args(frames):
            yield _others(f"courier {side}: {frame.__struct_config__.tag}", "msgpack")
    for path in ("/healthz", "/stats", "/certificates", "/tokens", "/pending", "/faults"):
        yield _others(f"APNs admin GET {path}", "curl", "Go")


def _from_proxies() -> Iterator[Row]:
    for status in (200, 400, 403, 405, 431, 502):
        yield _others(f"CONNECT answer {status}", "curl")
    yield _others("client certificate as nginx", "NanoMDM")
    yield _others("client certificate as RFC 9440", "NanoMDM")
    yield _others("front answer passed on", "curl")
    yield _others("front answer 502", "curl")


def _others(kind: str, *parsers: str) -> Row:
    return Row(kind, parsers, no_capture="not a device's message")


SECTIONS: dict[str, tuple[Row, ...]] = {
    "Devices": tuple(_from_devices()),
    "The reference server": tuple(_from_the_server()),
    "The fake APNs and its courier": tuple(_from_apns()),
    "The proxies": tuple(_from_proxies()),
}
ROWS: dict[str, Row] = {row.kind: row for rows in SECTIONS.values() for row in rows}


# ---- captures


def unlike_captures(samples: Iterable[Sample]) -> list[str]:
    """What is wrong with the captures of the table: messages unlike all of theirs, captures that nothing equals."""
    found: dict[str, dict[frozenset[str], str]] = {}
    for sample in samples:
        row = ROWS.get(sample.kind)
        if row is not None and row.captures:
            found.setdefault(sample.kind, {}).setdefault(frozenset(paths(sample.keys)), sample.data.decode())
    problems = []
    for row in ROWS.values():
        seen = found.get(row.kind, {})
        for capture in row.captures:
            if capture.keys() not in seen:
                problems.append(f"{row.kind}: nothing that was sent equals {capture}")
        if all(capture.every for capture in row.captures):
            known = {capture.keys() for capture in row.captures}
            problems += [f"{row.kind}: {sorted(keys)} equals no capture" for keys in seen if keys not in known]
    return problems


# ---- the page

_HEAD = """# Who accepts our messages

A simulator and a server by the same authors agree with each other even where both are wrong. So every kind of message
that mdmsim puts on a wire is shown to software that nobody here wrote, and those of devices are compared with messages
that were captured from real ones. This page lists the kinds; `tests/interop/test_message_table.py` shows each of them
to every parser named in its row, and fails when a kind is sent that has no row. The page is made by
`python -m tests.interop.message_table`.

The messages come from the stories in `scenarios/`, from a tour of every command on every platform, and from the real
programs at the end of real sockets. A capture that is equalled key for key stands in `tests/data/`.

| accepted by | means |
| --- | --- |
"""


def page() -> str:
    """docs/message-table.md."""
    lines = [_HEAD + "".join(f"| {name} | {meaning} |\n" for name, meaning in PARSERS.items())]
    for title, rows in SECTIONS.items():
        lines.append(f"\n## {title}\n\n| message | accepted by | equals the capture |\n| --- | --- | --- |\n")
        lines += [f"| {' | '.join(cells(row))} |\n" for row in rows]
    return "".join(lines)


def cells(row: Row) -> tuple[str, str, str]:
    """A row as it stands on the page."""
    return row.kind, ", ".join(row.parsers), "; ".join(map(str, row.captures)) or row.no_capture


if __name__ == "__main__":
    PAGE.write_text(page())
