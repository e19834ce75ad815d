"""Numbers with check digits, and addresses, against independent calculations."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.device.personas import identifiers
from mdmsim.device.personas.persona import spaced_iccid, spaced_imei

seeds = st.integers(min_value=0, max_value=2**64)
many = settings(max_examples=100, deadline=None)

# Double of each digit with its own digits added: the table form of the Luhn rule.
DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn_holds(number: str) -> bool:
    total = sum(int(d) for d in number[-1::-2]) + sum(DOUBLED[int(d)] for d in number[-2::-2])
    return total % 10 == 0


@pytest.mark.parametrize("number", ["490154203237518", "4111111111111111", "79927398713"])
def test_luhn_digit_agrees_with_well_known_numbers(number: str) -> None:
    assert identifiers.luhn_digit(number[:-1]) == number[-1]


@many
@given(seeds)
def test_imei_is_fifteen_digits_with_a_check_digit(seed: int) -> None:
    imei = identifiers.imei(Chance(seed))
    assert re.fullmatch(r"35\d{13}", imei)
    assert luhn_holds(imei)


@many
@given(seeds, st.sampled_from(["8901260", "894412", "896101"]))
def test_iccid_is_twenty_digits_with_a_check_digit(seed: int, prefix: str) -> None:
    iccid = identifiers.iccid(Chance(seed), prefix)
    assert re.fullmatch(rf"{prefix}\d{{{20 - len(prefix)}}}", iccid)
    assert luhn_holds(iccid)


@many
@given(seeds)
def test_eid_is_one_modulo_ninety_seven(seed: int) -> None:
    eid = identifiers.eid(Chance(seed))
    assert re.fullmatch(r"89\d{30}", eid)
    assert int(eid) % 97 == 1


@many
@given(seeds)
def test_bluetooth_sits_right_after_wifi(seed: int) -> None:
    wifi = identifiers.mac_address(Chance(seed))
    after = identifiers.next_address(wifi)
    assert int(after.replace(":", ""), 16) == int(wifi.replace(":", ""), 16) + 1
    assert wifi[:8] in identifiers.APPLE_OUIS


@many
@given(seeds)
def test_a_virtual_address_is_local_and_not_a_group(seed: int) -> None:
    assert int(identifiers.local_address(Chance(seed))[:2], 16) & 0b11 == 0b10


def test_imei_and_iccid_are_written_in_captured_groups() -> None:
    assert spaced_imei("357350050034324") == "35 735005 003432 4"
    assert spaced_iccid("89014103211118510720") == "8901 4103 2111 1851 0720"
