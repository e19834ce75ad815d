"""Content types of MDM, and comparing them as a server must: by media type, whatever parameters follow.

iOS 18.2.1 sends the MDM types bare, macOS appends charset information (captured).
"""

from __future__ import annotations

#: Check-in messages. Source: Apple, "Check-in".
CHECKIN = "application/x-apple-aspen-mdm-checkin"
#: Reports to ServerURL. Source: Apple, "Sending MDM commands to a device".
CONNECT = "application/x-apple-aspen-mdm"
#: The same with the parameter that Apple's reference writes.
CHECKIN_UTF8 = f"{CHECKIN}; charset=UTF-8"
CONNECT_UTF8 = f"{CONNECT}; charset=UTF-8"
#: A configuration profile, signed or not. Source: Apple, "Configuration Profile Reference".
PROFILE = "application/x-apple-aspen-config"
#: A command in a server's answer (MDM Protocol Reference); devices accept others and none.
PLIST = "application/xml; charset=UTF-8"
#: MachineInfo in an enrolment POST: CMS with the content inside (captured: iOS 18.2.1).
PKCS7_SIGNATURE = "application/pkcs7-signature"
#: SCEP messages and CA certificates. Source: RFC 8894 sections 3.5.2, 4.2.1 and 4.3.
PKI_MESSAGE = "application/x-pki-message"
CA_CERT = "application/x-x509-ca-cert"
CA_RA_CERT = "application/x-x509-ca-ra-cert"
JSON = "application/json"


def media_type(value: str | None) -> str:
    """The media type without parameters, in small letters; "" for None."""
    return (value or "").partition(";")[0].strip().lower()


def is_checkin(value: str | None) -> bool:
    return media_type(value) == CHECKIN


def is_connect(value: str | None) -> bool:
    return media_type(value) == CONNECT


def is_profile(value: str | None) -> bool:
    return media_type(value) == PROFILE
