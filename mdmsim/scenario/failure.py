"""A bad case in six lines: which, what was expected, what was seen, where, the exchange that proves it, how to replay."""

from __future__ import annotations

from mdmsim.printable import printable
from mdmsim.report.document import learned
from mdmsim.report.model import Case


def failure_text(case: Case) -> str:
    """The lines for people, secrets masked; lines with nothing to say are left out."""
    redactor, exchanges = learned(case)
    step = case.failed_step
    device = _device(case)
    parts = (device, f'step "{step.title}"' if step is not None else None, case.where)
    rows = [
        ("expected", case.expected),
        ("seen", case.observed),
        ("where", ", ".join(part for part in parts if part)),
    ]
    if case.proof is not None:
        proof = exchanges[case.proof]
        came = proof["status"] if proof["status"] is not None else proof["error_class"] or "no answer"
        rows.append(("exchange", f"{proof['label']} → {came} ({proof['method']} {proof['url']})"))
    rows.append(("replay", case.replay))
    lines = [printable(f"{case.grade.mark} {case.id}  {redactor.text(case.title)}")]
    lines.extend(f"  {name:<9} {printable(' '.join(redactor.text(value).split()))}" for name, value in rows if value)
    return "\n".join(lines)


def _device(case: Case) -> str | None:
    """The device of the exchange that proves the verdict, else the story's first."""
    if case.proof is not None:
        named = case.events[case.exchanges[case.proof]].device
        if named is not None:
            return named
    return next(iter(case.devices), None)
