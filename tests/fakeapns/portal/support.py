"""Requests for the portal, from a vendor that signed itself."""

from __future__ import annotations

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.csr import build_csr
from mdmsim.pki.keys import FreshKeys, SharedKeys
from mdmsim.pki.names import name
from mdmsim.pki.push_request import build_push_request

KEYS = SharedKeys(3, FreshKeys())
VENDOR = Authority.create(
    "Acme MDM vendor", organization="Acme MDM, Inc.", keys=KEYS, clock=ManualClock(), chance=Chance("vendor"), days=5000
).identity


def customer() -> tuple[bytes, bytes]:
    """A customer's new key, and a vendor-signed request for it."""
    key = KEYS.take()
    return key, build_push_request(build_csr(key, name("Acme")), VENDOR)
