"""Reading a profile before anything is touched: unwrap, check, and put its payloads in the order of installation.

Order: certificates, then identities, then MDM, then the rest (Apple, MDM Best Practices: the server's trust and the
client's identity are in place when check-in begins; where the rest falls is not documented, our choice).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mdmsim.device import errors
from mdmsim.device.device import Device
from mdmsim.device.errors import DeviceError
from mdmsim.device.personas import Persona
from mdmsim.device.profiles.removal import removal_ms
from mdmsim.http import Identity
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.cms import is_cms, verify
from mdmsim.pki.envelope import decrypt
from mdmsim.pki.errors import BadSignature, CMSError, MalformedCertificate
from mdmsim.pki.pkcs12 import MalformedPkcs12, NotAnIdentity, WrongPassword, open_pkcs12
from mdmsim.protocol import device_plist
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.payloads import MDM, PEM, PKCS1, PKCS12, ROOT, SCEP
from mdmsim.protocol.profile import CertificatePayload, MdmPayload, Payload, Profile, ScepPayload, parse_profile
from mdmsim.schema.platforms import AccessRights

#: Payloads that hold one certificate each, and identities that cannot be installed yet.
BARE_CERTIFICATES = (ROOT, PKCS1, PEM)
OTHER_IDENTITIES = ("com.apple.security.acme",)

#: A push topic (com.apple.mdm.yaml, Topic): the subject's UID of the push certificate.
TOPIC_PREFIX = "com.apple.mgmt."


@dataclass(frozen=True, slots=True)
class Plan:
    """A profile that may be tried: its parts in order. `content` is the plist without signature."""

    profile: Profile
    content: bytes
    signers: tuple[bytes, ...]
    certificates: tuple[tuple[Payload, bytes], ...]
    identities: tuple[tuple[Payload, ScepPayload], ...]
    embedded: tuple[tuple[Payload, Identity], ...]
    mdm: MdmPayload | None

    @property
    def identity_payloads(self) -> tuple[Payload, ...]:
        """The payloads that bring an identity: by SCEP, then those that hold one."""
        return (*(payload for payload, _ in self.identities), *(payload for payload, _ in self.embedded))


def read_plan(device: Device, data: bytes, *, by_mdm: bool) -> Plan:
    """What a profile asks for. Raises DeviceError with the chain a device reports; nothing is changed.

    `by_mdm`: it came in an InstallProfile command.
    """
    persona = device.persona
    content, signers = _unwrap(persona, data)
    try:
        profile = parse_profile(content)
    except Malformed as error:
        raise _unreadable(persona, str(error)) from None
    try:
        if profile.is_encrypted:
            profile = _decrypted(device, profile)
        _check_payloads(persona, profile)
        certificates = tuple((p, _certificate(p)) for p in profile.payloads if p.type in BARE_CERTIFICATES)
        identities = tuple((p, ScepPayload.of(p)) for p in profile.payloads if p.type == SCEP)
        embedded = tuple((p, _embedded(persona, profile, p)) for p in profile.payloads if p.type == PKCS12)
        mdm_payloads = [MdmPayload.of(p) for p in profile.payloads if p.type == MDM]
    except MalformedCertificate as error:
        raise _failed(persona, profile, errors.CERTIFICATE, 9005, str(error)) from None
    except Malformed as error:
        if persona.is_mac:
            raise _unreadable(persona, str(error)) from None
        raise _failed(persona, profile, errors.PAYLOAD, 2002, str(error)) from None
    if len(mdm_payloads) > 1:
        raise _failed(persona, profile, errors.mdm_domain(persona), 12001, "The profile has more than one MDM payload.")
    mdm = mdm_payloads[0] if mdm_payloads else None
    plan = Plan(profile, content, signers, certificates, identities, embedded, mdm)
    if mdm is not None:
        _check_mdm(device, plan, mdm)
    _check_replacement(device, plan, by_mdm=by_mdm)
    _check_removal_date(device, profile)
    return plan


def _unwrap(persona: Persona, data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    if not is_cms(data):
        return data, ()
    try:
        signed = verify(data)
    except BadSignature as error:
        raise DeviceError(
            (errors.item(persona, errors.PROFILE, 1004, f"The profile’s signature is bad: {error.reason}"),)
        ) from None
    except CMSError as error:
        raise _unreadable(persona, str(error)) from None
    others = tuple(certificate for certificate in signed.certificates if certificate != signed.signer)
    return signed.content, (signed.signer, *others)


def _unreadable(persona: Persona, why: str) -> DeviceError:
    if persona.is_mac:
        text = "The profile is either missing some required information, or contains information in an invalid format."
        return DeviceError((errors.item(persona, errors.MAC_PROFILE, -102, text),))
    outer = errors.item(persona, errors.INSTALLATION, 4000, "The profile could not be read.")
    return DeviceError((outer, errors.item(persona, errors.PROFILE, 1000, why)))


def _failed(persona: Persona, profile: Profile, domain: str, code: int, text: str) -> DeviceError:
    return errors.install_failed(
        persona, profile.display_name or profile.identifier, errors.item(persona, domain, code, text)
    )


def _decrypted(device: Device, profile: Profile) -> Profile:
    """The profile with its payloads decrypted by one of the device's identities; 1006 when none fits."""
    for kept in device.state.keychain:
        if kept.key is None:
            continue
        identity = Identity(certificate=device.store.get(kept.certificate), key=device.store.get(kept.key))
        try:
            payloads = device_plist.loads_any(decrypt(profile.encrypted or b"", identity), what="encrypted payloads")
        except Malformed:
            continue
        if not isinstance(payloads, list) or not all(isinstance(payload, dict) for payload in payloads):
            raise _failed(
                device.persona, profile, errors.PROFILE, 1000, "The encrypted part is not an array of payloads."
            )
        return replace(profile, payloads=tuple(Payload.of(payload) for payload in payloads))
    raise _failed(device.persona, profile, errors.PROFILE, 1006, "The profile could not be decrypted.")


