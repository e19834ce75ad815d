"""Recorded exchanges taken apart into messages, each with the name of its kind: what the message table has rows for."""

from __future__ import annotations

import base64
import plistlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mdmsim.events import Event
from mdmsim.pki.certificate import public_key
from mdmsim.pki.cms import verify
from mdmsim.pki.scep.ca_certificates import choose_recipient, parse_ca_certificates
from mdmsim.schema.availability import commands
from tests.interop.recorded import Exchange, TakenKeys, exchanges

#: How devices are called in stories, and what runs on them. An iPad is told as iOS, whose schema column it reads.
PLATFORMS = {"iphone": "iOS", "ipad": "iOS", "mac": "macOS", "tv": "tvOS"}

COMMANDS = frozenset(commands())

# RFC 8894 section 3.2.1: the attributes messageType and pkiStatus, PrintableStrings of digits.
_MESSAGE_TYPE = re.compile(rb"\x06\x0a\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x02\x31.\x13\x02(\d\d)", re.DOTALL)
_PKI_STATUS = re.compile(rb"\x06\x0a\x60\x86\x48\x01\x86\xf8\x45\x01\x09\x03\x31.\x13\x01(\d)", re.DOTALL)
_REQUESTS = {b"19": "PKCSReq", b"20": "CertPoll"}
_STATUSES = {b"0": "issued", b"2": "refused", b"3": "pending"}


@dataclass(frozen=True)
class Sample:
    """One message. `form` says what language it is in; `data` is the message, the rest what a parser needs besides.

    `at_ms`: world time when it was sent, at which certificates are to be judged.
    """

    kind: str
    form: str
    data: bytes
    text: str = ""
    certificate: bytes = b""
    key: bytes = b""
    authorities: tuple[bytes, ...] = ()
    at_ms: int = 0

    @property
    def keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = plistlib.loads(self.data)
        return keys


def samples(events: Iterable[Event], keys: TakenKeys) -> Iterator[Sample]:
    """Every message that devices and their server sent each other, faults that were injected left out."""
    events = [e for e in events if e.kind == "exchange" and e.device is not None and not e.data.get("fault")]
    requested: dict[str, str] = {}
    authorities: tuple[bytes, ...] = ()
    for exchange in exchanges(events):
        if exchange.label == "scep:GetCACert" and exchange.status == 200:
            authorities = parse_ca_certificates(exchange.answer)
        family = exchange.label.partition(":")[0]
        if family == "scep":
            found = _scep(exchange, authorities, keys)
        elif family in ("checkin", "connect"):
            found = _mdm(exchange, authorities, requested)
        elif exchange.label == "dep:activation":
            found = iter((Sample(exchange.label, "json", exchange.body),))
        elif exchange.label in ("enroll:profile", "enroll:web"):
            found = _enroll(exchange)
        else:  # the table has no row for it, and will say so
            found = iter((Sample(exchange.label, "unknown", exchange.body),))
        for sample in found:
            yield replace(sample, at_ms=exchange.at_ms)


def platform_of(device: str) -> str:
    return PLATFORMS[device.partition("-")[0]]


def _mdm(exchange: Exchange, authorities: tuple[bytes, ...], requested: dict[str, str]) -> Iterator[Sample]:
    platform = platform_of(exchange.device)
    kind, form = exchange.label, "checkin" if exchange.label.startswith("checkin:") else "report"
    if exchange.label == "connect:Acknowledged":
        kind += f" {requested[plistlib.loads(exchange.body)['CommandUUID']]}"
    yield Sample(f"{kind} [{platform}]", form, exchange.body)
    if exchange.signature is not None:
        yield Sample("Mdm-Signature", "signature", exchange.body, exchange.signature, authorities=authorities)
    if exchange.status is None:
        return
    if exchange.status >= 400:
        yield Sample("refusal", "text", exchange.answer)
    elif form == "report" and exchange.answer:
        command = plistlib.loads(exchange.answer)
        request_type = command.get("Command", {}).get("RequestType", "")
        requested[command["CommandUUID"]] = request_type
        known = request_type if request_type in COMMANDS else "(unknown RequestType)"
        yield Sample(f"command:{known}", "command", exchange.answer)


def _enroll(exchange: Exchange) -> Iterator[Sample]:
    """Asking for an enrollment profile: with MachineInfo, in the body or in the web view's header, or with a form."""
    header = exchange.headers.get("x-apple-aspen-deviceinfo")
    signed = base64.b64decode(header) if header is not None else exchange.body
    if exchange.label == "enroll:web" and header is None:
        yield Sample(f"{exchange.label} {exchange.method} form", "form", exchange.body)
        return
    yield Sample(f"{exchange.label} MachineInfo [{platform_of(exchange.device)}]", "machine-info", signed)


def _scep(exchange: Exchange, authorities: tuple[bytes, ...], keys: TakenKeys) -> Iterator[Sample]:
    if exchange.label != "scep:PKIOperation":
        yield Sample(exchange.label, "query", exchange.url.partition("?")[2].encode())
        if exchange.status == 200 and exchange.label == "scep:GetCACert":
            form = "certificate" if authorities == (exchange.answer,) else "certificates"
            yield Sample(f"CA {form}", form, exchange.answer, authorities=authorities)
        elif exchange.status == 200:
            yield Sample(
                "CA capabilities" if exchange.label == "scep:GetCACaps" else exchange.label, "lines", exchange.answer
            )
        return
    message = exchange.pki_message
    name = _name(_MESSAGE_TYPE, message, _REQUESTS)
    signer, recipient = verify(message).signer, choose_recipient(authorities)
    yield Sample(
        f"{exchange.label} {name} by {exchange.method}",
        "scep-poll" if name == "CertPoll" else "scep-request",
        message,
        certificate=recipient,
        key=keys.of(_spki(recipient)),
    )
    if exchange.status == 200:
        status = _name(_PKI_STATUS, exchange.answer, _STATUSES)
        yield Sample(
            f"CertRep {status}", "scep-reply", exchange.answer, status, signer, keys.of(_spki(signer)), authorities
        )


def _name(attribute: re.Pattern[bytes], message: bytes, names: dict[bytes, str]) -> str:
    found = attribute.search(message)
    return names.get(found[1], found[1].decode()) if found else "without type"


def _spki(certificate: bytes) -> bytes:
    return public_key(certificate).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def header_bytes(sample: Sample) -> bytes:
    """The CMS in an Mdm-Signature header."""
    return base64.b64decode(sample.text)
