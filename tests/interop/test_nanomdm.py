"""Simulated devices live with NanoMDM and scepserver: enrol, are pushed, obey, say NotNow, check out."""

from __future__ import annotations

import itertools
import plistlib
from typing import Any

import msgspec
import pytest

from mdmsim.device.commands.registry import FLOW_HANDLERS, HANDLERS
from mdmsim.device.device import Work
from mdmsim.device.locking import enter_pin, lock_screen, unlock_screen
from mdmsim.device.power import switch_on
from mdmsim.fakeapns.errors import REASONS, ApnsError
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.pki.names import issuer_text, subject_text
from tests.interop.nanomdm import Heard, command
from tests.interop.stack import NGINX, RFC9440, SIGNED_HTTP, SIGNED_TLS, Member, Site

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

KINDS = ("iphone", "ipad", "mac-silicon", "mac-intel", "appletv")

#: Every kind by signature and by certificate; the other two ways differ from these in the front alone.
LIVES = [*itertools.product((SIGNED_HTTP, NGINX), KINDS), *itertools.product((SIGNED_TLS, RFC9440), KINDS[::2])]

MANAGED = plistlib.dumps(
    {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": "test.managed",
        "PayloadUUID": "6E1C1E0A-5C1B-4E0B-9D0D-0E6D2C1F7A11",
        "PayloadDisplayName": "Managed",
        "PayloadContent": [
            {
                "PayloadType": "com.apple.wifi.managed",
                "PayloadVersion": 1,
                "PayloadIdentifier": "test.managed.wifi",
                "PayloadUUID": "6E1C1E0A-5C1B-4E0B-9D0D-0E6D2C1F7A12",
                "SSID_STR": "Lab",
            }
        ],
    }
)

QUERIES = ["SerialNumber", "OSVersion", "ProductName", "UDID"]

#: Every implemented command that changes nothing about who can talk to the device, then what is refused.
COMMANDS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("DeviceInformation", {"Queries": QUERIES}, "Acknowledged"),
    ("SecurityInfo", {}, "Acknowledged"),
    ("InstallProfile", {"Payload": MANAGED}, "Acknowledged"),
    ("ProfileList", {}, "Acknowledged"),
    ("CertificateList", {}, "Acknowledged"),
    ("RemoveProfile", {"Identifier": "test.managed"}, "Acknowledged"),
    ("ProfileList", {}, "Acknowledged"),
    ("InstalledApplicationList", {}, "Acknowledged"),
    ("DeviceConfigured", {}, "Error"),
    ("NoSuchCommand", {}, "Error"),
    ("InstallProfile", {"Payload": "not data"}, "CommandFormatError"),
)


def ask(member: Member, tag: str, commands: tuple[tuple[str, dict[str, Any], str], ...]) -> list[Heard]:
    """Queue commands, pushed with the last; what NanoMDM got in answer to each, checked for its status."""
    server = member.way.server
    uuids = [f"{member.udid}-{tag}-{number}-{name}" for number, (name, _, _) in enumerate(commands)]
    for uuid, (name, keys, _) in zip(uuids, commands, strict=True):
        queued = server.enqueue(member.udid, command(uuid, name, keys), push=uuid == uuids[-1])
        assert queued.push_error is None
    answers = [server.webhook.answer(member.udid, uuid) for uuid in uuids]
    assert [(name, answer.status) for (name, _, _), answer in zip(commands, answers, strict=True)] == [
        (name, status) for name, _, status in commands
    ]
    return answers


def profiles(answer: Heard) -> set[str]:
    return {profile["PayloadIdentifier"] for profile in answer.keys["ProfileList"]}


