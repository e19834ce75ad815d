"""What Apple's documentation, or the RFC, says that an answer means to a device that is enrolling, or enrolled.

Sources: Apple's MDM Protocol Reference ("Terminating a Management Relationship", "Structure of MDM messages", "Error
Codes"), Apple's articles on sending MDM commands, mdm/errors/*.yaml of Apple's schema, RFC 8894.
"""

from __future__ import annotations

from mdmsim.cli.enrollment.profile import host_of
from mdmsim.device.errors import Chain
from mdmsim.http import TlsProblem, is_loopback
from mdmsim.pki.scep.errors import FailInfo

#: RFC 8894 section 3.2.1.4.1, and what is behind it most often.
FAIL_INFO: dict[FailInfo, tuple[str, str]] = {
    FailInfo.BAD_ALG: (
        "the CA knows no such algorithm (RFC 8894, badAlg)",
        "have the CA announce in GetCACaps what it accepts: AES and SHA-256, or at least DES3 and SHA-1",
    ),
    FailInfo.BAD_MESSAGE_CHECK: (
        "the CA could not verify or decrypt the request (RFC 8894, badMessageCheck)",
        "check that the CA certificate of GetCACert belongs to the key that the CA decrypts with",
    ),
    FailInfo.BAD_REQUEST: (
        "the CA does not permit this request (RFC 8894, badRequest): most often the challenge is wrong, used or expired",
        "check Challenge in the profile's SCEP payload; where each is good once, give the URL in place of a file",
    ),
    FailInfo.BAD_TIME: (
        "the request's signing time is too far from the CA's clock (RFC 8894, badTime)",
        "set both clocks",
    ),
    FailInfo.BAD_CERT_ID: (
        "the CA knows no certificate of that name (RFC 8894, badCertId)",
        "check the CA's records of earlier requests",
    ),
}


#: How systems are written.
SYSTEMS = {"ios": "iOS", "ipados": "iPadOS", "macos": "macOS", "tvos": "tvOS"}

#: Codes of Apple's table ("Error Codes") that a profile alone can cause: what is behind each, and what to do.
_REFUSED_PROFILE: dict[int, tuple[str, str]] = {
    1000: ("it is no property list that this system reads, or a key has the wrong type", "correct the profile"),
    **dict.fromkeys((1002, 2002), ("a key that it must have is missing", "add the key that is named above")),
    **dict.fromkeys((1003, 2003), ("a value has the wrong type", "correct the key that is named above")),
    **dict.fromkeys((1010, 2004), ("a value is not one of those allowed", "correct the key that is named above")),
    1007: ("two payloads have the same PayloadUUID", "give each payload a UUID of its own"),
    1008: ("two payloads have the same PayloadIdentifier", "give each payload an identifier of its own"),
    -107: (
        "two payloads have the same PayloadUUID or PayloadIdentifier, or one has the profile's own UUID",
        "give the profile and each payload UUIDs and identifiers of their own",
    ),
    1004: (
        "its signature does not hold: the profile was changed after it was signed",
        "sign the profile again, or try it without a signature",
    ),
    1006: (
        "it is encrypted: only the holder of one device's key can install it",
        "give the profile without encryption",
    ),
    -102: ("a Mac says this of most profiles that it can read and not install", "correct the profile"),
    -307: ("a payload lacks a key that it must have", "add the key"),
    3840: ("a Mac says this of any file that it cannot read, one with a bad signature too", "correct the profile"),
    4006: (
        "its RemovalDate has passed, or its DurationUntilRemoval is not above 0",
        "correct these keys, or the clock of the server that made the profile",
    ),
    12000: (
        "AccessRights must be there and not 0, and 2 needs 1, 128 needs 64 (com.apple.mdm)",
        "correct AccessRights",
    ),
    12001: ("a device has one MDM payload, and no second one beside it", "leave one MDM payload in the profile"),
    12005: (
        "no payload of the profile has the UUID of a certificate that the MDM payload pins",
        "correct ServerURLPinningCertificateUUIDs and CheckInURLPinningCertificateUUIDs",
    ),
    12011: (
        "from macOS 26 on a Mac enrols only where ServerCapabilities lists com.apple.mdm.per-user-connections",
        "add it to ServerCapabilities in the MDM payload",
    ),
    12016: ("no payload of the profile has the UUID that the MDM payload names", "correct IdentityCertificateUUID"),
    12022: (
        "the topic is the subject's UID of the push certificate, and begins with com.apple.mgmt. (com.apple.mdm)",
        "correct Topic in the MDM payload",
    ),
}

