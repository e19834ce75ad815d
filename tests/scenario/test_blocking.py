"""Worlds for plain Python: the same steps without async and without YAML."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mdmsim.protocol.payloads import MdmPayload
from mdmsim.protocol.profile import build_profile
from mdmsim.scenario.blocking import World, open_world
from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.verdict import NotApplicable, StepFailed
from tests.scenario.stories import KEYS


@pytest.fixture
def universe() -> Iterator[World]:
    with open_world(keys=KEYS) as opened:
        yield opened


def test_a_device_enrols_and_obeys(universe: World) -> None:
    phone = universe.device("iphone")
    phone.enroll()
    answer = universe.server.queue(phone, "DeviceInformation", Queries=["SerialNumber"]).expect()
    assert answer.response["QueryResponses"] == {"SerialNumber": phone.persona.serial}


def test_a_mac_of_macos_26_takes_the_reference_servers_profile(universe: World) -> None:
    mac = universe.device("mac-silicon", os="26.0")
    mac.enroll()
    assert mac.enrolled


def test_what_a_device_sent_can_be_read(universe: World) -> None:
    mac = universe.device("macos")
    mac.enroll()
    assert [label for label, status in mac.requests if status == 200][-2:] == [
        "checkin:Authenticate",
        "checkin:TokenUpdate",
    ]


def test_time_passes_only_when_told(universe: World) -> None:
    before = universe.now_ms
    assert universe.now_ms == before
    universe.wait("30d")
    assert universe.now_ms == before + 30 * 86_400_000


def test_the_server_shows_its_record(universe: World) -> None:
    phone = universe.device()
    assert universe.server.record(phone) is None
    phone.enroll()
    record = universe.server.record(phone)
    assert record is not None
    assert (record["status"], record["udid"]) == ("enrolled", phone.udid)


def test_a_removed_device_leaves_at_the_next_push(universe: World) -> None:
    phone = universe.device()
    phone.enroll()
    universe.server.remove(phone)
    phone.push()
    universe.step("expect_event", kind="device.unenrolled", device=phone)
    assert (phone.enrolled, phone.profiles) == (False, [])


def test_a_profile_given_as_bytes_is_installed(universe: World) -> None:
    phone = universe.device()
    with pytest.raises(StepFailed, match="ends up enrolled; seen: failed"):
        phone.enroll(b"no profile at all")


def test_an_enrollment_that_is_not_simulated_is_not_judged(universe: World) -> None:
    payload = MdmPayload(
        topic="com.apple.mgmt.External.x",
        server_url="https://mdm.example.org/",
        identity_certificate_uuid="ID",
        enrollment_mode="BYOD",
    ).to_payload(identifier="org.example.mdm", uuid="MDM")
    with pytest.raises(NotApplicable, match=r"^User Enrollment \(EnrollmentMode BYOD\) is not simulated \(iphone-01\)"):
        universe.device().enroll(build_profile(identifier="org.example", uuid="P", payloads=(payload,)))


def test_what_does_not_go_as_told_raises(universe: World) -> None:
    phone = universe.device(passcode="246810")
    phone.lock()
    with pytest.raises(StepFailed, match="iphone-01 opens; seen: refused"):
        phone.unlock("000000")
    phone.unlock()


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("pusch", {}, 'no step "pusch". Did you mean "push"?'),
        ("wait", {"four": "1s"}, 'has no "four". Did you mean "for"?'),
        ("unlock", {}, 'step "unlock" needs "device"'),
    ],
)
def test_words_that_a_step_does_not_know_are_told(
    universe: World, name: str, arguments: dict[str, str], says: str
) -> None:
    with pytest.raises(ScenarioError, match=says):
        universe.step(name, **arguments)


def test_a_device_that_cannot_exist_is_told(universe: World) -> None:
    with pytest.raises(ScenarioError, match="toaster"):
        universe.device("toaster")


def test_the_same_seed_makes_the_same_devices() -> None:
    serials = []
    for _ in range(2):
        with open_world(seed=5, keys=KEYS) as opened:
            serials.append(opened.device("ipad").persona.serial)
    assert serials[0] == serials[1]