@pytest.mark.parametrize(("name", "kind"), LIVES)
def test_device_lives_with_nanomdm_from_enrollment_to_check_out(nanomdm_site: Site, name: str, kind: str) -> None:
    here, way = nanomdm_site, nanomdm_site.ways[name]
    heard = way.server.webhook
    member = way.enrol(kind)
    udid, persona = member.udid, member.device.persona

    identity = member.device.identity(member.device.state.enrollment.identity)  # type: ignore[union-attr]
    assert issuer_text(identity.certificate) == subject_text(certificates_from_pem(here.scep.ca.read_bytes())[0])
    authenticate = heard.wait(udid, lambda h: h.topic == "mdm.Authenticate", "Authenticate")
    token_update = heard.wait(udid, lambda h: h.topic == "mdm.TokenUpdate", "TokenUpdate")
    assert authenticate.keys["SerialNumber"] == persona.serial
    assert token_update.keys["Token"] == member.device.voice().push_token

    answers = ask(member, "plain", COMMANDS)
    assert answers[0].keys["QueryResponses"] == {
        "SerialNumber": persona.serial,
        "OSVersion": persona.os_version,
        "ProductName": persona.product_name,
        "UDID": udid,
    }
    assert profiles(answers[3]) == {"test.interop", "test.managed"}
    listed = [entry["Data"] for entry in answers[4].keys["CertificateList"] if entry["IsIdentity"]]
    assert listed == [identity.certificate]
    assert profiles(answers[6]) == {"test.interop"}

    accepted, delivered = here.pushes("push.accepted", member), here.pushes("push.delivered", member)
    assert len(accepted) == len(delivered) == 1

    ask(member, "restart", (("RestartDevice", {}, "Acknowledged"),))
    member.happened("device.power", state="on")
    # Before its first unlock a Wi-Fi iPad has no network: without a person it would never be heard of again.
    member.change(lambda work: unlock_screen(work, member.device.state.passcode))
    lock(member)
    shut_down(member)
    clear_passcode(member)
    member.leave()
    heard.wait(udid, lambda h: h.topic == "mdm.CheckOut", "CheckOut")
    assert not member.device.enrolled
    assert not [event for event in member.exchanges() if event.data["status"] != 200]


def lock(member: Member) -> None:
    """Lock the device by command, see that it is locked, and undo it as a person would."""
    persona = member.device.persona
    if persona.platform == "tvos":
        (answer,) = ask(member, "lock", (("DeviceLock", {}, "Error"),))
        assert answer.keys["ErrorChain"][0]["ErrorCode"] == 12021
        return
    if persona.is_mac:
        ask(member, "lock", (("DeviceLock", {"PIN": "123456"}, "Acknowledged"),))
        member.happened("device.locked", pin=True)
        assert not member.device.reachable
        member.change(lambda work: enter_pin(work, "123456"))
        return
    (answer,) = ask(member, "lock", (("DeviceLock", {"Message": "Lost", "PhoneNumber": "555"}, "Acknowledged"),))
    assert answer.keys["MessageResult"] == "Success"
    assert member.device.state.screen_locked
    member.change(lambda work: unlock_screen(work, persona.passcode or ""))


def shut_down(member: Member) -> None:
    """Shut the device down by command, and switch it on as a person would."""
    if member.device.persona.platform == "tvos":
        ask(member, "off", (("ShutDownDevice", {}, "Error"),))
        return
    ask(member, "off", (("ShutDownDevice", {}, "Acknowledged"),))
    member.happened("device.power", state="off")
    member.change(switch_on)
    member.change(lambda work: unlock_screen(work, member.device.state.passcode))


def clear_passcode(member: Member) -> None:
    """Take the passcode away with the unlock token that NanoMDM was given; where there is none, see the refusal."""
    (token_update,) = (h for h in member.way.server.webhook.of(member.udid) if h.topic == "mdm.TokenUpdate")
    token = token_update.keys.get("UnlockToken")
    status = "Acknowledged" if token else "Error"
    ask(member, "clear", (("ClearPasscode", {"UnlockToken": token or b"none"}, status),))
    assert bool(token) == (member.device.persona.platform in ("ios", "ipados"))
    if token:
        assert member.device.state.passcode == ""


