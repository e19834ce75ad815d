"""ClearPasscode, and the hour in which a required passcode may be missing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.clock import MINUTE
from mdmsim.device.device import Work
from mdmsim.device.locking import apps_open, lock_screen, set_passcode
from mdmsim.device.passcode_policy import TYPE, Policy, complies
from mdmsim.protocol.connect import Status
from mdmsim.protocol.payloads import Payload
from mdmsim.protocol.profile import build_profile
from tests.device.bench import Bench


def enrolled(**keys: object) -> Bench:
    bench = Bench("iphone", passcode="123456")
    bench.enroll()
    if keys:
        policy = Payload(type=TYPE, identifier="test.policy.1", uuid="POLICY-1", keys=keys)
        profile = build_profile(identifier="test.policy", uuid="POLICY", payloads=(policy,))
        assert bench.ask("InstallProfile", Payload=profile).status is Status.ACKNOWLEDGED
    return bench


def security(bench: Bench) -> dict[str, object]:
    info = bench.ask("SecurityInfo").response["SecurityInfo"]
    return {key: info[key] for key in ("PasscodePresent", "PasscodeCompliantWithProfiles")}


def test_the_right_token_removes_the_passcode_and_unlocks_the_phone() -> None:
    bench = enrolled()
    bench.device.change(lambda work: lock_screen(work, by="button"))
    assert bench.ask("ClearPasscode", UnlockToken=bench.device.voice().unlock_token).status is Status.ACKNOWLEDGED
    assert security(bench) == {"PasscodePresent": False, "PasscodeCompliantWithProfiles": True}


def test_the_token_of_another_device_changes_nothing() -> None:
    bench = enrolled()
    report = bench.ask("ClearPasscode", UnlockToken=b"DATA\x00\x00\x00\x00SIGN\x00\x00\x00\x00")
    assert [(i.domain, i.code) for i in report.error_chain] == [("MCPasscodeErrorDomain", 5013)]
    assert security(bench)["PasscodePresent"] is True


def test_the_token_of_before_a_passcode_change_is_worth_nothing() -> None:
    bench = enrolled()
    old = bench.device.voice().unlock_token
    bench.device.change(lambda work: set_passcode(work, "998877"))
    bench.act()
    assert bench.ask("ClearPasscode", UnlockToken=old).status is Status.ERROR


def test_a_mac_has_no_passcode_to_clear() -> None:
    bench = Bench("mac-silicon")
    bench.enroll()
    assert [i.code for i in bench.ask("ClearPasscode", UnlockToken=b"x").error_chain] == [12021]


def test_where_a_profile_requires_a_passcode_the_user_has_an_hour_to_set_one() -> None:
    bench = enrolled(forcePIN=True, minLength=6)
    bench.ask("ClearPasscode", UnlockToken=bench.device.voice().unlock_token)
    assert security(bench) == {"PasscodePresent": False, "PasscodeCompliantWithProfiles": False}
    bench.later(59 * 60)
    assert apps_open(Work(bench.device))
    bench.clock.advance(2 * MINUTE)
    assert not apps_open(Work(bench.device))
    bench.device.change(lambda work: set_passcode(work, "1357"))
    assert not apps_open(Work(bench.device)) or bench.device.state.passcode_deadline_ms is not None
    bench.device.change(lambda work: set_passcode(work, "135246"))
    bench.act()
    assert apps_open(Work(bench.device))
    assert security(bench) == {"PasscodePresent": True, "PasscodeCompliantWithProfiles": True}


@pytest.mark.parametrize(
    ("policy", "passcode", "follows"),
    [
        (Policy(), "", True),
        (Policy(required=True), "", False),
        (Policy(minimum_length=6), "12345", False),
        (Policy(minimum_length=6), "", True),
        (Policy(allow_simple=False), "123456", False),
        (Policy(allow_simple=False), "111111", False),
        (Policy(allow_simple=False), "135246", True),
        (Policy(alphanumeric=True), "123456", False),
        (Policy(alphanumeric=True), "12345a", True),
        (Policy(complex_characters=1), "abcdef", False),
        (Policy(complex_characters=1), "abc-ef", True),
    ],
)
def test_compliance(policy: Policy, passcode: str, follows: bool) -> None:
    assert complies(policy, passcode) == follows


@given(st.text(max_size=12), st.integers(0, 12))
@settings(max_examples=80, deadline=None)
def test_a_longer_minimum_never_lets_more_through(passcode: str, length: int) -> None:
    assert complies(Policy(minimum_length=length), passcode) >= complies(Policy(minimum_length=length + 1), passcode)
