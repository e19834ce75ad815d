"""What the profiles on a device say: the payloads of one type, of all installed profiles."""

from __future__ import annotations

from collections.abc import Iterator

from mdmsim.device.state import DeviceState
from mdmsim.device.store import BlobStore
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.payloads import Payload
from mdmsim.protocol.profile import parse_profile


def installed_payloads(state: DeviceState, store: BlobStore, payload_type: str) -> Iterator[Payload]:
    """The payloads of that type, profile by profile. An encrypted profile shows its payloads to no one."""
    for installed in state.profiles:
        try:
            yield from parse_profile(store.get(installed.content)).of_type(payload_type)
        except Malformed:
            continue
