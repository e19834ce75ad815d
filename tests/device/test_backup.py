"""Backup and restore: management returns to the same device, with a new push token, and to no other."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.device.backup import VERSION, UnreadableBackup, check_backup, make_backup, restore_backup
from mdmsim.device.device import Work
from mdmsim.device.erase import erase
from mdmsim.device.flows.install import install_profile
from mdmsim.http import Request, Response
from mdmsim.protocol.connect import Status
from tests.device.bench import Authenticate, Bench, TokenUpdate, managed_profile


def backed_up(kind: str = "iphone") -> tuple[Bench, bytes]:
    bench = Bench(kind)
    bench.enroll()
    bench.ask("InstallProfile", Payload=managed_profile())
    bench.run(install_profile(bench.device, managed_profile("test.own", uuid="OWN")))
    return bench, make_backup(bench.device)


def wipe(work: Work) -> None:
    erase(work, by="user")
    work.state.setup = "done"


def test_restored_to_the_same_device_management_goes_on_with_a_new_push_token_and_no_authenticate() -> None:
    bench, backup = backed_up()
    token = bench.device.voice().push_token
    bench.device.change(wipe)
    bench.later(60)
    bench.device.change(lambda work: restore_backup(work, backup))
    bench.act()
    assert len(bench.server.of(Authenticate)) == 1
    first, last = bench.server.of(TokenUpdate)[0], bench.server.of(TokenUpdate)[-1]
    assert first.token == token != last.token
    report = bench.ask("ProfileList")
    names = {entry["PayloadIdentifier"] for entry in report.response["ProfileList"]}
    assert names == {"test.enrollment", "test.managed", "test.own"}


def test_a_device_that_is_to_leave_the_profiles_in_the_backup_takes_the_rest() -> None:
    # Apple, "Profile", do_not_use_profile_from_backup: from iOS 26.4 on no configuration profile comes back.
    bench, backup = backed_up()
    bench.device.change(wipe)
    bench.later(60)
    bench.device.change(lambda work: restore_backup(work, backup, with_management=False, with_profiles=False))
    bench.device.save()
    state = bench.device.state
    assert (state.profiles, state.keychain, len(bench.log.of("device.restored"))) == ([], [], 1)


def test_a_server_that_no_longer_wants_it_gets_rid_of_it_with_401() -> None:
    bench, backup = backed_up()
    bench.device.change(wipe)
    bench.later(60)
    bench.server.interfere = lambda request: Response(401) if request.label == "checkin:TokenUpdate" else None
    bench.device.change(lambda work: restore_backup(work, backup))
    bench.act()
    assert not bench.device.enrolled
    assert [p.identifier for p in bench.device.state.profiles] == ["test.own"]


def test_restored_to_another_device_management_does_not_come_back() -> None:
    _, backup = backed_up()
    other = Bench("iphone", model="iPhone15,4")
    assert other.device.persona.udid != Bench("iphone").device.persona.udid
    other.device.change(lambda work: restore_backup(work, backup))
    assert other.act() == 0
    assert (other.device.enrolled, [p.identifier for p in other.device.state.profiles]) == (False, ["test.own"])
    assert all(item.key is None for item in other.device.state.keychain)
    other.enroll()
    assert len(other.server.of(Authenticate)) == 1


def test_a_backup_from_before_a_renewal_comes_with_the_old_identity() -> None:
    bench, backup = backed_up()
    old = bench.device.state.enrollment
    bench.ask("InstallProfile", Payload=bench.profile())
    new = bench.device.state.enrollment
    assert old is not None
    assert new is not None
    assert old.identity != new.identity
    bench.device.change(wipe)
    bench.later(60)
    bench.device.change(lambda work: restore_backup(work, backup))
    seen: list[bytes] = []

    def refuse(request: Request) -> Response:
        seen.append(request.identity.certificate if request.identity else b"")
        return Response(403)

    bench.server.interfere = refuse
    bench.later(7200)
    assert set(seen) == {bench.store.get(old.identity.certificate)}
    assert bench.device.enrolled


def test_the_restored_identity_still_signs() -> None:
    bench, backup = backed_up("mac-silicon")
    bench.device.change(wipe)
    bench.later(60)
    bench.device.change(lambda work: restore_backup(work, backup))
    assert bench.ask("ProfileList").status is Status.ACKNOWLEDGED


def test_a_restored_iphone_keeps_its_push_magic_and_tells_a_new_unlock_token() -> None:
    bench, backup = backed_up()
    before = bench.server.of(TokenUpdate)[0]
    bench.device.change(wipe)
    bench.later(60)
    bench.device.change(lambda work: restore_backup(work, backup))
    bench.act()
    after = bench.server.of(TokenUpdate)[-1]
    assert after.push_magic == before.push_magic
    assert after.unlock_token
    assert after.unlock_token != before.unlock_token


def test_what_is_on_the_device_already_is_not_restored_twice() -> None:
    bench, backup = backed_up()
    apps = sorted(app.identifier for app in bench.device.state.apps)
    profiles = sorted(profile.identifier for profile in bench.device.state.profiles)
    keychain = len(bench.device.state.keychain)
    bench.device.change(lambda work: restore_backup(work, backup))
    state = bench.device.state
    assert sorted(app.identifier for app in state.apps) == apps
    assert sorted(profile.identifier for profile in state.profiles) == profiles
    assert len(state.keychain) == keychain


def test_a_backup_of_a_later_version_is_refused_and_names_the_version() -> None:
    _, backup = backed_up()
    later = msgspec.msgpack.encode({**msgspec.msgpack.decode(backup), "v": VERSION + 1})
    with pytest.raises(UnreadableBackup, match=f"version {VERSION + 1}"):
        check_backup(later)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_mangled_backup_is_refused_or_read_and_never_half_restored(data: st.DataObject) -> None:
    bench = Bench("iphone")
    whole = make_backup(bench.device)
    place = data.draw(st.integers(0, len(whole) - 1))
    mangled = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + 1 :]
    before = bench.device.state
    try:
        bench.device.change(lambda work: restore_backup(work, mangled))
    except UnreadableBackup:
        assert bench.device.state is before