def _check_payloads(persona: Persona, profile: Profile) -> None:
    uuids = [payload.uuid for payload in profile.payloads]
    if len(set(uuids)) != len(uuids):
        raise _failed(persona, profile, errors.PROFILE, 1007, "Two payloads of the profile have the same UUID.")
    for payload in profile.payloads:
        if payload.type in OTHER_IDENTITIES:
            raise _failed(
                persona,
                profile,
                errors.INSTALLATION,
                4023,
                f"Payloads of the type “{payload.type}” cannot be installed.",
            )


def _certificate(payload: Payload) -> bytes:
    der = CertificatePayload.of(payload).der
    load_certificate(der)
    return der


def _embedded(persona: Persona, profile: Profile, payload: Payload) -> Identity:
    """The identity in a PKCS #12 payload (MCCertificateErrorDomain 9000: wrong password, 9006: no identity, 9005)."""
    view = CertificatePayload.of(payload)
    try:
        return open_pkcs12(view.content, view.password)
    except WrongPassword as error:
        raise _failed(persona, profile, errors.CERTIFICATE, 9000, str(error)) from None
    except NotAnIdentity as error:
        raise _failed(persona, profile, errors.CERTIFICATE, 9006, str(error)) from None
    except MalformedPkcs12 as error:
        raise _failed(persona, profile, errors.CERTIFICATE, 9005, str(error)) from None


def _check_removal_date(device: Device, profile: Profile) -> None:
    """A profile whose time is over is not installed: 4006 of Apple's table of codes; no Mac's words were captured."""
    now_ms = device.clock.now_ms()
    removal = removal_ms(profile, now_ms)
    if removal is None or removal > now_ms:
        return
    text = f"The removal date of the profile “{profile.display_name or profile.identifier}” has passed."
    if device.persona.is_mac:
        raise _unreadable(device.persona, text)
    raise _failed(device.persona, profile, errors.INSTALLATION, 4006, text)


def _check_mdm(device: Device, plan: Plan, mdm: MdmPayload) -> None:
    persona, profile = device.persona, plan.profile
    domain = errors.mdm_domain(persona)
    enrollment = device.state.enrollment
    if enrollment is not None and enrollment.profile != profile.identifier:
        raise _failed(persona, profile, domain, 12001, "The device is already managed by an MDM server.")
    if not mdm.topic.startswith(TOPIC_PREFIX) or len(mdm.topic) == len(TOPIC_PREFIX):
        raise _failed(persona, profile, domain, 12022, f"The topic “{mdm.topic}” is not valid.")
    if problem := AccessRights.problem(mdm.access_rights or 0):
        raise _failed(persona, profile, domain, 12000, f"The access rights are not allowed: {problem}")
    for key, url in (("ServerURL", mdm.server_url), ("CheckInURL", mdm.check_in_url)):
        if url is not None and not _allowed_url(device, url):
            raise _failed(persona, profile, domain, 12034, f"{key} “{url}” is not an https URL.")
    if mdm.identity_certificate_uuid not in {payload.uuid for payload in plan.identity_payloads}:
        raise _failed(
            persona, profile, domain, 12016, "The identity certificate of the MDM payload could not be found."
        )
    known = {payload.uuid for payload, _ in plan.certificates}
    for uuid in (*mdm.server_url_pinning_certificate_uuids, *mdm.check_in_url_pinning_certificate_uuids):
        if uuid not in known:
            raise _failed(persona, profile, domain, 12005, f"The pinned certificate {uuid} could not be found.")


def _allowed_url(device: Device, url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return parts.scheme == "http" and device.behaviour.allow_http and loopback


def _check_replacement(device: Device, plan: Plan, *, by_mdm: bool) -> None:
    """What may stand in the way of a profile with the identifier of one that is installed."""
    persona, profile, mdm = device.persona, plan.profile, plan.mdm
    installed = next((p for p in device.state.profiles if p.identifier == profile.identifier), None)
    if installed is None:
        return
    enrollment = device.state.enrollment
    holds_enrollment = enrollment is not None and enrollment.profile == profile.identifier
    if by_mdm and not installed.managed and not holds_enrollment:
        if persona.is_mac:
            text = f"Cannot replace profile '{profile.identifier}' because it was not installed by the MDM server."
            raise errors.client(persona, 96, text)
        raise errors.mdm(persona, 12013, f"The profile “{profile.identifier}” is not managed by MDM.")
    if not holds_enrollment or enrollment is None:
        return
    if mdm is None:
        raise _failed(persona, profile, errors.INSTALLATION, 4015, "The new profile has no MDM payload.")
    # com.apple.mdm.yaml: these may not change when the profile is replaced, and access rights may not be added.
    for key, now, then in (
        ("ServerURL", enrollment.server_url, mdm.server_url),
        ("CheckInURL", enrollment.checkin_url, mdm.check_in_url or ""),
        ("Topic", enrollment.topic, mdm.topic),
    ):
        if now != then:
            raise _failed(
                persona, profile, errors.mdm_domain(persona), 12012, f"{key} differs from the installed profile’s."
            )
    if (mdm.access_rights or 0) & ~enrollment.access_rights:
        raise _failed(persona, profile, errors.mdm_domain(persona), 12012, "Access rights may not be added.")
