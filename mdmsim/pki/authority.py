"""Certificate authorities: roots, subordinates, registration authorities, and the certificates they issue.

One class serves the fleet's device CA, the server's TLS CA, the fake push CA and the proxy's CA. Everything issued is
back-dated, because devices with a slow clock must be able to use it at once.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdmsim.chance import Chance
from mdmsim.clock import DAY, HOUR, Clock, utc
from mdmsim.http import Identity
from mdmsim.pki.certificate import (
    identity_from_pem,
    identity_to_pem,
    load_certificate,
    not_after_ms,
    without_parser,
)
from mdmsim.pki.errors import MalformedCertificate, MalformedName
from mdmsim.pki.keys import KeySource, load_key, load_public_key, public_key_of
from mdmsim.pki.names import Name, name
from mdmsim.pki.push_certificate import MDM_ENVIRONMENTS, TOPIC_PREFIX, PushEnvironment, push_marks

#: How long before its issue a certificate becomes valid. Clocks of devices in the field are minutes off.
BACKDATED_MS = HOUR
#: Authorities are older than what they issue, so that every chain nests.
AUTHORITY_BACKDATED_MS = DAY

Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def key_usage(
    *, signature: bool = False, encipherment: bool = False, certificates: bool = False, agreement: bool = False
) -> x509.KeyUsage:
    """KeyUsage of the bits used around MDM: digitalSignature, keyEncipherment, keyCertSign with cRLSign, keyAgreement."""
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=agreement,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """A certificate authority: `identity` is its certificate, key and the chain above it, root last."""

    def __init__(self, identity: Identity, *, keys: KeySource, clock: Clock, chance: Chance) -> None:
        self.identity = identity
        self._keys = keys
        self._clock = clock
        self._chance = chance
        self._issued = 0

    @classmethod
    def create(
        cls,
        common_name: str | Name,
        *,
        keys: KeySource,
        clock: Clock,
        chance: Chance,
        organization: str | None = None,
        days: float = 3650,
        kind: Literal["rsa", "ec"] = "rsa",
        bits: int = 2048,
    ) -> Authority:
        """A new self-signed root. SCEP needs an RSA one. Raises MalformedName."""
        subject = _subject(common_name, organization)
        key = keys.take(bits=bits) if kind == "rsa" else keys.take_ec()
        made = cls(Identity(b"", key), keys=keys, clock=clock, chance=chance)
        now = clock.now_ms()
        certificate = made._sign(
            subject,
            subject,
            public_key_of(key),
            [*_authority_extensions(kind), (_key_identifier(public_key_of(key)), False)],
            now - AUTHORITY_BACKDATED_MS,
            now + int(days * DAY),
        )
        made.identity = Identity(certificate, key)
        return made

    @classmethod
    def from_pem(cls, pem: bytes | str, *, keys: KeySource, clock: Clock, chance: Chance) -> Authority:
        """An authority from its private key, its certificate and, if it is no root, the chain above it, in any order.

        Raises MalformedKey, MalformedCertificate (also when the certificate is not a CA's).
        """
        identity = identity_from_pem(pem)
        try:
            found = load_certificate(identity.certificate).extensions.get_extension_for_class(x509.BasicConstraints)
            is_authority = found.value.ca
        except x509.ExtensionNotFound:
            is_authority = False
        except (ValueError, x509.DuplicateExtension):
            raise MalformedCertificate("PEM", "the certificate's extensions cannot be read") from None
        if not is_authority:
            raise MalformedCertificate("PEM", "the certificate is not a CA's (no BasicConstraints CA:TRUE)")
        return cls(identity, keys=keys, clock=clock, chance=chance)

    def to_pem(self) -> bytes:
        """Private key, certificate and chain: what `from_pem` reads. Secret."""
        return identity_to_pem(self.identity)

    @property
    def certificate(self) -> bytes:
        return self.identity.certificate

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Its own certificate, then those above it, root last."""
        return (self.identity.certificate, *self.identity.chain)

    @property
    def root(self) -> bytes:
        return self.chain[-1]

    @property
    def name(self) -> Name:
        return load_certificate(self.identity.certificate).subject

    @cached_property
    def _below_root(self) -> tuple[bytes, ...]:
        """What a holder of an issued certificate sends along: the chain without its self-signed end."""
        return tuple(der for der in self.chain if not _self_issued(der))

    @cached_property
    def _authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        certificate = load_certificate(self.identity.certificate)
        try:
            found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
            return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)
        except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(load_key(self.identity.key).public_key())

    def _serial(self) -> int:
        """A positive serial of 16 bytes that no other certificate of this authority has.

        Chance alone would repeat itself where a server starts again with the same seed and the same authority, and a
        CMS message names certificates by issuer and serial; so the time goes in as well.
        """
        self._issued += 1
        material = self._chance.bytes(16) + self._clock.now_ms().to_bytes(8, "big") + self._issued.to_bytes(8, "big")
        return int.from_bytes(hashlib.sha256(material).digest()[:16], "big") >> 1 | 1 << 126

    def _sign(
        self,
        subject: Name,
        issuer: Name,
        public_key: bytes,
        extensions: Extensions,
        not_before_ms: int,
        not_after_ms: int,
    ) -> bytes:
        builder = x509.CertificateBuilder(
            issuer_name=issuer,
            subject_name=subject,
            public_key=load_public_key(public_key),
            serial_number=self._serial(),
            not_valid_before=utc(not_before_ms - not_before_ms % 1000),
            not_valid_after=utc(not_after_ms - not_after_ms % 1000),
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        try:
            certificate = builder.sign(load_key(self.identity.key), hashes.SHA256())
        except (ValueError, TypeError) as error:
            raise MalformedCertificate("certificate", f"cannot be issued{without_parser(error)}") from None
        return certificate.public_bytes(serialization.Encoding.DER)

    def issue(
        self,
        public_key: bytes,
        subject: Name,
        *,
        extensions: Extensions = (),
        days: float = 365,
        not_before_ms: int | None = None,
        not_after_ms: int | None = None,
    ) -> bytes:
        """A certificate for a public key (SubjectPublicKeyInfo DER).

        BasicConstraints (no CA), subject and authority key identifiers are added where `extensions`, pairs of
        extension and criticality, do not hold them. Valid from an hour ago for `days`, but not longer than the
        authority itself. Raises MalformedKey, MalformedCertificate.
        """
        now = self._clock.now_ms()
        end = not_after_ms if not_after_ms is not None else min(now + int(days * DAY), self._not_after_ms)
        begin = not_before_ms if not_before_ms is not None else min(now - BACKDATED_MS, end)
        given = {type(extension) for extension, _ in extensions}
        added: list[tuple[x509.ExtensionType, bool]] = []
        if x509.BasicConstraints not in given:
            added.append((x509.BasicConstraints(ca=False, path_length=None), True))
        added += extensions
        if x509.SubjectKeyIdentifier not in given:
            added.append((_key_identifier(public_key), False))
        if x509.AuthorityKeyIdentifier not in given:
            added.append((self._authority_key_identifier, False))
        return self._sign(subject, self.name, public_key, added, begin, end)

    @cached_property
    def _not_after_ms(self) -> int:
        return not_after_ms(self.identity.certificate)

    def issue_server(self, names: Sequence[str], ips: Sequence[str] = (), *, days: float = 397) -> Identity:
        """A TLS server's identity: P-256, the names and addresses as SANs (an address among the names is one, too).

        397 days is the longest that Apple's clients accept. Raises MalformedName for no name at all or a bad address.
        """
        general: list[x509.GeneralName] = []
        for text in (*names, *ips):
            try:
                general.append(x509.IPAddress(ipaddress.ip_address(text)))
            except ValueError:
                if text in ips:
                    raise MalformedName("server certificate", f"{text!r} is not an IP address") from None
                try:
                    general.append(x509.DNSName(text))
                except ValueError:
                    raise MalformedName("server certificate", f"{text!r} is not a host name in ASCII") from None
        if not general:
            raise MalformedName("server certificate", "it needs at least one host name or IP address")
        key = self._keys.take_ec()
        certificate = self.issue(
            public_key_of(key),
            name((*names, *ips)[0][:64]),
            extensions=(
                (key_usage(signature=True), True),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                (x509.SubjectAlternativeName(general), False),
            ),
            days=days,
        )
        return Identity(certificate, key, self._below_root)

    def issue_client(
        self,
        subject: str | Name,
        *,
        public_key: bytes,
        san: x509.SubjectAlternativeName | None = None,
        key_encipherment: bool = False,
        days: float = 365,
        not_before_ms: int | None = None,
        not_after_ms: int | None = None,
    ) -> bytes:
        """A client certificate for a public key (SubjectPublicKeyInfo DER). Raises MalformedKey, MalformedName."""
        wanted = _subject(subject)
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (key_usage(signature=True, encipherment=key_encipherment), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        ]
        if san is not None:
            # RFC 5280 section 4.1.2.6: with an empty subject the alternative name carries the identity.
            extensions.append((san, not wanted.rdns))
        return self.issue(
            public_key,
            wanted,
            extensions=extensions,
            days=days,
            not_before_ms=not_before_ms,
            not_after_ms=not_after_ms,
        )

    def client_identity(
        self,
        subject: str | Name,
        *,
        bits: int = 2048,
        days: float = 365,
        not_before_ms: int | None = None,
        not_after_ms: int | None = None,
    ) -> Identity:
        """A client certificate together with a new RSA key."""
        key = self._keys.take(bits=bits)
        certificate = self.issue_client(
            subject,
            public_key=public_key_of(key),
            key_encipherment=True,
            days=days,
            not_before_ms=not_before_ms,
            not_after_ms=not_after_ms,
        )
        return Identity(certificate, key, self._below_root)

    def issue_push(
        self,
        topic: str,
        *,
        days: float = 365,
        environments: Collection[PushEnvironment] = MDM_ENVIRONMENTS,
        topics: Sequence[str] = (),
    ) -> Identity:
        """A push certificate with that topic, together with a new RSA key; as `push_certificate` makes them."""
        key = self._keys.take(bits=2048)
        certificate = self.push_certificate(
            topic, public_key=public_key_of(key), days=days, environments=environments, topics=topics
        )
        return Identity(certificate, key, self._below_root)

    def push_certificate(
        self,
        topic: str,
        *,
        public_key: bytes,
        days: float = 365,
        environments: Collection[PushEnvironment] = MDM_ENVIRONMENTS,
        topics: Sequence[str] = (),
    ) -> bytes:
        """A push certificate with that topic for a public key (SubjectPublicKeyInfo DER), as Apple's portal makes them.

        Subject, key usages and, by default, the one Apple extension are those of a real one (captured: an MDM push
        certificate of 2021). `environments`: whose marks it carries. `topics`: what the list of a certificate for
        several topics holds; without, there is no list, as in MDM. Raises MalformedName for a topic longer than a UID
        may be, MalformedKey.
        """
        suffix = topic.removeprefix(TOPIC_PREFIX) if topic.startswith(TOPIC_PREFIX) else str(self._chance.uuid())
        try:
            subject = x509.Name(
                [
                    x509.NameAttribute(NameOID.USER_ID, topic),
                    x509.NameAttribute(NameOID.COMMON_NAME, f"APSP:{suffix}"),
                    x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
                ]
            )
        except ValueError:
            raise MalformedName("push certificate", f"topic {topic[:80]!r} is no UID of 1 to 256 bytes") from None
        return self.issue(
            public_key,
            subject,
            extensions=(
                (key_usage(signature=True), False),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
                *((mark, False) for mark in push_marks(environments, topics)),
            ),
            days=days,
        )

    def subordinate(
        self, common_name: str | Name, *, days: float = 1825, kind: Literal["rsa", "ec"] = "rsa", bits: int = 2048
    ) -> Authority:
        """A CA below this one, with chance of its own."""
        key = self._keys.take(bits=bits) if kind == "rsa" else self._keys.take_ec()
        subject = _subject(common_name)
        now = self._clock.now_ms()
        certificate = self.issue(
            public_key_of(key),
            subject,
            extensions=_authority_extensions(kind),
            not_before_ms=now - AUTHORITY_BACKDATED_MS,
            not_after_ms=min(now + int(days * DAY), self._not_after_ms),
        )
        return Authority(
            Identity(certificate, key, self.chain),
            keys=self._keys,
            clock=self._clock,
            chance=Chance(self._chance.bytes(32)),
        )

    def registration_authority(self, common_name: str | Name, *, days: float = 730) -> Identity:
        """A SCEP registration authority: signs replies and receives envelopes in this CA's place (RFC 8894 section 2.2)."""
        key = self._keys.take(bits=2048)
        certificate = self.issue(
            public_key_of(key),
            _subject(common_name),
            extensions=((key_usage(signature=True, encipherment=True), True),),
            days=days,
        )
        return Identity(certificate, key, self.chain)


def _authority_extensions(kind: str) -> list[tuple[x509.ExtensionType, bool]]:
    # keyEncipherment, because a CA without a registration authority is itself the recipient of SCEP requests, and
    # Apple's client looks for that bit.
    usage = key_usage(signature=True, certificates=True, encipherment=kind == "rsa")
    return [(x509.BasicConstraints(ca=True, path_length=None), True), (usage, True)]


def _key_identifier(public_key: bytes) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(load_public_key(public_key))


def _subject(wanted: str | Name, organization: str | None = None) -> Name:
    return name(wanted, organization=organization) if isinstance(wanted, str) else wanted


def _self_issued(der: bytes) -> bool:
    certificate = load_certificate(der)
    return certificate.subject == certificate.issuer
