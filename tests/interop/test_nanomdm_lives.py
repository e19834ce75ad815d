"""What happens to an enrollment in a long life, with NanoMDM: it is renewed, restored from a backup, wiped away.

NanoMDM binds one certificate to a UDID, at Authenticate, and answers 500 to any other: so what it answers to a certificate
says whose enrollment it believes in.
"""

from __future__ import annotations

import plistlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest

from mdmsim.device.backup import make_backup
from mdmsim.device.erase import erase
from mdmsim.device.flows.automated import Person, walk_setup_assistant
from mdmsim.device.power import set_network
from mdmsim.events import Event
from mdmsim.faults import Fault
from mdmsim.fleet.fleet import Fleet
from mdmsim.http import Identity, Response
from mdmsim.pki.mdm_signature import HEADER as SIGNATURE
from mdmsim.pki.mdm_signature import sign_body
from mdmsim.pki.proxy_header import to_nginx
from tests.interop.nanomdm import Heard, command
from tests.interop.scepserver import CHALLENGE
from tests.interop.stack import HEADER, NGINX, RFC9440, SIGNED_TLS, Member, Site, Way

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

#: Every platform, and every way in that has a front in which answers can be lost.
PLATFORMS = {SIGNED_TLS: "iphone", NGINX: "mac-silicon", RFC9440: "appletv"}

on_every_platform = pytest.mark.parametrize("name", PLATFORMS)

NOT_BOUND = 500
"""NanoMDM's answer to a certificate that is not the one of that UDID."""

UNREGISTERED = "push HTTP status: 410: APNs push error: Unregistered: timestamp "


# ---- what a device, a person and an administrator do


def enrolled(here: Site, name: str) -> Member:
    return here.ways[name].enrol(PLATFORMS[name])


def queue(member: Member, tag: str, request_type: str, *, push: bool = True, **keys: Any) -> str:
    """Queue a command as an administrator would; its CommandUUID."""
    uuid = f"{member.udid}-{tag}"
    queued = member.way.server.enqueue(member.udid, command(uuid, request_type, keys), push=push)
    assert queued.push_error is None
    return uuid


def ask(member: Member, tag: str, request_type: str, *, status: str = "Acknowledged", **keys: Any) -> Heard:
    """Queue a command and see it answered and the connection ended; what NanoMDM got for an answer."""
    mark = member.device.state.event_seq
    uuid = queue(member, tag, request_type, **keys)
    answer = member.way.server.webhook.answer(member.udid, uuid)
    assert answer.status == status, answer.keys
    happened_since(member, mark, "device.connected")
    return answer


def profiles(member: Member, tag: str) -> list[str]:
    """What the device says it has installed."""
    listed = ask(member, tag, "ProfileList").keys["ProfileList"]
    return sorted(profile["PayloadIdentifier"] for profile in listed)


def identities(member: Member, tag: str) -> list[bytes]:
    """The certificates with keys that the device says it has."""
    listed = ask(member, tag, "CertificateList").keys["CertificateList"]
    return [entry["Data"] for entry in listed if entry["IsIdentity"]]


def happened_since(member: Member, mark: int, kind: str, **data: Any) -> Event:
    """The first such event of the device after its event number `mark`."""

    def matches(event: Event) -> bool:
        later = event.device == member.device_id and event.kind == kind and event.seq > mark
        return later and all(event.data.get(key) == value for key, value in data.items())

    return member.way.site.wait(matches, f"{kind} {data} of {member.device_id} after {mark}")


def identity_of(member: Member) -> Identity:
    enrollment = member.device.state.enrollment
    assert enrollment is not None
    return member.device.identity(enrollment.identity)


def knock(member: Member, identity: Identity) -> int:
    """What NanoMDM answers to an Idle of that UDID which was signed with (or came under) that certificate."""
    body = plistlib.dumps({"UDID": member.udid, "Status": "Idle"})
    signed = {SIGNATURE: sign_body(body, identity)} if member.way.sign_message else {}
    headers = signed or {HEADER: to_nginx(identity.certificate)}
    url = f"http://127.0.0.1:{member.way.server.port}/mdm"
    return httpx.put(url, content=body, headers=headers, trust_env=False).status_code


