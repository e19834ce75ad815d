"""What an answer of the push service says about certificate, topic and token.

They are judged in this order (the fake's default; Apple's own is unknown), so a refusal of one means that those before
it are good: a refused token proves the whole way. Reasons: Apple, "Handling notification responses from APNs".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mdmsim.cli.diagnosis.finding import good, missing
from mdmsim.cli.diagnosis.way import MAKE_KNOWN, Hop
from mdmsim.cli.exits import FAILED
from mdmsim.clock import iso

if TYPE_CHECKING:
    from mdmsim.cli.diagnosis.push import Answer

_FAULTS = "a fault may be planned: GET /faults of its admin API lists them"

#: What to do about a certificate.
_CERTIFICATE = {
    "MissingProviderToken": (
        "whatever ends TLS on the way keeps it for itself: lead TLS through to the fake (the proxy, or a port mapped as it is)"
    ),
    "BadCertificate": f"it is not registered, has expired or was revoked: {MAKE_KNOWN}",
    "BadCertificateEnvironment": (
        "it is for the other environment: dial the other host, or make one with mdmsim apns certificate --environment both"
    ),
    "Forbidden": "this certificate may not do that; MDM needs a push certificate whose topic begins with com.apple.mgmt.",
}
_TOPIC = {
    "MissingTopic": "name one: --topic TOPIC; a certificate for several topics needs it in every push",
    "TopicDisallowed": "push with the certificate of that topic: the UID of its subject",
    "BadTopic": "push with the certificate of that topic: the UID of its subject",
    "DeviceTokenNotForTopic": (
        "the device is enrolled with another topic: take the certificate that its enrollment profile names"
    ),
}


def verdict(
    answer: Answer, *, certificate: Path | None, subject: str | None, topic: str | None, made_up: bool
) -> Iterator[Hop]:
    """The hops that the answer speaks of. `subject`: the topic of the certificate shown; `topic`: the one asked for."""
    reason = answer.reason or answer.goaway or ""
    said = f"{answer.status} {answer.reason}".strip() if answer.status else f"GOAWAY {reason}".strip()
    shown = f"{certificate}, topic {subject}" if certificate is not None else "none was shown"
    if answer.reset is not None:
        yield _bad("answer", f"the stream was reset (error {answer.reset}) and not answered", _FAULTS)
        return
    if reason in _CERTIFICATE:
        if certificate is None:
            yield _bad(
                "certificate",
                f"{said}: none was shown",
                "show one: --certificate FILE, as mdmsim apns certificate makes them",
            )
        elif reason == "MissingProviderToken":
            yield _bad("certificate", f"{said}: {certificate} did not arrive", _CERTIFICATE[reason])
        else:
            yield _bad("certificate", f"{said}: {shown}", _CERTIFICATE[reason])
        return
    if not answer.status or answer.status in (404, 405) or answer.status >= 429:
        do = "this is not a push host: take the port of the fake APNs" if answer.status in (404, 405) else _FAULTS
        yield _bad("answer", said if answer.status else f"{said}, no answer", do)
        return
    yield Hop("certificate", good(f"arrived and was accepted: {shown}"))
    if reason in _TOPIC:
        yield _bad("topic", f"{said}: {topic or subject}", _TOPIC[reason])
        return
    yield Hop("topic", good(f"{topic or subject}"))
    yield _token(answer, said, made_up)


def _token(answer: Answer, said: str, made_up: bool) -> Hop:
    if answer.status == 200:
        what = "a made-up token, so this service takes any" if made_up else "accepted for the device"
        return Hop("token", good(f"{said} apns-id {answer.apns_id}: {what}"))
    if answer.reason == "BadDeviceToken" and made_up:
        return Hop("token", good(f"{said}, which is right for a made-up token: the whole way is good"))
    if answer.status == 410:
        since = f" since {iso(answer.timestamp_ms)}" if answer.timestamp_ms is not None else ""
        return _bad(
            "token", f"{said}{since}", "the device gave it up: it left, was erased, or has another token by now"
        )
    if answer.reason == "BadDeviceToken":
        do = "no device has it here: enrol with --courier, which tells the fake the tokens, or lead to the fake that has them"
        return _bad("token", said, do)
    return _bad("answer", said, _FAULTS)


def _bad(name: str, seen: str, do: str) -> Hop:
    return Hop(name, missing(seen, do), FAILED)
