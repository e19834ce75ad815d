"""InstalledApplicationList: the keys of each platform and version, filters, and what an erase leaves."""

from __future__ import annotations

import pytest

from mdmsim.chance import Chance
from mdmsim.device.applications import apps_of
from mdmsim.device.flows.automated import walk_setup_assistant
from mdmsim.protocol.connect import Status
from tests.device.bench import Bench

CAPTURED_IOS = {
    "AdHocCodeSigned", "AppStoreVendable", "BetaApp", "BundleSize", "DeviceBasedVPP", "DynamicSize",
    "ExternalVersionIdentifier", "HasUpdateAvailable", "Identifier", "Installing", "IsValidated", "Name",
    "ShortVersion", "Version",
}  # fmt: skip
CAPTURED_OLD_MAC = {"BundleSize", "Identifier", "Name", "ShortVersion", "Version"}


def enrolled(kind: str, **options: object) -> Bench:
    bench = Bench(kind, **options)  # type: ignore[arg-type]
    bench.enroll()
    bench.device.change(lambda work: setattr(work.state, "apps", apps_of(work.persona, Chance(3))))
    return bench


def listed(bench: Bench, **keys: object) -> list[dict[str, object]]:
    report = bench.ask("InstalledApplicationList", **keys)
    assert report.status is Status.ACKNOWLEDGED
    return report.response["InstalledApplicationList"]


@pytest.mark.parametrize(
    ("kind", "version", "keys"),
    [
        ("iphone", "11.3.1", CAPTURED_IOS),
        ("iphone", "18.1", CAPTURED_IOS | {"IsAppClip"}),
        ("appletv", "18.1", CAPTURED_IOS),
        ("mac-intel", "10.11.6", CAPTURED_OLD_MAC),
    ],
)
def test_each_app_has_the_keys_that_were_captured(kind: str, version: str, keys: set[str]) -> None:
    assert {frozenset(item) for item in listed(enrolled(kind, os_version=version))} == {frozenset(keys)}


def test_a_new_mac_does_not_count_system_apps() -> None:
    items = listed(enrolled("mac-silicon"))
    assert {item["BundleSize"] for item in items if str(item["Identifier"]) == "com.apple.Safari"} == {1}
    assert all("Installing" in item for item in items)


def test_an_old_mac_counts_system_apps() -> None:
    items = listed(enrolled("mac-intel", os_version="10.11.6"))
    assert all(int(str(item["BundleSize"])) > 1_000_000 for item in items)


def test_filters_choose_apps_and_keys() -> None:
    bench = enrolled("iphone", os_version="18.1")
    [first, *_] = listed(bench)
    assert [item["Identifier"] for item in listed(bench, Identifiers=[first["Identifier"]])] == [first["Identifier"]]
    assert {frozenset(item) for item in listed(bench, Items=["Name"])} == {frozenset({"Identifier", "Name"})}
    assert listed(bench, ManagedAppsOnly=True) == []


def test_an_erased_iphone_has_no_apps_of_its_user_any_more() -> None:
    bench = enrolled("iphone")
    assert listed(bench)
    bench.ask("EraseDevice")
    bench.later(120)
    bench.run(walk_setup_assistant(bench.device))
    bench.enroll()
    assert listed(bench) == []


@pytest.mark.parametrize("keys", [{"Identifiers": "x"}, {"Identifiers": [1]}, {"Items": {}}, {"ManagedAppsOnly": 1}])
def test_wrong_types_are_a_format_error(keys: dict[str, object]) -> None:
    assert enrolled("iphone").ask("InstalledApplicationList", **keys).status is Status.COMMAND_FORMAT_ERROR
