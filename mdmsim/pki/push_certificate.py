"""Push certificates: which topic one is for, and whether it is one at all."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

from mdmsim.chance import Chance
from mdmsim.pki.certificate import load_certificate

#: What every MDM topic begins with (Apple, "Setting up push notifications for your MDM customers").
TOPIC_PREFIX = "com.apple.mgmt.External."
#: Marks a certificate for production pushes; its value is NULL (captured: an MDM push certificate of 2021).
PRODUCTION_PUSH = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")


def topic_of(der: bytes) -> str | None:
    """The topic that the certificate may push to: the UID of its subject; None without one. Raises MalformedCertificate."""
    found = load_certificate(der).subject.get_attributes_for_oid(NameOID.USER_ID)
    value = found[0].value if found else None
    return value if isinstance(value, str) else None


def is_push_certificate(der: bytes) -> bool:
    """Whether it names an MDM topic and carries Apple's mark for production pushes. Raises MalformedCertificate."""
    topic = topic_of(der)
    if topic is None or not topic.startswith("com.apple.mgmt."):
        return False
    try:
        load_certificate(der).extensions.get_extension_for_oid(PRODUCTION_PUSH)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return True


def new_topic(chance: Chance) -> str:
    """A topic as Apple's portal hands them out: the prefix and a UUID in small letters."""
    return f"{TOPIC_PREFIX}{chance.uuid()}"
