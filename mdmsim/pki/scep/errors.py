"""What can go wrong in a SCEP enrollment, with the numbers that devices report for it.

Source of the codes: Apple's MDM Protocol Reference, "MCSCEPErrorDomain".
"""

from __future__ import annotations

from enum import IntEnum

from mdmsim.protocol.errors import Malformed


class FailInfo(IntEnum):
    """Why a CA refuses (RFC 8894 section 3.2.1.4.1)."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4


class MalformedScep(Malformed):
    """Not a SCEP message: what a server answers with 400."""


class ScepError(Malformed):
    """An enrollment that failed on the device's side of the wire.

    `code` is the number in MCSCEPErrorDomain, `mac_code` that in a Mac's NSOSStatusErrorDomain (captured: -909).
    """

    code = 22013
    mac_code = -909


class BadCAResponse(ScepError):
    """GetCACert did not answer with certificates."""

    code = 22002


class BadRAResponse(ScepError):
    """None of the CA's certificates can receive the request: the fingerprint matches none, or none holds an RSA key."""

    code = 22003


class NoRACertificates(BadRAResponse):
    """GetCACert promises registration authorities, and there is none among its certificates.

    `mac_code`: what a Mac reports in NSOSStatusErrorDomain, errSecKeyUsageIncorrect (NeySlim/ultimate-ca-manager issue 101).
    """

    mac_code = -67731


class WeakCapabilities(ScepError):
    """The CA offers no digest or no cipher that the device accepts."""

    code = 22006


class BadIssuedCertificate(ScepError):
    """The CA's answer holds no certificate for the requested key."""

    code = 22007


class NoRequest(ScepError):
    """The certificate request could not be made."""

    code = 22011


class BadReply(ScepError):
    """The answer to PKIOperation is no CertRep for this request: unreadable, wrongly signed, another's, or a refusal."""

    code = 22013


class RefusedByCA(BadReply):
    """A signed CertRep FAILURE. `fail_info`: the CA's reason, None if it gives none; `text`: its words, perhaps empty."""

    def __init__(self, fail_info: FailInfo | None, text: str = "") -> None:
        reason = "without a reason" if fail_info is None else f"failInfo {int(fail_info)} {_CAMEL[fail_info]}"
        super().__init__("SCEP CertRep", f"the CA refused: {reason}" + (f" ({text})" if text else ""))
        self.fail_info = fail_info
        self.text = text


_CAMEL = {
    FailInfo.BAD_ALG: "badAlg",
    FailInfo.BAD_MESSAGE_CHECK: "badMessageCheck",
    FailInfo.BAD_REQUEST: "badRequest",
    FailInfo.BAD_TIME: "badTime",
    FailInfo.BAD_CERT_ID: "badCertId",
}
