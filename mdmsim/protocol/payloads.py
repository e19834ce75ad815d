"""One payload of a profile, and typed views of those that an enrollment is made of.

Each view has `of(payload)`, which raises Malformed naming the key, and `to_payload(...)`, its inverse. Only types and
listed values are judged here; whether a topic or URL makes sense is the device's business.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import Any, Self

from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.fields import DeviceFields, Fields
from mdmsim.protocol.plist import kind_of

MDM = "com.apple.mdm"
SCEP = "com.apple.security.scep"
ROOT = "com.apple.security.root"
PKCS1 = "com.apple.security.pkcs1"
PEM = "com.apple.security.pem"
PKCS12 = "com.apple.security.pkcs12"

#: ServerCapabilities: the server answers users, too. "Must be present when managing Shared iPad or macOS devices", and
#: may not be added or removed later (mdm/profiles/com.apple.mdm.yaml).
PER_USER_CONNECTIONS = "com.apple.mdm.per-user-connections"

#: Payload types that hold one certificate, or with PKCS #12 an identity (mdm/profiles/com.apple.security.*.yaml).
CERTIFICATE_TYPES = (ROOT, PKCS1, PEM, PKCS12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A payload. `keys` has all keys but the Payload... ones that are fields here, so PayloadContent too.

    `version`: None where PayloadVersion is absent or no integer, which macOS accepts and iOS does not
    (microsoft/mdatp-xplat issue 257); what is no integer stays in `keys`.
    """

    type: str
    identifier: str
    uuid: str
    version: int | None = 1
    display_name: str | None = None
    organization: str | None = None
    description: str | None = None
    keys: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def of(cls, values: dict[str, Any], *, where: str = "") -> Self:
        """The payload in a dictionary of PayloadContent. Raises Malformed naming the key."""
        fields = DeviceFields("profile", values, where=where)
        return cls(
            type=fields.required_string("PayloadType"),
            identifier=fields.required_string("PayloadIdentifier"),
            uuid=fields.required_string("PayloadUUID"),
            version=fields.integer_or_leave("PayloadVersion"),
            display_name=fields.string("PayloadDisplayName"),
            organization=fields.string("PayloadOrganization"),
            description=fields.string("PayloadDescription"),
            keys=fields.rest(),
        )

    def to_plist(self) -> dict[str, Any]:
        """The dictionary for PayloadContent; what is None is left out."""
        common = {
            "PayloadType": self.type,
            "PayloadIdentifier": self.identifier,
            "PayloadUUID": self.uuid,
            "PayloadVersion": self.version,
            "PayloadDisplayName": self.display_name,
            "PayloadOrganization": self.organization,
            "PayloadDescription": self.description,
        }
        return self.keys | {key: value for key, value in common.items() if value is not None}


