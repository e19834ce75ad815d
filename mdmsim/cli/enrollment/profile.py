"""What an enrollment profile asks for, read before any device is made, so that a wrong file is told at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mdmsim.apple_network import is_apples
from mdmsim.cli.enrollment.obstacle import Obstacle, Stopped
from mdmsim.cli.exits import MISTAKE, NOT_CARRIED_OUT
from mdmsim.pki.cms import is_cms, verify
from mdmsim.pki.errors import CMSError
from mdmsim.pki.names import subject_text
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.payloads import MDM, PKCS12, SCEP
from mdmsim.protocol.profile import (
    CERTIFICATE_TYPES,
    CertificatePayload,
    MdmPayload,
    Profile,
    ScepPayload,
    parse_profile,
)

#: RSA keys of this size come from the key pool.
POOL_BITS = 2048


@dataclass(frozen=True, slots=True)
class Facts:
    """What people should know about a profile. `carries`: subjects of its certificates. `key_bits`: of the identity.

    `unread`: why the rest of the facts is missing; the device says what it has against such a profile.
    """

    name: str | None = None
    organization: str | None = None
    signer: str | None = None
    server_url: str | None = None
    checkin_url: str | None = None
    topic: str | None = None
    carries: tuple[str, ...] = ()
    key_bits: int = 0
    unread: str | None = None


def read_facts(data: bytes, where: str, *, allow_hosts: frozenset[str], code: int) -> Facts:
    """The facts of a profile from `where`. Whether it is good is for the device to say.

    Raises Stopped for what is no profile at all, for one that enrols nowhere or into Apple's own servers, and for what
    is not simulated. `code`: whose mistake that is: the user's for a file, the server's for a URL.
    """
    content, signer = data, None
    if is_cms(data):
        try:
            signed = verify(data)
        except CMSError as error:
            return Facts(unread=f"its signature is not good: {error.reason}")
        content, signer = signed.content, subject_text(signed.signer)
    try:
        profile = parse_profile(content)
    except Malformed as error:
        if (obstacle := _not_a_profile(content, where, error, code)) is not None:
            raise Stopped(obstacle) from None
        return Facts(signer=signer, unread=str(error))
    facts = Facts(name=profile.display_name or profile.identifier, organization=profile.organization, signer=signer)
    if profile.is_encrypted:
        return replace(facts, unread="it is encrypted for one device")
    if not profile.of_type(MDM):
        raise Stopped(_nothing_to_enrol(profile, where, code))
    for key in ("ServerURL", "CheckInURL"):
        for payload in profile.of_type(MDM):
            refuse_apple(host_of(payload.keys.get(key)), f"{where}: {key}", allow_hosts)
    try:
        return _of_payloads(profile, where, facts)
    except Malformed as error:
        return replace(facts, unread=str(error))


def _of_payloads(profile: Profile, where: str, facts: Facts) -> Facts:
    """The facts with what the payloads say. Raises Malformed, Stopped."""
    mdm = MdmPayload.of(profile.of_type(MDM)[0])
    scep = [ScepPayload.of(payload) for payload in profile.of_type(SCEP)]
    return replace(
        facts,
        server_url=mdm.server_url,
        checkin_url=mdm.effective_check_in_url,
        topic=mdm.topic,
        carries=tuple(
            subject_text(CertificatePayload.of(payload).der)
            for payload in profile.payloads
            if payload.type in CERTIFICATE_TYPES and payload.type != PKCS12
        ),
        key_bits=scep[0].key_size if scep else POOL_BITS,
    )


def host_of(url: object) -> str:
    """The host in a URL, in lower case; empty for what is no URL."""
    try:
        return (urlsplit(url).hostname or "").lower() if isinstance(url, str) else ""
    except ValueError:
        return ""


def _not_a_profile(content: bytes, where: str, error: Malformed, code: int) -> Obstacle | None:
    """What the bytes are instead of a profile; None where they are a property list, which is a device's to judge."""
    head = content[:2000].replace(b"\0", b"").lstrip().lower()
    if not content.strip():
        what, advice = "it is empty", "name the file, or the URL, that your server hands out to a device"
    elif head.startswith((b"<!doctype html", b"<html")):
        title = re.search(rb"<title[^>]*>\s*(.*?)\s*</title>", content[:20000], re.IGNORECASE | re.DOTALL)
        said = f' ("{title[1][:80].decode("utf-8", "replace")}")' if title else ""
        what = f"it is a web page{said}, not a profile"
        advice = "sign in there with a browser, download the .mobileconfig, and give that file"
    elif b"profile service" in head:
        what = "it is the first phase of an over-the-air enrollment (Profile Service), which is not simulated"
        advice, code = "give the enrollment profile that the server hands out at its end", NOT_CARRIED_OUT
    elif any(sign in head for sign in (b"<plist", b"<dict", b"bplist")):
        return None
    else:
        what, advice = f"it is no enrollment profile: {error}", "give the .mobileconfig that a device would install"
    return Obstacle(f"{where}: {what}.", advice=advice, code=code)


def _nothing_to_enrol(profile: Profile, where: str, code: int) -> Obstacle:
    types = ", ".join(sorted({payload.type for payload in profile.payloads})) or "nothing"
    return Obstacle(
        f"{where}: no MDM payload (com.apple.mdm) in the profile; it holds {types}.",
        meaning="a device would install it without enrolling anywhere",
        advice="give the enrollment profile of your MDM server",
        code=code,
    )


def refuse_apple(host: str, where: str, allow_hosts: frozenset[str]) -> None:
    """Raise Stopped for one of Apple's hosts that was not named with --allow-host."""
    if is_apples(host) and host not in allow_hosts:
        raise Stopped(
            Obstacle(
                f"{where} leads to {host}, which is Apple's: simulated devices have no business there.",
                advice=f"point it at your own server; if you really mean Apple, add --allow-host {host}",
                code=MISTAKE,
            )
        )
