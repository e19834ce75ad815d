"""Devices enrol in a world, with something in their way: what becomes of them and what is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.cli.enrollment.keys_ahead import KeysAhead
from mdmsim.cli.enrollment.obstacles import of_exchange
from mdmsim.cli.enrollment.profile import read_facts
from mdmsim.cli.enrollment.rollout import Newcomer, Outcome, Rollout, new_ids
from mdmsim.cli.enrollment.source import Fetched, Given
from mdmsim.cli.enrollment.witness import Exchange
from mdmsim.clock import ManualClock, VirtualClock
from mdmsim.device.personas import make_persona
from mdmsim.faults import Fault
from mdmsim.http import BadAnswer, NotAsked, Request, TimedOut, TransportError, Trust
from mdmsim.pki.key_pool import KeyPool
from mdmsim.pki.keys import SharedKeys
from mdmsim.protocol import plist
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS, World
from tests.cli.enrollment.profiles import mdm, profile, scep

KEYS = SharedKeys(12)


def roll_out(
    kinds: Sequence[str],
    *,
    faults: Callable[[World], Fault | None] = lambda world: None,
    fetched: bool = False,
    changes: dict[str, Any] | None = None,
    change: Callable[[bytes], bytes] = lambda profile: profile,
    look: Callable[[World], Awaitable[None]] | None = None,
    concurrency: int = 4,
) -> tuple[list[Outcome], list[str]]:
    """Enrol devices of these kinds with one profile each or one for all; the outcomes, and what is left in the store."""
    left: list[str] = []

    async def main(clock: VirtualClock) -> list[Outcome]:
        async with in_process_world(clock, seed=3, keys=KEYS) as world:
            trust = Trust(anchors=world.server.anchors)
            server = ReferenceAdapter(world.outbound, world.server.url, world.server.api_key, trust)
            data = change(await server.enrollment_profile(**{"devices": None, **(changes or {})}))
            source = Fetched(world.server.enroll_url, trust) if fetched else Given("enroll.mobileconfig", data)
            facts = read_facts(data, "enroll.mobileconfig", allow_hosts=frozenset(), code=2)
            faults(world)
            ids = new_ids(kinds, world.fleet.store.device_ids())
            newcomers = [
                Newcomer(device_id, make_persona(kind, chance=Chance(device_id)))
                for device_id, kind in zip(ids, kinds, strict=True)
            ]
            told: list[Outcome] = []
            with KeysAhead(KeyPool(Path("/nonexistent"), fallback=KEYS), 0) as keys:
                rollout = Rollout(world.fleet, source, keys, clock, facts=facts, told=told.append, forget=False)
                await rollout.run(newcomers, concurrency=concurrency, first_profile=None)
            assert told == rollout.outcomes
            left.extend(world.fleet.store.device_ids())
            if look is not None:
                await look(world)
            return told

    return run_virtual(main, seed=3, start_ms=START_MS), left


def status(label: str, code: int | tuple[int, bytes]) -> Callable[[World], Fault]:
    """A fault that answers a request with a status of its own."""

    def add(world: World) -> Fault:
        return world.wire.add("answer.status", why="the test", match=lambda facts: facts["label"] == label, answer=code)

    return add


def one(kind: str = "iphone", **settings: Any) -> tuple[Outcome, list[str]]:
    """Enrol one device."""
    (outcome,), left = roll_out([kind], **settings)
    return outcome, left


@pytest.mark.parametrize("fetched", [False, True], ids=["file", "url"])
def test_devices_of_every_kind_enrol(fetched: bool) -> None:
    outcomes, left = roll_out(["iphone", "ipad", "mac-intel", "mac-silicon", "appletv"], fetched=fetched)
    assert [outcome.result for outcome in outcomes] == ["enrolled"] * 5
    assert sorted(left) == ["ipad-01", "iphone-01", "mac-01", "mac-02", "tv-01"]
    assert {outcome.steps for outcome in outcomes} == {("SCEP", "Authenticate", "TokenUpdate")}
    assert [outcome.obstacle for outcome in outcomes] == [None] * 5


def test_no_more_than_asked_for_enrol_at_the_same_time() -> None:
    outcomes, _ = roll_out(["iphone"] * 4, concurrency=1)
    assert [outcome.newcomer.device_id for outcome in outcomes] == ["iphone-01", "iphone-02", "iphone-03", "iphone-04"]


@pytest.mark.parametrize(
    ("label", "code", "result", "kept"),
    [
        ("profile:fetch", 404, "refused", False),
        ("scep:GetCACert", 500, "refused", False),
        ("scep:PKIOperation", 401, "refused", False),
        ("checkin:Authenticate", 401, "refused", False),
        ("checkin:Authenticate", 403, "refused", False),
        ("checkin:Authenticate", 500, "refused", False),
        ("checkin:TokenUpdate", 401, "refused", False),
        ("checkin:TokenUpdate", 500, "unconfirmed", True),
    ],
)
def test_a_refusal_shows_its_status_its_words_and_what_it_means(label: str, code: int, result: str, kept: bool) -> None:
    outcome, left = one(faults=status(label, (code, b"not today\nsecond line")), fetched=True)
    assert outcome.result == result
    assert bool(left) is kept
    assert outcome.obstacle is not None
    assert outcome.obstacle.seen == f'{label} answered {code}: "not today"'
    assert outcome.obstacle.advice
    assert outcome.obstacle.code == 1


def edited(change: Callable[[list[dict[str, Any]]], None]) -> dict[str, Any]:
    """Settings for a profile without signature whose payloads were changed."""

    def edit(profile: bytes) -> bytes:
        values = plist.loads(profile)
        change(values["PayloadContent"])
        return plist.dumps(values)

    return {"changes": {"sign": False}, "change": edit}


def acme(payloads: list[dict[str, Any]]) -> None:
    common = {"PayloadType": "com.apple.security.acme", "PayloadVersion": 1}
    payloads.append({**common, "PayloadIdentifier": "test.acme", "PayloadUUID": "ACME-1"})


def test_a_payload_that_is_not_simulated_is_named_beside_what_went_well() -> None:
    outcome, left = one(**edited(acme))
    assert (outcome.result, left) == ("enrolled", ["iphone-01"])
    assert outcome.steps[-1] == "not simulated: com.apple.security.acme (test.acme)"
    assert outcome.not_simulated == ("com.apple.security.acme (test.acme)",)


def test_an_enrollment_that_is_not_simulated_is_no_refusal() -> None:
    def byod(payloads: list[dict[str, Any]]) -> None:
        [mdm] = [payload for payload in payloads if payload["PayloadType"] == "com.apple.mdm"]
        mdm["EnrollmentMode"] = "BYOD"
        del mdm["AccessRights"]

    outcome, left = one(**edited(byod))
    assert (outcome.result, outcome.steps, left) == ("not-simulated", (), [])
    assert outcome.obstacle is not None
    assert outcome.obstacle.what == "User Enrollment (EnrollmentMode BYOD) is not simulated."
    assert (outcome.obstacle.code, outcome.obstacle.chain) == (3, ())


def test_an_identity_that_is_not_simulated_is_no_refusal() -> None:
    def identity(payloads: list[dict[str, Any]]) -> None:
        acme(payloads)
        [mdm] = [payload for payload in payloads if payload["PayloadType"] == "com.apple.mdm"]
        mdm["IdentityCertificateUUID"] = "ACME-1"

    outcome, _ = one(**edited(identity))
    assert outcome.result == "not-simulated"
    assert outcome.obstacle is not None
    assert outcome.obstacle.what == "An identity by com.apple.security.acme is not simulated."


def test_a_server_that_does_not_answer_is_not_called_a_refusal() -> None:
    def cut(world: World) -> Fault:
        return world.wire.add(
            "response.cut", why="the test", match=lambda facts: facts["label"] == "checkin:Authenticate"
        )

    outcome, left = one(faults=cut)
    assert (outcome.result, left) == ("unreachable", [])
    assert outcome.obstacle is not None
    assert outcome.obstacle.code == 3
    assert "in the middle of Authenticate" in outcome.obstacle.what


def test_a_machine_that_is_down_is_not_called_a_refusal() -> None:
    def down(world: World) -> Fault:
        return world.wire.add("network.down", why="the test", match=lambda facts: facts["label"] == "scep:GetCACaps")

    outcome, _ = one(faults=down)
    assert outcome.obstacle is not None
    assert outcome.obstacle.what == "mdm.mdmsim.test:443 cannot be reached."


@pytest.mark.parametrize("kind", ["iphone", "mac-silicon"])
def test_a_wrong_challenge_is_told_with_the_cas_reason(kind: str) -> None:
    outcome, _ = one(kind, changes={"wrong_challenge": True})
    assert outcome.result == "refused"
    assert outcome.obstacle is not None
    assert outcome.obstacle.what == "The SCEP server refused to issue an identity."
    assert "badRequest" in (outcome.obstacle.seen or "")
    assert "Challenge" in (outcome.obstacle.advice or "")


def test_a_challenge_that_is_good_once_lets_one_device_in() -> None:
    outcomes, left = roll_out(["iphone"] * 3, changes={"devices": 1}, concurrency=1)
    assert sorted(outcome.result for outcome in outcomes) == ["enrolled", "refused", "refused"]
    assert len(left) == 1


def test_what_each_platforms_device_has_against_the_profile_is_told_with_its_codes() -> None:
    outcomes, left = roll_out(["iphone", "mac-silicon"], changes={"topic": "com.example.wrong"}, concurrency=1)
    assert ({outcome.result for outcome in outcomes}, left) == ({"refused"}, [])
    obstacles = [outcome.obstacle for outcome in outcomes if outcome.obstacle is not None]
    assert [obstacle.what for obstacle in obstacles] == [
        "iOS refused the profile: MCInstallationErrorDomain 4001, MCProfileErrorDomain 1009, MCMDMErrorDomain 12022.",
        "macOS refused the profile: MCMDMErrorDomain 12022.",
    ]
    assert [[item.code for item in obstacle.chain] for obstacle in obstacles] == [
        [4001, 4001, 1009, 12022],
        [12022],
    ]


@pytest.mark.parametrize(
    ("change", "do"),
    [
        (lambda data: data.replace(b"enrollment", b"ENROLLMENT"), "sign the profile again"),
        (lambda data: b"<plist><dict>", "correct the profile"),
        (lambda data: profile(scep(), mdm(Topic=None)), "add the key"),
        (lambda data: profile(scep(), mdm(ServerURL="https://[::1")), "serve it over https"),
        (lambda data: profile(scep(), mdm(ServerURL="http://127.0.0.1:1/")), "--allow-http"),
        (lambda data: profile(scep(), mdm(Topic="")), "give the server its push certificate"),
    ],
    ids=["signature", "no-plist", "no-topic", "no-url", "http", "empty-topic"],
)
def test_a_bad_profile_is_judged_by_the_devices_and_their_chains_are_told(
    change: Callable[[bytes], bytes], do: str
) -> None:
    said: list[list[int]] = []

    async def look(world: World) -> None:
        failed = world.log.of("device.enrollment-failed")
        said.extend([item["code"] for item in event.data["error_chain"]] for event in failed)

    outcomes, left = roll_out(["iphone", "mac-intel"], change=change, concurrency=1, look=look)
    obstacles = [outcome.obstacle for outcome in outcomes if outcome.obstacle is not None]
    assert [[item.code for item in obstacle.chain] for obstacle in obstacles] == said
    assert [obstacle.what.split(" refused the profile: ")[0] for obstacle in obstacles] == ["iOS", "macOS"]
    assert do in (obstacles[0].advice or "")
    assert {obstacle.code for obstacle in obstacles} == {1}
    assert left == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda data: b"<plist><integer>1 </integer></plist>", "after the digits not even a blank may stand, line 1"),
        (lambda data: b"<plist><string/></plist>", "it is a string; it must be a dictionary"),
        (lambda data: profile(scep(), mdm(Topic=None)), "Topic is missing; it must be a string"),
    ],
    ids=["no-plist", "no-dictionary", "no-topic"],
)
def test_a_mac_that_refuses_a_profile_in_few_words_gets_the_key_or_line_told_beside_them(
    change: Callable[[bytes], bytes], found: str
) -> None:
    outcome, _ = one("mac-silicon", change=change)
    assert outcome.obstacle is not None
    assert found in (outcome.obstacle.meaning or "")
    assert found not in (outcome.obstacle.seen or "")  # what the device says


def test_a_ca_that_answers_nonsense_is_told_as_such() -> None:
    outcome, _ = one(faults=status("scep:PKIOperation", (200, b"nonsense")))
    assert outcome.obstacle is not None
    assert outcome.obstacle.what.startswith("No identity came by SCEP at https://mdm.mdmsim.test/scep: ")


def test_a_device_that_was_disowned_is_told_with_the_refusal_not_with_its_goodbye() -> None:
    outcome, left = one(faults=status("checkin:TokenUpdate", 401))
    assert left == []
    assert outcome.obstacle is not None
    assert outcome.obstacle.seen == "checkin:TokenUpdate answered 401"


def test_devices_that_failed_leave_no_trace_in_the_fleet() -> None:
    async def look(world: World) -> None:
        assert world.fleet.members == {}

    one(faults=status("checkin:Authenticate", 500), look=look)


def test_ids_count_on_from_those_in_the_store() -> None:
    known = ["iphone-01", "iphone-07", "mac-02", "someones-own-name"]
    kinds = ["iphone", "mac-intel", "mac-silicon", "appletv", "iphone"]
    assert list(new_ids(kinds, known)) == ["iphone-08", "mac-03", "mac-04", "tv-01", "iphone-09"]


@pytest.mark.parametrize(
    ("label", "code", "what"),
    [
        ("profile:fetch", 404, "The server refused the request for the profile."),
        ("scep:GetCACert", 403, "The SCEP server refused SCEP's GetCACert."),
        ("scep:GetCACert", 502, "The SCEP server failed at SCEP's GetCACert."),
        ("checkin:Authenticate", 403, "The server refused Authenticate."),
        ("checkin:Authenticate", 500, "The server failed at Authenticate."),
    ],
)
def test_a_server_that_broke_is_not_said_to_refuse_and_a_ca_is_called_a_ca(label: str, code: int, what: str) -> None:
    outcome, _ = one(faults=status(label, code), fetched=True)
    assert outcome.obstacle is not None
    assert outcome.obstacle.what == what


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (
            BadAnswer("redirects to http"),
            "mdm.example.com:443 answered Authenticate with something that a device does not take.",
        ),
        (TimedOut("late"), "No complete answer to Authenticate came from mdm.example.com:443 within 30 s."),
        (NotAsked("plain"), "A device does not go to https://mdm.example.com/checkin for Authenticate."),
    ],
)
def test_what_a_transport_says_is_told_of_the_right_party(error: TransportError, what: str) -> None:
    request = Request("PUT", "https://mdm.example.com/checkin?tenant=1", label="checkin:Authenticate", timeout=30.0)
    obstacle = trio.run(of_exchange, Exchange(request, error=error), None, ManualClock())
    assert obstacle is not None
    assert obstacle.what == what


def test_a_url_to_which_no_device_goes_is_not_called_a_server_that_is_down() -> None:
    bad = profile(scep(URL="ftp://mdm.example.com/scep"), mdm())
    outcome, _ = one(change=lambda data: bad)
    assert outcome.obstacle is not None
    assert "cannot be reached" not in outcome.obstacle.what
