"""Every kind of message that we emit is accepted by a parser of others, and device messages equal captures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mdmsim.events import EventLog
from mdmsim.pki.keys import SharedKeys
from mdmsim.scenario.load import load
from mdmsim.scenario.runner import cases_of, run_in_process
from tests.interop.corpus import Sample, samples
from tests.interop.live_messages import Evidence, around_nanomdm, around_reference_server, courier_frames
from tests.interop.message_table import PAGE, PARSERS, ROOT, ROWS, cells, page, unlike_captures
from tests.interop.openssl import OpenSSL
from tests.interop.parsers import GO, OPENSSL, Foreign, by_go, by_openssl
from tests.interop.recorded import TakenKeys
from tests.interop.tour import scep_tour, tour


@dataclass(frozen=True)
class Gathered:
    """Every message that was sent, and what the parsers said."""

    samples: tuple[Sample, ...]
    evidence: Evidence


def played(keys: TakenKeys) -> Iterator[Sample]:
    """The messages of the stories and of the tour, all in process."""
    for case in cases_of(load([ROOT / "scenarios"])):
        log = EventLog()
        run_in_process(case, keys=keys, observers=[log])
        yield from samples(log.events, keys)
    yield from samples(tour(keys), keys)
    yield from samples(scep_tour(keys), keys)


@pytest.fixture(scope="module")
def recorded() -> tuple[Sample, ...]:
    return tuple(played(TakenKeys(SharedKeys(12))))


@pytest.fixture(scope="module")
def gathered(recorded: tuple[Sample, ...], tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    foreign = Foreign()
    openssl = OpenSSL(tmp_path_factory.mktemp("openssl"))
    evidence, live = Evidence(), list[Sample]()
    courier_frames(evidence)
    around_nanomdm(evidence, tmp_path_factory.mktemp("nanomdm"), live)
    around_reference_server(evidence, tmp_path_factory.mktemp("server"), live)
    everything = (*recorded, *live)
    for parser in GO:
        for kind, objections in by_go(foreign, parser, everything).items():
            evidence.note(kind, parser, *objections)
    for kind, objections in by_openssl(openssl, everything).items():
        evidence.note(kind, "openssl", *objections)
    return Gathered(everything, evidence)


pytestmark = pytest.mark.timeout(170)


@pytest.mark.interop
def test_every_message_is_accepted_by_every_parser_of_its_row(gathered: Gathered) -> None:
    said = gathered.evidence.said
    problems = {
        f"{row.kind} by {parser}": said.get((row.kind, parser), ["was never shown to it"])
        for row in ROWS.values()
        for parser in row.parsers
    }
    assert {where: objections[:2] for where, objections in problems.items() if objections} == {}


@pytest.mark.interop
def test_no_message_is_sent_that_has_no_row(gathered: Gathered) -> None:
    sent = {sample.kind for sample in gathered.samples} | {kind for kind, _ in gathered.evidence.said}
    assert sent - set(ROWS) == set()


@pytest.mark.interop
def test_no_parser_saw_a_message_without_standing_in_its_row(gathered: Gathered) -> None:
    missing = {(kind, parser) for kind, parser in gathered.evidence.said if parser not in ROWS[kind].parsers}
    assert missing == set()


def test_device_messages_equal_their_captures_key_for_key(recorded: tuple[Sample, ...]) -> None:
    assert unlike_captures(recorded) == []


def test_no_cell_of_the_table_is_empty() -> None:
    assert [row.kind for row in ROWS.values() if not all(cells(row))] == []


def test_every_parser_in_the_table_is_explained_and_used() -> None:
    assert {parser for row in ROWS.values() for parser in row.parsers} == set(PARSERS)


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.interop.message_table"


# ---- the parsers themselves can say no


def _damaged(sample: Sample) -> Sample:
    """The same message with one thing wrong that a parser must see."""
    if sample.form in ("checkin", "report", "command", "profile"):
        return replace(sample, data=sample.data.replace(b"</dict>", b"</dikt>", 1))
    if sample.form == "signature":
        return replace(sample, data=sample.data + b" ")
    if sample.form.startswith("header-"):
        return replace(sample, text=sample.text[:-40])
    if sample.form in ("certificates", "json"):  # nothing in these is signed as a whole
        return replace(sample, data=sample.data[:-20])
    # In requests the middle is the signer's own certificate, which vouches for nothing.
    at = len(sample.data) // (4 if sample.form.startswith("scep-") else 2)
    return replace(sample, data=sample.data[:at] + bytes([sample.data[at] ^ 0xFF]) + sample.data[at + 1 :])


def _one_of_each(samples_: tuple[Sample, ...], speaks: Callable[[str], bool]) -> dict[str, Sample]:
    return {sample.form: sample for sample in samples_ if speaks(sample.form)}


@pytest.mark.interop
@pytest.mark.parametrize("parser", GO)
def test_parser_in_go_refuses_a_damaged_message(gathered: Gathered, parser: str) -> None:
    for form, sample in _one_of_each(gathered.samples, GO[parser].__contains__).items():
        question, judge = GO[parser][form](sample)
        damaged = _damaged(sample)
        (answer,) = Foreign().ask([{**question, "Data": damaged.data, "Text": damaged.text}])
        assert not answer["ok"] or judge(answer["found"]), form


@pytest.mark.interop
def test_openssl_refuses_a_damaged_message(gathered: Gathered, tmp_path: Path) -> None:
    openssl = OpenSSL(tmp_path)
    for form, sample in _one_of_each(gathered.samples, OPENSSL.__contains__).items():
        said = by_openssl(openssl, [_damaged(sample)])
        assert said[sample.kind], form
