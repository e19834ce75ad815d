"""Profiles: defined, read back, assigned, removed; never changed."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakedep.support import NAME, PROFILE, Bench

EVERYTHING: dict[str, Any] = {
    "profile_name": "Acme devices",
    "url": "https://mdm.acme.example:8443/enroll?x=1",
    "configuration_web_url": "https://mdm.acme.example/web",
    "allow_pairing": False,
    "is_supervised": True,
    "is_multi_user": False,
    "is_mandatory": True,
    "await_device_configured": True,
    "is_mdm_removable": False,
    "support_phone_number": "1" * 50,
    "auto_advance_setup": True,
    "support_email_address": "e" * 250,
    "org_magic": "m" * 256,
    "department": "d" * 125,
    "anchor_certs": [base64.b64encode(b"\x30\x03\x02\x01\x01").decode()],
    "supervising_host_certs": [],
    "skip_setup_items": ["Siri", "AppleID"],
    "language": "en",
    "region": "US",
    "do_not_use_profile_from_backup": True,
    "is_return_to_service": False,
}


def test_a_profile_is_read_back_as_it_was_defined(bench: Bench) -> None:
    made = bench.client.post("/profile", {**EVERYTHING, "devices": []})
    assert made["devices"] == {} and re.fullmatch("[0-9A-F]{32}", made["profile_uuid"])
    status, found = bench.client.call("GET", f"/profile?profile_uuid={made['profile_uuid']}")
    assert status == 200 and found == {**EVERYTHING, "profile_uuid": made["profile_uuid"]}
    assert bench.log.of("dep.profile-defined")[0].data["warnings"] == []


@pytest.mark.parametrize("spelling", [str.lower, lambda u: f"{u[:8]}-{u[8:12]}-{u[12:16]}-{u[16:20]}-{u[20:]}"])
def test_the_uuid_may_be_spelt_in_any_way(bench: Bench, spelling: Any) -> None:
    uuid = bench.client.define()
    assert bench.client.call("GET", f"/profile?profile_uuid={spelling(uuid)}")[1]["profile_uuid"] == uuid


def test_the_same_definition_again_is_another_profile(bench: Bench) -> None:
    assert bench.client.define() != bench.client.define()


@pytest.mark.parametrize(
    ("name", "url", "word"),
    [
        ("", "", "CONFIG_URL_REQUIRED"),
        (None, None, "CONFIG_URL_REQUIRED"),
        (None, "no url", "CONFIG_URL_INVALID"),
        ("", "https://mdm.example/", "CONFIG_NAME_INVALID"),
    ],
)
def test_apple_looks_at_the_url_before_the_name(bench: Bench, name: str | None, url: str | None, word: str) -> None:
    # micromdm issue 596: both keys sent empty, and Apple asked for the URL.
    assert bench.client.call("POST", "/profile", {"profile_name": name, "url": url}) == (400, word)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_result_may_be_left_out_of_the_answer_and_the_device_stays_as_it_was(bench: Bench, method: str) -> None:
    # fleet issue 31385: the map lacked serials that were asked for, and they had no profile.
    bench.order("S1", "S2")
    uuid = bench.client.define()
    bench.fault("assign.omitted", match=lambda facts: facts["serial"] == "S1")
    body = {"profile_uuid": uuid, "devices": ["S1", "S2"]}
    assert bench.client.call(method, "/profile/devices", body) == (
        200,
        {"profile_uuid": uuid, "devices": {"S2": "SUCCESS"}},
    )
    assert [bench.service.device(serial).profile_uuid for serial in ("S1", "S2")] == [None, uuid]


def test_a_new_definition_leaves_devices_on_the_old_one(bench: Bench) -> None:
    bench.order("S1")
    old = bench.client.define(devices=["S1"])
    bench.client.define()
    assert bench.service.device("S1").profile_uuid == old


def test_a_profile_of_another_server_is_unknown(bench: Bench) -> None:
    bench.portal.add_server("other")
    uuid = bench.client_of("other").define()
    assert bench.client.call("GET", f"/profile?profile_uuid={uuid}") == (404, "NOT_FOUND")


def test_unknown_keys_are_kept_with_a_warning(bench: Bench) -> None:
    uuid = bench.client.define(from_the_future={"a": [1]}, skip_setup_items=["Sirius"], anchor_certs=["no base64!"])
    _, found = bench.client.call("GET", f"/profile?profile_uuid={uuid}")
    assert found["from_the_future"] == {"a": [1]}
    warnings = bench.log.of("dep.profile-defined")[0].data["warnings"]
    assert [any(word in each for each in warnings) for word in ("from_the_future", "Sirius", "anchor_certs[0]")] == [
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("devices", [None, []])
def test_a_definition_without_devices_assigns_nothing(bench: Bench, devices: Any) -> None:
    bench.order("S1")
    assert bench.client.post("/profile", {**PROFILE, "devices": devices})["devices"] == {}
    assert bench.service.device("S1").profile_status == "empty"


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_profile_is_assigned_device_by_device(bench: Bench, method: str) -> None:
    bench.order("S1", "S2")
    bench.order("NOBODYS1", server=None)
    uuid = bench.client.define()
    body = {"profile_uuid": uuid.lower(), "devices": ["S1", "UNKNOWN1", "NOBODYS1", "S1"]}
    assert bench.client.call(method, "/profile/devices", body) == (
        200,
        {
            "profile_uuid": uuid,
            "devices": {"S1": "SUCCESS", "UNKNOWN1": "NOT_ACCESSIBLE", "NOBODYS1": "NOT_ACCESSIBLE"},
        },
    )
    states = {device.serial_number: device.profile_uuid for device in bench.service.devices()}
    assert states == {"S1": uuid, "S2": None, "NOBODYS1": None}


def test_a_new_assignment_of_a_pushed_device_waits_to_be_pushed(bench: Bench) -> None:
    bench.order("S1")
    bench.client.define(devices=["S1"])
    bench.service.cloud_configuration("S1")
    bench.client.define(devices=["S1"])
    device = bench.service.device("S1")
    assert (device.profile_status, device.profile_push_ms) == ("assigned", None)


def test_a_removal_ignores_the_profile_it_names(bench: Bench) -> None:
    bench.order("S1", "S2")
    bench.client.define(devices=["S1"])
    body = {"devices": ["S1", "S2", "UNKNOWN1"], "profile_uuid": "whatever"}
    assert bench.client.call("DELETE", "/profile/devices", body) == (
        200,
        {"devices": {"S1": "SUCCESS", "S2": "SUCCESS", "UNKNOWN1": "NOT_ACCESSIBLE"}},
    )
    assert bench.service.device("S1").profile_status == "removed"
    assert bench.service.device("S2").profile_status == "empty"


@pytest.mark.parametrize(
    ("version", "result", "wait"), [(10, "THROTTLED", 7200), (9, "THROTTLED", None), (8, "FAILED", None)]
)
def test_throttling_is_told_as_the_clients_version_knows_it(
    bench: Bench, version: int, result: str, wait: int | None
) -> None:
    bench.order("S1", "S2")
    bench.client.version = version
    bench.fault(
        "assign.refused",
        {"status": "THROTTLED", "retry_after_seconds": 7200},
        match=lambda facts: facts["serial"] == "S1",
    )
    uuid = bench.client.define()
    _, found = bench.client.call("PUT", "/profile/devices", {"profile_uuid": uuid, "devices": ["S1", "S2"]})
    assert found["devices"] == {"S1": result, "S2": "SUCCESS"}
    assert found.get("retry_after_seconds") == wait
    assert bench.service.device("S1").profile_status == "empty"


@pytest.mark.parametrize("answer", ["FAILED", "NOT_ACCESSIBLE", None])
def test_an_assignment_can_be_refused_for_one_device(bench: Bench, answer: str | None) -> None:
    bench.order("S1")
    bench.fault("assign.refused", answer, times=1)
    found = bench.client.post("/profile", {**PROFILE, "devices": ["S1"]})
    assert found["devices"] == {"S1": answer or "FAILED"}


def test_an_assignment_can_be_accepted_and_forgotten(bench: Bench) -> None:
    bench.order("S1")
    bench.fault("assign.ignored")
    assert bench.client.post("/profile", {**PROFILE, "devices": ["S1"]})["devices"] == {"S1": "SUCCESS"}
    assert bench.client.post("/devices", {"devices": ["S1"]})["devices"]["S1"]["profile_status"] == "empty"


def test_the_event_of_an_assignment_tells_the_results(bench: Bench) -> None:
    bench.order("S1")
    uuid = bench.client.define(devices=["S1", "UNKNOWN1"])
    (event,) = bench.log.of("dep.assigned")
    assert event.data == {
        "server": NAME,
        "profile_uuid": uuid,
        "results": {"S1": "SUCCESS", "UNKNOWN1": "NOT_ACCESSIBLE"},
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*EVERYTHING, "devices", "profile_uuid", "x"]), _JSON, max_size=8), st.booleans()
)
def test_any_definition_is_answered_and_what_was_taken_is_read_back(change: dict[str, Any], full: bool) -> None:
    bench = Bench()
    body = {**(EVERYTHING if full else PROFILE), **change}
    status, found = bench.client.call("POST", "/profile", body)
    assert status in (200, 400)
    if status == 200:
        _, read = bench.client.call("GET", f"/profile?profile_uuid={found['profile_uuid']}")
        kept = {key: value for key, value in body.items() if key not in ("devices", "profile_uuid")}
        assert read == {**kept, "profile_uuid": found["profile_uuid"]}
