"""Commands that a device does not have, or may not carry out, get the error that such a device gives."""

from __future__ import annotations

import pytest

from mdmsim.device.commands.registry import FLOW_HANDLERS, HANDLERS
from mdmsim.protocol.connect import Status
from mdmsim.schema.availability import commands
from tests.device.bench import Bench

HANDLED = set(HANDLERS) | set(FLOW_HANDLERS)


@pytest.mark.parametrize("kind", ["iphone", "ipad", "mac-intel", "mac-silicon", "appletv"])
def test_every_request_type_of_the_schema_that_is_not_handled_is_an_error_with_a_chain(kind: str) -> None:
    bench = Bench(kind)
    bench.enroll()
    asked = [name for name in commands() if name not in HANDLED]
    for name in asked:
        bench.queue(name, uuid=name)
    bench.push()
    bench.act()
    answers = {r.command_uuid: r for r in bench.server.reports if r.command_uuid}
    assert {
        name for name in asked if answers[name].status is not Status.ERROR or not answers[name].error_chain
    } == set()


def test_an_unknown_request_type_is_worded_as_each_platform_words_it() -> None:
    phone = Bench("iphone")
    phone.enroll()
    [item] = phone.ask("MakeCoffee").error_chain
    assert (item.domain, item.code, item.localized) == (
        "MCMDMErrorDomain",
        12021,
        "“MakeCoffee” is not a valid request type.",
    )
    assert item.us_english == item.localized
    mac = Bench("mac-intel")
    mac.enroll()
    [item] = mac.ask("MakeCoffee").error_chain
    assert (item.code, item.localized, item.us_english) == (
        12021,
        "Unknown command: MakeCoffee <MDMClientError:91>",
        None,
    )


@pytest.mark.parametrize(
    ("request_type", "simulated"),
    [("InstallApplication", False), ("MakeCoffee", True), ("RestartDevice", True), ("ProfileList", True)],
)
def test_the_event_tells_what_is_not_simulated_from_what_a_device_refuses(request_type: str, simulated: bool) -> None:
    # An unsupervised iPhone has no RestartDevice, and nobody has MakeCoffee: both refusals are real ones.
    bench = Bench("iphone")
    bench.enroll()
    report = bench.ask(request_type)
    [event] = bench.log.of("device.command-answered")
    assert event.data["simulated"] is simulated
    if request_type != "ProfileList":
        assert [i.code for i in report.error_chain] == [12021]


def test_restart_of_an_unsupervised_iphone_is_an_invalid_request_type() -> None:
    bench = Bench("iphone")
    bench.enroll()
    report = bench.ask("RestartDevice")
    assert [i.code for i in report.error_chain] == [12021]
    assert bench.device.state.power == "on"


@pytest.mark.parametrize("kind", ["iphone", "mac-silicon", "appletv"])
def test_a_command_without_its_access_right_is_12007(kind: str) -> None:
    bench = Bench(kind)
    bench.enroll(access_rights=8191 & ~1024)
    assert [i.code for i in bench.ask("SecurityInfo").error_chain] == [12007]


# Apple, Remove Profile: the server can always remove the enrollment profile, whatever its access rights.
@pytest.mark.parametrize("kind", ["iphone", "ipad", "mac-intel", "mac-silicon", "appletv"])
def test_the_enrollment_profile_can_be_removed_without_the_right_to_remove_profiles(kind: str) -> None:
    bench = Bench(kind)
    bench.enroll(access_rights=1)
    assert [i.code for i in bench.ask("RemoveProfile", Identifier="test.other").error_chain] == [12007]
    assert bench.ask("RemoveProfile", Identifier="test.enrollment").status is Status.ACKNOWLEDGED
    assert not bench.device.enrolled


def test_queries_without_their_right_are_left_out_without_an_error() -> None:
    bench = Bench("iphone")
    bench.enroll(access_rights=8191 & ~32)
    report = bench.ask("DeviceInformation", Queries=["SerialNumber", "WiFiMAC", "NoSuchQuery"])
    assert list(report.response["QueryResponses"]) == ["SerialNumber"]


def test_only_old_macs_repeat_the_request_type() -> None:
    for kind, version, repeats in (
        ("mac-intel", "10.12.6", True),
        ("mac-silicon", "15.1", False),
        ("iphone", None, False),
    ):
        bench = Bench(kind, os_version=version)
        bench.enroll()
        assert (bench.ask("ProfileList").request_type == "ProfileList") == repeats, kind