def heard(member: Member, topic: str, times: int) -> list[Heard]:
    """The messages of that kind which NanoMDM understood: so many. It tells them late, and not always in order."""
    hook, udid, kind = member.way.server.webhook, member.udid, f"mdm.{topic}"
    hook.wait(udid, lambda _: len(hook.of(udid, kind)) >= times, f"{topic} {times} times")
    found = hook.of(udid, kind)
    assert len(found) == times
    return found


def heard_token(member: Member) -> dict[str, Any]:
    """The TokenUpdate in which NanoMDM heard the token that the device has now, and its magic."""
    voice = member.device.voice()

    def current(h: Heard) -> bool:
        told = h.topic == "mdm.TokenUpdate"
        return told and (h.keys["Token"], h.keys["PushMagic"]) == (voice.push_token, voice.push_magic)

    return member.way.server.webhook.wait(member.udid, current, "the present push token").keys


def sent(member: Member, label: str) -> list[Event]:
    return [event for event in member.exchanges() if event.data["label"] == label]


def with_challenge(way: Way, challenge: str) -> bytes:
    """The enrollment profile of that way, but with another SCEP challenge."""
    profile = plistlib.loads(replace(way, signed_profile=False).profile())
    for payload in profile["PayloadContent"]:
        if payload["PayloadType"] == "com.apple.security.scep":
            assert payload["PayloadContent"]["Challenge"] == CHALLENGE
            payload["PayloadContent"]["Challenge"] = challenge
    return way.site.sign(plistlib.dumps(profile))


def containing(*parts: bytes) -> Callable[[Mapping[str, Any]], bool]:
    """Matches requests with all of these in their bodies."""
    return lambda facts: all(part in facts["body"] for part in parts)


@contextmanager
def fault(member: Member, name: str, answer: Any, *parts: bytes) -> Iterator[Fault]:
    """Every request of that device with these parts meets a fault at the front.

    Every one: what breaks on a connection that was in use before is sent once more on another, as real clients do.
    """
    assert member.way.front is not None
    faults, match = member.way.front.faults, containing(member.udid.encode(), *parts)
    planned = faults.add(name, why="answers get lost", answer=answer, match=match)
    yield planned
    faults.remove(planned)
    assert planned.injected > 0


def erase_by_user(member: Member) -> None:
    """The user erases the device, which then stands in Setup Assistant; APNs knows its token no more."""
    mark, token = member.device.state.event_seq, member.device.voice().push_token.hex()
    member.change(lambda work: erase(work, by="user"))
    happened_since(member, mark, "device.power", state="on")
    if token:
        gone(member, token)


def gone(member: Member, token: str) -> None:
    """APNs has been told that the token is gone for good."""
    member.way.site.wait(lambda e: e.kind == "token.retired" and e.data["token"] == token, "the end of the token")


def walk(member: Member, backup: bytes | None = None) -> None:
    """Someone walks Setup Assistant, and restores that backup on the way."""
    person = Person(backup=backup)
    way = member.way
    way.site.call(partial(way.fleet.perform, member.device_id, lambda device: walk_setup_assistant(device, person)))


def pushes(member: Member, token: bytes) -> int:
    """How many pushes to that token APNs took."""
    accepted = member.way.site.log.of("push.accepted")
    return sum(event.data["token"] == token.hex() for event in accepted)


async def adopted(here: Site, fleet: Fleet, topic: str, token: bytes) -> None:
    """APNs delivers to a token again that it was told is gone."""
    assert fleet.courier is not None
    here.apple.service.adopt(topic, token)
    await fleet.courier.subscribe([(topic, token)])


# ---- replacement


