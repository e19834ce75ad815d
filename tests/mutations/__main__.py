"""`python -m tests.mutations [WORD...]`: plant each defect and see it caught; only those whose name holds a word.

A mutation counts as caught only if the story or test that it names passes without it and fails with it (an error or a
crash is no verdict), for the reason that is named. Each runs in a process of its own, forked from this one, which has
imported the libraries but nothing of this project.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.mutations.apns import MUTATIONS as APNS
from tests.mutations.cms import MUTATIONS as CMS
from tests.mutations.dep import MUTATIONS as DEP
from tests.mutations.device import MUTATIONS as DEVICE
from tests.mutations.device_rules import MUTATIONS as DEVICE_RULES
from tests.mutations.engine import MUTATIONS as ENGINE
from tests.mutations.mutation import ROOT, Mutation, Mutator, is_test
from tests.mutations.processes import forked
from tests.mutations.profiles import MUTATIONS as PROFILES
from tests.mutations.scep import MUTATIONS as SCEP
from tests.mutations.server import MUTATIONS as SERVER

MUTATIONS: tuple[Mutation, ...] = (*DEVICE, *DEVICE_RULES, *PROFILES, *ENGINE, *SERVER, *SCEP, *CMS, *APNS, *DEP)

#: Imported once, before processes are forked. None of them imports anything of this project.
LIBRARIES = ("asn1crypto.cms", "cryptography.x509", "h2.connection", "httpx", "hypothesis", "msgspec", "trio", "yaml")

#: How many RSA keys processes find ready made: they take most of the time otherwise.
KEYS = 40


@dataclass(frozen=True)
class Verdict:
    """How a story or test ended: `passed`, `failed`, or something that is no verdict. `told`: what shows it."""

    grade: str
    told: str = ""
    details: str = ""


@dataclass
class _Watcher:
    """A pytest plugin that notes how each test ended, by its node id."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        text = report.longreprtext.strip()
        if report.when == "call":
            where = f"{report.nodeid} {text.rpartition(chr(10))[2]}"
            self.verdicts[report.nodeid] = Verdict(report.outcome, text, where)
        elif report.failed:
            self.verdicts[report.nodeid] = Verdict("error", text, text[-300:])


def play(case_id: str) -> Verdict:
    """How a case of `scenarios/` ends; `told` is the title of the step that failed."""
    from mdmsim.pki.keys import SharedKeys
    from mdmsim.scenario.load import load
    from mdmsim.scenario.runner import cases_of, run_in_process

    [case] = [case for case in cases_of(load([ROOT / "scenarios"])) if case.id == case_id]
    result = run_in_process(case, keys=SharedKeys(20))
    failed = [step for step in result.steps if step.grade != "passed"]
    details = f"{result.where} expected {result.expected}; saw {result.observed}"
    return Verdict(str(result.grade), failed[0].title if failed else "", details)


def check(tests: Sequence[str], *, first: bool = False) -> dict[str, Verdict]:
    """How pytest tests or files of tests end; one that holds several by the first that does not pass (`first`: stop there)."""
    watcher = _Watcher()
    names = [str(ROOT / test) for test in tests]
    pytest.main(
        [*names, *(["-x"] if first else []), "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"], plugins=[watcher]
    )
    found: dict[str, Verdict] = {}
    for test in tests:
        ended = [verdict for node, verdict in watcher.verdicts.items() if node.startswith(test)]
        bad = [verdict for verdict in ended if verdict.grade != "passed"]
        found[test] = (bad or ended or [Verdict("not run")])[0]
    return found


#: What one process does: stories or tests of one file, with a mutation or without.
Job = tuple[tuple[str, ...], Mutation | None]


def run(job: Job) -> dict[str, Verdict]:
    """In a process of its own."""
    names, mutation = job
    if mutation is not None:
        sys.meta_path.insert(0, Mutator(mutation))
    return check(names, first=mutation is not None) if is_test(names[0]) else {name: play(name) for name in names}


def _file_of(name: str) -> str:
    return name.partition("::" if is_test(name) else "/")[0]


def clean_jobs(names: Iterable[str]) -> Iterator[Job]:
    """Everything that mutations name, without any mutation, by file or story."""
    for _, together in itertools.groupby(sorted(set(names)), key=_file_of):
        yield tuple(together), None


def problem_of(mutation: Mutation, verdict: Verdict | None) -> str | None:
    """Why the mutation does not count as caught; None if it does."""
    if verdict is None:
        return f"{mutation.by} crashed or hung"
    if verdict.grade != "failed":
        return f"{mutation.by} is {verdict.grade}, not failed: {verdict.details}"
    if mutation.at not in verdict.told:
        return f"{mutation.by} fails, but not at {mutation.at!r}: {verdict.told[-300:]!r} ({verdict.details})"
    return None


def judged(mutations: Sequence[Mutation]) -> Iterator[tuple[Mutation, str, bool]]:
    """Every mutation as soon as it is known what became of it: what is told of it, and whether it was caught."""
    planted = []
    for mutation in mutations:
        times = mutation.path.read_text().count(mutation.old)
        if times == 1:
            planted.append(mutation)
        else:
            yield mutation, f"its text stands {times} times in {mutation.module}, not once", False
    clean: dict[str, Verdict] = {}
    waiting: dict[Mutation, Verdict | None] = {}
    jobs: list[Job] = [*clean_jobs(m.by for m in planted), *(((m.by,), m) for m in planted)]
    for (names, found), verdicts in forked(jobs, run, at_once=os.cpu_count() or 1):
        if found is None:
            clean.update(verdicts or dict.fromkeys(names, Verdict("crashed or hung")))
        else:
            waiting[found] = verdicts[found.by] if verdicts else None
        for mutation in [each for each in waiting if each.by in clean]:
            verdict, before = waiting.pop(mutation), clean[mutation.by]
            if before.grade != "passed":
                yield mutation, f"{mutation.by} is {before.grade} without it: {before.details}", False
            else:
                why = problem_of(mutation, verdict)
                yield mutation, why or (verdict.details if verdict else ""), why is None


def prepare() -> None:
    """Import the libraries and make the keys that every process would have to make again."""
    for library in LIBRARIES:
        importlib.import_module(library)
    make = rsa.generate_private_key
    ready = [make(public_exponent=65537, key_size=2048) for _ in range(KEYS)]
    numbers = itertools.count()

    def ready_made(public_exponent: int, key_size: int, backend: Any = None) -> rsa.RSAPrivateKey:
        number = next(numbers)
        fits = (public_exponent, key_size) == (65537, 2048) and number < KEYS
        return ready[number] if fits else make(public_exponent, key_size)

    rsa.generate_private_key = ready_made


def main(words: Sequence[str]) -> int:
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    prepare()
    missed = 0
    for mutation, told, caught in judged(chosen):
        missed += not caught
        print(f"{'caught  ' if caught else 'MISSED  '} {mutation.name}\n         {told}", flush=True)
    print(f"{len(chosen) - missed} passed, {missed} failed")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
