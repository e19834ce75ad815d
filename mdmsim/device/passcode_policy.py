"""What installed profiles ask of the passcode (com.apple.mobiledevice.passwordpolicy), and whether one complies."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from mdmsim.device.installed_payloads import installed_payloads
from mdmsim.device.state import DeviceState
from mdmsim.device.store import BlobStore
from mdmsim.protocol.payloads import Payload

TYPE = "com.apple.mobiledevice.passwordpolicy"


@dataclass(frozen=True, slots=True)
class Policy:
    """The strictest of all installed policies. `required`: a passcode must be set. Lengths in characters."""

    required: bool = False
    minimum_length: int = 0
    complex_characters: int = 0
    alphanumeric: bool = False
    allow_simple: bool = True


def policy_of(state: DeviceState, store: BlobStore) -> Policy:
    """What the device's profiles ask for together."""
    policy = Policy()
    for payload in installed_payloads(state, store, TYPE):
        policy = _stricter(policy, payload)
    return policy


def _stricter(policy: Policy, payload: Payload) -> Policy:
    keys = payload.keys

    def number(key: str) -> int:
        value = keys.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    return Policy(
        required=policy.required or keys.get("forcePIN") is True,
        minimum_length=max(policy.minimum_length, number("minLength")),
        complex_characters=max(policy.complex_characters, number("minComplexChars")),
        alphanumeric=policy.alphanumeric or keys.get("requireAlphanumeric") is True,
        allow_simple=policy.allow_simple and keys.get("allowSimple") is not False,
    )


def complies(policy: Policy, passcode: str) -> bool:
    """Whether a passcode (empty: none) satisfies the policy."""
    if not passcode:
        return not policy.required
    if len(passcode) < policy.minimum_length:
        return False
    if sum(not c.isalnum() for c in passcode) < policy.complex_characters:
        return False
    if policy.alphanumeric and not any(c.isalpha() for c in passcode):
        return False
    return policy.allow_simple or not _simple(passcode)


def _simple(passcode: str) -> bool:
    """Repeated, ascending or descending characters throughout, as the schema calls a simple passcode."""
    steps = {ord(b) - ord(a) for a, b in pairwise(passcode)}
    return len(passcode) > 1 and len(steps) == 1 and steps <= {-1, 0, 1}
