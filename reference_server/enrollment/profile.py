"""The enrollment profile: trust for this server, an identity by SCEP, and the enrollment itself, signed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import DAY, SECOND, Clock
from mdmsim.pki.cms import sign
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.payloads import PER_USER_CONNECTIONS, ROOT, CertificatePayload, MdmPayload, ScepPayload
from mdmsim.protocol.profile import build_profile
from reference_server.enrollment.pkcs12 import Pkcs12Identities
from reference_server.errors import TooManyOutstanding
from reference_server.settings import ALL_RIGHTS, IdentityMode, Settings
from reference_server.storage.interface import ScepStore
from reference_server.storage.records import NO_TERMS, ChallengeTerms

T = TypeVar("T")


class ProfileWishes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator may want otherwise in one minted profile; what is left out comes from the settings.

    `devices`: how many devices may enrol with the profile's one-time challenge; null for any number.
    `wrong_challenge`: a challenge that this server will refuse, to see SCEP fail.
    `anchors`: DER certificates to trust, each as base64, in place of the server's own.
    `identity`: by SCEP, or made here and carried in the profile as PKCS#12, for one device.
    `wrong_password`: one that does not open that PKCS#12. `removal_disallowed`: users cannot remove the profile.
    `duration_until_removal`: seconds after which the device removes the profile, and with it the enrollment.
    """

    topic: str | None = None
    server_url: str | None = None
    checkin_url: str | None = None
    scep_url: str | None = None
    identifier: str | None = None
    display_name: str | None = None
    access_rights: Annotated[int, msgspec.Meta(ge=0, le=ALL_RIGHTS)] | None = None
    sign_message: bool | None = None
    check_out_when_removed: bool | None = None
    challenge: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    wrong_challenge: bool = False
    anchors: tuple[bytes, ...] | None = None
    devices: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = 1
    sign: bool = True
    identity: IdentityMode | None = None
    wrong_password: bool = False
    removal_disallowed: bool | None = None
    duration_until_removal: Annotated[float, msgspec.Meta(gt=0)] | None = None


@dataclass(frozen=True, slots=True)
class MintedProfile:
    """A profile as it goes out: `content` is CMS if it was signed, a plist otherwise."""

    identifier: str
    uuid: str
    topic: str
    server_url: str
    checkin_url: str
    challenge: str | None
    signed: bool
    content: bytes


def challenge_digest(challenge: str) -> str:
    """What the storage keeps of a challenge."""
    return hashlib.sha256(challenge.encode()).hexdigest()


