"""A SCEP server in memory, and devices that ask it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import SharedKeys
from mdmsim.pki.names import name
from mdmsim.pki.scep.ca_certificates import parse_ca_certificates
from mdmsim.pki.scep.capabilities import STANDARD
from mdmsim.pki.scep.client import Transaction, begin
from mdmsim.pki.scep.server import ScepService

Ask = Callable[..., Transaction]


@pytest.fixture
def service(authority: Authority, clock: ManualClock, chance: Chance) -> ScepService:
    return ScepService(authority, clock=clock, chance=chance)


@pytest.fixture
def ask(keys: SharedKeys, clock: ManualClock, chance: Chance) -> Ask:
    """Begin an enrollment at a service; keyword arguments change what `begin` is given."""

    def start(at: ScepService, **changes: object) -> Transaction:
        arguments: dict[str, object] = {
            "key": keys.take(),
            "signer_key": keys.take(),
            "subject": name("iphone-01", organization="Acme"),
            "ca_certificates": parse_ca_certificates(at.ca_cert().body),
            "capabilities": STANDARD,
            "challenge": "open sesame",
            "clock": clock,
            "chance": chance,
            **changes,
        }
        return begin(**arguments)  # type: ignore[arg-type]

    return start
