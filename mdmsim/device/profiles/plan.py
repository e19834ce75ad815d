"""Reading a profile before anything is touched: unwrap, check, and put its payloads in the order of installation.

Order: certificates, then identities, then MDM, then the rest (Apple, MDM Best Practices: the server's trust and the
client's identity are in place when check-in begins; where the rest falls is not documented, our choice).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from mdmsim.device import errors
from mdmsim.device.device import Device
from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.personas import Persona
from mdmsim.device.profiles import refusals
from mdmsim.device.profiles.enrollment_rules import check_mdm_payload, check_replacement
from mdmsim.device.profiles.refusals import failed
from mdmsim.device.profiles.removal import removal_ms
from mdmsim.http import Identity
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.cms import is_cms, verify
from mdmsim.pki.envelope import decrypt
from mdmsim.pki.errors import BadSignature, CMSError
from mdmsim.pki.pkcs12 import MalformedPkcs12, NotAnIdentity, WrongPassword, open_pkcs12
from mdmsim.protocol import device_plist
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.payloads import MDM, PEM, PKCS1, PKCS12, ROOT, SCEP
from mdmsim.protocol.plist import kind_of
from mdmsim.protocol.profile import (
    CertificatePayload,
    MdmPayload,
    Payload,
    Profile,
    ScepPayload,
    parse_profile,
    profile_of,
)
from mdmsim.schema.payload_rules import SINGLE_CODES, has_payload, refused_rule
from mdmsim.schema.platforms import Platform

T = TypeVar("T")

#: Payloads that hold one certificate each.
BARE_CERTIFICATES = (ROOT, PKCS1, PEM)

#: Payloads that a real device carries out and mdmsim does not. The rest of a profile is installed without them.
NOT_SIMULATED = ("com.apple.security.acme", "com.apple.ADCertificate.managed")

#: The PayloadType of the first phase of an over-the-air enrollment (Apple, "Over-the-Air Profile Delivery").
PROFILE_SERVICE = "Profile Service"

#: Privacy payloads whose entries may not both allow and authorize: seen on macOS 15 (kandji-inc/support issue 33).
TCC = "com.apple.TCC.configuration-profile-policy"
TCC_CONTRADICTION_SINCE = "15.0"


@dataclass(frozen=True, slots=True)
class Plan:
    """A profile that may be tried: its parts in order. `content` is the plist without signature.

    `not_simulated`: payloads that will not be carried out, which is mdmsim's fault and no refusal of the device.
    """

    profile: Profile
    content: bytes
    signers: tuple[bytes, ...]
    certificates: tuple[tuple[Payload, bytes], ...]
    identities: tuple[tuple[Payload, ScepPayload], ...]
    embedded: tuple[tuple[Payload, Identity], ...]
    mdm: MdmPayload | None
    not_simulated: tuple[Payload, ...] = ()

    @property
    def identity_payloads(self) -> tuple[Payload, ...]:
        """The payloads that bring an identity: by SCEP, then those that hold one."""
        return (*(payload for payload, _ in self.identities), *(payload for payload, _ in self.embedded))


def read_plan(device: Device, data: bytes, *, by_mdm: bool, manual: bool = False) -> Plan:
    """What a profile asks for. Raises DeviceError with the chain a device reports; nothing is changed.

    Its cause, where it is Malformed, is what mdmsim itself found wrong: for people, never for the wire.

    `by_mdm`: it came in an InstallProfile command. `manual`: a person installs it.
    """
    persona = device.persona
    content, signers = _unwrap(persona, data)
    profile = _read(persona, content)
    if profile.is_encrypted:
        profile = _decrypted(device, profile)
    _check_versions(persona, profile)
    _check_unique(persona, profile)
    _check_rules(device, profile, manual=manual)
    certificates = tuple(
        (p, _certificate(persona, profile, p)) for p in profile.payloads if p.type in BARE_CERTIFICATES
    )
    identities = tuple((p, _scep(persona, profile, p)) for p in profile.of_type(SCEP))
    embedded = tuple((p, _embedded(persona, profile, p)) for p in profile.of_type(PKCS12))
    mdm_payloads = [_view(persona, profile, p, MdmPayload.of) for p in profile.of_type(MDM)]
    if len(mdm_payloads) > 1:
        raise failed(persona, profile, errors.mdm_domain(persona), 12001, "The profile has more than one MDM payload.")
    mdm = mdm_payloads[0] if mdm_payloads else None
    left_out = tuple(
        payload
        for payload in profile.payloads
        if payload.type in NOT_SIMULATED and has_payload(payload.type, Platform(persona.platform), persona.os_version)
    )
    plan = Plan(profile, content, signers, certificates, identities, embedded, mdm, left_out)
    if mdm is not None:
        check_mdm_payload(device, plan, mdm)
    check_replacement(device, plan, by_mdm=by_mdm)
    _check_removal_date(device, profile)
    return plan


def _unwrap(persona: Persona, data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    if not is_cms(data):
        return data, ()
    try:
        signed = verify(data)
    except BadSignature as error:
        if persona.is_mac:
            raise refusals.no_plist(persona, data) from error
        outer = errors.item(persona, errors.INSTALLATION, 4000, refusals.INVALID)
        raise DeviceError((outer, errors.item(persona, errors.PROFILE, 1004, refusals.INVALID))) from error
    except CMSError as error:
        raise refusals.no_plist(persona, data) from error
    others = tuple(certificate for certificate in signed.certificates if certificate != signed.signer)
    return signed.content, (signed.signer, *others)


def _read(persona: Persona, content: bytes) -> Profile:
    try:
        values = device_plist.loads_any(content, what="profile")
    except Malformed as error:
        raise refusals.no_plist(persona, content) from error
    if not isinstance(values, dict):
        refusal = refusals.lacking(persona) if persona.is_mac else refusals.no_plist(persona, content)
        raise refusal from Malformed("profile", f"it is {kind_of(values)}; it must be a dictionary", problem="type")
    if values.get("PayloadType") == PROFILE_SERVICE:
        raise NotSimulated(
            what=f"Over-the-air enrollment ({PROFILE_SERVICE})", profile=str(values.get("PayloadIdentifier", ""))
        )
    try:
        return profile_of(values)
    except Malformed as error:
        raise refusals.no_profile(persona, values, error) from error


def _decrypted(device: Device, profile: Profile) -> Profile:
    """The profile with its payloads decrypted by one of the device's identities; 1006 when none fits."""
    persona = device.persona
    for kept in device.state.keychain:
        if kept.key is None:
            continue
        identity = Identity(certificate=device.store.get(kept.certificate), key=device.store.get(kept.key))
        try:
            payloads = device_plist.loads_any(decrypt(profile.encrypted or b"", identity), what="encrypted payloads")
        except Malformed:
            continue
        values = {**profile.raw, "PayloadContent": payloads}
        try:
            return replace(profile, payloads=profile_of(values).payloads)
        except Malformed as error:
            raise refusals.no_profile(persona, values, error) from error
    raise failed(persona, profile, errors.PROFILE, 1006, "The profile could not be decrypted.")


