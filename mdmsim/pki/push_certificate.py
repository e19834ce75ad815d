"""Push certificates: which topics and environments one is for, and whether it is one at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.x509.oid import NameOID

from mdmsim.chance import Chance
from mdmsim.pki.asn1 import NULL_TAG, SEQUENCE, BadASN1, Reader, sequence, tlv, utf8
from mdmsim.pki.certificate import load_certificate, without_parser
from mdmsim.pki.errors import MalformedCertificate

#: What every MDM topic begins with (Apple, "Setting up push notifications for your MDM customers").
TOPIC_PREFIX = "com.apple.mgmt.External."
#: Marks a certificate for production pushes; its value is NULL (captured: an MDM push certificate of 2021).
PRODUCTION_PUSH = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
#: The same for sandbox pushes (node-apn and pushy know the pair by these names).
SANDBOX_PUSH = x509.ObjectIdentifier("1.2.840.113635.100.6.3.1")
#: The topics of a certificate for several: a sequence of topic and sequence of service kinds, in turn (decoded from
#: pushy's test certificates).
TOPIC_LIST = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")

PushEnvironment: TypeAlias = Literal["production", "sandbox"]

#: Apple's push certificate portal issues for production only.
MDM_ENVIRONMENTS: tuple[PushEnvironment, ...] = ("production",)

_NULL = tlv(NULL_TAG, b"")


@dataclass(frozen=True, slots=True)
class PushRights:
    """What a push certificate is good for.

    `topic`: the UID of its subject, None without one. `topics`: of a certificate for several, those listed; else ().
    `production`, `sandbox`: whether Apple's mark for pushes to that environment is there.
    """

    topic: str | None
    topics: tuple[str, ...]
    production: bool
    sandbox: bool


def push_rights(der: bytes) -> PushRights:
    """Read a certificate as APNs does. Raises MalformedCertificate."""
    certificate = load_certificate(der)
    try:
        extensions = {one.oid: one.value for one in certificate.extensions}
    except (x509.DuplicateExtension, ValueError) as error:
        raise MalformedCertificate(
            "push certificate", f"its extensions cannot be read{without_parser(error)}"
        ) from None
    listed = extensions.get(TOPIC_LIST)
    topics: tuple[str, ...] = ()
    if isinstance(listed, x509.UnrecognizedExtension):
        topics = _listed_topics(listed.value)
    return PushRights(topic_of(der), topics, PRODUCTION_PUSH in extensions, SANDBOX_PUSH in extensions)


def _listed_topics(value: bytes) -> tuple[str, ...]:
    try:
        reader = Reader(value)
        parts = reader.children(reader.root(SEQUENCE, "topics"), "topics")
        return tuple(dict.fromkeys(reader.text(part, "topic") for part in parts[::2]))
    except BadASN1 as error:
        raise MalformedCertificate("push certificate", f"its list of topics cannot be read ({error})") from None


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


def push_marks(
    environments: Collection[PushEnvironment], topics: Sequence[str] = ()
) -> tuple[x509.UnrecognizedExtension, ...]:
    """The Apple extensions of a push certificate for these environments, and for several topics where they are given."""
    marks = [
        x509.UnrecognizedExtension(mark, _NULL)
        for name, mark in (("sandbox", SANDBOX_PUSH), ("production", PRODUCTION_PUSH))
        if name in environments
    ]
    if topics:
        pairs = (part for topic in topics for part in (utf8(topic), sequence(utf8("app"))))
        marks.append(x509.UnrecognizedExtension(TOPIC_LIST, sequence(*pairs)))
    return tuple(marks)
