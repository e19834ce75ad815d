"""Every kind of message that we emit is accepted by a parser of others, and device messages equal captures."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mdmsim.events import EventLog
from mdmsim.pki.keys import SharedKeys
from mdmsim.scenario.load import load
from mdmsim.scenario.runner import cases_of, run_in_process
from tests.interop.corpus import Sample, samples
from tests.interop.live_messages import Evidence, around_nanomdm, around_reference_server, courier_frames
from tests.interop.message_table import PAGE, PARSERS, ROOT, ROWS, cells, page, unlike_captures
from tests.interop.needs import from_go
from tests.interop.openssl import OpenSSL
from tests.interop.parsers import GO, OPENSSL, Foreign, by_go, by_openssl
from tests.interop.recorded import TakenKeys
from tests.interop.tour import TRAVELLERS, scep_tour, tour

#: Stories that send over and over what others send too, and take long about it; `pytest scenarios/` plays them.
REPEATS = ("401-unenroll/", "wipe/waits-for-someone")


def stories(keys: TakenKeys) -> Iterator[Sample]:
    """The messages of the stories, played in process."""
    for case in cases_of(load([ROOT / "scenarios"])):
        if case.id.startswith(REPEATS):
            continue
        log = EventLog()
        run_in_process(case, keys=keys, observers=[log])
        yield from samples(log.events, keys)


def on_tour(keys: TakenKeys) -> tuple[Sample, ...]:
    return (*samples(tour(keys), keys), *samples(scep_tour(keys), keys))


def shown(messages: Iterable[Sample], evidence: Evidence, openssl: OpenSSL) -> None:
    """Show messages to every parser that speaks their language."""
    messages, foreign = tuple(messages), Foreign()
    for parser in GO:
        for kind, objections in by_go(foreign, parser, messages).items():
            evidence.note(kind, parser, *objections)
    for kind, objections in by_openssl(openssl, messages).items():
        evidence.note(kind, "openssl", *objections)


# One test and no fixture: what it needs takes a quarter of a minute, and workers that share a module's tests would each
# make it anew.
@pytest.mark.interop
@pytest.mark.timeout(170)
def test_the_table_is_what_was_sent_and_accepted(tmp_path_factory: pytest.TempPathFactory) -> None:
    openssl = OpenSSL(tmp_path_factory.mktemp("openssl"))
    from_go("foreign")
    evidence, live, keys = Evidence(), list[Sample](), TakenKeys(SharedKeys(12))
    recorded = (*stories(keys), *on_tour(keys))
    courier_frames(evidence)
    around_nanomdm(evidence, tmp_path_factory.mktemp("nanomdm"), live)
    around_reference_server(evidence, tmp_path_factory.mktemp("server"), live)
    everything = (*recorded, *live)
    shown(everything, evidence, openssl)

    objections = {f"{kind} by {parser}": said[:2] for (kind, parser), said in evidence.said.items() if said}
    assert objections == {}
    assert sorted({sample.kind for sample in everything} - set(ROWS)) == [], "sent, but without a row"
    accepted = {(kind, parser) for kind, parser in evidence.said}
    promised = {(row.kind, parser) for row in ROWS.values() for parser in row.parsers}
    assert sorted(promised - accepted) == [], "in the table, but never shown to that parser"
    assert sorted(accepted - promised) == [], "accepted by a parser that the table does not name"
    assert unlike_captures(recorded) == []


def test_device_messages_equal_their_captures_key_for_key() -> None:
    assert unlike_captures(on_tour(TakenKeys(SharedKeys(12)))) == []


def test_no_cell_of_the_table_is_empty() -> None:
    assert [row.kind for row in ROWS.values() if not all(cells(row))] == []


def test_every_parser_in_the_table_is_explained_and_used() -> None:
    assert {parser for row in ROWS.values() for parser in row.parsers} == set(PARSERS)


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.interop.message_table"


# ---- the parsers themselves can say no


def _damaged(sample: Sample) -> Sample:
    """The same message with one thing wrong that a parser must see."""
    if sample.form in ("checkin", "report", "command"):
        return replace(sample, data=sample.data.replace(b"</dict>", b"</dikt>", 1))
    if sample.form == "signature":
        return replace(sample, data=sample.data + b" ")
    if sample.form == "certificates":  # nothing in it is signed as a whole
        return replace(sample, data=sample.data[:-20])
    # In requests the middle is the signer's own certificate, which vouches for nothing.
    at = len(sample.data) // (4 if sample.form.startswith("scep-") else 2)
    return replace(sample, data=sample.data[:at] + bytes([sample.data[at] ^ 0xFF]) + sample.data[at + 1 :])


def _one_of_each(languages: Container[str]) -> dict[str, Sample]:
    keys = TakenKeys(SharedKeys(12))
    sent = (*samples(tour(keys, TRAVELLERS[:1]), keys), *samples(scep_tour(keys), keys))
    return {sample.form: sample for sample in sent if sample.form in languages}


@pytest.mark.interop
@pytest.mark.parametrize("parser", [parser for parser in GO if parser != "Go"])
def test_parser_in_go_refuses_a_damaged_message(parser: str) -> None:
    from_go("foreign")
    for form, sample in _one_of_each(GO[parser]).items():
        question, judge = GO[parser][form](sample)
        damaged = _damaged(sample)
        (answer,) = Foreign().ask([{**question, "Data": damaged.data, "Text": damaged.text}])
        assert not answer["ok"] or judge(answer["found"]), form


@pytest.mark.interop
def test_openssl_refuses_a_damaged_message(tmp_path: Path) -> None:
    openssl = OpenSSL(tmp_path)
    for form, sample in _one_of_each(OPENSSL).items():
        assert by_openssl(openssl, [_damaged(sample)])[sample.kind], form
