"""The NanoMDM adapter against answers that NanoMDM v0.9.0 was seen to give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.http import Trust
from mdmsim.target.adapter import AdapterError, NotOffered
from mdmsim.target.file import open_target, parse_target
from mdmsim.target.nanomdm import NanoMDMAdapter
from tests.target.fake_nanomdm import API_KEY, FakeNanoMDM

T = TypeVar("T")
UDID = "00008030-0011223344556677"


@pytest.fixture
def server() -> FakeNanoMDM:
    return FakeNanoMDM(UDID)


@pytest.fixture
def adapter(server: FakeNanoMDM) -> NanoMDMAdapter:
    return made(server)


def made(server: FakeNanoMDM, *, api_key: str = API_KEY, profile: bytes | str | None = b"profile") -> NanoMDMAdapter:
    url = "http://nanomdm.test/"
    return NanoMDMAdapter(server, url, api_key, Trust(allow_http=True), profile=profile, chance=Chance(1))


def run(job: Callable[[], Awaitable[T]]) -> T:
    return trio.run(job)


def test_a_command_is_queued_and_pushed(server: FakeNanoMDM, adapter: NanoMDMAdapter) -> None:
    uuid = run(lambda: adapter.queue(UDID, "DeviceInformation", {"Queries": ["UDID"]}))
    assert server.commands[uuid]["Command"] == {"RequestType": "DeviceInformation", "Queries": ["UDID"]}
    assert server.pushed == [UDID]


def test_a_command_can_be_queued_without_a_push(server: FakeNanoMDM, adapter: NanoMDMAdapter) -> None:
    run(lambda: adapter.queue(UDID, "ProfileList", {}, push=False))
    assert server.pushed == []


def test_a_command_whose_push_failed_is_queued_all_the_same(server: FakeNanoMDM, adapter: NanoMDMAdapter) -> None:
    assert run(lambda: adapter.queue("somebody-else", "ProfileList", {})) in server.commands


def test_every_command_has_a_uuid_of_its_own(server: FakeNanoMDM, adapter: NanoMDMAdapter) -> None:
    async def main() -> set[str]:
        return {await adapter.queue(UDID, "ProfileList", {}) for _ in range(3)}

    assert len(run(main)) == 3


def test_a_command_that_the_server_knows_already_is_an_error(server: FakeNanoMDM) -> None:
    run(lambda: made(server).queue(UDID, "ProfileList", {}))
    with pytest.raises(AdapterError, match="answered 500: command already exists"):
        run(lambda: made(server).queue(UDID, "ProfileList", {}))


def test_a_command_that_no_plist_can_hold_is_an_error(adapter: NanoMDMAdapter) -> None:
    with pytest.raises(AdapterError, match="ProfileList cannot be queued"):
        run(lambda: adapter.queue(UDID, "ProfileList", {"Nothing": None}))


@pytest.mark.parametrize(
    ("apns", "status"),
    [
        (None, 200),
        ("push HTTP status: 410: APNs push error: Unregistered: timestamp 2026-01-01T00:00:00Z", 410),
        ("push HTTP status: 400: APNs push error: BadDeviceToken", 400),
        ('Post "https://api.push.apple.com/3/device/00": proxyconnect tcp: connection refused', 0),
    ],
)
def test_a_push_says_what_apns_answered(
    server: FakeNanoMDM, adapter: NanoMDMAdapter, apns: str | None, status: int
) -> None:
    server.apns = apns
    assert run(lambda: adapter.push(UDID)) == status


def test_a_push_to_a_device_without_token_reached_nobody(adapter: NanoMDMAdapter) -> None:
    assert run(lambda: adapter.push("somebody-else")) == 0


def test_the_profile_of_the_target_file_enrols(adapter: NanoMDMAdapter) -> None:
    assert run(adapter.enrollment_profile) == b"profile"


def test_a_profile_can_be_fetched(server: FakeNanoMDM) -> None:
    assert run(made(server, profile="http://nanomdm.test/enroll").enrollment_profile) == b"a profile"


def test_a_profile_that_is_not_there_is_an_error(server: FakeNanoMDM) -> None:
    with pytest.raises(AdapterError, match="answered 40"):
        run(made(server, profile="http://nanomdm.test/v1/nothing").enrollment_profile)


@pytest.mark.parametrize(
    "ask",
    [
        lambda adapter: adapter.enrollment_profile(topic="x"),
        lambda adapter: adapter.command(UDID, "x"),
        lambda adapter: adapter.device(UDID),
        lambda adapter: adapter.remove(UDID),
        lambda adapter: adapter.refuse(udid=UDID, at="any"),
        lambda adapter: adapter.allow(udid=UDID),
    ],
)
def test_what_nanomdm_has_no_way_to_do_is_not_offered(
    adapter: NanoMDMAdapter, ask: Callable[[NanoMDMAdapter], Awaitable[Any]]
) -> None:
    with pytest.raises(NotOffered, match="NanoMDM"):
        run(lambda: ask(adapter))


def test_a_wrong_key_is_told_as_such(server: FakeNanoMDM) -> None:
    with pytest.raises(AdapterError, match="the API key is wrong"):
        run(lambda: made(server, api_key="wrong").push(UDID))


def test_a_server_that_is_down_is_told_as_such(server: FakeNanoMDM, adapter: NanoMDMAdapter) -> None:
    server.down = True
    with pytest.raises(AdapterError, match="cannot be reached"):
        run(lambda: adapter.push(UDID))


def test_another_server_is_no_nanomdm(server: FakeNanoMDM) -> None:
    elsewhere = NanoMDMAdapter(
        server, "http://nanomdm.test/v1", API_KEY, Trust(allow_http=True), profile=None, chance=Chance(1)
    )
    with pytest.raises(AdapterError, match="this is no NanoMDM"):
        run(elsewhere.check)


def test_a_target_gives_the_server_its_push_certificate(server: FakeNanoMDM, tmp_path: Path) -> None:
    (tmp_path / "push.pem").write_bytes(b"-----BEGIN CERTIFICATE-----")
    (tmp_path / "enroll.mobileconfig").write_bytes(b"profile")
    text = (
        b"target: {adapter: nanomdm, url: 'https://nanomdm.test', api_key: secret, "
        b"enroll: {profile: enroll.mobileconfig}, push_certificate: push.pem}"
    )
    target = parse_target(text, tmp_path / "target.yaml", environment={})

    class OverTls(FakeNanoMDM):
        async def send(self, request: Any) -> Any:
            from dataclasses import replace

            return await super().send(replace(request, url=request.url.replace("https", "http", 1)))

    there = OverTls(UDID)
    adapter = run(lambda: open_target(target, there, chance=Chance(1)))
    assert adapter.name == "nanomdm"
    assert there.push_certificate == b"-----BEGIN CERTIFICATE-----"


def test_a_push_certificate_that_is_none_is_an_error(adapter: NanoMDMAdapter) -> None:
    with pytest.raises(AdapterError, match=r"PUT /v1/pushcert answered 400: .*failed to find any PEM data"):
        run(lambda: adapter.set_push_certificate(b"junk"))


def test_a_renewal_is_the_enrollment_profile_installed_again(server: FakeNanoMDM, adapter: NanoMDMAdapter) -> None:
    uuid = run(lambda: adapter.renew_enrollment(UDID))
    assert server.commands[uuid]["Command"] == {"RequestType": "InstallProfile", "Payload": b"profile"}


def test_a_passcode_is_cleared_with_a_token_that_somebody_else_kept(
    server: FakeNanoMDM, adapter: NanoMDMAdapter
) -> None:
    uuid = run(lambda: adapter.clear_passcode(UDID, token=b"escrow"))
    assert server.commands[uuid]["Command"] == {"RequestType": "ClearPasscode", "UnlockToken": b"escrow"}
    with pytest.raises(NotOffered, match="unlock token"):
        run(lambda: adapter.clear_passcode(UDID))


@pytest.mark.parametrize(
    "job",
    [
        lambda a: a.add_dep_account("acme"),
        lambda a: a.set_dep_token("acme", b""),
        lambda a: a.remove_dep_account("acme"),
        lambda a: a.sync_dep("acme"),
        lambda a: a.assign_dep_profile("acme", "kiosk", {}, ["C02XW0AAJG5H"]),
        lambda a: a.dep_device("acme", "C02XW0AAJG5H"),
    ],
)
def test_apples_device_enrollment_service_is_not_offered(
    adapter: NanoMDMAdapter, job: Callable[[NanoMDMAdapter], Awaitable[Any]]
) -> None:
    with pytest.raises(NotOffered, match="nanomdm has no way"):
        run(lambda: job(adapter))
