"""GetCACaps: what a CA can do, and what a device makes of it (RFC 8894 section 3.5.2)."""

from __future__ import annotations

from dataclasses import dataclass

from mdmsim.pki.algorithms import Digest
from mdmsim.pki.envelope import CipherName
from mdmsim.pki.scep.errors import WeakCapabilities

#: Keywords as real CAs write and order them (seen: micromdm/scep and step-ca).
STANDARD_KEYWORDS = ("Renewal", "SHA-1", "SHA-256", "AES", "DES3", "SCEPStandard", "POSTPKIOperation")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a CA said about itself. Keywords are whole lines, compared without case."""

    keywords: tuple[str, ...] = STANDARD_KEYWORDS

    def has(self, keyword: str) -> bool:
        wanted = keyword.lower()
        return any(each.lower() == wanted for each in self.keywords)

    @property
    def post(self) -> bool:
        """Whether PKIOperation goes by POST rather than GET."""
        return self.has("POSTPKIOperation") or self.has("SCEPStandard")

    @property
    def renewal(self) -> bool:
        return self.has("Renewal")

    @property
    def cipher(self) -> CipherName:
        """The content cipher that a client chooses: AES-128 where offered, 3DES otherwise."""
        return "aes128" if self.has("AES") or self.has("SCEPStandard") else "3des"

    @property
    def digest(self) -> Digest:
        """The digest that a client chooses: SHA-256 where offered, SHA-512 if that alone is, SHA-1 otherwise."""
        if self.has("SHA-256") or self.has("SCEPStandard"):
            return "sha256"
        return "sha512" if self.has("SHA-512") else "sha1"

    def require_digest(self) -> None:
        """Refuse a CA that answered but offers no digest at all, as iOS does since 10. Raises WeakCapabilities.

        A CA without any answer passes: it is of the time before capabilities.
        """
        if self.keywords and not any(self.has(each) for each in ("SHA-1", "SHA-256", "SHA-512", "SCEPStandard")):
            listed = ", ".join(self.keywords)[:120]
            raise WeakCapabilities("GetCACaps", f"no SHA-1, SHA-256, SHA-512 or SCEPStandard among: {listed}")

    def render(self, separator: str = "\n") -> bytes:
        """The answer to GetCACaps; some servers separate by CRLF."""
        return separator.join(self.keywords).encode()


STANDARD = Capabilities()


def parse_capabilities(body: bytes) -> Capabilities:
    """Read an answer to GetCACaps, lines ended by LF or CRLF. Never raises: what is no keyword means nothing."""
    lines = (line.strip() for line in body[:8192].decode("latin-1").splitlines())
    return Capabilities(tuple(line for line in lines if line and len(line) <= 64)[:64])