@on_every_platform
def test_enrollment_profile_installed_over_management_renews_the_identity(nanomdm_site: Site, name: str) -> None:
    member = enrolled(nanomdm_site, name)
    old, voice = identity_of(member), member.device.voice()
    assert knock(member, old) == 200

    ask(member, "renew", "InstallProfile", Payload=member.way.profile())

    new = identity_of(member)
    assert new.certificate != old.certificate
    assert new.key != old.key
    assert (knock(member, new), knock(member, old)) == (200, NOT_BOUND)
    # From Authenticate on, the report about the renewal included.
    introduced = member.exchanges().index(sent(member, "checkin:Authenticate")[1])
    later = [event for event in member.exchanges()[introduced:] if not event.data["label"].startswith("scep:")]
    assert [event.data["label"] for event in later] == [
        "checkin:Authenticate",
        "checkin:TokenUpdate",
        "connect:Acknowledged",
    ]
    assert {(event.data["identity"], event.data["status"]) for event in later} == {(new.fingerprint, 200)}

    told = [message.keys for message in heard(member, "TokenUpdate", 2)]
    assert [keys["Token"] for keys in told] == [voice.push_token] * 2
    assert {keys["PushMagic"] for keys in told} == {voice.push_magic, member.device.voice().push_magic}
    assert voice.push_magic != member.device.voice().push_magic
    heard(member, "Authenticate", 2)
    heard(member, "CheckOut", 0)
    assert profiles(member, "after") == ["test.interop"]
    assert identities(member, "keychain") == [new.certificate]


def still_as_before(member: Member, old: Identity) -> None:
    """The device goes on with the identity that it had, which is the one that NanoMDM believes in."""
    assert knock(member, old) == 200
    before = len(member.exchanges())
    assert profiles(member, "as-before") == ["test.interop"]
    assert identities(member, "as-before-keychain") == [old.certificate]
    later = member.exchanges()[before:]
    assert {(event.data["identity"], event.data["status"]) for event in later} == {(old.fingerprint, 200)}


@on_every_platform
def test_replacement_that_scepserver_refuses_leaves_the_old_identity_at_work(nanomdm_site: Site, name: str) -> None:
    member = enrolled(nanomdm_site, name)
    old = identity_of(member)
    answer = ask(
        member, "renew", "InstallProfile", status="Error", Payload=with_challenge(member.way, "not the challenge")
    )
    assert answer.keys["ErrorChain"]
    reported = sent(member, "connect:Error")[-1].data
    assert (reported["identity"], reported["status"]) == (old.fingerprint, 200)
    still_as_before(member, old)
    heard(member, "Authenticate", 1)
    heard(member, "TokenUpdate", 1)

    ask(member, "again", "InstallProfile", Payload=member.way.profile())
    new = identity_of(member)
    assert (knock(member, new), knock(member, old)) == (200, NOT_BOUND)
    assert identities(member, "again-keychain") == [new.certificate]


def test_replacement_whose_scep_connection_breaks_leaves_the_old_identity_at_work(nanomdm_site: Site) -> None:
    member = enrolled(nanomdm_site, SIGNED_TLS)
    old, faults = identity_of(member), nanomdm_site.scep_front.faults
    broken = faults.add(
        "front.cut",
        why="the certificate is issued and lost",
        answer="after",
        match=lambda facts: "PKIOperation" in facts["target"],
    )
    ask(member, "renew", "InstallProfile", status="Error", Payload=member.way.profile())
    faults.remove(broken)
    assert broken.injected > 0
    still_as_before(member, old)


@on_every_platform
def test_replacement_that_cannot_introduce_itself_leaves_the_old_identity_at_work(
    nanomdm_site: Site, name: str
) -> None:
    member = enrolled(nanomdm_site, name)
    old = identity_of(member)
    with fault(member, "front.answer", Response(503), b"<string>Authenticate</string>"):
        ask(member, "renew", "InstallProfile", status="Error", Payload=member.way.profile())
    still_as_before(member, old)