#: The same of a topic that is there and empty: the server takes it from its push certificate.
_NO_TOPIC = (
    "the profile names no topic: the server has no push certificate yet from which to take it",
    "give the server its push certificate (docs/push-certificates.md), then fetch the profile anew",
)


def of_refused_profile(
    chain: Chain, *, topic: str | None, server_url: str | None, checkin_url: str | None = None
) -> tuple[str, str]:
    """What is behind a device's refusal of an enrollment profile, and what to do. The innermost known code counts."""
    for item in reversed(chain):
        if item.code == 12022 and topic == "":
            return _NO_TOPIC
        if item.code == 12034:
            return _of_http([url for url in (server_url, checkin_url) if url and not url.startswith("https://")])
        if item.code in _REFUSED_PROFILE:
            return _REFUSED_PROFILE[item.code]
    return "nothing of a profile is kept when a part of it cannot be installed", "correct the profile"


def _of_http(urls: list[str]) -> tuple[str, str]:
    """MCMDMErrorDomain 12034: URLs that are not https. Only on this machine is there a way around it."""
    here = bool(urls) and all(url.startswith("http://") and is_loopback(host_of(url)) for url in urls)
    return (
        "ServerURL and CheckInURL must be https (com.apple.mdm); SCEP may be http://",
        "add --allow-http, or put a TLS front before the server (docs/testing-your-own-server.md)"
        if here
        else "serve it over https: --allow-http is for servers on this machine only",
    )


#: What a TLS handshake failed at: what to say of the server at `{at}`, what it means, what to do. The two other problems
#: (its certificate, the device's certificate) are told with the certificates.
OF_TLS: dict[TlsProblem, tuple[str, str | None, str]] = {
    "untrusted": (
        "The certificate of {at} is not trusted.",
        "a device does not connect, and cannot be told to",
        "see the reason above, and give the server a certificate of a CA that the profile or --trust names",
    ),
    "not-pinned": (
        "No certificate of {at} is one that the profile pins.",
        "with ServerURLPinningCertificateUUIDs or CheckInURLPinningCertificateUUIDs a device connects to nobody else "
        "(com.apple.mdm)",
        "pin the server's CA, or the certificate that it has now",
    ),
    "version": (
        "{at} and the device have no version of TLS in common.",
        "devices speak TLS 1.2 and 1.3 (Apple, App Transport Security)",
        "have the server speak TLS 1.2 or newer on that port",
    ),
    "not-tls": (
        "{at} does not speak TLS.",
        "devices speak https only",
        "check the port; a server that speaks plain HTTP needs a TLS front (docs/testing-your-own-server.md)",
    ),
    "own": (
        "No TLS connection with {at}: a certificate on the device's side cannot be used.",
        "nothing was sent to the server",
        "check the identity that the profile brings, and what --trust names",
    ),
    "other": (
        "The TLS handshake with {at} failed.",
        None,
        "see the server's log; it needs TLS 1.2 or newer, a certificate for that host name, and no client certificate "
        "from those that have none yet",
    ),
}


def of_status(label: str, status: int) -> tuple[str | None, str | None]:
    """What a refusal with that status means, and what to look at; None for what is not documented anywhere."""
    kind, _, message = label.partition(":")
    if kind == "profile":
        return _of_profile(status)
    if kind == "scep":
        return (
            "a SCEP server answers 200 (RFC 8894); a device stops here and installs nothing. From this URL not even "
            "a 401 ends an enrollment",
            _SCEP_ADVICE.get(status, "see the SCEP server's log for this request"),
        )
    if message == "TokenUpdate":
        return _of_token_update(status)
    if kind == "connect":
        return _of_connect(status)
    return _of_authenticate(status)


#: RFC 9110 sections 15.6.3 to 15.6.5: mostly the word of a proxy about the server behind it.
_NOBODY_BEHIND = (502, 503, 504)

