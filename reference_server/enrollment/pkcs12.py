"""An identity inside the enrollment profile, as PKCS#12: the key is made here, one for each profile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import not_after_ms, serial
from mdmsim.pki.names import name, subject_text
from mdmsim.pki.pkcs12 import build_pkcs12
from mdmsim.protocol.payloads import PKCS12, CertificatePayload
from reference_server.settings import Settings
from reference_server.storage.interface import ScepStore
from reference_server.storage.records import IssuedIdentity

#: What the key inside is called.
FRIENDLY_NAME = "MDM device identity"


@dataclass(frozen=True, slots=True)
class Pkcs12Identities:
    """Makes identities that travel in profiles."""

    settings: Settings
    store: ScepStore
    authority: Authority
    clock: Clock
    chance: Chance

    async def payload(self, challenge: str, *, wrong_password: bool = False) -> CertificatePayload:
        """A new identity, kept as issued for that challenge. `wrong_password`: the payload names another than opens it."""
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
                challenge=challenge,
                transaction_id="pkcs12",
                at_ms=self.clock.now_ms(),
                not_after_ms=not_after_ms(identity.certificate),
            )
        )
        return CertificatePayload(
            type=PKCS12,
            # What protects the key on its way is the connection that the profile comes over: the password travels beside it.
            content=build_pkcs12(
                Identity(identity.certificate, identity.key), password, name=FRIENDLY_NAME, legacy=True
            ),
            password=f"not-{password}" if wrong_password else password,
            file_name="identity.p12",
        )
