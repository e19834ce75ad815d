"""A device's whole life as a state machine: people, server, network, pushes, crashes and time in any order.

Between two yields of a flow anything may happen, as it may in a fleet. What must hold after each step is written down
as invariants; `settle` then puts everything right and looks whether anything was forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mdmsim.clock import DAY, HOUR, MINUTE
from mdmsim.device.commands.not_now import stands_in_the_way
from mdmsim.device.device import Device
from mdmsim.device.errors import DeviceError
from mdmsim.device.flow import Flow, Pause
from mdmsim.device.flows.automated import leave_welcome
from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.unenroll import leave
from mdmsim.device.flows.wake import next_flow
from mdmsim.device.locking import WrongPasscode, enter_pin, lock_screen, set_passcode, unlock_screen
from mdmsim.device.power import set_network, set_power_nap, shut_down, switch_on
from mdmsim.device.tokens import renew_push_token
from mdmsim.events import Event
from mdmsim.http import ConnectFailed, ExchangeCut, Request, Response, TLSFailed
from mdmsim.pki.scep.server import ScepService
from mdmsim.protocol import plist
from mdmsim.protocol.checkin import Authenticate
from mdmsim.protocol.connect import Status, parse_report
from mdmsim.protocol.payloads import ScepPayload
from mdmsim.protocol.profile import build_profile
from tests.device.bench import SERVER, Bench, managed_profile, pki_message, settings_payload

PIN = "246810"
PASSCODE = "123456"
UNRECOGNIZED = Response(
    403, (("Content-Type", "application/json"),), b'{"code": "com.apple.unrecognized.device", "description": "-"}'
)

#: What may become of a request besides an honest answer.
FAILURES: dict[str, Response | Exception] = {
    "no network": ConnectFailed("down"),
    "untrusted": TLSFailed("certificate expired"),
    "500": Response(500),
    "403": Response(403),
    "404": Response(404),
    "not a plist": Response(200, body=b"<html>"),
}
REFUSALS: dict[str, Response] = {"401": Response(401), "unrecognized": UNRECOGNIZED}

COMMANDS = (
    "DeviceInformation",
    "SecurityInfo",
    "ProfileList",
    "CertificateList",
    "InstallProfile",
    "InstallProfile/brief",
    "InstallProfile/scep",
    "InstallProfile/slow",
    "InstallProfile/enrollment",
    "InstallProfile/broken",
    "RemoveProfile",
    "RemoveProfile/enrollment",
    "RestartDevice",
    "ShutDownDevice",
    "EraseDevice",
    "ClearPasscode",
    "DeviceLock",
    "MakeCoffee",
)

#: What ends an enrollment is drawn less often than the rest, or there would be little life to look at.
SELDOM = st.sampled_from([False, False, True])

PEOPLE = (
    "takes the network away",
    "brings the network back",
    "switches on",
    "switches off",
    "locks",
    "unlocks",
    "types a wrong passcode",
    "sets a passcode",
    "removes the passcode",
    "lets it nap",
    "wakes it",
    "types the PIN",
    "types a wrong PIN",
    "walks Setup Assistant",
    "waits for a new push token",
)

#: More flows than this at one moment, with nothing happening in between, is a device that never comes to rest.
RESTLESS = 25


def scep_profile(identifier: str, path: str, **keys: Any) -> bytes:
    payload = ScepPayload(url=f"{SERVER}/{path}", subject=((("CN", identifier),),), key_size=2048, **keys)
    return build_profile(
        identifier=identifier,
        uuid=identifier.upper(),
        payloads=(settings_payload(), payload.to_payload(identifier=f"{identifier}.scep", uuid="S")),
    )


def brief(profile: bytes, ms: int) -> bytes:
    """The profile, to remove itself after so long."""
    return plist.dumps(plist.loads(profile, what="profile") | {"DurationUntilRemoval": ms / 1000})


@dataclass
class Flight:
    """A flow that is under way: what it waits for, and whether the network went away under it."""

    flow: Flow[Any]
    kind: str
    wish: Request | Pause | None = None
    cut: bool = False


@dataclass
class SlowCa:
    """A CA that leaves each transaction pending until someone decides; below /slow on the bench's server."""

    service: ScepService
    transactions: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        if request.label != "scep:PKIOperation":
            caps = self.service.ca_caps() if "GetCACaps" in request.url else self.service.ca_cert().body
            return Response(200, body=caps)
        answer = self.service.handle(pki_message(request))
        self.transactions.append(answer.request.transaction_id)
        return Response(200, body=answer.body)