def test_replacement_whose_authenticate_was_heard_and_its_answer_lost_ends_in_a_new_enrollment(
    nanomdm_site: Site,
) -> None:
    # NanoMDM keeps one certificate per device and takes the new one at Authenticate; the device, without an answer,
    # keeps the old one. Neither is wrong, and only a person can help.
    member = enrolled(nanomdm_site, NGINX)
    old = identity_of(member)
    with fault(member, "front.cut", "after", b"<string>Authenticate</string>"):
        queue(member, "renew", "InstallProfile", Payload=member.way.profile())
        member.happened("device.report-refused", status=NOT_BOUND, label="connect:Error")
    heard(member, "Authenticate", 2)
    assert (member.device.enrolled, identity_of(member)) == (True, old)
    member.happened("device.retry-scheduled")

    member.leave()
    member.install(member.way.profile())
    assert profiles(member, "new") == ["test.interop"]


# ---- restore


@on_every_platform
def test_restored_to_the_same_device_nanomdm_manages_on_with_the_new_push_token(nanomdm_site: Site, name: str) -> None:
    member = enrolled(nanomdm_site, name)
    server, identity, voice = member.way.server, identity_of(member), member.device.voice()
    old = voice.push_token
    backup = make_backup(member.device)
    erase_by_user(member)
    assert (server.push(member.udid).push_error or "").startswith(UNREGISTERED)
    pushed, said = pushes(member, old), len(member.exchanges())

    walk(member, backup)
    member.happened("device.restored", same_device=True, management=True)
    new = member.device.voice().push_token
    assert new != old
    assert heard_token(member)["PushMagic"] == voice.push_magic
    nanomdm_site.wait(
        lambda e: e.kind == "device.token-updated" and e.data["push_token"] == new.hex(), "the answer to it"
    )
    assert [event.data["label"] for event in member.exchanges()[said:]] == ["checkin:TokenUpdate"]

    assert profiles(member, "restored") == ["test.interop"]
    assert identities(member, "keychain") == [identity.certificate]
    assert (pushes(member, new), pushes(member, old)) == (2, pushed)
    heard(member, "Authenticate", 1)
    assert {(e.data["identity"], e.data["status"]) for e in member.exchanges()[said:]} == {(identity.fingerprint, 200)}


@on_every_platform
def test_restored_to_another_device_its_first_contact_is_a_fresh_enrollment(nanomdm_site: Site, name: str) -> None:
    owner, other = enrolled(nanomdm_site, name), nanomdm_site.ways[name].add(PLATFORMS[name])
    server, moved = owner.way.server, identity_of(owner)
    erase_by_user(other)
    walk(other, make_backup(owner.device))
    other.happened("device.restored", same_device=False, management=False)
    assert (other.device.enrolled, other.device.next_wake_ms()) == (False, None)
    assert server.push(other.udid).apns_id is None

    other.install(other.way.profile())
    assert profiles(other, "fresh") == ["test.interop"]
    heard(other, "Authenticate", 1)
    heard(other, "TokenUpdate", 1)
    asked = [label for label in other.labels() if not label.startswith("scep:")]
    assert asked[:2] == ["checkin:Authenticate", "checkin:TokenUpdate"]
    assert moved.certificate not in identities(other, "keychain")
    assert knock(other, moved) == NOT_BOUND
    # The device from which the backup was has lost nothing.
    assert identities(owner, "owner") == [moved.certificate]


@on_every_platform
def test_backup_from_before_the_renewal_is_refused_and_the_device_keeps_trying(nanomdm_site: Site, name: str) -> None:
    member = enrolled(nanomdm_site, name)
    old, backup = identity_of(member), make_backup(member.device)
    ask(member, "renew", "InstallProfile", Payload=member.way.profile())
    new = identity_of(member)
    erase_by_user(member)
    walk(member, backup)

    member.happened("device.report-refused", status=NOT_BOUND, label="checkin:TokenUpdate")
    member.happened("device.retry-scheduled", attempt=1)
    assert (member.device.enrolled, identity_of(member)) == (True, old)
    assert (knock(member, new), knock(member, old)) == (200, NOT_BOUND)
    assert (member.way.server.push(member.udid).push_error or "").startswith(UNREGISTERED)

    # What waits for its time is tried at once when the network has been away: so the test need not wait a minute.
    for up in (False, True):
        member.change(lambda work, up=up: set_network(work, up=up))  # type: ignore[misc]
    member.happened("device.retry-scheduled", attempt=2)
    refused = sent(member, "checkin:TokenUpdate")[2:]
    assert [(e.data["identity"], e.data["status"]) for e in refused] == [(old.fingerprint, NOT_BOUND)] * 2
    assert member.device.enrolled
    heard(member, "TokenUpdate", 2)  # of the enrollment and of its renewal

    member.leave()
    member.install(member.way.profile())
    assert profiles(member, "new") == ["test.interop"]


