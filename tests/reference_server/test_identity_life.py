"""Identities over a device's life: PKCS#12 in the profile, renewal over management, restore, wipe."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mdmsim.http import Identity
from mdmsim.pki.certificate import identity_from_pem
from mdmsim.pki.cms import is_cms, verify
from mdmsim.protocol.payloads import PKCS12, SCEP, CertificatePayload, MdmPayload
from mdmsim.protocol.profile import Profile, parse_profile
from tests.reference_server.apple import AppleServer, machine_info, signed_info
from tests.reference_server.kit import Answer, Device, Server, fresh_identity

pytestmark = pytest.mark.anyio

OPENSSL = shutil.which("openssl")


def _read(content: bytes) -> Profile:
    return parse_profile(verify(content).content if is_cms(content) else content)


async def _minted(server: Server, **wishes: Any) -> Profile:
    answer = await server.api("POST", "/profiles", {"identity": "pkcs12", **wishes})
    assert answer.status == 201, answer.body
    return _read(base64.b64decode(answer.json()["content"]))


def _openssl(
    payload: CertificatePayload, folder: Path, password: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    if OPENSSL is None:
        pytest.skip("needs openssl")
    path = folder / "identity.p12"
    path.write_bytes(payload.content)
    password = password if password is not None else payload.password or ""
    return subprocess.run(
        [OPENSSL, "pkcs12", "-in", str(path), "-passin", f"pass:{password}", "-nodes"], capture_output=True, timeout=30
    )


def _identity(profile: Profile, folder: Path) -> Identity:
    """The identity in a profile, opened by openssl."""
    (payload,) = profile.of_type(PKCS12)
    opened = _openssl(CertificatePayload.of(payload), folder)
    assert opened.returncode == 0, opened.stderr
    return identity_from_pem(opened.stdout)


# ---- PKCS#12


async def test_openssl_opens_the_identity_and_a_device_enrols_with_it(server: Server, tmp_path: Path) -> None:
    profile = await _minted(server)
    (payload,), (mdm,) = profile.of_type(PKCS12), profile.of_type("com.apple.mdm")
    assert MdmPayload.of(mdm).identity_certificate_uuid == payload.uuid
    assert profile.of_type(SCEP) == ()
    device = await server.enrolled(identity=_identity(profile, tmp_path))
    assert (await device.idle()).status == 200


async def test_each_profile_has_an_identity_and_a_password_of_its_own(server: Server) -> None:
    views = [CertificatePayload.of((await _minted(server)).of_type(PKCS12)[0]) for _ in range(3)]
    assert len({view.content for view in views}) == len({view.password for view in views}) == 3


async def test_an_identity_is_for_one_device(server: Server, tmp_path: Path) -> None:
    identity = _identity(await _minted(server), tmp_path)
    await server.enrolled("UDID-1", identity=identity)
    assert (await Device(server, "UDID-2", identity=identity).authenticate()).status == 403


async def test_a_wrong_password_opens_nothing(server: Server, tmp_path: Path) -> None:
    view = CertificatePayload.of((await _minted(server, wrong_password=True)).of_type(PKCS12)[0])
    assert _openssl(view, tmp_path).returncode != 0
    assert _openssl(view, tmp_path, (view.password or "").removeprefix("not-")).returncode == 0


async def test_profiles_come_with_pkcs12_where_the_settings_say_so() -> None:
    server = Server(profile_identity="pkcs12")
    profile = _read((await server.request("GET", "/enroll")).body)
    assert len(profile.of_type(PKCS12)) == 1
    one_by_scep = await server.api("POST", "/profiles", {"identity": "scep"})
    assert one_by_scep.json()["challenge"] is not None


@pytest.mark.parametrize("wishes", [{"devices": 2}, {"devices": None}, {"challenge": "x"}, {"wrong_challenge": True}])
async def test_an_identity_for_many_devices_is_refused(server: Server, wishes: dict[str, Any]) -> None:
    answer = await server.api("POST", "/profiles", {"identity": "pkcs12", **wishes})
    assert (answer.status, answer.json()["error"]) == (400, "bad-profile")


# ---- renewal


async def _renewed(server: Server, device: Device, **wishes: Any) -> Profile:
    answer = await server.api("POST", f"/devices/{device.udid}/renew", wishes or None)
    assert (answer.status, answer.json()["request_type"]) == (201, "InstallProfile"), answer.body
    command = (await device.idle()).command
    assert command is not None
    return _read(command.keys["Payload"])


async def test_a_renewal_is_a_fresh_profile_of_the_same_identifier(server: Server) -> None:
    first = _read((await server.request("GET", "/enroll")).body)
    again = await _renewed(server, await server.enrolled())
    assert (again.identifier, again.uuid != first.uuid) == (first.identifier, True)
    views = [MdmPayload.of(profile.of_type("com.apple.mdm")[0]) for profile in (first, again)]
    assert views[0].topic == views[1].topic and views[0].server_url == views[1].server_url


async def test_after_a_renewal_the_old_identity_is_a_stranger(server: Server, tmp_path: Path) -> None:
    device = await server.enrolled()
    old = device.identity
    device.identity = _identity(await _renewed(server, device, identity="pkcs12"), tmp_path)
    await device.authenticate()
    assert [(await each.idle()).status for each in (Device(server, identity=old), device)] == [200, 403], "not yet"
    await device.token_update()
    assert [(await each.idle()).status for each in (Device(server, identity=old), device)] == [403, 200]
    assert (await Device(server, identity=old).token_update()).status == 403


async def test_a_renewal_that_failed_leaves_the_old_identity_in_charge(server: Server) -> None:
    device = await server.enrolled()
    await _renewed(server, device)
    (command,) = (await server.api("GET", f"/devices/{device.udid}/commands")).json()["commands"]
    assert (await device.acknowledge(command["command_uuid"])).status == 200
    assert (await device.token_update()).status == 200


@pytest.mark.parametrize("end", ["check-out", "removal", "unknown", "half-way"])
async def test_only_who_is_managed_can_be_renewed(server: Server, end: str) -> None:
    device = Device(server) if end == "half-way" else await server.enrolled()
    if end == "half-way":
        await device.authenticate()
    elif end == "check-out":
        await device.check_out()
    elif end == "removal":
        await server.api("POST", "/devices/UDID-1/remove")
    answer = await server.api("POST", f"/devices/{'NOBODY' if end == 'unknown' else 'UDID-1'}/renew")
    assert answer.status == (404 if end == "unknown" else 409)


async def test_a_renewal_of_an_automated_enrollment_stays_not_removable() -> None:
    server = AppleServer(profile_identity="pkcs12")
    await server.connect_dep("SERIAL1")
    await server.synced()
    assert (
        await server.request("POST", "/enroll/automated", signed_info(machine_info("SERIAL1", "UDID-1")))
    ).status == 200
    device = Device(server, "UDID-1")
    device.serial = "SERIAL1"
    await device.enrol()
    assert (await _renewed(server, device)).removal_disallowed is True
    by_hand = await server.enrolled("UDID-2", identity=fresh_identity("second"))
    assert not (await _renewed(server, by_hand)).removal_disallowed


async def test_what_was_given_to_another_board_of_the_same_serial_does_not_count() -> None:
    server = AppleServer(profile_identity="pkcs12")
    await server.connect_dep("SERIAL1")
    await server.synced()
    await server.request("POST", "/enroll/automated", signed_info(machine_info("SERIAL1", "UDID-1")))
    device = Device(server, "UDID-2")
    device.serial = "SERIAL1"
    await device.enrol()
    assert not (await _renewed(server, device)).removal_disallowed


# ---- restore and wipe


async def test_a_restored_device_goes_on_with_its_new_push_token(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    device.token = b"\x09" * 32
    assert (await device.token_update()).status == 200
    assert (await server.device("UDID-1"))["token_updates"] == 2
    await server.api("POST", "/devices/UDID-1/push")
    assert server.apns.requests[-1].url.endswith(device.token.hex())
    assert (await device.drain(), (await server.command(device, uuid))["state"]) == (["SecurityInfo"], "acknowledged")


async def test_a_backup_from_before_the_renewal_is_refused_and_not_unenrolled(server: Server) -> None:
    device = await server.enrolled()
    old, device.identity = device.identity, fresh_identity("renewed")
    await device.enrol()
    restored = Device(server, identity=old)
    answers: list[Answer] = [await restored.token_update(), await restored.idle()]
    assert [answer.status for answer in answers] == [403, 403]
    assert (await device.idle()).status == 200


@pytest.mark.parametrize("answered", [True, False])
async def test_a_wiped_device_gets_nothing_that_was_meant_for_its_former_self(server: Server, answered: bool) -> None:
    device = await server.enrolled()
    device_token = device.token
    erase = await server.queue(device, "EraseDevice", keys={"PIN": "123456"})
    later = await server.queue(device, "ProfileList")
    command = (await device.idle()).command
    assert command is not None and command.command_uuid == erase
    if answered:
        await device.acknowledge(erase)
    device.identity, device.token, device.push_magic = fresh_identity("after"), b"\x07" * 32, "MAGIC-after"
    await device.enrol()
    assert await device.drain() == []
    states = {uuid: (await server.command(device, uuid))["state"] for uuid in (erase, later)}
    assert states == {erase: "acknowledged" if answered else "superseded", later: "superseded"}
    await server.api("POST", "/devices/UDID-1/push")
    assert device_token.hex() not in server.apns.requests[-1].url


@pytest.mark.parametrize("end", ["check-out", "removal"])
async def test_the_unlock_token_ends_with_the_enrollment(server: Server, end: str) -> None:
    device = await server.enrolled()
    await device.token_update(unlock_token=b"secret of the first life")
    clear = await server.queue(device, "ClearPasscode")
    await (device.check_out() if end == "check-out" else server.api("POST", "/devices/UDID-1/remove"))
    assert (await server.device("UDID-1"))["has_unlock_token"] is False
    assert server.app._storage.execute("SELECT body FROM commands WHERE uuid = ?", (clear,)).fetchone() == (b"",)
    if end == "check-out":
        await device.enrol()
        answer = await server.api("POST", "/devices/UDID-1/commands", {"request_type": "ClearPasscode"})
        assert (answer.status, answer.json()["error"]) == (409, "no-unlock-token")


async def test_the_unlock_token_of_a_wiped_device_is_gone(server: Server) -> None:
    device = await server.enrolled()
    await device.token_update(unlock_token=b"secret of the first life")
    clear = await server.queue(device, "ClearPasscode")
    device.identity = fresh_identity("after")
    await device.enrol()
    assert (await server.device("UDID-1"))["has_unlock_token"] is False
    assert server.app._storage.execute("SELECT body FROM commands WHERE uuid = ?", (clear,)).fetchone() == (b"",)
