"""Every planted defect still stands where it is planted, and names a story or test that exists."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

import pytest

from mdmsim.scenario.load import load
from mdmsim.scenario.runner import cases_of
from tests.mutations.__main__ import MUTATIONS
from tests.mutations.mutation import ROOT, Mutation, is_test
from tests.mutations.processes import forked


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_text_of_a_mutation_stands_once_in_its_module(mutation: Mutation) -> None:
    assert mutation.path.read_text().count(mutation.old) == 1


def test_no_two_mutations_have_one_name() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_mutation_names_what_exists() -> None:
    cases = {case.id for case in cases_of(load([ROOT / "scenarios"]))}
    missing = set()
    for mutation in MUTATIONS:
        file, _, test = mutation.by.partition("::")
        if not is_test(mutation.by):
            missing |= {mutation.by} - cases
        elif not (ROOT / file).is_file() or (test and test.partition("[")[0] not in functions_of(file)):
            missing.add(mutation.by)
    assert missing == set()


def crashes_at_first(flag: Path) -> str:
    if not flag.exists():
        flag.touch()
        os._exit(1)
    return "done"


def crashes_always(_: Path) -> str:
    os._exit(1)


def test_a_job_that_crashes_once_is_tried_again(tmp_path: Path) -> None:
    assert list(forked([tmp_path / "a"], crashes_at_first, at_once=2)) == [(tmp_path / "a", "done")]


def test_a_job_that_crashes_again_has_no_result(tmp_path: Path) -> None:
    assert list(forked([tmp_path], crashes_always, at_once=2)) == [(tmp_path, None)]