# ---- wipe


def comes_back(member: Member, before: Identity, token: bytes) -> None:
    """Somebody sets the wiped device up and enrols it: to NanoMDM the same device, with nothing of its former life."""
    known = member.udid
    heard(member, "Authenticate", 1)
    walk(member)
    member.install(member.way.profile())
    assert profiles(member, "back") == ["test.interop"]
    new = identity_of(member)
    assert identities(member, "back-keychain") == [new.certificate]
    assert (knock(member, new), knock(member, before)) == (200, NOT_BOUND)
    told = heard_token(member)
    assert told["UDID"] == known
    assert told["Token"] != token
    heard(member, "Authenticate", 2)
    assert len(member.way.site.log.of("device.erased", device=member.device_id)) == 1
    assert member.device.enrolled


@on_every_platform
def test_wiped_device_acknowledges_and_is_gone_until_someone_sets_it_up(nanomdm_site: Site, name: str) -> None:
    member = enrolled(nanomdm_site, name)
    server, identity, token = member.way.server, identity_of(member), member.device.voice().push_token
    uuid = queue(member, "erase", "EraseDevice")
    server.webhook.answer(member.udid, uuid, status="Acknowledged")
    member.happened("device.erased", by="command")
    member.happened("device.power", state="on")
    gone(member, token.hex())
    assert (member.device.enrolled, member.device.state.profiles, member.device.state.keychain) == (False, [], [])
    said = member.labels()
    assert said[-1] == "connect:Acknowledged"
    assert "checkin:CheckOut" not in said

    # An impatient administrator: NanoMDM queues it, hears from APNs that nobody listens, and must never hand it out.
    late = server.enqueue(member.udid, command(f"{member.udid}-once-more", "EraseDevice"))
    assert (late.push_error or "").startswith(UNREGISTERED)
    # As real couriers do for a while: this one goes on delivering to a device that has been wiped.
    nanomdm_site.call(partial(adopted, nanomdm_site, member.way.fleet, nanomdm_site.topic, token))
    pushed = server.push(member.udid)
    assert pushed.push_error is None
    nanomdm_site.wait(lambda e: e.kind == "push.acknowledged" and e.data["apns_id"] == pushed.apns_id, "the push")
    assert member.labels() == said

    comes_back(member, identity, token)
    heard(member, "CheckOut", 0)
    afterwards = [label for label in member.labels()[len(said) :] if not label.startswith("scep:")]
    assert afterwards[0] == "checkin:Authenticate"


@pytest.mark.parametrize("cut", ["before", "after"])
@on_every_platform
def test_wipe_happens_though_its_answer_is_lost_and_is_never_repeated(nanomdm_site: Site, name: str, cut: str) -> None:
    member = enrolled(nanomdm_site, name)
    server, identity, token = member.way.server, identity_of(member), member.device.voice().push_token
    with fault(member, "front.cut", cut, b"<string>Acknowledged</string>") as lost:
        uuid = queue(member, "erase", "EraseDevice")
        member.happened("device.erased", by="command")
        member.happened("device.power", state="on")
        gone(member, token.hex())
    assert [event.data["status"] for event in sent(member, "connect:Acknowledged")] == [None]
    assert member.device.voice().undelivered is None

    def reports() -> int:
        return sum(h.command_uuid == uuid for h in server.webhook.of(member.udid))

    reached = lost.injected if cut == "after" else 0
    server.webhook.wait(member.udid, lambda _: reports() >= reached, "the answers that the device believes lost")
    comes_back(member, identity, token)
    assert reports() == reached
