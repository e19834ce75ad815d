"""Small lies in the device, each of which must turn a story red at the expectation that it names.

    python -m tests.mutations [NAME...]

Each mutation removes one change of state or one check from the source, in a process of its own. A mutation counts as
caught only if the story fails (an error or a crash is no verdict) and fails at the step that is named here; and the
story must pass without it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Mutation:
    """`old` stands once in `module`'s source and becomes `new`; `case` then fails at a step whose title holds `at`."""

    name: str
    module: str
    old: str
    new: str
    case: str
    at: str


MUTATIONS = (
    Mutation(
        "an iPhone acknowledges DeviceLock and stays open",
        "mdmsim.device.locking",
        "    work.state.screen_locked = True\n    work.state.lock_message",
        "    work.state.lock_message",
        "lock/message-and-number[ios]",
        "phone shows {locked: true",
    ),
    Mutation(
        "a Mac acknowledges DeviceLock and goes on without its PIN",
        "mdmsim.device.locking",
        "    work.state.pin_lock = lock\n",
        "",
        "lock/intel-mac-pin[mac-intel]",
        'mac shows {power: "off", behind_pin: true',
    ),
    Mutation(
        "any PIN opens a Mac",
        "mdmsim.device.locking",
        "    if pin != lock.pin:\n",
        "    if False:\n",
        "lock/intel-mac-pin[mac-intel]",
        "someone types a wrong PIN",
    ),
    Mutation(
        "any passcode opens an iPhone",
        "mdmsim.device.locking",
        "    if state.passcode and passcode != state.passcode:\n",
        "    if False:\n",
        "lock/message-and-number[ios]",
        "a wrong passcode",
    ),
    Mutation(
        "an unlocked iPhone does not poll after its NotNow",
        "mdmsim.device.locking",
        '    poll_after(work, "locked", "first-unlock")\n    if was_first',
        "    if was_first",
        "lock/not-now-comes-back[ios]",
        "phone sends connect:Idle",
    ),
    Mutation(
        "a locked iPhone carries out what needs its passcode",
        "mdmsim.device.commands.not_now",
        "    if state.screen_locked and request_type in WHILE_LOCKED_ON_IOS:\n",
        "    if False:\n",
        "lock/message-and-number[ios]",
        "SecurityInfo is answered NotNow",
    ),
    Mutation(
        "a Mac in Power Nap carries out everything",
        "mdmsim.device.commands.not_now",
        'return "power-nap" if state.power_nap and',
        'return "power-nap" if False and',
        "lock/power-nap[mac-silicon]",
        "InstallProfile is answered NotNow",
    ),
    Mutation(
        "a 401 is only an error",
        "mdmsim.device.flows.server",
        "    if response.status == 401 or (",
        "    if (",
        "401-unenroll/removed-by-the-administrator[ios]",
        'device.unenrolled {reason: "refused"',
    ),
    Mutation(
        "a plain 403 ends the enrollment",
        "mdmsim.device.flows.server",
        "response.status == 403 and _disowned(device, response)",
        "response.status == 403",
        "401-unenroll/plain-403-404-410-500[macos]",
        "403 at request 1",
    ),
    Mutation(
        "managed profiles outlive the enrollment",
        "mdmsim.device.profiles.store",
        "        if installed.managed and installed.identifier != enrollment.profile:\n",
        "        if False:\n",
        "401-unenroll/removed-by-the-administrator[macos]",
        'profiles: ["com.example.personal"]',
    ),
    Mutation(
        "an installed profile never removes itself",
        "mdmsim.device.profiles.store",
        "            removal_ms=removal_ms(plan.profile, work.now_ms),\n",
        "",
        "removal/duration[ios]",
        "device.profile-removed",
    ),
    Mutation(
        "a replaced profile keeps the old date",
        "mdmsim.device.profiles.store",
        "            removal_ms=removal_ms(plan.profile, work.now_ms),\n",
        "            removal_ms=removal_ms(plan.profile, work.now_ms - 43_200_000 * replaced),\n",
        "removal/replaced-in-time[macos]",
        "ask device: ProfileList",
    ),
    Mutation(
        "a profile whose date has passed is installed",
        "mdmsim.device.profiles.plan",
        "    if removal is None or removal > now_ms:",
        "    if True:",
        "removal/date-has-passed[ios]",
        "on ios and ipados and tvos",
    ),
    Mutation(
        "an enrollment profile outlives its time",
        "mdmsim.device.profiles.store",
        "            removal_ms=removal_ms(plan.profile, work.now_ms),\n",
        "            removal_ms=removal_ms(plan.profile, work.now_ms) if enrollment is None else None,\n",
        "removal/enrollment[macos]",
        "device.unenrolled",
    ),
    Mutation(
        "the enrollment profile is removed only with the right to remove profiles",
        "mdmsim.device.commands.availability",
        "AccessRights.INSTALL_PROFILES if ends",
        "AccessRights(0) if ends",
        "removal/without-the-right[tvos]",
        "own is answered Acknowledged",
    ),
    Mutation(
        "an unknown push magic wakes the device",
        "mdmsim.device.flows.wake",
        "        problem = None if magic == device.voice(channel).push_magic else",
        "        problem = None if True else",
        "enrollment/push-of-another-enrollment[ios]",
        "device stays silent",
    ),
    Mutation(
        "a malformed topic is installed",
        "mdmsim.device.profiles.plan",
        "    if not mdm.topic.startswith(TOPIC_PREFIX) or len(mdm.topic) == len(TOPIC_PREFIX):\n",
        "    if False:\n",
        "enrollment/malformed-topic[ios]",
        "device cannot enrol",
    ),
    Mutation(
        "a lost TokenUpdate is forgotten",
        "mdmsim.device.device",
        "        voice.wakes[reason] = self.now_ms + wait\n",
        "",
        "enrollment/lost-tokenupdate[ios]",
        "device sends checkin:TokenUpdate, 3 times",
    ),
    Mutation(
        "RemoveProfile is acknowledged and does nothing",
        "mdmsim.device.commands.profiles",
        '    remove_stored(work, identifier, why="command")\n',
        "",
        "enrollment/managed-profile[ios]",
        "ProfileList",
    ),
    Mutation(
        "a restart is acknowledged and does not happen",
        "mdmsim.device.power",
        '    work.state.power = "restarting"\n    work.state.boot_ms = work.now_ms + work.behaviour',
        "    work.state.boot_ms = work.now_ms + work.behaviour",
        "lock/restart[mac-silicon]",
        'device shows {power: "restarting"}',
    ),
    Mutation(
        "profiles outlive an erase",
        "mdmsim.device.erase",
        "    state.profiles, state.keychain = [], []\n",
        "    state.keychain = []\n",
        "wipe/erase[ios]",
        "device shows {enrolled: false, profiles: []",
    ),
    Mutation(
        "apps outlive an erase",
        "mdmsim.device.erase",
        "    state.apps = apps_of(work.persona, work.draw(), fresh=True)\n",
        "",
        "wipe/erase[tvos]",
        "user_apps: 0",
    ),
    Mutation(
        "EraseDevice is acknowledged and does nothing",
        "mdmsim.device.commands.erase",
        '    work.state.erasing = how\n    after_report(work, "erase")\n',
        "    work.state.erasing = how\n",
        "wipe/automated[macos]",
        "device shows {enrolled: false",
    ),
    Mutation(
        "an erase waits until its answer gets through",
        "mdmsim.device.flows.connect",
        "        if error.sent or device.voice(channel).after_report == ERASE:\n",
        "        if error.sent:\n",
        "wipe/answer-lost[tvos]",
        "device: device.erased",
    ),
    Mutation(
        "an old Mac erased with a PIN starts without it",
        "mdmsim.device.commands.erase",
        '        return Erasure(method="obliterate", pin=pin)\n',
        '        return Erasure(method="obliterate")\n',
        "wipe/intel-mac-pin[mac-intel]",
        "behind_pin: true",
    ),
    Mutation(
        "DoNotObliterate obliterates",
        "mdmsim.device.commands.erase",
        '    if behavior == "DoNotObliterate":\n',
        "    if False:\n",
        "wipe/obliteration-behavior[mac-silicon]",
        "ask careful: ProfileList",
    ),
    Mutation(
        "nobody comes back by auto advance",
        "mdmsim.device.flows.automated",
        "(service is not None or configuration.auto_advance_setup):\n",
        "service is not None:\n",
        "wipe/auto-advance[tvos]",
        "by itself",
    ),
    Mutation(
        "any unlock token opens an iPhone",
        "mdmsim.device.commands.passcode",
        "    if not own or not hmac.compare_digest(token, own):\n",
        "    if not own:\n",
        "wipe/clear-passcode[ios]",
        "with-another-phones is answered Error",
    ),
    Mutation(
        "apps open although the hour has passed",
        "mdmsim.device.locking",
        "    return deadline is None or work.now_ms < deadline\n",
        "    return True\n",
        "wipe/passcode-within-the-hour[ios]",
        "phone shows {apps_open: false}",
    ),
    Mutation(
        "a restored device keeps quiet about its new push token",
        "mdmsim.device.backup",
        "        renew_push_token(work)\n",
        "",
        "restore/same-device[ios]",
        "device sends checkin:TokenUpdate answered 200",
    ),
    Mutation(
        "management moves to another device with a backup",
        "mdmsim.device.backup",
        "    managed = same and with_management and",
        "    managed = with_management and",
        "restore/other-device[ios]",
        "device.restored {same_device: false, management: false}",
    ),
    Mutation(
        "a backup takes a device of the organisation out of its new enrollment",
        "mdmsim.device.flows.automated",
        "with_management=not enrolled)",
        "with_management=True)",
        "restore/automated[tvos]",
        "device.restored {same_device: true, management: false}",
    ),
    Mutation(
        "users may remove what automated enrollment installed",
        "mdmsim.device.flows.install",
        "        removable=automated.removable if automated else",
        "        removable=True if automated else",
        "automated-enrollment/out-of-the-box[ios]",
        "removable: false",
    ),
    Mutation(
        "a device in Setup Assistant is not held",
        "mdmsim.device.flows.install",
        "        awaiting=automated.awaits if automated else",
        "        awaiting=False if automated else",
        "automated-enrollment/out-of-the-box[macos]",
        "and the device is held",
    ),
    Mutation(
        "DeviceConfigured is acknowledged and releases nobody",
        "mdmsim.device.commands.configured",
        "    work.state.enrollment = msgspec.structs.replace(enrollment, awaiting=False)\n",
        "",
        "automated-enrollment/awaiting-configuration[ios]",
        "awaiting_configuration: false",
    ),
    Mutation(
        "a renewed enrollment goes on with its old certificate",
        "mdmsim.device.flows.install",
        "        identity=identities[mdm.identity_certificate_uuid],\n",
        "        identity=before.identity if before else identities[mdm.identity_certificate_uuid],\n",
        "replacement/renewal[ios]",
        "a new identity",
    ),
    Mutation(
        "a renewal that fails at Authenticate is stored",
        "mdmsim.device.flows.install",
        "        raise _checkin_failed(device, plan, str(refusal), refused=refusal.response.status == 401) from refusal\n",
        "        pass\n",
        "replacement/failed-once[ios]",
        "first-try is answered Error",
    ),
)


