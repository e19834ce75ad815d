"""Enrollment profiles to start from: legal ones, of which a test changes one thing."""

from __future__ import annotations

from typing import Any

from mdmsim.protocol.payloads import MDM, SCEP, Payload
from mdmsim.protocol.profile import build_profile

IDENTITY = "11111111-1111-4111-8111-111111111111"


def scep(**keys: Any) -> Payload:
    content = {"URL": "https://mdm.example.com/scep", "Keysize": 2048, "Key Type": "RSA", "Challenge": "x"} | keys
    return Payload(type=SCEP, identifier="test.scep", uuid=IDENTITY, keys={"PayloadContent": content})


def mdm(**keys: Any) -> Payload:
    content: dict[str, Any] = {
        "ServerURL": "https://mdm.example.com/connect",
        "CheckInURL": "https://mdm.example.com/checkin",
        "Topic": "com.apple.mgmt.External.test",
        "AccessRights": 8191,
        "IdentityCertificateUUID": IDENTITY,
        "SignMessage": True,
    } | keys
    uuid = "22222222-2222-4222-8222-222222222222"
    return Payload(type=MDM, identifier="test.mdm", uuid=uuid, keys={k: v for k, v in content.items() if v is not None})


def profile(*payloads: Payload, **keys: Any) -> bytes:
    return build_profile(
        identifier="test.enrollment",
        uuid="33333333-3333-4333-8333-333333333333",
        payloads=payloads or (scep(), mdm()),
        display_name="Acme MDM",
        organization="Acme",
        extra=keys,
    )
