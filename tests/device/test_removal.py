"""RemovalDate and DurationUntilRemoval: a profile goes by itself when its time is over, and everything of it with it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mdmsim.clock import DAY, HOUR, MINUTE
from mdmsim.device.backup import make_backup, restore_backup
from mdmsim.device.device import Work
from mdmsim.device.erase import erase
from mdmsim.device.flows.install import install_profile
from mdmsim.device.power import set_network, shut_down, switch_on
from mdmsim.http import ConnectFailed
from mdmsim.protocol import plist
from mdmsim.protocol.connect import Status
from mdmsim.protocol.payloads import Payload, ScepPayload
from mdmsim.protocol.profile import build_profile
from tests.device.bench import SERVER, Bench, settings_payload

KINDS = ["iphone", "ipad", "mac-intel", "mac-silicon", "appletv"]


def enrolled(kind: str = "iphone") -> Bench:
    bench = Bench(kind)
    bench.enroll()
    return bench


def profile(*payloads: Payload, **keys: Any) -> bytes:
    return build_profile(
        identifier="test.brief", uuid="BRIEF-1", payloads=payloads or (settings_payload(),), extra=keys
    )


def enrollment(bench: Bench, check_out: bool = True, **keys: Any) -> bytes:
    values = plist.loads(bench.profile(check_out_when_removed=check_out), what="profile")
    return plist.dumps(values | keys)


def at(bench: Bench, ms: int) -> datetime:
    return datetime.fromtimestamp((bench.clock.now_ms() + ms) / 1000, UTC)


def names(bench: Bench) -> list[str]:
    return [p.identifier for p in bench.device.state.profiles]


def listed(bench: Bench) -> list[str]:
    return [entry["PayloadIdentifier"] for entry in bench.ask("ProfileList").response["ProfileList"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_goes_when_its_duration_is_over_and_not_before(kind: str) -> None:
    bench = enrolled(kind)
    assert bench.ask("InstallProfile", Payload=profile(DurationUntilRemoval=3600.0)).status is Status.ACKNOWLEDGED
    bench.later(3599)
    assert listed(bench) == ["test.enrollment", "test.brief"]
    bench.later(1)
    assert [e.data["why"] for e in bench.log.of("device.profile-removed")] == ["expired"]
    assert listed(bench) == ["test.enrollment"]


def test_a_profile_goes_at_its_removal_date() -> None:
    bench = enrolled()
    bench.ask("InstallProfile", Payload=profile(RemovalDate=at(bench, 2 * HOUR)))
    bench.later(2 * 3600 + 1)
    assert names(bench) == ["test.enrollment"]


# TopLevel.yaml, DurationUntilRemoval: where both keys are there, the earlier date counts.
@pytest.mark.parametrize(("date", "duration"), [(HOUR, 2 * 3600.0), (2 * HOUR, 3600.0)])
def test_of_date_and_duration_the_earlier_counts(date: int, duration: float) -> None:
    bench = enrolled()
    keys = {"RemovalDate": at(bench, date), "DurationUntilRemoval": duration}
    bench.ask("InstallProfile", Payload=profile(**keys))
    bench.later(3602)
    assert names(bench) == ["test.enrollment"]


def test_a_profile_that_a_person_installed_goes_too_without_any_enrollment() -> None:
    bench = Bench("iphone")
    bench.run(install_profile(bench.device, profile(DurationUntilRemoval=60)))
    bench.later(60)
    assert names(bench) == []


def test_the_identity_that_came_with_a_profile_goes_with_it() -> None:
    bench = enrolled("mac-silicon")
    scep = ScepPayload(url=f"{SERVER}/scep", subject=((("CN", "brief identity"),),), key_size=2048)
    payload = scep.to_payload(identifier="test.brief.scep", uuid="SCEP-2")
    bench.ask("InstallProfile", Payload=profile(payload, DurationUntilRemoval=60.0))
    assert [item.profile for item in bench.device.state.keychain].count("test.brief") == 1
    bench.later(60)
    identities = [c["CommonName"] for c in bench.ask("CertificateList").response["CertificateList"] if c["IsIdentity"]]
    assert identities == ["bench device"]


def test_a_passcode_policy_ends_with_the_profile_that_asked_for_it() -> None:
    bench = Bench("iphone", passcode=False)
    bench.enroll()
    policy = Payload(
        type="com.apple.mobiledevice.passwordpolicy", identifier="test.policy", uuid="POLICY-1", keys={"forcePIN": True}
    )
    bench.ask("InstallProfile", Payload=profile(policy, DurationUntilRemoval=60.0))
    assert bench.ask("SecurityInfo").response["SecurityInfo"]["PasscodeCompliantWithProfiles"] is False
    bench.later(60)
    assert bench.ask("SecurityInfo").response["SecurityInfo"]["PasscodeCompliantWithProfiles"] is True


def test_a_profile_that_replaces_another_takes_its_own_date_or_none() -> None:
    bench = enrolled()
    bench.ask("InstallProfile", Payload=profile(DurationUntilRemoval=60.0))
    bench.ask("InstallProfile", Payload=profile(DurationUntilRemoval=7200.0))
    bench.later(3600)
    assert "test.brief" in names(bench)
    bench.ask("InstallProfile", Payload=profile())
    bench.later(DAY / 1000)
    assert "test.brief" in names(bench)


#: What iOS puts around the reason why a profile is not installed (mosen/SCEPy issue 1).
FAILED = [("MCInstallationErrorDomain", 4001), ("MCInstallationErrorDomain", 4001), ("MCProfileErrorDomain", 1009)]


@pytest.mark.parametrize(
    ("kind", "chain"),
    [
        # Apple's table of codes: 4006, the removal date lies in the past; the wrapper as around every failed profile.
        ("iphone", [*FAILED, ("MCInstallationErrorDomain", 4006)]),
        ("appletv", [*FAILED, ("MCInstallationErrorDomain", 4006)]),
        # Never captured on a Mac; its one captured word for a profile that it does not take.
        ("mac-silicon", [("CPProfile", -102)]),
    ],
)
@pytest.mark.parametrize("keys", [{"RemovalDate": datetime(2020, 1, 1, tzinfo=UTC)}, {"DurationUntilRemoval": -1.0}])
def test_a_removal_date_that_has_passed_is_refused(
    kind: str, chain: list[tuple[str, int]], keys: dict[str, Any]
) -> None:
    bench = enrolled(kind)
    report = bench.ask("InstallProfile", Payload=profile(**keys))
    assert [(i.domain, i.code) for i in report.error_chain] == chain
    assert names(bench) == ["test.enrollment"]


def test_a_duration_beyond_all_dates_is_no_limit() -> None:
    bench = enrolled()
    bench.ask("InstallProfile", Payload=profile(DurationUntilRemoval=1e300))
    bench.later(DAY / 1000)
    bench.device.save()
    assert "test.brief" in names(bench)


def test_the_time_is_kept_over_a_restart_of_the_process() -> None:
    bench = enrolled()
    bench.ask("InstallProfile", Payload=profile(DurationUntilRemoval=600.0))
    bench.restart()
    assert bench.device.next_wake_ms() == bench.clock.now_ms() + 10 * MINUTE
    bench.later(600)
    assert names(bench) == ["test.enrollment"]


def test_the_time_runs_while_the_device_is_off_and_the_profile_goes_when_it_comes_up() -> None:
    bench = enrolled("mac-intel")
    bench.ask("InstallProfile", Payload=profile(DurationUntilRemoval=600.0))
    bench.device.change(lambda work: shut_down(work, why="user"))
    bench.later(3600)
    assert "test.brief" in names(bench)
    bench.device.change(switch_on)
    bench.act()
    assert names(bench) == ["test.enrollment"]


def test_the_time_comes_back_with_a_backup() -> None:
    bench = enrolled()
    bench.ask("InstallProfile", Payload=profile(DurationUntilRemoval=600.0))
    backup = make_backup(bench.device)

    def wiped(work: Work) -> None:
        erase(work, by="user")
        work.state.setup = "done"

    bench.device.change(wiped)
    bench.later(60)
    bench.device.change(lambda work: restore_backup(work, backup))
    bench.act()
    assert "test.brief" in names(bench)
    bench.later(540)
    assert names(bench) == ["test.enrollment"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check_out", [True, False])
def test_an_enrollment_profile_whose_time_is_over_ends_the_enrollment(kind: str, check_out: bool) -> None:
    bench = Bench(kind)
    bench.run(install_profile(bench.device, enrollment(bench, check_out, DurationUntilRemoval=86400.0)))
    bench.ask("InstallProfile", Payload=profile())
    bench.server.requests.clear()
    bench.later(86400)
    # mdm-behaviour 3.5: as if the user had removed it, CheckOut included.
    assert bench.server.labels() == (["checkin:CheckOut"] if check_out else [])
    assert (bench.device.enrolled, names(bench), bench.device.state.keychain) == (False, [], [])
    assert [e.data["reason"] for e in bench.log.of("device.unenrolled")] == ["expired"]
    assert bench.device.next_wake_ms() is None


def test_without_a_network_the_enrollment_ends_all_the_same_and_check_out_is_lost() -> None:
    bench = Bench("mac-silicon")
    bench.run(install_profile(bench.device, enrollment(bench, DurationUntilRemoval=600.0)))
    bench.device.change(lambda work: set_network(work, up=False))
    bench.server.interfere = lambda request: ConnectFailed("no network")
    bench.later(600)
    assert (bench.device.enrolled, names(bench)) == (False, [])
    assert [e.data["delivered"] for e in bench.log.of("device.checkout")] == [False]


def test_a_renewed_enrollment_takes_the_new_date() -> None:
    bench = Bench("iphone")
    bench.run(install_profile(bench.device, enrollment(bench, DurationUntilRemoval=600.0)))
    assert bench.ask("InstallProfile", Payload=bench.profile()).status is Status.ACKNOWLEDGED
    bench.later(DAY / 1000)
    assert bench.device.enrolled


def test_a_device_killed_over_its_check_out_says_it_once() -> None:
    bench = Bench("iphone")
    bench.run(install_profile(bench.device, enrollment(bench, DurationUntilRemoval=600.0)))
    bench.server.requests.clear()

    def crash(request: object) -> BaseException:
        return KeyboardInterrupt()

    bench.server.interfere = crash
    with pytest.raises(KeyboardInterrupt):
        bench.later(600)
    bench.server.interfere = None
    bench.restart()
    bench.act()
    assert bench.server.labels() == ["checkin:CheckOut"]
    assert (bench.device.enrolled, names(bench)) == (False, [])
