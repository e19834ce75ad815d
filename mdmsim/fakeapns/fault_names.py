"""Every fault of the fake APNs by name: what it does, and what a peer may rely on that makes it fair.

Names are stable: scenarios, the admin API and the command line plan faults by them (`fault_spec`). Faults are on only
when somebody asks; what is legal variety is a matter of the front's settings.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Place = Literal["push", "answer", "wire", "connection", "world"]


class FaultName(msgspec.Struct, frozen=True):
    """`what` it does; `why` it is fair; `takes`: the parameters of a `FaultSpec` that it understands beside the rule."""

    what: str
    why: str
    takes: tuple[str, ...] = ()


#: Parameters that choose the pushes which a fault is for.
_AIM = ("topic", "token", "device", "environment")

CATALOGUE: dict[str, FaultName] = {
    "push.refused": FaultName(
        "the push is refused with that status and reason",
        "Apple documents every reason; a server must tell the ones to retry from the ones to give up on",
        ("status", "reason", *_AIM),
    ),
    "push.lost": FaultName(
        "the push is answered 200 and forgotten",
        "200 means accepted, not delivered: APNs may drop a notification, and servers push again",
        _AIM,
    ),
    "push.delayed": FaultName(
        "the push is kept back for `seconds` before a device may hear it",
        "APNs promises no time of delivery",
        ("seconds", *_AIM),
    ),
    "push.repeated": FaultName(
        "a delivered push is delivered once more",
        "a device may hear the same push twice: it connects, that is all",
        _AIM,
    ),
    "push.reordered": FaultName(
        "the push is kept back until the next one was delivered, at most `seconds`",
        "APNs promises no order, not even for one device",
        ("seconds", *_AIM),
    ),
    "certificate.expired": FaultName(
        "the push certificate counts as expired: 403 BadCertificate",
        "push certificates last one year, and somebody forgets",
        _AIM,
    ),
    "certificate.revoked": FaultName(
        "the push certificate counts as revoked: 403 BadCertificate",
        "a push certificate can be revoked in Apple's portal at any time",
        _AIM,
    ),
    "answer.slow": FaultName(
        "the answer comes after `seconds`; other requests go on", "Apple promises no time of answer", ("seconds", *_AIM)
    ),
    "answer.stalled": FaultName(
        "the answer never comes; the push counts", "a server needs a time limit of its own", _AIM
    ),
    "answer.cut": FaultName(
        "the connection is dropped instead of the answer; the push counts",
        "a connection may end at any byte; whether the push was taken in is unknown then",
        _AIM,
    ),
    "stream.refused": FaultName(
        "RST_STREAM with REFUSED_STREAM; nothing was looked at",
        "RFC 9113 section 8.7: a refused stream was not processed and can be tried again",
        _AIM,
    ),
    "connection.reset": FaultName(
        "the TCP connection is reset; nothing was looked at", "networks do that; clients connect again", _AIM
    ),
    "goaway": FaultName(
        "GOAWAY in mid-flight with `reason` as debug data and error `code`; `processed`: whether this request counts",
        "Apple ends connections by GOAWAY at any time; requests above the last stream were not processed",
        ("reason", "code", "processed", *_AIM),
    ),
    "streams.limited": FaultName(
        "MAX_CONCURRENT_STREAMS drops to 1 until the next push was accepted",
        "seen in 2016: one refused push dropped it to 1, the next accepted one restored it",
        _AIM,
    ),
    "tls.refused": FaultName(
        "the TLS handshake ends with the alert named by `reason`",
        "an expired or foreign certificate can end the handshake; servers must say so to their administrator",
        ("reason", "environment"),
    ),
    "goaway.first": FaultName(
        "GOAWAY comes instead of SETTINGS, right after the TLS handshake, with `reason` as debug data and error `code`",
        "Apple ends connections by GOAWAY at any time, even before the first SETTINGS: what waits must fail and dial again",
        ("reason", "code", "environment"),
    ),
    "blackout": FaultName(
        "for `seconds` connections are cut and new ones are reset; `side`: providers, devices or both",
        "services and networks go down; nothing that was accepted may be lost by it",
        ("seconds", "side"),
    ),
}

#: As the table in documents and messages: name to what it does.
FAULTS: dict[str, str] = {name: fault.what for name, fault in CATALOGUE.items()}

#: The alerts that `tls.refused` can name (RFC 8446 section 6.2), by their names there.
TLS_ALERTS = (
    "access_denied",
    "bad_certificate",
    "bad_certificate_status_response",
    "certificate_expired",
    "certificate_revoked",
    "certificate_unknown",
    "decrypt_error",
    "handshake_failure",
    "insufficient_security",
    "internal_error",
    "protocol_version",
    "unknown_ca",
    "unrecognized_name",
    "unsupported_certificate",
    "user_cancelled",
)


class Detail(msgspec.Struct, frozen=True):
    """What a planned fault carries beside its rule (`Fault.answer`): the parameters that its name takes."""

    status: int = 0
    reason: str = ""
    seconds: float = 0.0
    code: int = 0
    processed: bool = False
    side: Literal["providers", "devices", "both"] = "both"


class Wire(msgspec.Struct, frozen=True):
    """A fault that the front carries out on the connection.

    `seconds`: of answer.slow. `reason`: goaway's debug data, or the TLS alert's name. `code`: goaway's error code.
    `processed`: whether goaway's last stream includes this request, which is then never answered.
    """

    name: str
    seconds: float = 0.0
    reason: str = ""
    code: int = 0
    processed: bool = False
