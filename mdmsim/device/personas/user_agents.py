"""Headers that a device's daemons put on their requests, by platform, release and purpose.

Host, Content-Length and Connection are the transport's; Authorization and Mdm-Signature are the flow's. The order is that
of the captured requests (iOS 18.2.1), which came through a proxy that sorts by name.
"""

from __future__ import annotations

from typing import Literal

from mdmsim.device.personas.persona import Persona
from mdmsim.device.personas.releases import at_least
from mdmsim.http import Headers
from mdmsim.protocol.content_type import CHECKIN, CHECKIN_UTF8, CONNECT, CONNECT_UTF8, PKCS7_SIGNATURE, PKI_MESSAGE

# Builds of mdmclient that were captured: 863 (10.11.6), 960 (10.12.6), 1090 (10.14 to 11), 1543 (12). A release without a
# capture shows the newest build below its own version.
_MDMCLIENT = (("10.11", "863"), ("10.12", "960"), ("10.14", "1090"), ("12.0", "1543"))


def mdmclient_build(os_version: str) -> str:
    """The build in a Mac's User-Agent."""
    return [build for since, build in _MDMCLIENT if at_least(os_version, since)][-1]


def mdm_user_agent(persona: Persona) -> str:
    """Check-in and connect. Captured: `MDM/1.0` on iOS 15 to 18.2.1; `MDM-OSX/1.0 mdmclient/1090` on macOS."""
    # tvOS was not captured; it runs iOS's daemon.
    return f"MDM-OSX/1.0 mdmclient/{mdmclient_build(persona.os_version)}" if persona.is_mac else "MDM/1.0"


def scep_user_agent(persona: Persona) -> str:
    """SCEP. Captured: mdmclient on macOS 10.11.6 and 10.12.6, CertificateService on 10.15.4; on iOS it begins `prof`."""
    return f"{_scep_program(persona)} {_library(persona)}"


def fetch_user_agent(persona: Persona) -> str:
    """Fetching an enrollment profile. Captured: `DeviceManagementClient/1.0` on iOS 18.2.1; no capture from a Mac."""
    return "DeviceManagementClient/1.0"


def _scep_program(persona: Persona) -> str:
    if not persona.is_mac:
        return "profiled/1.0"
    # Between the captures of 10.12.6 and 10.15.4 the change is put where mdmclient was split, our choice.
    return "CertificateService/1" if persona.at_least("10.13") else f"mdmclient/{mdmclient_build(persona.os_version)}"


def _library(persona: Persona) -> str:
    release = persona.release
    plain = f"CFNetwork/{release.cfnetwork} Darwin/{release.darwin}"
    # Captured up to 10.15.4 with the architecture; since macOS 11 the library leaves it out.
    return f"{plain} (x86_64)" if persona.is_mac and not persona.at_least("11.0") else plain


def _common(persona: Persona) -> Headers:
    # Captured: `en-US,en;q=0.9`, with the region of the device.
    language = f"{persona.user_agent_region},{persona.language};q=0.9"
    return (("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate, br"), ("Accept-Language", language))


def mdm_headers(persona: Persona, kind: Literal["checkin", "connect"] = "connect") -> Headers:
    """For a message to CheckInURL or ServerURL.

    iOS sends the content type bare (captured: 18.2.1); macOS appends the charset, which broke servers that compared for
    equality. tvOS is taken to do as iOS does.
    """
    bare, with_charset = (CHECKIN, CHECKIN_UTF8) if kind == "checkin" else (CONNECT, CONNECT_UTF8)
    return (
        *_common(persona),
        ("Cache-Control", "no-cache"),
        ("Content-Type", with_charset if persona.is_mac else bare),
        ("User-Agent", mdm_user_agent(persona)),
    )


def scep_headers(persona: Persona, *, post: bool = False) -> Headers:
    """For a SCEP request; `post`: a PKIOperation with a body, whose type is
    our choice (RFC 8894 section 4.1 shows none). No Cache-Control: captured on MDM requests only.
    """
    body: Headers = (("Content-Type", PKI_MESSAGE),) if post else ()
    return (*_common(persona), *body, ("User-Agent", scep_user_agent(persona)))


def fetch_headers(persona: Persona, *, post: bool = False) -> Headers:
    """For fetching an enrollment profile; `post`: with signed device facts as body (captured: iOS 18.2.1)."""
    body: Headers = (("Content-Type", PKCS7_SIGNATURE),) if post else ()
    return (*_common(persona), *body, ("User-Agent", fetch_user_agent(persona)))
