"""What an enrollment profile asks for, read before any device is made, so that a wrong file is told at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

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
from mdmsim.transport.place import is_apples, is_loopback

#: RSA keys of this size come from the key pool.
POOL_BITS = 2048


@dataclass(frozen=True, slots=True)
class Facts:
    """What people should know about a profile. `carries`: subjects of its certificates. `key_bits`: of the identity."""

    name: str
    organization: str | None
    signer: str | None
    server_url: str
    checkin_url: str
    topic: str
    carries: tuple[str, ...]
    key_bits: int = POOL_BITS


def read_facts(data: bytes, where: str, *, allow_http: bool, allow_hosts: frozenset[str], code: int) -> Facts:
    """The facts of a profile from `where`. Raises Stopped for what no device could enrol with.

    `code`: whose mistake a bad profile is: the user's for a file, the server's for a URL.
    """
    content, signer = _unwrapped(data, where, code)
    try:
        profile = parse_profile(content)
        mdm_payloads = [MdmPayload.of(payload) for payload in profile.of_type(MDM)]
        scep = [ScepPayload.of(payload) for payload in profile.of_type(SCEP)]
        carries = tuple(
            subject_text(CertificatePayload.of(payload).der)
            for payload in profile.payloads
            if payload.type in CERTIFICATE_TYPES and payload.type != PKCS12
        )
    except Malformed as error:
        raise Stopped(_not_a_profile(content, where, error, code)) from None
    if not mdm_payloads:
        raise Stopped(_nothing_to_enrol(profile, where, code))
    mdm = mdm_payloads[0]
    for key, url in (("ServerURL", mdm.server_url), ("CheckInURL", mdm.check_in_url)):
        if url is not None:
            _check_url(url, f"{where}: {key}", allow_http=allow_http, allow_hosts=allow_hosts)
    identity = profile.payload(mdm.identity_certificate_uuid)
    if identity is not None and identity.type not in (SCEP, PKCS12, MDM):
        _cannot_install(identity.type, where)
    return Facts(
        name=profile.display_name or profile.identifier,
        organization=profile.organization,
        signer=signer,
        server_url=mdm.server_url,
        checkin_url=mdm.effective_check_in_url,
        topic=mdm.topic,
        carries=carries,
        key_bits=scep[0].key_size if scep else POOL_BITS,
    )


def _unwrapped(data: bytes, where: str, code: int) -> tuple[bytes, str | None]:
    if not is_cms(data):
        return data, None
    try:
        signed = verify(data)
    except CMSError as error:
        raise Stopped(
            Obstacle(
                f"{where}: the profile's signature is not good: {error.reason}.",
                meaning="a device does not install it (MCProfileErrorDomain 1000 or 1004)",
                advice="sign the profile again, or try it without a signature",
                code=code,
            )
        ) from None
    return signed.content, subject_text(signed.signer)


def _not_a_profile(content: bytes, where: str, error: Malformed, code: int) -> Obstacle:
    head = content[:2000].lstrip().lower()
    if not content.strip():
        what, advice = "it is empty", "name the file, or the URL, that your server hands out to a device"
    elif head.startswith((b"<!doctype html", b"<html")):
        title = re.search(rb"<title[^>]*>\s*(.*?)\s*</title>", content[:20000], re.IGNORECASE | re.DOTALL)
        said = f' ("{title[1][:80].decode("utf-8", "replace")}")' if title else ""
        what = f"it is a web page{said}, not a profile"
        advice = "sign in there with a browser, download the .mobileconfig, and give that file"
    elif b"profile service" in head:
        what = "it is the first phase of an over-the-air enrollment (Profile Service), which cannot be simulated yet"
        advice = "give the enrollment profile that the server hands out at its end"
    else:
        what, advice = f"it is no enrollment profile: {error}", "give the .mobileconfig that a device would install"
    return Obstacle(f"{where}: {what}.", advice=advice, code=code)


def _nothing_to_enrol(profile: Profile, where: str, code: int) -> Obstacle:
    if profile.is_encrypted:
        return Obstacle(
            f"{where}: the profile is encrypted for one device.",
            meaning="only the holder of that device's key can install it (MCProfileErrorDomain 1006)",
            advice="give the profile without encryption",
            code=code,
        )
    types = ", ".join(sorted({payload.type for payload in profile.payloads})) or "nothing"
    return Obstacle(
        f"{where}: no MDM payload (com.apple.mdm) in the profile; it holds {types}.",
        meaning="a device would install it without enrolling anywhere",
        advice="give the enrollment profile of your MDM server",
        code=code,
    )


def _cannot_install(payload_type: str, where: str) -> None:
    raise Stopped(
        Obstacle(
            f"{where}: the identity comes as {payload_type}, which simulated devices cannot install yet.",
            advice="have the server hand out a profile whose identity comes by SCEP or as PKCS #12",
            code=NOT_CARRIED_OUT,
        )
    )


def _check_url(url: str, where: str, *, allow_http: bool, allow_hosts: frozenset[str]) -> None:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError as error:
        raise Stopped(Obstacle(f"{where} is {url!r}: {error}.", code=MISTAKE)) from None
    refuse_apple(host, where, allow_hosts)
    if parts.scheme == "http" and not (allow_http and is_loopback(host)):
        advice = (
            "serve it over https: --allow-http is for servers on this machine only"
            if not is_loopback(host)
            else "add --allow-http, or put a TLS front before the server (docs/testing-your-own-server.md)"
        )
        raise Stopped(
            Obstacle(
                f"{where} is {url}, and devices speak https only.",
                meaning="a device refuses the profile: both URLs must be https (com.apple.mdm; MCMDMErrorDomain 12034)",
                advice=advice,
                code=MISTAKE,
            )
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
