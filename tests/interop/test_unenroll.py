"""A 401 in the place of each of NanoMDM's answers in turn: the device gives up its enrollment, and is silent."""

from __future__ import annotations

import plistlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mdmsim.device.errors import DeviceError
from mdmsim.faults import Fault
from mdmsim.http import Response
from mdmsim.pki.keys import SharedKeys
from mdmsim.protocol.payloads import ScepPayload
from mdmsim.protocol.profile import build_profile
from tests.interop.nanomdm import command
from tests.interop.stack import NGINX, RFC9440, SIGNED_TLS, Member, Site

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

#: Many devices, and keys are not what this is about.
KEYS = SharedKeys(8)

PLATFORMS = {SIGNED_TLS: "iphone", NGINX: "mac-silicon", RFC9440: "appletv"}


def of_device(member: Member) -> Callable[[Mapping[str, Any]], bool]:
    """Matches what this device sends to its MDM server: every message names the UDID."""
    return lambda facts: member.udid.encode() in facts["body"]


def refuse(member: Member, position: int, status: int) -> Fault:
    """The front answers the request with that number (from 0) in NanoMDM's stead."""
    assert member.way.front is not None
    return member.way.front.faults.add(
        "front.answer",
        why="each request in turn",
        after=position,
        times=1,
        answer=Response(status),
        match=of_device(member),
    )


def live(member: Member) -> None:
    """What happens to a device here: it enrols, is asked two things, and is given up by its user, unless it left."""
    server = member.way.server
    try:
        member.install(member.way.profile())
    except DeviceError:
        return
    if member.device.enrolled:
        server.enqueue(member.udid, command(f"{member.udid}-1", "DeviceInformation", {"Queries": ["UDID"]}), push=False)
        server.enqueue(member.udid, command(f"{member.udid}-2", "ProfileList"))
        member.way.site.wait(
            lambda event: event.device == member.device_id and event.kind in ("device.connected", "device.unenrolled"),
            "a connection to its end",
        )
    if member.device.enrolled:
        member.leave()


def mdm_requests(member: Member) -> list[tuple[str, int | None]]:
    """Label and status of everything that went to the MDM server."""
    return [
        (event.data["label"], event.data["status"])
        for event in member.exchanges()
        if not event.data["label"].startswith("scep:")
    ]


@pytest.mark.parametrize("name", PLATFORMS)
def test_401_in_place_of_any_answer_ends_the_enrollment_for_good(nanomdm_site: Site, name: str) -> None:
    way = nanomdm_site.ways[name]
    kind = PLATFORMS[name]
    recorded = way.add(kind)
    live(recorded)
    clean = mdm_requests(recorded)
    assert [label for label, _ in clean] == [
        "checkin:Authenticate",
        "checkin:TokenUpdate",
        "connect:Idle",
        "connect:Acknowledged",
        "connect:Acknowledged",
        "checkin:CheckOut",
    ]
    for position, (label, _) in enumerate(clean):
        member = way.add(kind)
        fault = refuse(member, position, 401)
        live(member)
        assert fault.injected == 1
        sent = mdm_requests(member)
        assert sent[: position + 1] == [*clean[:position], (label, 401)], label
        # After the refusal nothing but the one attempt at CheckOut, which a device that is leaving does not repeat.
        after = [] if label in ("checkin:Authenticate", "checkin:CheckOut") else [("checkin:CheckOut", 200)]
        assert sent[position + 1 :] == after, label
        device = member.device
        assert (device.enrolled, device.state.profiles, device.state.keychain) == (False, [], []), label
        assert device.next_wake_ms() is None, label
        unenrolled = nanomdm_site.log.of("device.unenrolled", device=member.device_id)
        reasons = [event.data["reason"] for event in unenrolled]
        expected = {"checkin:Authenticate": [], "checkin:CheckOut": ["user"]}.get(label, ["refused"])
        assert reasons == expected, label


def test_device_that_was_refused_stays_silent_when_nanomdm_pushes_it(nanomdm_site: Site) -> None:
    way = nanomdm_site.ways[NGINX]
    member = way.enrol("iphone")
    voice = member.device.voice()
    topic, token = nanomdm_site.topic, voice.push_token
    refuse(member, 0, 401)
    way.server.push(member.udid)
    member.happened("device.unenrolled", reason="refused")
    # The fleet retires the token last of all; only then may it come back.
    retired = token.hex()
    nanomdm_site.wait(lambda e: e.kind == "token.retired" and e.data["token"] == retired, "the end of the token")
    sent = mdm_requests(member)
    # As real couriers do for a while: this one goes on delivering to a device that has left.
    nanomdm_site.call(lambda: adopted(nanomdm_site, way.fleet, topic, token))
    assert way.server.push(member.udid).push_error is None
    member.happened("device.push-ignored")
    assert mdm_requests(member) == sent


async def adopted(here: Site, fleet: Any, topic: str, token: bytes) -> None:
    here.apple.service.adopt(topic, token)
    await fleet.courier.subscribe([(topic, token)])


@pytest.mark.parametrize("status", [403, 404, 410, 500])
@pytest.mark.parametrize("position", [0, 1], ids=["idle", "report"])
def test_other_refusals_leave_the_enrollment_and_the_answer_comes_later(
    nanomdm_site: Site, status: int, position: int
) -> None:
    way = nanomdm_site.ways[SIGNED_TLS]
    member = way.enrol("mac-silicon")
    fault = refuse(member, position, status)
    uuid = f"{member.udid}-asked"
    way.server.enqueue(member.udid, command(uuid, "DeviceInformation", {"Queries": ["SerialNumber"]}))
    member.happened("device.report-refused", status=status)
    assert member.device.enrolled
    assert fault.injected == 1
    way.server.push(member.udid)
    answer = way.server.webhook.answer(member.udid, uuid, status="Acknowledged")
    assert answer.keys["QueryResponses"] == {"SerialNumber": member.device.persona.serial}
    member.happened("device.report-delivered", command_uuid=uuid)
    assert member.device.enrolled


def test_401_of_scepserver_fails_the_profile_and_not_the_enrollment(nanomdm_site: Site) -> None:
    way = nanomdm_site.ways[NGINX]
    member = way.enrol("iphone")
    scep = ScepPayload(
        url=way.scep_url, name="Interop CA", subject=((("CN", "second identity"),),), challenge="", key_size=2048
    )
    profile = build_profile(
        identifier="test.second",
        uuid="6E1C1E0A-5C1B-4E0B-9D0D-0E6D2C1F7A21",
        payloads=(scep.to_payload(identifier="test.second.scep", uuid="6E1C1E0A-5C1B-4E0B-9D0D-0E6D2C1F7A22"),),
    )
    faults = nanomdm_site.scep_front.faults
    fault = faults.add("front.answer", why="a SCEP server that says 401", answer=Response(401))
    uuid = f"{member.udid}-second"
    way.server.enqueue(member.udid, command(uuid, "InstallProfile", {"Payload": profile}))
    answer = way.server.webhook.answer(member.udid, uuid)
    faults.remove(fault)
    assert fault.injected > 0, answer.keys
    assert (answer.status, member.device.enrolled) == ("Error", True)
    assert plistlib.loads(answer.body)["ErrorChain"]
