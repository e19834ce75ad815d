"""`report.json`: the whole run for machines. The layout is documented in `docs/report.md`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mdmsim.report.document import SCHEMA, Document, build
from mdmsim.report.model import Case, Run


def report_json(run: Run, cases: Sequence[Case]) -> str:
    """The text of `report.json`, line feed included."""
    return render_json(build(run, cases))


def render_json(document: Document) -> str:
    """The same from a document that is built already. Indented, so that two reports can be compared with `diff`."""
    whole = {"schema": SCHEMA, "run": document.run, "cases": document.cases}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