def _fields(payload: Payload, *types: str) -> Fields:
    if payload.type not in types:
        raise Malformed(
            "payload",
            f"PayloadType is {payload.type[:60]!r}; needed is {' or '.join(types)}",
            key="PayloadType",
            problem="value",
        )
    return DeviceFields(f"payload {payload.type}", payload.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class MdmPayload:
    """The enrollment itself (mdm/profiles/com.apple.mdm.yaml). `access_rights`: None when absent, as in User Enrollment."""

    topic: str
    server_url: str
    identity_certificate_uuid: str
    check_in_url: str | None = None
    access_rights: int | None = None
    sign_message: bool = False
    check_out_when_removed: bool = False
    server_capabilities: tuple[str, ...] = ()
    server_url_pinning_certificate_uuids: tuple[str, ...] = ()
    check_in_url_pinning_certificate_uuids: tuple[str, ...] = ()
    pinning_revocation_check_required: bool = False
    use_development_apns: bool = False
    managed_apple_id: str | None = None
    assigned_managed_apple_id: str | None = None
    enrollment_mode: str | None = None
    required_app_id: int | None = None
    prompt_user_to_allow_bootstrap_token: bool = False
    extra: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def effective_check_in_url(self) -> str:
        """Where check-in messages go: CheckInURL, or ServerURL when that is absent."""
        return self.check_in_url or self.server_url

    @classmethod
    def of(cls, payload: Payload) -> Self:
        """The view of a com.apple.mdm payload. Raises Malformed naming the key.

        An empty Topic passes: the device has an error of its own for a malformed one (MCMDMErrorDomain 12022).
        """
        fields = _fields(payload, MDM)
        topic = fields.string("Topic")
        if topic is None:
            raise fields.error("Topic", "is missing; it must be a string", "missing")
        mode = fields.string("EnrollmentMode")
        if mode not in (None, "BYOD", "ADDE"):
            raise fields.error("EnrollmentMode", f"is {mode[:60]!r}; allowed are BYOD and ADDE")
        return cls(
            topic=topic,
            server_url=fields.required_string("ServerURL"),
            identity_certificate_uuid=fields.required_string("IdentityCertificateUUID"),
            check_in_url=fields.string("CheckInURL") or None,
            access_rights=fields.integer("AccessRights"),
            sign_message=fields.boolean("SignMessage") or False,
            check_out_when_removed=fields.boolean("CheckOutWhenRemoved") or False,
            server_capabilities=fields.strings("ServerCapabilities"),
            server_url_pinning_certificate_uuids=fields.strings("ServerURLPinningCertificateUUIDs"),
            check_in_url_pinning_certificate_uuids=fields.strings("CheckInURLPinningCertificateUUIDs"),
            pinning_revocation_check_required=fields.boolean("PinningRevocationCheckRequired") or False,
            use_development_apns=fields.boolean("UseDevelopmentAPNS") or False,
            managed_apple_id=fields.string("ManagedAppleID"),
            assigned_managed_apple_id=fields.string("AssignedManagedAppleID"),
            enrollment_mode=mode,
            required_app_id=fields.integer("RequiredAppIDForMDM"),
            prompt_user_to_allow_bootstrap_token=fields.boolean("PromptUserToAllowBootstrapTokenForAuthentication")
            or False,
            extra=fields.rest(),
        )

    def to_payload(self, *, identifier: str, uuid: str, display_name: str | None = None) -> Payload:
        """The payload with these values; what has the schema's default is left out."""
        keys: dict[str, Any] = {
            "Topic": self.topic,
            "ServerURL": self.server_url,
            "IdentityCertificateUUID": self.identity_certificate_uuid,
            "CheckInURL": self.check_in_url,
            "AccessRights": self.access_rights,
            "SignMessage": self.sign_message or None,
            "CheckOutWhenRemoved": self.check_out_when_removed or None,
            "ServerCapabilities": list(self.server_capabilities) or None,
            "ServerURLPinningCertificateUUIDs": list(self.server_url_pinning_certificate_uuids) or None,
            "CheckInURLPinningCertificateUUIDs": list(self.check_in_url_pinning_certificate_uuids) or None,
            "PinningRevocationCheckRequired": self.pinning_revocation_check_required or None,
            "UseDevelopmentAPNS": self.use_development_apns or None,
            "ManagedAppleID": self.managed_apple_id,
            "AssignedManagedAppleID": self.assigned_managed_apple_id,
            "EnrollmentMode": self.enrollment_mode,
            "RequiredAppIDForMDM": self.required_app_id,
            "PromptUserToAllowBootstrapTokenForAuthentication": self.prompt_user_to_allow_bootstrap_token or None,
        }
        return Payload(
            type=MDM,
            identifier=identifier,
            uuid=uuid,
            display_name=display_name,
            keys=self.extra | {key: value for key, value in keys.items() if value is not None},
        )


#: X.500 name: relative distinguished names of (type, value) pairs; types are short names or dotted numbers.
Subject = tuple[tuple[tuple[str, str], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScepPayload:
    """How to get an identity by SCEP (mdm/profiles/com.apple.security.scep.yaml). Defaults are the schema's.

    `key_size` is in bits, `retry_delay` in seconds, `key_usage` a mask of 1 (signing) and 4 (encryption).
    `ca_fingerprint` is a digest of the CA certificate.
    """

    url: str
    name: str | None = None
    subject: Subject = ()
    challenge: str | None = field(default=None, repr=False)
    key_size: int = 1024
    key_type: str = "RSA"
    key_usage: int = 0
    ca_fingerprint: bytes | None = None
    retries: int = 3
    retry_delay: int = 10
    subject_alt_name: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    key_is_extractable: bool = True
    allow_all_apps_access: bool = False
    extra: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def of(cls, payload: Payload) -> Self:
        """The view of a com.apple.security.scep payload. Raises Malformed naming the key."""
        outer = _fields(payload, SCEP)
        fields = DeviceFields(outer.what, outer.required_dictionary("PayloadContent"), where="PayloadContent.")
        key_size = _spelled(fields, "Keysize", "KeySize", "Key Size")
        if key_size is not None and key_size not in (1024, 2048, 4096):
            raise fields.error("Keysize", f"is {key_size}; allowed are 1024, 2048 and 4096")
        retries, retry_delay = fields.integer("Retries"), fields.integer("RetryDelay")
        for key, value in (("Retries", retries), ("RetryDelay", retry_delay)):
            if value is not None and value < 0:
                raise fields.error(key, f"is {value}; allowed is 0 or more")
        key_usage = _spelled(fields, "Key Usage", "KeyUsage", "Keyusage")
        extractable = fields.boolean("KeyIsExtractable")
        return cls(
            url=fields.required_string("URL"),
            name=fields.string("Name"),
            subject=_subject(fields),
            challenge=fields.string("Challenge"),
            key_size=1024 if key_size is None else key_size,
            key_type=fields.string("Key Type") or fields.string("KeyType") or fields.string("Keytype") or "RSA",
            key_usage=0 if key_usage is None else key_usage,
            ca_fingerprint=fields.data("CAFingerprint"),
            retries=3 if retries is None else retries,
            retry_delay=10 if retry_delay is None else retry_delay,
            subject_alt_name=_alternative_names(fields),
            key_is_extractable=True if extractable is None else extractable,
            allow_all_apps_access=fields.boolean("AllowAllAppsAccess") or False,
            extra=fields.rest(),
        )

    def to_payload(self, *, identifier: str, uuid: str, display_name: str | None = None) -> Payload:
        """The payload with these values; optional ones that have the schema's default are left out."""
        content: dict[str, Any] = {
            "URL": self.url,
            "Name": self.name,
            "Subject": [[list(pair) for pair in rdn] for rdn in self.subject] or None,
            "Challenge": self.challenge,
            "Keysize": self.key_size,
            "Key Type": self.key_type,
            "Key Usage": self.key_usage or None,
            "CAFingerprint": self.ca_fingerprint,
            "Retries": None if self.retries == 3 else self.retries,
            "RetryDelay": None if self.retry_delay == 10 else self.retry_delay,
            "SubjectAltName": {k: v[0] if len(v) == 1 else list(v) for k, v in self.subject_alt_name.items()} or None,
            "KeyIsExtractable": None if self.key_is_extractable else False,
            "AllowAllAppsAccess": self.allow_all_apps_access or None,
        }
        return Payload(
            type=SCEP,
            identifier=identifier,
            uuid=uuid,
            display_name=display_name,
            keys={"PayloadContent": self.extra | {k: v for k, v in content.items() if v is not None}},
        )


def _spelled(fields: Fields, *spellings: str) -> int | None:
    """An integer under any spelling that profiles in the field use; the schema's own comes first."""
    found = [value for spelling in spellings if (value := fields.integer(spelling)) is not None]
    return found[0] if found else None


def _subject(fields: Fields) -> Subject:
    names = []
    for number, rdn in enumerate(fields.array("Subject") or ()):
        pairs = []
        for pair in rdn if isinstance(rdn, list) else [None]:
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(item, str) for item in pair)):
                raise fields.error(
                    f"Subject[{number}]", 'must be an array of pairs of strings, such as [["CN", "name"]]', "type"
                )
            pairs.append((pair[0], pair[1]))
        names.append(tuple(pairs))
    return tuple(names)


def _alternative_names(fields: Fields) -> dict[str, tuple[str, ...]]:
    names = {}
    for key, value in (fields.dictionary("SubjectAltName") or {}).items():
        values = value if isinstance(value, list) else [value]
        for item in values:
            if not isinstance(item, str):
                raise fields.error(
                    f"SubjectAltName.{key}", f"is {kind_of(item)}; it must be a string or an array of strings", "type"
                )
        names[key] = tuple(values)
    return names


_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePayload:
    """A certificate, or with PKCS #12 an identity (mdm/profiles/com.apple.security.{root,pkcs1,pem,pkcs12}.yaml)."""

    type: str
    content: bytes = field(repr=False)
    password: str | None = field(default=None, repr=False)
    file_name: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def is_identity(self) -> bool:
        return self.type == PKCS12

    @property
    def der(self) -> bytes:
        """The certificate as DER; PEM is tolerated in root and pkcs1 too. Raises Malformed for broken PEM and PKCS #12."""
        if self.is_identity:
            raise Malformed(f"payload {self.type}", "holds PKCS #12, not a bare certificate", problem="value")
        if self.type != PEM and b"-----BEGIN" not in self.content:
            return self.content
        match = _PEM.search(self.content)
        if match:
            try:
                return binascii.a2b_base64(b"".join(match[1].split()), strict_mode=True)
            except binascii.Error:
                pass
        raise Malformed(
            f"payload {self.type}", "PayloadContent holds no PEM certificate", key="PayloadContent", problem="value"
        )

    @classmethod
    def of(cls, payload: Payload) -> Self:
        """The view of a certificate payload. Raises Malformed naming the key."""
        fields = _fields(payload, *CERTIFICATE_TYPES)
        return cls(
            type=payload.type,
            content=fields.required_data("PayloadContent"),
            password=fields.string("Password"),
            file_name=fields.string("PayloadCertificateFileName"),
            extra=fields.rest(),
        )

    def to_payload(self, *, identifier: str, uuid: str, display_name: str | None = None) -> Payload:
        """The payload with these values."""
        keys = {
            "PayloadContent": self.content,
            "Password": self.password,
            "PayloadCertificateFileName": self.file_name,
        }
        return Payload(
            type=self.type,
            identifier=identifier,
            uuid=uuid,
            display_name=display_name,
            keys=self.extra | {key: value for key, value in keys.items() if value is not None},
        )