def _check_versions(persona: Persona, profile: Profile) -> None:
    """PayloadVersion must be an integer on iOS, in the profile and in each payload; macOS takes it as it is."""
    if persona.is_mac:
        return
    key, name = "PayloadVersion", refusals.name_of(profile.raw)
    if profile.version is None:
        raise refusals.broken_top_key(persona, name, key, "type" if key in profile.raw else "missing")
    for payload in profile.payloads:
        if payload.version is None:
            problem = "type" if key in payload.keys else "missing"
            raise refusals.broken_key(persona, name, refusals.payload_name(payload), key, problem)


def _check_unique(persona: Persona, profile: Profile) -> None:
    """No two payloads share a UUID or an identifier, and on a Mac no payload the profile's own UUID."""
    name, uuids = refusals.name_of(profile.raw), [payload.uuid for payload in profile.payloads]
    if persona.is_mac:
        uuids.append(profile.uuid)
    if uuid := _first_twice(uuids):
        raise refusals.used_twice(persona, name, "PayloadUUID", uuid)
    if identifier := _first_twice(payload.identifier for payload in profile.payloads):
        raise refusals.used_twice(persona, name, "PayloadIdentifier", identifier)


def _first_twice(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _check_rules(device: Device, profile: Profile, *, manual: bool) -> None:
    """What Apple's schema asks of the payloads, as far as devices enforce it (mdmsim.schema.payload_rules)."""
    persona = device.persona
    broken = refused_rule(
        [(payload.type, payload.keys) for payload in profile.payloads],
        platform=Platform(persona.platform),
        os_version=persona.os_version,
        manual=manual,
        installed=_other_single_types(device, profile),
    )
    if broken is not None:
        payload = profile.payloads[broken.index]
        if broken.rule == "manual":
            raise refusals.only_by_mdm(persona)
        if broken.rule == "single":
            code = SINGLE_CODES[broken.payload_type]
            raise refusals.not_installed(persona, profile, payload, errors.INSTALLATION, code)
        if persona.is_mac:
            raise refusals.mac_requires(persona) from Malformed(f"payload {payload.type}", f"{broken.key} is missing")
        name = refusals.name_of(profile.raw)
        raise refusals.broken_key(persona, name, refusals.payload_name(payload), broken.key, "missing")
    if persona.is_mac and persona.at_least(TCC_CONTRADICTION_SINCE):
        for payload in profile.of_type(TCC):
            if _allows_and_authorizes(payload):
                raise refusals.contradiction(persona, payload, "Authorization and Allowed")


def _other_single_types(device: Device, profile: Profile) -> frozenset[str]:
    """Types of SINGLE_CODES in other installed profiles, if the new one has any: reading them all takes time."""
    if not any(payload.type in SINGLE_CODES for payload in profile.payloads):
        return frozenset()
    found: set[str] = set()
    for installed in device.state.profiles:
        if installed.identifier != profile.identifier and not installed.encrypted:
            others = parse_profile(device.store.get(installed.content)).payloads
            found.update(payload.type for payload in others if payload.type in SINGLE_CODES)
    return frozenset(found)


def _allows_and_authorizes(payload: Payload) -> bool:
    """Whether any entry of a privacy payload has both keys that grant access, which exclude each other."""
    services = payload.keys.get("Services")
    lists = services.values() if isinstance(services, dict) else ()
    entries = (entry for entries in lists if isinstance(entries, list) for entry in entries)
    return any(isinstance(entry, dict) and {"Allowed", "Authorization"} <= entry.keys() for entry in entries)


def _view(persona: Persona, profile: Profile, payload: Payload, read: Callable[[Payload], T]) -> T:
    try:
        return read(payload)
    except Malformed as error:
        name = refusals.payload_name(payload)
        key, problem = error.key or "PayloadContent", error.problem
        raise refusals.broken_key(persona, refusals.name_of(profile.raw), name, key, problem) from error


def _scep(persona: Persona, profile: Profile, payload: Payload) -> ScepPayload:
    """A Mac ignores a Subject that is no list of names and goes on without; iOS does not (micromdm pull request 40)."""
    content = payload.keys.get("PayloadContent")
    if persona.is_mac and isinstance(content, dict):
        try:
            return ScepPayload.of(payload)
        except Malformed as error:
            if (error.key or "").partition("[")[0] == "Subject":
                content = {key: value for key, value in content.items() if key != "Subject"}
                payload = replace(payload, keys={**payload.keys, "PayloadContent": content})
    return _view(persona, profile, payload, ScepPayload.of)


def _certificate(persona: Persona, profile: Profile, payload: Payload) -> bytes:
    view = _view(persona, profile, payload, CertificatePayload.of)
    try:
        load_certificate(view.der)
        return view.der
    except Malformed as error:
        if persona.is_mac:
            raise refusals.lacking(persona) from error
        raise refusals.not_installed(persona, profile, payload, errors.CERTIFICATE, 9005) from error


def _embedded(persona: Persona, profile: Profile, payload: Payload) -> Identity:
    """The identity in a PKCS #12 payload (MCCertificateErrorDomain 9000: wrong password, 9006: no identity, 9005)."""
    view = _view(persona, profile, payload, CertificatePayload.of)
    try:
        return open_pkcs12(view.content, view.password)
    except WrongPassword:
        # Words: trailofbits/algo issue 14558 (2024).
        name = view.file_name or refusals.payload_name(payload)
        text = f"The password for the certificate “{name}” is incorrect."
        raise failed(persona, profile, errors.CERTIFICATE, 9000, text) from None
    except MalformedPkcs12 as error:
        code = 9006 if isinstance(error, NotAnIdentity) else 9005
        raise refusals.not_installed(persona, profile, payload, errors.CERTIFICATE, code) from None


def _check_removal_date(device: Device, profile: Profile) -> None:
    """A profile whose time is over is not installed: 4006 of Apple's table of codes; no Mac's words were captured."""
    now_ms = device.clock.now_ms()
    removal = removal_ms(profile, now_ms)
    if removal is None or removal > now_ms:
        return
    if device.persona.is_mac:
        raise refusals.lacking(device.persona) from Malformed("profile", "its removal date has passed")
    text = f"The removal date of the profile “{profile.display_name or profile.identifier}” has passed."
    raise failed(device.persona, profile, errors.INSTALLATION, 4006, text)