@pytest.mark.parametrize("kind", KINDS)
def test_erased_device_has_forgotten_nanomdm_and_says_nothing_more(nanomdm_site: Site, kind: str) -> None:
    member = nanomdm_site.ways[SIGNED_HTTP].enrol(kind)
    ask(member, "erase", (("EraseDevice", {"PIN": "123456"}, "Acknowledged"),))
    member.happened("device.erased")
    assert not member.device.enrolled
    assert member.labels()[-1] == "connect:Acknowledged"


def test_every_implemented_command_was_asked_here() -> None:
    asked = {name for name, _, _ in COMMANDS}
    asked |= {"RestartDevice", "ShutDownDevice", "DeviceLock", "ClearPasscode", "EraseDevice"}
    assert {*HANDLERS, *FLOW_HANDLERS} - asked == set()


def test_locked_iphone_says_not_now_and_comes_back_by_itself(nanomdm_site: Site) -> None:
    way = nanomdm_site.ways[SIGNED_HTTP]
    member = way.enrol("iphone")
    member.change(lambda work: lock_screen(work, by="person"))
    uuid = f"{member.udid}-not-now"
    way.server.enqueue(member.udid, command(uuid, "SecurityInfo"))
    way.server.webhook.answer(member.udid, uuid, status="NotNow")
    member.happened("device.connected")
    pushed = len(nanomdm_site.pushes("push.accepted", member))
    member.change(lambda work: unlock_screen(work, member.device.state.passcode))
    answer = way.server.webhook.answer(member.udid, uuid, status="Acknowledged")
    assert answer.keys["SecurityInfo"]["PasscodePresent"] is True
    assert len(nanomdm_site.pushes("push.accepted", member)) == pushed


@pytest.mark.parametrize("name", [SIGNED_HTTP, NGINX])
def test_nanomdm_refuses_a_device_with_the_identity_of_another_and_it_stays_enrolled(
    nanomdm_site: Site, name: str
) -> None:
    way = nanomdm_site.ways[name]
    owner, other = way.enrol("mac-silicon"), way.enrol("mac-silicon")
    stolen = owner.device.state.enrollment
    assert stolen is not None

    def swap(work: Work) -> None:
        assert work.state.enrollment is not None
        work.state.enrollment = msgspec.structs.replace(work.state.enrollment, identity=stolen.identity)

    other.change(swap)
    way.server.push(other.udid)
    other.happened("device.report-refused", status=500)
    assert other.device.enrolled


def test_nanomdm_reads_the_id_that_apns_gave_its_push(nanomdm_site: Site) -> None:
    way = nanomdm_site.ways[SIGNED_HTTP]
    member = way.enrol("appletv")
    queued = way.server.push(member.udid)
    (accepted,) = nanomdm_site.pushes("push.accepted", member)
    assert queued.apns_id == accepted.data["apns_id"]


def test_nanomdm_understands_every_refusal_of_apns(nanomdm_site: Site) -> None:
    way = nanomdm_site.ways[SIGNED_HTTP]
    member = way.enrol("mac-silicon")
    plan = nanomdm_site.apple.service.faults
    understood = {}
    for reason in REASONS:
        fault = plan.add("push.refused", why="every reason in turn", answer=ApnsError.of(reason), times=1)
        error = way.server.push(member.udid).push_error or ""
        plan.remove(fault)
        status, _, said = error.removeprefix("push HTTP status: ").partition(": APNs push error: ")
        understood[said.partition(":")[0]] = int(status) if status.isdigit() else error
    assert understood == REASONS


def test_device_that_left_is_unregistered_for_nanomdm(nanomdm_site: Site) -> None:
    way = nanomdm_site.ways[SIGNED_HTTP]
    member = way.enrol("mac-intel")
    member.leave()
    error = way.server.push(member.udid).push_error or ""
    assert error.startswith("push HTTP status: 410: APNs push error: Unregistered: timestamp ")
