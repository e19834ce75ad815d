"""What MDM servers read about devices, and what they do to them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mdmsim.clock import DAY, HOUR, from_utc, utc
from mdmsim.fakedep.portal import DeviceOrder
from tests.fakedep.support import NAME, Bench

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

FULL = DeviceOrder(
    serial_number="FULL1",
    device_family="iPad",
    color="SILVER",
    asset_tag="A-1",
    imei=("350000000000001",),
    meid=("A0000000000001",),
    eid="89049032000000000000000000000001",
    wifi_mac_address="00:11:22:33:44:55",
    bluetooth_mac_address="00:11:22:33:44:56",
    ethernet_mac_address=("00:11:22:33:44:57",),
)

BASE_KEYS = {"serial_number", "model", "description", "profile_status", "device_assigned_date", "device_assigned_by"}
VERSION_10 = {"imei", "meid", "eid", "wifi_mac_address", "bluetooth_mac_address", "ethernet_mac_address"}


def _by_serial(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {record["serial_number"]: record for record in records}


def test_a_fetch_gives_every_device_of_the_server_in_the_order_of_assignment(bench: Bench) -> None:
    bench.order(*(f"S{number:03}" for number in range(250)))
    bench.portal.add_server("other")
    bench.order("FOREIGN1", server="other")
    bench.order("NOBODYS1", server=None)
    page = bench.client.post("/server/devices")
    assert (len(page["devices"]), page["more_to_follow"]) == (100, True)
    assert TIME.fullmatch(page["fetched_until"]) and len(page["cursor"]) <= 128
    records, _ = bench.client.fetch_all(limit=70)
    assert [record["serial_number"] for record in records] == [f"S{number:03}" for number in range(250)]
    assert not any("op_type" in record for record in records)


def test_the_last_page_may_be_full(bench: Bench) -> None:
    bench.order("S1", "S2")
    page = bench.client.post("/server/devices", {"limit": 2})
    assert (len(page["devices"]), page["more_to_follow"]) == (2, False)


@pytest.mark.parametrize("body", [{}, {"cursor": None}, {"cursor": ""}, {"limit": None}])
def test_a_first_fetch_may_leave_cursor_and_limit_out_in_any_way(bench: Bench, body: dict[str, Any]) -> None:
    bench.order("S1")
    assert len(bench.client.post("/server/devices", body)["devices"]) == 1


@pytest.mark.parametrize(
    ("version", "more"),
    [
        (None, set()),
        (1, set()),
        (2, {"os", "device_family"}),
        (7, {"os", "device_family"}),
        (8, {"os", "device_family", "mdm_migration_deadline"}),
        (9, {"os", "device_family", "mdm_migration_deadline"}),
        (10, {"os", "device_family", "mdm_migration_deadline"} | VERSION_10),
    ],
)
def test_records_have_the_keys_of_the_version_that_is_asked_for(
    bench: Bench, version: int | None, more: set[str]
) -> None:
    bench.portal.order([FULL], server=NAME)
    bench.portal.set_migration_deadline("FULL1", bench.clock.now_ms() + DAY)
    bench.client.version = version
    (record,) = bench.client.fetch_all()[0]
    assert record.keys() == BASE_KEYS | {"color", "asset_tag"} | more


@pytest.mark.parametrize("version", ["0", "-1", "ten", "", "3.0", "99999999"])
def test_a_version_that_is_no_number_is_the_oldest(bench: Bench, version: str) -> None:
    bench.order("S1")
    answer = bench.client.answer("POST", "/server/devices", {}, **{"X-Server-Protocol-Version": version})
    assert b"device_family" not in answer.body


def test_an_ipad_runs_ios_until_version_7(bench: Bench) -> None:
    bench.portal.order([FULL], server=NAME)
    systems = {}
    for version in (2, 6, 7, 10):
        bench.client.version = version
        systems[version] = bench.client.fetch_all()[0][0]["os"]
    assert systems == {2: "iOS", 6: "iOS", 7: "iPadOS", 10: "iPadOS"}


def test_what_is_not_known_has_no_key_and_no_value_is_null_or_empty(bench: Bench) -> None:
    bench.order("S1")
    (record,) = bench.client.fetch_all()[0]
    assert record.keys() == BASE_KEYS | {"os", "device_family"}
    assert all(value not in (None, "") for value in record.values())


def test_a_device_is_empty_then_assigned_then_pushed_then_removed(bench: Bench) -> None:
    bench.order("S1")
    seen = []

    def look() -> None:
        bench.clock.advance(HOUR)
        (record,) = bench.client.fetch_all()[0]
        seen.append((record["profile_status"], *sorted(key for key in record if key.startswith("profile_"))))

    look()
    uuid = bench.client.define()
    bench.client.call("PUT", "/profile/devices", {"profile_uuid": uuid, "devices": ["S1"]})
    look()
    bench.service.cloud_configuration("S1")
    look()
    bench.client.call("DELETE", "/profile/devices", {"devices": ["S1"]})
    look()
    assert [each[0] for each in seen] == ["empty", "assigned", "pushed", "removed"]
    assert seen[1][1:] == ("profile_assign_time", "profile_status", "profile_uuid")
    assert seen[2][1:] == ("profile_assign_time", "profile_push_time", "profile_status", "profile_uuid")


def test_a_removed_profile_can_leave_an_empty_device() -> None:
    bench = Bench(after_removal="empty")
    bench.order("S1")
    bench.client.define(devices=["S1"])
    bench.client.call("DELETE", "/profile/devices", {"devices": ["S1"]})
    (record,) = bench.client.fetch_all()[0]
    assert record["profile_status"] == "empty" and "profile_uuid" not in record


def test_details_are_an_object_by_serial_number(bench: Bench) -> None:
    bench.order("S1")
    bench.portal.add_server("other")
    bench.order("FOREIGN1", server="other")
    found = bench.client.post("/devices", {"devices": ["S1", "FOREIGN1", "UNKNOWN1", "S1"]})["devices"]
    assert found.keys() == {"S1", "FOREIGN1", "UNKNOWN1"}
    assert found["S1"]["response_status"] == "SUCCESS" and found["S1"]["model"] == "iPhone 15"
    assert found["FOREIGN1"] == found["UNKNOWN1"] == {"response_status": "NOT_ACCESSIBLE"}


# sync


def test_sync_tells_what_happened_since_and_in_that_order(bench: Bench) -> None:
    bench.order("S1", "S2")
    _, cursor = bench.client.fetch_all()
    bench.clock.advance(HOUR)
    bench.order("S3")
    uuid = bench.client.define(devices=["S1"])
    bench.portal.unassign(["S2"])
    records, _ = bench.client.sync_all(cursor)
    assert [(each["serial_number"], each["op_type"]) for each in records] == [
        ("S3", "added"),
        ("S1", "modified"),
        ("S2", "deleted"),
    ]
    assert records[1]["profile_uuid"] == uuid
    assert records[0]["op_date"] == records[0]["device_assigned_date"]
    assert all(TIME.fullmatch(each["op_date"]) for each in records)


def test_an_empty_sync_still_brings_a_cursor(bench: Bench) -> None:
    _, cursor = bench.client.fetch_all()
    bench.clock.advance(HOUR)
    page = bench.client.post("/devices/sync", {"cursor": cursor})
    assert (page["devices"], page["more_to_follow"]) == ([], False)
    assert page["cursor"] != cursor


def test_an_empty_sync_can_bring_the_same_cursor() -> None:
    bench = Bench(empty_sync_cursor="same")
    _, cursor = bench.client.fetch_all()
    bench.clock.advance(HOUR)
    assert bench.client.sync_all(cursor)[1] == cursor


def test_the_same_page_can_be_asked_again(bench: Bench) -> None:
    """A server that crashed after a page was served asks with the cursor it had."""
    _, cursor = bench.client.fetch_all()
    bench.order(*(f"S{number}" for number in range(5)))
    body = {"cursor": cursor, "limit": 2}
    pages = [bench.client.post("/devices/sync", body) for _ in range(2)]
    assert pages[0]["devices"] == pages[1]["devices"] and len(pages[0]["devices"]) == 2


def test_a_device_that_moves_is_deleted_here_and_added_there(bench: Bench) -> None:
    bench.portal.add_server("other")
    other = bench.client_of("other")
    bench.order("S1")
    bench.client.define(devices=["S1"])
    (_, here), (_, there) = bench.client.fetch_all(), other.fetch_all()
    bench.portal.assign(["S1"], "other")
    assert [each["op_type"] for each in bench.client.sync_all(here)[0]] == ["deleted"]
    (added,) = other.sync_all(there)[0]
    assert (added["op_type"], added["profile_status"]) == ("added", "empty")
    assert bench.client.fetch_all()[0] == []


def test_a_move_can_show_as_modified() -> None:
    bench = Bench(move_shows_as="modified")
    bench.portal.add_server("other")
    other = bench.client_of("other")
    bench.order("S1")
    _, cursor = other.fetch_all()
    bench.portal.assign(["S1"], "other")
    assert [each["op_type"] for each in other.sync_all(cursor)[0]] == ["modified"]


def test_deleted_records_can_be_sparse() -> None:
    bench = Bench(deleted_records="sparse")
    bench.order("S1")
    _, cursor = bench.client.fetch_all()
    bench.portal.release(["S1"])
    (record,) = bench.client.sync_all(cursor)[0]
    assert record.keys() == {"serial_number", "op_type", "op_date"}


def test_what_changes_during_a_fetch_comes_with_the_sync_after_it(bench: Bench) -> None:
    bench.order("S1", "S2", "S3")
    page = bench.client.post("/server/devices", {"limit": 1})
    bench.portal.unassign(["S1"])
    bench.order("S4")
    _, cursor = bench.client._follow("/server/devices", {"limit": 1, "cursor": page["cursor"]})
    records, _ = bench.client.sync_all(cursor)
    assert ("S1", "deleted") in [(each["serial_number"], each["op_type"]) for each in records]
    assert ("S4", "added") in [(each["serial_number"], each["op_type"]) for each in records]


def test_changes_older_than_every_cursor_are_forgotten(bench: Bench) -> None:
    bench.order("S1")
    for number in range(60):
        bench.clock.advance(DAY)
        bench.portal.set_asset_tag("S1", f"tag {number}")
    assert len(bench.service.servers()[0]._changes) < 15


def test_a_slow_client_whose_changes_were_forgotten_is_told_to_fetch_again() -> None:
    bench = Bench(oauth_window_ms=None)
    bench.order("S1")
    _, cursor = bench.client.fetch_all()
    for number in range(6):
        bench.clock.advance(DAY)
        bench.portal.set_asset_tag("S1", f"tag {number}")
    bench.client.login()
    page = bench.client.post("/devices/sync", {"cursor": cursor, "limit": 1})
    for number in range(6):
        bench.clock.advance(DAY)
        bench.portal.set_asset_tag("S1", f"tag {number}")
    bench.client.login()
    assert bench.client.call("POST", "/devices/sync", {"cursor": page["cursor"]}) == (400, "EXPIRED_CURSOR")


# disown, Activation Lock, replacement


def test_a_disowned_device_is_gone_for_good(bench: Bench) -> None:
    bench.order("S1", "S2")
    _, cursor = bench.client.fetch_all()
    found = bench.client.post("/devices/disown", {"devices": ["S1", "UNKNOWN1"]})
    assert found == {"devices": {"S1": "SUCCESS", "UNKNOWN1": "NOT_ACCESSIBLE"}}
    assert [each["op_type"] for each in bench.client.sync_all(cursor)[0]] == ["deleted"]
    assert [device.serial_number for device in bench.service.devices()] == ["S2"]


@pytest.mark.parametrize("how", ["unassigned", "moved", "disowned", "server removed"])
def test_a_device_that_leaves_its_server_has_no_profile_any_more(bench: Bench, how: str) -> None:
    bench.portal.add_server("other")
    other = bench.client_of("other")
    bench.order("S1")
    bench.client.define(devices=["S1"])
    bench.service.cloud_configuration("S1")
    match how:
        case "unassigned":
            bench.portal.unassign(["S1"])
        case "disowned":
            bench.client.post("/devices/disown", {"devices": ["S1"]})
            bench.order("S1", server=None)
        case "server removed":
            bench.portal.remove_server(NAME)
    bench.portal.assign(["S1"], "other")
    (found,), _ = other.fetch_all()
    keys = ("profile_status", "profile_uuid", "profile_assign_time", "profile_push_time")
    assert [found.get(key) for key in keys] == ["empty", None, None, None]
    assert bench.service.cloud_configuration("S1") is None


def test_a_device_is_locked_to_its_organisation_once(bench: Bench) -> None:
    bench.order("S1")
    bench.portal.order([DeviceOrder(serial_number="TV1", device_family="AppleTV")], server=NAME)
    ask = {"device": "S1", "escrow_key": "0f" * 32, "lost_message": "call us"}
    assert bench.client.post("/device/activationlock", ask) == {"serial_number": "S1", "response_status": "SUCCESS"}
    statuses = [
        bench.client.post("/device/activationlock", {**ask, "device": serial})["response_status"]
        for serial in ("S1", "TV1", "UNKNOWN1")
    ]
    assert statuses == ["DEVICE_ALREADY_LOCKED", "DEVICE_NOT_SUPPORTED", "NOT_ACCESSIBLE"]


@pytest.mark.parametrize(("escrow", "status"), [("", "SUCCESS"), ("zz", "FAILED"), ("0F" * 31, "FAILED")])
def test_an_escrow_key_is_64_hex_digits_or_empty(bench: Bench, escrow: str, status: str) -> None:
    bench.order("S1")
    ask = {"device": "S1", "escrow_key": escrow, "lost_message": ""}
    assert bench.client.post("/device/activationlock", ask)["response_status"] == status


def test_a_replacement_takes_the_place_of_the_broken_device(bench: Bench) -> None:
    bench.order("S1")
    _, cursor = bench.client.fetch_all()
    bench.portal.replace("S1", "S2")
    records = _by_serial(bench.client.sync_all(cursor)[0])
    assert (records["S1"]["op_type"], records["S1"]["released_by_replacement"]) == ("deleted", True)
    assert (records["S2"]["op_type"], records["S2"]["is_replacement_device"]) == ("added", True)
    assert bench.client.call("GET", "/device/replacementDetails?device=S2") == (
        200,
        {
            "serial_number": "S2",
            "original_device_serial_number": "S1",
            "replacement_date": utc(bench.clock.now_ms()).strftime("%Y-%m-%d"),
        },
    )


# the account


def test_the_account_says_who_it_is_and_what_there_is(bench: Bench) -> None:
    status, found = bench.client.call("GET", "/account")
    assert status == 200 and found["server_name"] == NAME
    assert re.fullmatch("[0-9A-F]{32}", found["server_uuid"])
    assert (found["org_type"], found["org_version"]) == ("org", "v2")
    limits = {each["uri"]: each.get("limit") for each in found["urls"]}
    assert limits["/devices/sync"] == limits["/server/devices"] == {"default": 1000, "maximum": 1000}
    assert limits["/session"] is None


def test_the_account_advertises_the_page_size_it_serves() -> None:
    bench = Bench(maximum_limit=40)
    bench.order(*(f"S{number}" for number in range(50)))
    assert {"default": 40, "maximum": 40} in [
        each.get("limit") for each in bench.client.call("GET", "/account")[1]["urls"]
    ]
    assert len(bench.client.post("/server/devices")["devices"]) == 40


def test_the_account_is_short_before_version_3(bench: Bench) -> None:
    bench.client.version = 2
    _, found = bench.client.call("GET", "/account")
    assert not {"org_id", "org_id_hash", "org_type", "org_version", "urls"} & found.keys()
    assert "org_address" in found


def test_a_discovery_url_is_set_read_and_taken_away(bench: Bench) -> None:
    path, url = "/account-driven-enrollment/profile", "https://mdm.acme.example/discovery"
    assert bench.client.call("POST", path, {"mdm_service_discovery_url": url}) == (200, {})
    _, found = bench.client.call("GET", path)
    assert found["mdm_service_discovery_url"] == url and TIME.fullmatch(found["last_updated_timestamp"])
    assert bench.client.call("DELETE", path) == (200, {})
    assert bench.client.call("GET", path) == (404, "NOT_FOUND")


def test_times_are_the_worlds(bench: Bench) -> None:
    bench.order("S1")
    (record,) = bench.client.fetch_all()[0]
    assert record["device_assigned_date"] == utc(bench.clock.now_ms()).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert from_utc(utc(bench.clock.now_ms())) == bench.clock.now_ms()
