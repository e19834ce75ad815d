"""An erase takes everything that was not built in: each field of the state that it must put back, one by one."""

from __future__ import annotations

import pytest

from mdmsim.device.erase import erase
from mdmsim.device.state import Channel, PinLock
from mdmsim.protocol.cloud_configuration import CloudConfiguration, to_json
from tests.device.bench import Bench

CONFIGURATION = to_json(
    CloudConfiguration(
        serial_number="S1",
        profile_uuid="P1",
        profile={"url": "https://mdm.example.test/enroll"},
        server_name="test",
        server_uuid="U1",
        organisation={"name": "Acme"},
    )
)

#: Field to a value of the life before the erase, and what it is after it.
FIELDS = {
    "supervised": (True, False),
    "device_name": ("Anna's", ""),
    "passcode": ("246810", ""),
    "passcode_deadline_ms": (1, None),
    "screen_locked": (True, False),
    "unlocked_since_boot": (False, True),
    "lock_message": ("Found me?", ""),
    "lock_phone": ("555", ""),
    "pin_lock": (PinLock(pin="135790"), None),
    "pin_pending": (PinLock(pin="135790"), None),
    "power_nap": (True, False),
    "cloud_configuration": ("0" * 64, ""),
    "setup": ("done", "welcome"),
    "setup_due_ms": (1, None),
    "setup_attempts": (5, 0),
}


@pytest.mark.parametrize("field", FIELDS)
def test_an_erase_puts_this_field_back(field: str) -> None:
    before, after = FIELDS[field]
    bench = Bench("mac-silicon", passcode=False, state={field: before})
    if field == "cloud_configuration":
        bench.device.state.cloud_configuration = bench.store.put(CONFIGURATION)
    bench.device.change(lambda work: erase(work, by="user"))
    assert getattr(bench.device.state, field) == after


def test_a_device_that_was_prepared_as_supervised_stays_so() -> None:
    bench = Bench(supervised=True)
    bench.device.change(lambda work: erase(work, by="user"))
    assert bench.device.state.supervised


def test_a_push_of_before_an_erase_stays_heard_and_nothing_else_of_the_channel_is_left() -> None:
    bench = Bench(state={"channels": {"device": Channel(push_token=b"t", push_magic="m", unlock_token=b"u", heard=7)}})
    bench.device.change(lambda work: erase(work, by="user"))
    assert bench.device.state.channels == {"device": Channel(heard=7)}
