"""Where simulated devices are built: a certificate authority of three levels like Apple's, and an identity per device.

Form of the certificates: decoded from an Apple TV's of 2024 (leaf: CN a random UUID, US, CA, Cupertino, Apple Inc., iPhone;
key usages and extended usages critical; extension 1.2.840.113635.100.6.10.2). Ours are RSA-2048 and say "Simulated".
"""

from __future__ import annotations

from typing import Literal

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.device.device import Device, Work
from mdmsim.device.state import IdentityRef
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import KeySource, public_key_of

#: In each leaf that Apple's device CA issued (decoded), ASN.1 NULL.
DEVICE_EXTENSION = x509.ObjectIdentifier("1.2.840.113635.100.6.10.2")
NULL = b"\x05\x00"

#: As in the decoded leaf: three years.
DAYS = 3 * 365


class Factory:
    """Builds devices: gives each the identity that signs its MachineInfo. `root` is what a server must trust (DER)."""

    def __init__(
        self,
        *,
        keys: KeySource,
        clock: Clock,
        chance: Chance,
        apple_names: bool = False,
        kind: Literal["rsa", "ec"] = "rsa",
    ) -> None:
        """`apple_names`: the very names of Apple's device CA, which some servers compare; the keys are never Apple's.

        `kind`: of the authorities' keys; "ec" spares three RSA keys. The devices' own keys are RSA either way.
        """
        prefix = "Apple" if apple_names else "Simulated Apple"
        self._keys = keys
        self._chance = chance.stream("leaves")
        root = Authority.create(
            _name(f"{prefix} Root CA"), keys=keys, clock=clock, chance=chance.stream("root"), days=7300, kind=kind
        )
        middle = root.subordinate(_name(f"{prefix} iPhone Certification Authority"), kind=kind)
        self._issuer = middle.subordinate(_name(f"{prefix} iPhone Device CA", unit="Apple iPhone"), kind=kind)
        self.root = root.certificate
        self.chain = (self._issuer.certificate, middle.certificate)

    def build(self, device: Device) -> None:
        """Give the device its factory identity; it keeps it through every erase."""
        key = self._keys.take()
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, str(self._chance.uuid()).upper()),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
                x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
                x509.NameAttribute(NameOID.LOCALITY_NAME, "Cupertino"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Apple Inc."),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "iPhone"),
            ]
        )
        certificate = self._issuer.issue(public_key_of(key), subject, extensions=_extensions(), days=DAYS)

        def apply(work: Work) -> None:
            ref = IdentityRef(certificate=work.store.put(certificate), key=work.store.put(key))
            work.state.factory = ref
            work.state.factory_chain = [work.store.put(der) for der in self.chain]

        device.change(apply)
        device.save()


def _name(common_name: str, *, unit: str = "Apple Certification Authority") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Apple Inc."),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _extensions() -> list[tuple[x509.ExtensionType, bool]]:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (purposes, True),
        (x509.UnrecognizedExtension(DEVICE_EXTENSION, NULL), False),
    ]
