"""When TokenUpdate is sent again, and what the unlock token looks like."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.device.device import Behaviour
from mdmsim.device.keybag import escrow_keybag, parse_keybag
from mdmsim.device.locking import set_passcode
from mdmsim.device.tokens import renew_push_token
from mdmsim.http import ConnectFailed, Request
from tests.device.bench import Bench, TokenUpdate


def test_a_changed_push_token_is_told_and_a_lost_message_is_sent_again() -> None:
    bench = Bench("mac-silicon")
    bench.enroll()
    losses = [ConnectFailed("gone")]
    bench.server.interfere = lambda r: losses.pop() if losses else None
    bench.device.change(renew_push_token)
    bench.later(61)
    first, second = bench.server.of(TokenUpdate)
    assert first.token != second.token == bench.device.voice().push_token
    assert first.push_magic == second.push_magic


def test_a_token_that_changes_while_being_told_is_told_again() -> None:
    bench = Bench()
    bench.enroll()
    changed = [False]

    def change_once(request: Request) -> None:
        if not changed[0]:
            changed[0] = True
            bench.device.change(renew_push_token)

    bench.device.change(renew_push_token)
    bench.server.interfere = change_once
    bench.act()
    assert bench.server.of(TokenUpdate)[-1].token == bench.device.voice().push_token


@pytest.mark.parametrize(("kind", "told"), [("iphone", True), ("mac-silicon", False)])
def test_a_changed_passcode_makes_a_new_unlock_token_on_ios_only(kind: str, told: bool) -> None:
    bench = Bench(kind)
    bench.enroll()
    before = bench.device.voice().unlock_token
    bench.device.change(lambda work: set_passcode(work, "998877"))
    assert (bench.act() == 1) == told
    assert (bench.device.voice().unlock_token != before) == told


def test_a_behaviour_can_keep_the_changed_passcode_to_the_device() -> None:
    bench = Bench("iphone", behaviour=Behaviour(token_update_on_passcode=False))
    bench.enroll()
    bench.device.change(lambda work: set_passcode(work, "998877"))
    assert bench.act() == 0


def test_an_unlock_token_is_a_keybag_of_the_captured_form() -> None:
    parts = parse_keybag(escrow_keybag(Chance(1)))
    assert list(parts) == ["DATA", "SIGN"]
    assert len(parts["SIGN"]) == 20
    assert parts["DATA"].startswith(b"VERS\x00\x00\x00\x04")
    assert parts["DATA"].count(b"CLAS") == 10
    assert parts["DATA"].count(b"PBKY") == 1


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_a_cut_keybag_is_a_value_error_and_nothing_else(data: bytes) -> None:
    try:
        parse_keybag(data)
    except ValueError as error:
        assert "unlock token" in str(error)
