"""Setup Assistant and Automated Device Enrollment, from activation to release."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mdmsim.device.backup import make_backup
from mdmsim.device.device import Behaviour
from mdmsim.device.erase import erase
from mdmsim.device.flows.automated import Person, SetupStopped, walk_setup_assistant
from mdmsim.device.flows.unenroll import NotRemovable, leave_by_user
from mdmsim.device.locking import enter_pin
from mdmsim.device.state import IdentityRef
from mdmsim.device.system_update import update_os
from mdmsim.http import ConnectFailed, Request, Response
from mdmsim.pki.cms import verify
from mdmsim.protocol import plist
from mdmsim.protocol.connect import Status
from mdmsim.protocol.payloads import PER_USER_CONNECTIONS
from tests.device.bench import SERVER, Bench, TokenUpdate

ACTIVATION = "https://iprofiles.example.test/v1/configuration"
URL = f"{SERVER}/enroll/automated"
WEB_URL = f"{SERVER}/enroll/web"


class Dep:
    """Apple's side, and the server's enrollment URL: what is assigned, how the server asks for a login, what it saw."""

    def __init__(self, bench: Bench, *, assigned: bool = True, **profile: Any) -> None:
        self.bench = bench
        self.assigned = assigned
        self.profile: dict[str, Any] = {"profile_name": "test", "url": URL, **profile}
        self.login: str | None = None
        self.answer: Response | None = None
        self.posted: list[Request] = []

    def __call__(self, request: Request) -> Response | None:
        if request.url == ACTIVATION:
            if not self.assigned:
                return Response(204)
            return Response(200, body=json.dumps(self._configuration()).encode())
        if request.url == URL:
            self.posted.append(request)
            if self.login and request.header("Authorization") is None:
                return Response(401, (("WWW-Authenticate", self.login),))
            if self.login and not self._authorised(request):
                return Response(401, (("WWW-Authenticate", self.login),))
            return self.answer or self._profile()
        return None

    def _configuration(self) -> dict[str, Any]:
        return {
            "serial_number": self.bench.device.persona.serial,
            "profile_uuid": "P1",
            "profile": self.profile,
            "server_name": "test",
            "server_uuid": "S1",
            "organisation": {"name": "Acme"},
        }

    def _authorised(self, request: Request) -> bool:
        header = request.header("Authorization") or ""
        if header.startswith("Basic "):
            return base64.b64decode(header[6:]) == b"anna:s3cret"
        return 'username="anna"' in header and "response=" in header

    def _profile(self) -> Response:
        return Response(200, (("Content-Type", "application/x-apple-aspen-config"),), self.bench.profile())


def bench_in_setup(kind: str = "iphone", **options: Any) -> Bench:
    bench = Bench(kind, behaviour=Behaviour(activation_url=ACTIVATION), state={"setup": "welcome"}, **options)
    factory = bench.authority.client_identity("F0000000-0000-4000-8000-000000000001")
    ref = IdentityRef(certificate=bench.store.put(factory.certificate), key=bench.store.put(factory.key))
    bench.device.state.factory = ref
    bench.device.state.factory_chain = [bench.store.put(bench.authority.certificate)]
    return bench


def walk(bench: Bench, person: Person | None = None) -> None:
    bench.run(walk_setup_assistant(bench.device, person))


@pytest.mark.parametrize("kind", ["iphone", "ipad", "mac-silicon", "mac-intel", "appletv"])
def test_an_assigned_device_enrols_supervised_and_waits_until_it_is_released(kind: str) -> None:
    bench = bench_in_setup(kind)
    bench.server.interfere = Dep(bench, await_device_configured=True)
    walk(bench)
    assert [u.awaiting_configuration for u in bench.server.of(TokenUpdate)] == [True]
    assert (bench.device.state.setup, bench.device.state.supervised) == ("awaiting", True)
    report = bench.ask("DeviceInformation", Queries=["AwaitingConfiguration", "IsSupervised"])
    assert report.response["QueryResponses"]["AwaitingConfiguration"] is True
    assert bench.ask("DeviceConfigured").status is Status.ACKNOWLEDGED
    assert bench.device.state.setup == "done"
    bench.act()
    assert [u.awaiting_configuration for u in bench.server.of(TokenUpdate)] == [True, False]


def test_machine_info_is_signed_by_the_factory_identity_and_names_the_device() -> None:
    bench = bench_in_setup("iphone")
    dep = Dep(bench)
    bench.server.interfere = dep
    walk(bench)
    [request] = dep.posted
    signed = verify(request.body)
    values = plist.loads(signed.content)
    assert (values["SERIAL"], values["UDID"]) == (bench.device.persona.serial, bench.device.persona.udid)
    assert values["MDM_CAN_REQUEST_SOFTWARE_UPDATE"] is True
    assert request.header("Content-Type") == "application/pkcs7-signature"
    assert (signed.digest, len(signed.certificates)) == ("sha1", 2)


def test_a_device_without_assignment_goes_to_its_home_screen_unmanaged() -> None:
    bench = bench_in_setup()
    bench.server.interfere = Dep(bench, assigned=False)
    walk(bench, Person(passcode="135246"))
    assert (bench.device.state.setup, bench.device.enrolled, bench.device.state.passcode) == ("done", False, "135246")


@pytest.mark.parametrize(
    "login", ['Basic realm="mdm"', 'Digest realm="mdm", nonce="abc", qop="auth", algorithm=SHA-256']
)
def test_a_login_is_answered_with_the_persons_account(login: str) -> None:
    bench = bench_in_setup()
    dep = Dep(bench)
    dep.login = login
    bench.server.interfere = dep
    walk(bench, Person(user="anna", password="s3cret"))
    assert bench.device.enrolled
    assert dep.posted[0].body == dep.posted[1].body


@pytest.mark.parametrize(("person", "says"), [(Person(), "nobody"), (Person(user="eve", password="x"), "refused")])
def test_a_login_that_fails_leaves_the_device_where_it_was(person: Person, says: str) -> None:
    bench = bench_in_setup()
    dep = Dep(bench)
    dep.login = 'Basic realm="mdm"'
    bench.server.interfere = dep
    with pytest.raises(SetupStopped, match=says):
        walk(bench, person)
    assert (bench.device.state.setup, bench.device.enrolled) == ("welcome", False)


@pytest.mark.parametrize("code", ["com.apple.softwareupdate.required", "com.apple.unrecognized.device"])
def test_a_403_with_a_code_is_told_with_its_code(code: str) -> None:
    bench = bench_in_setup()
    dep = Dep(bench)
    dep.answer = Response(403, (("Content-Type", "application/json"),), json.dumps({"code": code}).encode())
    bench.server.interfere = dep
    with pytest.raises(SetupStopped) as stopped:
        walk(bench)
    assert stopped.value.code == code


def test_a_profile_that_is_not_removable_stays_when_the_user_tries_and_goes_when_the_server_says() -> None:
    bench = bench_in_setup()
    bench.server.interfere = Dep(bench, is_mdm_removable=False)
    walk(bench)
    with pytest.raises(NotRemovable):
        bench.run(leave_by_user(bench.device))
    assert bench.device.enrolled
    bench.ask("RemoveProfile", Identifier="test.enrollment")
    assert not bench.device.enrolled


class WebLogin(Dep):
    """A page with a form, a cookie, a redirect, and then the profile."""

    def __call__(self, request: Request) -> Response | None:
        page = b'<form method="post" action="/enroll/login"><input name="u"><input type="password" name="p"></form>'
        if request.url == WEB_URL:
            self.posted.append(request)
            return Response(200, (("Content-Type", "text/html"), ("Set-Cookie", "session=1; Path=/")), page)
        if request.url == f"{SERVER}/enroll/login":
            good = request.body == b"u=anna&p=s3cret" and request.header("Cookie") == "session=1"
            return Response(302, (("Location", "/enroll/done"),)) if good else Response(200, body=page)
        if request.url == f"{SERVER}/enroll/done":
            return self._profile()
        return super().__call__(request)


def test_a_web_view_signs_in_and_ends_with_the_profile() -> None:
    bench = bench_in_setup()
    web = WebLogin(bench, configuration_web_url=WEB_URL)
    bench.server.interfere = web
    walk(bench, Person(user="anna", password="s3cret"))
    assert bench.device.enrolled
    header = web.posted[0].header("x-apple-aspen-deviceinfo") or ""
    assert plist.loads(verify(base64.b64decode(header)).content)["SERIAL"] == bench.device.persona.serial


def test_a_web_view_whose_sign_in_is_refused_stops() -> None:
    bench = bench_in_setup()
    bench.server.interfere = WebLogin(bench, configuration_web_url=WEB_URL)
    with pytest.raises(SetupStopped, match="asks again"):
        walk(bench, Person(user="anna", password="wrong"))
    assert not bench.device.enrolled


def test_an_erased_device_comes_back_with_the_same_udid_and_a_new_identity_and_push_token() -> None:
    bench = bench_in_setup("iphone")
    bench.server.interfere = Dep(bench)
    walk(bench)
    first, token = bench.device.state.enrollment, bench.device.voice().push_token
    bench.ask("EraseDevice")
    bench.later(120)
    assert bench.device.state.setup == "welcome"
    walk(bench)
    second = bench.device.state.enrollment
    assert first is not None
    assert second is not None
    assert first.identity.certificate != second.identity.certificate
    assert bench.device.voice().push_token != token
    assert len({u.ids.udid for u in bench.server.of(TokenUpdate)}) == 1


@pytest.mark.parametrize(
    ("kind", "model", "by_itself"),
    [
        ("appletv", None, True),
        ("mac-silicon", "Macmini9,1", True),
        ("mac-silicon", "MacBookAir10,1", False),
        ("iphone", None, False),
    ],
)
def test_with_auto_advance_only_wired_devices_come_back_by_themselves(
    kind: str, model: str | None, by_itself: bool
) -> None:
    bench = bench_in_setup(kind, model=model)
    bench.server.interfere = Dep(bench, auto_advance_setup=True)
    walk(bench)
    bench.ask("EraseDevice")
    bench.later(600)
    assert (bench.device.persona.ethernet is not None) == by_itself
    assert bench.device.enrolled == by_itself


def test_return_to_service_enrols_again_by_itself_with_the_profile_it_was_given() -> None:
    bench = bench_in_setup("iphone", os_version="18.1")
    bench.server.interfere = Dep(bench, assigned=False)
    walk(bench)
    bench.enroll()
    service = {"Enabled": True, "WiFiProfileData": b"wifi", "MDMProfileData": bench.profile()}
    assert bench.ask("EraseDevice", ReturnToService=service).status is Status.ACKNOWLEDGED
    bench.later(600)
    assert (bench.device.enrolled, bench.device.state.setup) == (True, "done")


def test_a_wired_device_without_network_tries_again_until_it_gets_through() -> None:
    bench = bench_in_setup("appletv")
    dep = Dep(bench, auto_advance_setup=True)
    bench.server.interfere = dep
    walk(bench)
    bench.ask("EraseDevice")
    bench.server.interfere = lambda request: ConnectFailed("no network")
    bench.later(600)
    assert not bench.device.enrolled
    bench.server.interfere = dep
    bench.later(3600)
    assert bench.device.enrolled


def test_a_restored_device_that_is_assigned_enrols_anew_and_takes_its_data_only() -> None:
    bench = bench_in_setup("iphone")
    bench.server.interfere = Dep(bench)
    walk(bench)
    bench.device.state.device_name = "Anna's phone"
    backup = make_backup(bench.device)
    first = bench.device.state.enrollment
    bench.ask("EraseDevice")
    bench.later(120)
    walk(bench, Person(backup=backup))
    second = bench.device.state.enrollment
    assert first is not None
    assert second is not None
    assert first.identity != second.identity
    assert bench.device.state.device_name == "Anna's phone"
    assert [e.data["management"] for e in bench.log.of("device.restored")] == [False]


def test_a_backup_that_cannot_be_read_stops_before_anything_is_installed() -> None:
    bench = bench_in_setup("iphone")
    bench.server.interfere = Dep(bench)
    with pytest.raises(SetupStopped, match="not a backup"):
        walk(bench, Person(backup=b"junk"))
    assert not bench.device.enrolled


def test_a_wired_device_that_loses_its_network_while_it_checks_in_tries_again() -> None:
    bench = bench_in_setup("appletv")
    dep = Dep(bench, auto_advance_setup=True)
    bench.server.interfere = dep
    walk(bench)
    bench.ask("EraseDevice")
    bench.server.interfere = lambda request: ConnectFailed("cut") if request.method == "PUT" else dep(request)
    bench.later(600)
    assert not bench.device.enrolled
    bench.server.interfere = dep
    bench.later(3600)
    assert bench.device.enrolled


def test_a_web_view_that_leads_to_no_address_stops() -> None:
    bench = bench_in_setup("iphone")
    dep = Dep(bench, configuration_web_url=WEB_URL)
    away = Response(302, (("Location", "https://[bad/"),))
    bench.server.interfere = lambda request: away if request.url == WEB_URL else dep(request)
    with pytest.raises(SetupStopped, match="not an address"):
        walk(bench)
    assert not bench.device.enrolled


def test_on_releases_before_ios_13_supervision_is_as_the_profile_says() -> None:
    # Apple, "Profile": is_supervised is ignored from iOS 13 on, where every such device is supervised.
    seen = {}
    for supervised in (False, True):
        bench = bench_in_setup("iphone", os_version="11.4")
        bench.server.interfere = Dep(bench, is_supervised=supervised, await_device_configured=True)
        walk(bench)
        answers = bench.ask("DeviceInformation", Queries=["IsSupervised"]).response["QueryResponses"]
        # await_device_configured is ignored on iOS where the device is not supervised.
        seen[supervised] = (answers["IsSupervised"], bench.device.state.setup)
    assert seen == {False: (False, "done"), True: (True, "awaiting")}


def test_an_unsupervised_mac_is_supervised_once_it_runs_macos_11() -> None:
    # A Mac from macOS 11 on is supervised where its enrollment was approved (Apple, "About Apple device supervision").
    bench = bench_in_setup("mac-t2", model="iMac20,1", os_version="10.15.7")
    bench.server.interfere = Dep(bench)
    walk(bench)
    seen = [bench.ask("DeviceInformation", Queries=["IsSupervised"]).response["QueryResponses"]["IsSupervised"]]
    bench.device.change(lambda work: update_os(work, "11.7.10"))
    bench.later(300)
    seen.append(bench.ask("DeviceInformation", Queries=["IsSupervised"]).response["QueryResponses"]["IsSupervised"])
    assert seen == [False, True]


def test_a_mac_before_macos_11_does_not_go_through_setup_assistant_by_itself() -> None:
    # Apple, "Profile": auto_advance_setup is known by tvOS, and by macOS from 11 on.
    bench = bench_in_setup("mac-t2", model="iMac20,1", os_version="10.15.7")
    bench.server.interfere = Dep(bench, auto_advance_setup=True)
    walk(bench)
    bench.ask("EraseDevice", PIN="123456")
    bench.later(300)
    bench.device.change(lambda work: enter_pin(work, "123456"))
    bench.later(600)
    assert bench.device.persona.ethernet is not None
    assert (bench.device.state.setup, bench.device.enrolled) == ("welcome", False)


@pytest.mark.parametrize(("kind", "os_version"), [("mac-silicon", None), ("appletv", None), ("iphone", "11.4")])
def test_remote_management_that_is_not_mandatory_can_be_skipped(kind: str, os_version: str | None) -> None:
    bench = bench_in_setup(kind, os_version=os_version)
    bench.server.interfere = Dep(bench, is_supervised=True)
    walk(bench, Person(skip_management=True))
    assert (bench.device.state.setup, bench.device.enrolled, bench.device.state.supervised) == ("done", False, False)
    assert len(bench.log.of("device.remote-management-skipped")) == 1


@pytest.mark.parametrize(("kind", "mandatory"), [("mac-silicon", True), ("iphone", False), ("ipad", False)])
def test_mandatory_remote_management_cannot_be_skipped(kind: str, mandatory: bool) -> None:
    bench = bench_in_setup(kind)
    bench.server.interfere = Dep(bench, is_mandatory=mandatory)
    with pytest.raises(SetupStopped, match="mandatory"):
        walk(bench, Person(skip_management=True))
    assert (bench.device.state.setup, bench.device.enrolled) == ("welcome", False)


def test_where_the_pane_is_hidden_nobody_sets_a_passcode_or_restores_a_backup() -> None:
    bench = bench_in_setup()
    bench.device.state.passcode = ""
    bench.server.interfere = Dep(bench, skip_setup_items=["Passcode", "Restore"])
    with pytest.raises(SetupStopped, match="Restore"):
        walk(bench, Person(backup=make_backup(bench.device)))
    assert not bench.device.enrolled
    walk(bench, Person(passcode="135246"))
    assert (bench.device.enrolled, bench.device.state.passcode) == (True, "")


@pytest.mark.parametrize(
    ("kind", "capabilities", "shared"),
    [("ipad", (PER_USER_CONNECTIONS,), True), ("ipad", (), False), ("iphone", (PER_USER_CONNECTIONS,), False)],
)
def test_an_ipad_is_shared_where_profile_and_server_say_so(kind: str, capabilities: Any, shared: bool) -> None:
    bench = bench_in_setup(kind)
    dep = Dep(bench, is_multi_user=True)
    dep.answer = Response(200, (), bench.profile(server_capabilities=capabilities))
    bench.server.interfere = dep
    walk(bench)
    answers = bench.ask("DeviceInformation", Queries=["IsMultiUser"]).response["QueryResponses"]
    assert answers["IsMultiUser"] is shared
    said = [event.data["what"] for event in bench.log.of("device.not-simulated")]
    assert said == (["Shared iPad sessions"] if kind == "ipad" else [])


@pytest.mark.parametrize(("os_version", "held"), [("26.0", True), ("18.1", False)])
def test_a_device_set_up_for_return_to_service_is_always_held_and_waits_for_someone_after_an_erase(
    os_version: str, held: bool
) -> None:
    # Apple, "Returning a managed device to service": await_device_configured counts as true; after an erase without
    # ReturnToService the user starts the enrollment.
    bench = bench_in_setup("iphone", os_version=os_version)
    bench.server.interfere = Dep(bench, is_return_to_service=True)
    walk(bench)
    assert bench.device.state.setup == ("awaiting" if held else "done")
    bench.device.change(lambda work: erase(work, by="user"))
    bench.later(600)
    assert (bench.device.enrolled, bench.device.state.setup) == (False, "welcome")


@pytest.mark.parametrize(
    ("os_version", "ignored", "by_backup"), [("26.0", False, True), ("26.0", True, False), ("18.1", False, False)]
)
def test_a_restored_device_goes_by_the_configuration_in_its_backup(
    os_version: str, ignored: bool, by_backup: bool
) -> None:
    bench = bench_in_setup("iphone", os_version=os_version)
    bench.server.interfere = dep = Dep(bench, is_mdm_removable=False)
    walk(bench)
    backup = make_backup(bench.device)
    bench.device.change(lambda work: erase(work, by="user"))
    bench.later(120)
    dep.profile = {"profile_name": "new", "url": URL, "do_not_use_profile_from_backup": ignored}
    walk(bench, Person(backup=backup))
    enrollment = bench.device.state.enrollment
    assert enrollment is not None
    assert enrollment.removable is not by_backup
    assert bench.log.of("device.remote-management")[-1].data["origin"] == ("backup" if by_backup else "apple")


def test_the_configuration_in_the_backup_of_another_device_counts_for_nothing() -> None:
    old = bench_in_setup("iphone", os_version="26.0")
    old.server.interfere = Dep(old, is_mdm_removable=False)
    walk(old)
    new = bench_in_setup("iphone", os_version="26.0", model="iPhone17,3")
    new.server.interfere = Dep(new)
    walk(new, Person(backup=make_backup(old.device)))
    assert new.device.state.enrollment is not None
    assert new.device.state.enrollment.removable


def test_a_profile_assigned_to_a_device_that_is_set_up_counts_after_an_erase_only() -> None:
    bench = bench_in_setup()
    bench.server.interfere = dep = Dep(bench, assigned=False)
    walk(bench)
    dep.assigned = True
    bench.enroll()
    bench.later(86400)
    assert bench.log.of("device.remote-management") == []
    bench.device.change(lambda work: erase(work, by="user"))
    bench.later(120)
    walk(bench)
    assert bench.device.state.enrollment is not None
    assert bench.device.state.enrollment.dep


def test_a_configuration_is_forgotten_where_the_device_was_disowned_before_it_enrolled() -> None:
    bench = bench_in_setup()
    dep = Dep(bench)
    dep.answer = Response(500)
    bench.server.interfere = dep
    with pytest.raises(SetupStopped):
        walk(bench)
    assert bench.device.state.cloud_configuration
    dep.assigned = False
    walk(bench)
    assert (bench.device.state.cloud_configuration, bench.device.enrolled) == ("", False)


def test_an_enrolled_device_keeps_its_configuration_when_it_is_disowned_until_it_is_erased() -> None:
    bench = bench_in_setup()
    dep = Dep(bench)
    bench.server.interfere = dep
    walk(bench)
    kept = bench.device.state.cloud_configuration
    dep.assigned = False
    bench.ask("ProfileList")
    bench.later(86_400)
    assert (bench.device.state.cloud_configuration, bench.device.enrolled) == (kept, True)
    bench.ask("EraseDevice")
    assert bench.device.state.cloud_configuration == ""  # before anyone asks Apple again
    bench.later(120)
    walk(bench)
    assert (bench.device.enrolled, bench.device.state.setup) == (False, "done")
