"""An identity inside the enrollment profile, as PKCS#12: the key is made here, one for each profile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import load_certificate, not_after_ms, serial
from mdmsim.pki.keys import load_key
from mdmsim.pki.names import name, subject_text
from mdmsim.protocol.payloads import PKCS12, CertificatePayload
from reference_server.settings import Settings
from reference_server.storage.interface import ScepStore
from reference_server.storage.records import IssuedIdentity

#: What the key inside is called.
FRIENDLY_NAME = "MDM device identity"

_ROUNDS = 2048


@dataclass(frozen=True, slots=True)
class Pkcs12Identities:
    """Makes identities that travel in profiles."""

    settings: Settings
    store: ScepStore
    authority: Authority
    clock: Clock
    chance: Chance

    async def payload(self, *, wrong_password: bool = False) -> CertificatePayload:
        """A new identity, kept as issued. `wrong_password`: the payload names another than opens it."""
        settings = self.settings
        identity = self.authority.client_identity(
            name(FRIENDLY_NAME, organization=settings.organization),
            bits=settings.scep_key_bits,
            days=settings.scep_days,
        )
        password = self.chance.hex(12)
        await self.store.issued(
            IssuedIdentity(
                identity=hashlib.sha256(identity.certificate).hexdigest(),
                serial=f"{serial(identity.certificate):x}",
                subject=subject_text(identity.certificate),
                challenge=None,
                transaction_id="pkcs12",
                at_ms=self.clock.now_ms(),
                not_after_ms=not_after_ms(identity.certificate),
            )
        )
        return CertificatePayload(
            type=PKCS12,
            content=to_pkcs12(identity, password),
            password=f"not-{password}" if wrong_password else password,
            file_name="identity.p12",
        )


def to_pkcs12(identity: Identity, password: str) -> bytes:
    """Key and certificate as PKCS#12 (RFC 7292)."""
    # Triple DES and SHA-1 are what every system that Apple made opens; newer algorithms fail on older ones. What
    # protects the key on its way is the connection that the profile comes over: the password travels beside it.
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1())
        .build(password.encode("utf-8"))
    )
    return pkcs12.serialize_key_and_certificates(
        FRIENDLY_NAME.encode("ascii"), load_key(identity.key), load_certificate(identity.certificate), None, encryption
    )