class _Mutator(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Loads one module with one change in its source, and everything else as it is."""

    def __init__(self, mutation: Mutation) -> None:
        self._mutation = mutation
        path = ROOT / (mutation.module.replace(".", "/") + ".py")
        importlib.machinery.SourceFileLoader.__init__(self, mutation.module, str(path))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._mutation.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text()
        if source.count(self._mutation.old) != 1:
            raise SystemExit(
                f'"{self._mutation.name}": its text stands {source.count(self._mutation.old)} times, not once'
            )
        return compile(source.replace(self._mutation.old, self._mutation.new), self.path, "exec")


def play(name: str, *, mutated: bool) -> dict[str, object]:
    """In a process of its own: play the case, with or without the mutation, and say how it ended."""
    mutation = next(m for m in MUTATIONS if m.name == name)
    if mutated:
        sys.meta_path.insert(0, _Mutator(mutation))
    from mdmsim.pki.keys import SharedKeys
    from mdmsim.scenario.load import load
    from mdmsim.scenario.runner import cases_of, run_in_process

    [case] = [case for case in cases_of(load([ROOT / "scenarios"])) if case.id == mutation.case]
    result = run_in_process(case, keys=SharedKeys(20))
    failed = [step for step in result.steps if step.grade != "passed"]
    return {
        "grade": str(result.grade),
        "step": failed[0].title if failed else None,
        "where": result.where,
        "expected": result.expected,
        "observed": result.observed,
    }


def outcome(mutation: Mutation, *, mutated: bool) -> dict[str, object]:
    arguments = [
        sys.executable,
        "-m",
        "tests.mutations",
        "--play",
        mutation.name,
        "--mutated" if mutated else "--clean",
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        return {"grade": "crash", "step": None, "observed": (done.stdout + done.stderr).strip()[-400:]}
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def check(mutation: Mutation) -> str | None:
    """Why the mutation does not count as caught; None if it does."""
    clean = outcome(mutation, mutated=False)
    if clean["grade"] != "passed":
        return f"{mutation.case} does not pass without it: {clean}"
    found = outcome(mutation, mutated=True)
    if found["grade"] != "failed":
        return f"{mutation.case} is {found['grade']}, not failed: {found.get('observed')}"
    if mutation.at not in str(found["step"]):
        return f"{mutation.case} fails at {found['step']!r} ({found['where']}), not at {mutation.at!r}"
    print(f"caught   {mutation.name}\n         {found['where']} expected {found['expected']}; saw {found['observed']}")
    return None


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["--play"]:
        print(json.dumps(play(arguments[1], mutated=arguments[2] == "--mutated")))
        return 0
    chosen = [m for m in MUTATIONS if not arguments or m.name in arguments]
    missed = {m.name: why for m in chosen if (why := check(m)) is not None}
    for name, why in missed.items():
        print(f"MISSED   {name}\n         {why}")
    print(f"{len(chosen) - len(missed)} passed, {len(missed)} failed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