class Profiles:
    """Mints enrollment profiles. Each has payload UUIDs and, in one-time mode, a challenge of its own."""

    def __init__(
        self, settings: Settings, store: ScepStore, identities: Pkcs12Identities, clock: Clock, chance: Chance
    ) -> None:
        self._settings = settings
        self._identities = identities
        self._store = store
        self._clock = clock
        self._chance = chance

    async def mint(self, wishes: ProfileWishes | None = None, terms: ChallengeTerms = NO_TERMS) -> MintedProfile:
        """A new profile, its challenge kept; `terms` say whom it is for. Raises Malformed for what a plist cannot hold.

        Raises TooManyOutstanding where as many are out as the terms' limit allows.
        """
        wishes = wishes or ProfileWishes()
        settings = self._settings
        by_scep = _or(wishes.identity, settings.profile_identity) == "scep"
        if not by_scep and (wishes.devices != 1 or wishes.challenge is not None or wishes.wrong_challenge):
            raise Malformed("profile", "an identity in it (pkcs12) is for one device, and needs no challenge")
        challenge = await self._challenge(wishes, terms) if by_scep else None
        identifier = wishes.identifier or settings.profile_identifier
        identity_uuid, mdm_uuid, profile_uuid = (str(self._chance.uuid()).upper() for _ in range(3))
        anchors = wishes.anchors if wishes.anchors is not None else settings.trusted_roots
        mdm = MdmPayload(
            topic=wishes.topic if wishes.topic is not None else settings.topic,
            server_url=wishes.server_url or settings.server_url,
            check_in_url=wishes.checkin_url or settings.checkin_url,
            identity_certificate_uuid=identity_uuid,
            access_rights=_or(wishes.access_rights, settings.access_rights),
            sign_message=_or(wishes.sign_message, settings.sign_message),
            check_out_when_removed=_or(wishes.check_out_when_removed, settings.checkout_when_removed),
            # Macs of macOS 26 do not enrol without it. Users are not managed all the same: they get 410.
            server_capabilities=(PER_USER_CONNECTIONS,),
        )
        payloads = [
            CertificatePayload(type=ROOT, content=anchor).to_payload(
                identifier=f"{identifier}.root.{number}",
                uuid=str(self._chance.uuid()).upper(),
                display_name=f"{settings.organization} trust",
            )
            for number, anchor in enumerate(anchors, start=1)
        ]
        view: ScepPayload | CertificatePayload = (
            self._scep(wishes, challenge) if by_scep else await self._identity(wishes, terms)
        )
        kind = "scep" if by_scep else "identity"
        payloads.append(
            view.to_payload(identifier=f"{identifier}.{kind}", uuid=identity_uuid, display_name="Device identity")
        )
        payloads.append(mdm.to_payload(identifier=f"{identifier}.mdm", uuid=mdm_uuid, display_name="Management"))
        content = build_profile(
            identifier=identifier,
            uuid=profile_uuid,
            payloads=payloads,
            display_name=wishes.display_name or f"{settings.organization} enrollment",
            organization=settings.organization,
            description="Enrols this device into device management.",
            removal_disallowed=wishes.removal_disallowed,
            extra={"DurationUntilRemoval": duration} if (duration := wishes.duration_until_removal) else None,
        )
        return MintedProfile(
            identifier=identifier,
            uuid=profile_uuid,
            topic=mdm.topic,
            server_url=mdm.server_url,
            checkin_url=mdm.effective_check_in_url,
            challenge=challenge,
            signed=wishes.sign,
            content=self._signed(content) if wishes.sign else content,
        )

    def _scep(self, wishes: ProfileWishes, challenge: str | None) -> ScepPayload:
        settings = self._settings
        return ScepPayload(
            url=wishes.scep_url or settings.scep_url,
            name=settings.organization,
            # One name for all: what tells devices apart is the certificate, by its hash.
            subject=((("O", settings.organization),), (("CN", "MDM device identity"),)),
            challenge=challenge,
            key_size=settings.scep_key_bits,
            key_usage=5,  # signing and encryption: InstallProfile may carry encrypted profiles
            ca_fingerprint=hashlib.sha256(settings.ca.certificate).digest(),
        )

    async def _identity(self, wishes: ProfileWishes, terms: ChallengeTerms) -> CertificatePayload:
        """An identity inside the profile. It counts as issued for a challenge, which is never sent."""
        challenge = challenge_digest(f"pkcs12 {self._chance.hex(24)}")
        await self._add_challenge(challenge, terms, devices=1)
        return await self._identities.payload(challenge, wrong_password=wishes.wrong_password)

    async def _challenge(self, wishes: ProfileWishes, terms: ChallengeTerms) -> str | None:
        if wishes.wrong_challenge:
            return f"wrong-{self._chance.hex(8)}"
        settings = self._settings
        # Only a challenge of its own ties what is issued for it to an enrollment, whatever everybody else is asked for.
        one_time = settings.scep_challenge == "one-time" or terms.owner is not None
        if wishes.challenge is None and not one_time:
            return settings.scep_static_challenge
        challenge = wishes.challenge or self._chance.hex(24)
        if one_time:
            await self._add_challenge(challenge_digest(challenge), terms, devices=wishes.devices)
        return challenge

    async def _add_challenge(self, digest: str, terms: ChallengeTerms, *, devices: int | None) -> None:
        now_ms = self._clock.now_ms()
        room_ms = await self._store.add_challenge(
            digest,
            terms,
            devices=devices,
            expires_ms=now_ms + self._settings.scep_challenge_days * DAY,
            now_ms=now_ms,
        )
        if room_ms is not None:
            raise TooManyOutstanding(terms.limit or 0, retry_after_s=max(1, -((now_ms - room_ms) // SECOND)))

    def _signed(self, content: bytes) -> bytes:
        signer = self._settings.profile_signer or self._settings.ca
        return sign(
            content,
            signer,
            attributes=True,
            signed_at_ms=self._clock.now_ms(),
            form="der",
            certificates=signer.chain,
        )


def _or(wish: T | None, default: T) -> T:
    return default if wish is None else wish