class Life(RuleBasedStateMachine):
    """One device of the kind that was drawn, its server, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.flight: Flight | None = None
        self.queued = 0
        self.flows_now = 0
        self.checkouts = 0
        self.owes_connect = False

    @initialize(
        kind=st.sampled_from(["iphone", "ipad", "mac-intel", "mac-silicon", "appletv"]),
        with_passcode=st.booleans(),
        checks_out=st.booleans(),
    )
    def born(self, kind: str, with_passcode: bool, checks_out: bool) -> None:
        passcode = (PASSCODE if with_passcode else False) if kind != "appletv" else None
        self.bench = Bench(kind, passcode=passcode, state={"supervised": True})
        service = ScepService(
            self.bench.authority, clock=self.bench.clock, chance=self.bench.chance.stream("slow"), pending=True
        )
        self.slow = SlowCa(service)
        self.checks_out = checks_out
        self.bench.server.interfere = self._route
        self.delivered: set[str] = set()
        self.bodies: dict[str, set[bytes]] = {}
        self.final_answers: dict[str, int] = {}
        self.last_delivered: Status | None = None
        self.bench.events.subscribe(self._heard)
        self.bench.run(install_profile(self.device, self.profile()))

    @property
    def device(self) -> Device:
        return self.bench.device

    def profile(self) -> bytes:
        return self.bench.profile(check_out_when_removed=self.checks_out)

    def _route(self, request: Request) -> Response | None:
        if not request.label.startswith(("scep:", "checkin:", "connect:")):
            return Response(404)  # Apple's side of Setup Assistant knows nothing of this device
        return self.slow.answer(request) if "/slow" in request.url else None

    def _heard(self, event: Event) -> None:
        if event.kind == "device.command-answered" and event.data["status"] != "NotNow":
            uuid = event.data["command_uuid"]
            self.final_answers[uuid] = self.final_answers.get(uuid, 0) + 1

    # --- flows, yield by yield ------------------------------------------------------------------------------------

    def _advance(self, *, answer: Response | None = None, failure: Exception | None = None) -> None:
        """Resume the flow in flight up to its next yield or its end, saving as a driver does."""
        flight = self.flight
        assert flight is not None
        try:
            flight.wish = flight.flow.send(answer) if failure is None else flight.flow.throw(failure)
        except StopIteration:
            self.flight = None
        except DeviceError:
            assert flight.kind == "install", "a DeviceError left a flow of the device's own"
            self.flight = None
        self.device.save()
        if self.flight is not None and isinstance(flight.wish, Request):
            self._note_request(flight, flight.wish)

    def _note_request(self, flight: Flight, request: Request) -> None:
        state = self.device.state
        own = flight.kind == "install" or state.installation is not None or state.setup == "welcome"
        assert self.device.enrolled or own, f"{request.label} without an enrollment"
        self.checkouts += request.label == "checkin:CheckOut"
        if request.label.startswith("connect:") and request.label != "connect:Idle":
            report = parse_report(request.body)
            if report.status is not Status.NOT_NOW:
                assert report.command_uuid is not None
                self.bodies.setdefault(report.command_uuid, set()).add(request.body)
        if state.leaving is not None:
            assert request.label == "checkin:CheckOut", f"{request.label} after the end of the enrollment was decided"

    def _begin(self, flow: Flow[Any], kind: str) -> None:
        self.flows_now += 1
        assert self.flows_now < RESTLESS, "the device never comes to rest"
        removes = any(wish.reason == "remove-expired" for wish in self.device.wishes())  # needs no network
        assert kind != "own" or self.device.reachable or removes, "a device that is not there wants to act"
        self.flight = Flight(flow, kind)
        self._advance()

    def _answer_now(self) -> None:
        """An honest answer to the wish in flight."""
        flight = self.flight
        assert flight is not None
        if isinstance(flight.wish, Pause):
            self._pass(round(flight.wish.seconds * 1000))
            self._advance()
        elif flight.cut:
            flight.cut = False
            self._advance(failure=ExchangeCut("the network went", sent=True))
        elif not self.device.reachable:
            self._advance(failure=ConnectFailed("no network"))
        else:
            assert flight.wish is not None
            self._deliver(flight.wish, self._serve(flight.wish))

    def _serve(self, request: Request) -> Response:
        response = self.bench.server(request)
        if request.label == "checkin:Authenticate":
            self.owes_connect = False  # the push magic changes: what was pushed before is a stranger's
            self.bench.server.queue.clear()  # as servers do; what is still open is superseded
            if not self.device.enrolled:
                self.last_delivered = None  # a NotNow of an enrollment that has ended calls for no poll
        return response

    def _deliver(self, request: Request, response: Response) -> None:
        if response.is_success and request.label.startswith("connect:"):
            report = parse_report(request.body)
            self.last_delivered = report.status
            self.owes_connect = False
            if report.command_uuid and report.status is not Status.NOT_NOW:
                self.delivered.add(report.command_uuid)
        self._advance(answer=response)

    def _run_out(self) -> None:
        while self.flight is not None:
            self._answer_now()

    def _pass(self, ms: int) -> None:
        self.bench.clock.advance(ms)
        if ms:
            self.flows_now = 0

    # --- rules: the device ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.flight is None)
    @rule()
    def acts(self) -> None:
        if flow := next_flow(self.device):
            self._begin(flow, "own")

    @precondition(lambda self: self.flight is None)
    @rule()
    def acts_to_the_end(self) -> None:
        while flow := next_flow(self.device):
            self._begin(flow, "own")
            self._run_out()

    @precondition(lambda self: self.flight is not None)
    @rule()
    def is_answered(self) -> None:
        self._answer_now()

    @precondition(lambda self: self.flight is not None)
    @rule()
    def is_answered_to_the_end(self) -> None:
        self._run_out()

    @precondition(lambda self: self.flight is not None and isinstance(self.flight.wish, Request))
    @rule(name=st.sampled_from(sorted(FAILURES)))
    def fails(self, name: str) -> None:
        flight = self.flight
        assert flight is not None
        assert isinstance(flight.wish, Request)
        outcome = FAILURES[name]
        if flight.cut or not self.device.reachable:
            self._answer_now()
        elif isinstance(outcome, Exception):
            self._advance(failure=outcome)
        else:
            if outcome.is_success:  # the server took the report, and then said something that is no command
                self._serve(flight.wish)
            self._deliver(flight.wish, outcome)

    @precondition(lambda self: self.flight is not None and isinstance(self.flight.wish, Request))
    @rule(name=st.sampled_from(sorted(REFUSALS)), really=SELDOM)
    def is_refused(self, name: str, really: bool) -> None:
        flight = self.flight
        if not really:
            return
        assert flight is not None
        assert isinstance(flight.wish, Request)
        if flight.cut or not self.device.reachable:
            self._answer_now()
        else:
            self._deliver(flight.wish, REFUSALS[name])

    @precondition(lambda self: self.flight is not None and isinstance(self.flight.wish, Request))
    @rule()
    def loses_the_answer(self) -> None:
        flight = self.flight
        assert flight is not None
        assert isinstance(flight.wish, Request)
        if not (flight.cut or not self.device.reachable):
            self._serve(flight.wish)
            flight.cut = True
        self._answer_now()

    @rule()
    def is_killed(self) -> None:
        if self.flight is not None:
            self.flight.flow.close()
            self.flight = None
        self.bench.restart()

    # --- rules: people and nature -----------------------------------------------------------------------------------

    def _person(self, apply: Any) -> None:
        try:
            self.device.change(apply)
        except WrongPasscode:
            pass
        self.device.save()
        self.flows_now = 0
        if self.flight is not None and not self.device.reachable:
            self.flight.cut = True

    @rule(what=st.sampled_from(PEOPLE))
    def someone(self, what: str) -> None:
        state, persona = self.device.state, self.device.persona
        match what:
            case "takes the network away" | "brings the network back":
                self._person(lambda work: set_network(work, up=what.startswith("brings")))
            case "switches on" if state.power == "off":
                self._person(switch_on)
            case "switches off" if state.power == "on":
                self._person(lambda work: shut_down(work, why="user"))
            case "locks":
                self._person(lambda work: lock_screen(work, by="user"))
            case "unlocks":
                self._person(lambda work: unlock_screen(work, work.state.passcode))
            case "types a wrong passcode":
                self._person(lambda work: unlock_screen(work, "0"))
            case "sets a passcode" | "removes the passcode" if persona.platform != "tvos" and state.present:
                self._person(lambda work: set_passcode(work, PASSCODE if what.startswith("sets") else ""))
            case "lets it nap" | "wakes it" if persona.is_mac and state.present:
                self._person(lambda work: set_power_nap(work, napping=what.startswith("lets")))
            case "types the PIN":
                self._person(lambda work: enter_pin(work, PIN))
            case "types a wrong PIN":
                self._person(lambda work: enter_pin(work, "000000"))
            case "walks Setup Assistant":
                self._walk()
            case "waits for a new push token":
                self._person(renew_push_token)

    def _walk(self) -> None:
        if self.device.state.setup == "welcome" and self.device.state.present and self.flight is None:
            self._person(lambda work: leave_welcome(work, "done", why="someone"))

    @precondition(lambda self: self.flight is None and self.device.state.present)
    @precondition(lambda self: self.device.state.setup == "done")
    @rule(which=st.sampled_from(["plain", "brief", "scep", "slow", "enrollment", "enrollment/brief"]))
    def installs_by_hand(self, which: str) -> None:
        data = {
            "plain": managed_profile("test.own"),
            "brief": brief(managed_profile("test.own"), HOUR),
            "enrollment/brief": brief(self.profile(), HOUR),
            "scep": scep_profile("test.own-scep", "scep"),
            "slow": scep_profile("test.own-slow", "slow", retry_delay=600),
            "enrollment": self.profile(),
        }[which]
        self.flows_now = 0
        self._begin(install_profile(self.device, data), "install")

    @precondition(lambda self: self.flight is None and self.device.state.present)
    @rule(really=SELDOM)
    def removes_the_enrollment(self, really: bool) -> None:
        if not really:
            return
        self.flows_now = 0
        self._begin(leave(self.device, reason="user"), "removal")

    # --- rules: server, APNs, time ----------------------------------------------------------------------------------

    @rule(name=st.sampled_from(COMMANDS))
    def queues(self, name: str) -> None:
        self.queued += 1
        request_type, _, what = name.partition("/")
        keys: dict[str, dict[str, Any]] = {
            "DeviceInformation": {"Queries": ["SerialNumber"]},
            "InstallProfile": {"Payload": managed_profile()},
            "InstallProfile/brief": {"Payload": brief(managed_profile(), MINUTE)},
            "InstallProfile/scep": {"Payload": scep_profile("test.identity", "scep")},
            "InstallProfile/slow": {"Payload": scep_profile("test.slow", "slow", retry_delay=600)},
            "InstallProfile/enrollment": {"Payload": self.profile()},
            "InstallProfile/broken": {"Payload": b"junk"},
            "RemoveProfile": {"Identifier": "test.managed"},
            "RemoveProfile/enrollment": {"Identifier": "test.enrollment"},
            "ClearPasscode": {"UnlockToken": self.device.voice().unlock_token or b"none"},
            "DeviceLock": {"PIN": PIN},
            "EraseDevice": {"PIN": PIN},
        }
        self.bench.queue(request_type, uuid=f"{self.queued:03d}-{request_type}-{what}", **keys.get(name, {}))

    @precondition(lambda self: self.flight is None)
    @rule(names=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=3), exchanges=st.integers(0, 6))
    def is_asked(self, names: list[str], exchanges: int) -> None:
        """The usual course: the device is there, commands, a push, and it acts; not always to the end."""
        self._there()
        for name in names:
            self.queues(name)
        self.push()
        self.acts()
        for _ in range(exchanges):
            if self.flight is not None:
                self._answer_now()

    def _there(self) -> None:
        """Somebody brings the device back: on, past its PIN, with a network; locked or unlocked as it was."""
        self._person(lambda work: set_network(work, up=True))
        if self.device.state.pin_lock is not None:
            self._person(lambda work: enter_pin(work, PIN))
        if self.device.state.power == "off":
            self._person(switch_on)
        if self.device.state.boot_ms is not None:
            self._pass(max(0, self.device.state.boot_ms - self.bench.clock.now_ms()))
            if self.flight is None and (flow := next_flow(self.device)):
                flow.close()
        self._walk()

    @rule()
    def push(self) -> None:
        if self.device.subscriptions():
            self.bench.push()
            self.flows_now = 0
            self.owes_connect = True

    @rule()
    def foreign_push(self) -> None:
        if self.device.subscriptions():
            self.bench.push("SOMETHING-ELSE")
            self.flows_now = 0
            self.owes_connect = False  # the newest push wins, as APNs has it

    @rule()
    def ca_decides(self) -> None:
        self._decide()

    def _decide(self) -> None:
        while self.slow.transactions:
            try:
                self.slow.service.approve(self.slow.transactions.pop())
            except KeyError:
                continue

    @precondition(lambda self: self.flight is None)
    @rule(ms=st.sampled_from([1, 1000, MINUTE, 10 * MINUTE, HOUR, DAY]))
    def time_passes(self, ms: int) -> None:
        self._pass(ms)

    @precondition(lambda self: self.flight is None)
    @rule()
    def next_wake_comes(self) -> None:
        wake = self.device.next_wake_ms()
        if wake is not None:
            self._pass(max(0, wake - self.bench.clock.now_ms()))

    # --- what must always hold --------------------------------------------------------------------------------------

    @invariant()
    def no_command_is_answered_in_two_ways(self) -> None:
        if hasattr(self, "bodies"):
            assert {uuid: len(bodies) for uuid, bodies in self.bodies.items() if len(bodies) > 1} == {}
            assert {uuid: count for uuid, count in self.final_answers.items() if count > 1} == {}

    @invariant()
    def one_check_out_per_enrollment_at_most(self) -> None:
        if hasattr(self, "bench"):
            ended = self.bench.log.count("device.unenrolled") + (self.device.state.leaving is not None)
            assert self.checkouts <= ended
            assert self.bench.log.count("device.unenrolled") <= self.bench.log.count("device.profile-installed")

    @invariant()
    def a_wake_that_is_due_is_a_flow_and_a_flow_is_a_wake_that_is_due(self) -> None:
        if not hasattr(self, "bench") or self.flight is not None:
            return
        wake = self.device.next_wake_ms()
        due = wake is not None and wake <= self.bench.clock.now_ms()
        booting = self.device.state.boot_ms is not None
        flow = next_flow(self.device)
        if not booting:
            assert (flow is not None) == due, f"wake {wake}, now {self.bench.clock.now_ms()}, {flow}"
        if flow is not None:
            flow.close()

    @invariant()
    def a_not_now_said_last_waits_for_something_that_still_holds(self) -> None:
        if not hasattr(self, "bench") or self.flight is not None or not self.device.enrolled:
            return
        voice, state = self.device.voice(), self.device.state
        if voice.not_now is not None and voice.undelivered is None and state.leaving is None:
            assert stands_in_the_way(state, voice.not_now) or "connect" in voice.wakes

    @invariant()
    def what_is_not_enrolled_has_nothing_of_an_enrollment(self) -> None:
        if hasattr(self, "bench") and not self.device.enrolled:
            assert [p.identifier for p in self.device.state.profiles if p.managed] == []
            assert all(voice.undelivered is None for voice in self.device.state.channels.values())
            assert (self.device.state.leaving, self.device.registrations()) == (None, frozenset())

    # --- and in the end ---------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.settle()
            self.no_command_is_answered_in_two_ways()
            self.one_check_out_per_enrollment_at_most()
            self.what_is_not_enrolled_has_nothing_of_an_enrollment()

    def _rest(self) -> None:
        """Let the device do all it wants, for a day."""
        end = self.bench.clock.now_ms() + DAY
        while True:
            while flow := next_flow(self.device):
                self._begin(flow, "own")
                self._run_out()
            wake = self.device.next_wake_ms()
            if wake is None or wake > end:
                return
            assert wake > self.bench.clock.now_ms(), "a wake that is due brings no flow"
            self._pass(wake - self.bench.clock.now_ms())

    def settle(self) -> None:
        """Everything is put right, nobody pushes: what the device owes comes by itself, and then all the rest."""
        self._run_out()
        owed = self.device.undelivered()
        connect_owed = self.owes_connect and self.device.enrolled
        ended = self.bench.log.count("device.unenrolled")
        self._decide()
        for _ in range(20):
            self._there()
            self._person(lambda work: set_power_nap(work, napping=False))
            if self.device.state.present:
                self._person(lambda work: unlock_screen(work, work.state.passcode))
            self._decide()
            self._rest()
            if not self.device.reachable:
                continue
            assert self.device.next_wake_ms() is None
            condition = self.device.voice().not_now
            if condition is not None and stands_in_the_way(self.device.state, condition):
                continue  # a DeviceLock came first
            if self.device.enrolled:
                assert self.device.undelivered() is None
                if connect_owed and ended == self.bench.log.count("device.unenrolled"):
                    assert not self.owes_connect, "a push was heard and no connect came of it"
                if owed is not None and owed.status != "NotNow":
                    assert owed.command_uuid in self.delivered
                assert self.last_delivered is not Status.NOT_NOW, "nothing stands in the way, and yet no poll"
            left = [c.command_uuid for c in self.bench.server.queue]
            if not self.device.enrolled or not left:
                return
            owed = None
            self.bench.push()
        raise AssertionError(f"not answered in twenty sessions: {left}")


__all__ = ["Authenticate", "Life"]
