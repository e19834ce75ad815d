"""The Mdm-Signature header: base64 of a detached CMS signature over the exact bytes of the body.

Source: `SignMessage` in mdm/profiles/com.apple.mdm.yaml; its form: captured from macOS.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from mdmsim.http import Identity
from mdmsim.pki.algorithms import Digest
from mdmsim.pki.cms import find_signer, sign, verify
from mdmsim.pki.errors import MalformedCMS
from mdmsim.pki.signed_data import parse_signed_data

HEADER = "Mdm-Signature"


@dataclass(frozen=True, slots=True)
class SignatureStyle:
    """How a sender signs. `attributes`: with signed attributes, as other MDM clients do and devices do not, then with
    `signed_at_ms` as signing time where given. `chain`: the identity's chain is included after the leaf."""

    digest: Digest = "sha256"
    attributes: bool = False
    signed_at_ms: int | None = None
    chain: bool = False


#: Devices of today (captured: a macOS header with a SHA-2 digest), and of 2021 and before (captured: macOS, SHA-1).
DEVICE = SignatureStyle()
LEGACY = SignatureStyle(digest="sha1")


def sign_body(body: bytes, identity: Identity, *, style: SignatureStyle = DEVICE) -> str:
    """The header's value for a body. Raises MalformedKey, MalformedCertificate."""
    signature = sign(
        body,
        identity,
        detached=True,
        attributes=style.attributes,
        signed_at_ms=style.signed_at_ms,
        digest=style.digest,
        certificates=identity.chain if style.chain else (),
    )
    return base64.b64encode(signature).decode("ascii")


def verify_header(header: str, body: bytes) -> bytes:
    """The certificate (DER) that signed this body; whether it is trusted is for the caller. MalformedCMS, BadSignature."""
    return verify(_decoded(header), content=body).signer


def named_signer(header: str) -> bytes:
    """The certificate (DER) that the header names as its signer's, nothing proven. MalformedCMS.

    For a server that wants to know whether a long body is worth reading.
    """
    message = parse_signed_data(_decoded(header))
    if len(message.signers) != 1:
        raise MalformedCMS(HEADER, f"{len(message.signers)} signers, expected exactly one")
    return find_signer(message.signers[0], message.certificates)


def _decoded(header: str) -> bytes:
    try:
        return base64.b64decode(header.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedCMS(HEADER, "not base64") from None