_SCEP_ADVICE = {
    **dict.fromkeys(_NOBODY_BEHIND, "start the server; a proxy before it, or the server, has nobody to answer"),
    404: "check URL in the profile's SCEP payload",
    405: "check URL in the profile's SCEP payload, and POSTPKIOperation in what GetCACaps announces",
}


def _of_profile(status: int) -> tuple[str | None, str | None]:
    if status in (401, 407):
        return (
            "the server wants a sign-in before it hands out the profile",
            "sign in with a browser, download the .mobileconfig, and give that file",
        )
    if status == 403:
        return (
            "an MDM server may answer 403 with a code, such as com.apple.softwareupdate.required (Apple's schema, "
            "mdm/errors), or want a sign-in",
            "read the body above; or download the .mobileconfig with a browser and give that file",
        )
    if status in (404, 410):
        return None, "check the URL: nothing is there"
    if status in _NOBODY_BEHIND:
        return "a proxy before the server, or the server, has nobody to answer", "start the server"
    if status >= 500:
        return None, "see the server's log: it failed at this request"
    return None, "open the URL in a browser, download the .mobileconfig, and give that file"


#: Before the profile is stored every failure has the same end.
_NOTHING_KEPT = "Check-in fails (MCMDMErrorDomain 12002) and a device keeps nothing of the profile"


def _of_authenticate(status: int) -> tuple[str | None, str | None]:
    if status == 401:
        return (
            "the server does not want this device: not authorized (MCMDMErrorDomain 12020), nothing is installed",
            "check what the server knows of this device: blocked, unknown serial number, or removed earlier",
        )
    if status == 403:
        return (
            f"{_NOTHING_KEPT}. 403 is for an identity that may not speak for this device; with the code "
            "com.apple.unrecognized.device it says the same as 401",
            "check that the server accepts certificates of the CA that its own SCEP server issues from",
        )
    if status in (404, 405):
        return (
            f"{_NOTHING_KEPT}. Check-in is a PUT to CheckInURL, or to ServerURL where the profile has none",
            "check CheckInURL and ServerURL in the profile: nobody takes check-ins there",
        )
    if status in (400, 415, 422):
        return (
            f"{_NOTHING_KEPT}. The server could not read the message, or did not believe its certificate or signature",
            "see the server's log; behind a proxy, check that the client certificate or Mdm-Signature reaches it",
        )
    if status == 413:
        return f"{_NOTHING_KEPT}. The server takes no body of this size", "raise the limit before the server"
    if status in _NOBODY_BEHIND:
        return f"{_NOTHING_KEPT}. A proxy before the server, or the server, has nobody to answer", "start the server"
    if status >= 500:
        return f"{_NOTHING_KEPT}. The server failed at this request", "see the server's log for this request"
    return _NOTHING_KEPT, "see the server's log for this request"


def _of_token_update(status: int) -> tuple[str | None, str | None]:
    if status == 401:
        return (
            "a 401 from CheckInURL or ServerURL ends the management relationship: the device removes the profile",
            "check why the server disowns a device that it let through Authenticate",
        )
    if status == 403:
        return (
            "a plain 403 ends nothing: the profile stays, and the device sends TokenUpdate again later",
            "check that the server binds the device to the certificate that came with Authenticate",
        )
    return (
        "the profile stays, and the device sends TokenUpdate again later; until then the server cannot push to it",
        "start the server; a proxy before it, or the server, has nobody to answer"
        if status in _NOBODY_BEHIND
        else "see the server's log for this request",
    )


def _of_connect(status: int) -> tuple[str | None, str | None]:
    if status == 401:
        return (
            "a 401 from CheckInURL or ServerURL ends the management relationship: the device removes the profile",
            "if that was not meant, check why the server disowns the device; it has to enrol again",
        )
    if status == 403:
        return (
            "a plain 403 ends nothing: the device keeps its report and tries again later. With the code "
            "com.apple.unrecognized.device it says the same as 401",
            "check that the server binds the device to the certificate that came with Authenticate",
        )
    kept = "the device keeps its report and sends it again later; the command counts as not answered until then"
    if status in (404, 405):
        return f"{kept}. Commands are fetched with a PUT to ServerURL", "check ServerURL in the enrollment profile"
    if status in _NOBODY_BEHIND:
        return f"{kept}. A proxy before the server, or the server, has nobody to answer", "start the server"
    return kept, "see the server's log for this request"
