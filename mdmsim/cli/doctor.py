"""`mdmsim doctor`: what this machine lacks, and what to do about it."""

from __future__ import annotations

from typing import Annotated

from mdmsim.cli.exits import FAILED, PASSED
from mdmsim.cli.options import option


def doctor(
    as_json: Annotated[bool, option("One line of JSON, and nothing else on stdout.", None, "--json")] = False,
) -> int:
    """Look at this machine: what mdmsim needs, and what would make it quicker. Nothing leaves the machine.

    Exit code 1 when something is missing that mdmsim cannot do without.
    """
    from mdmsim.cli.diagnosis.finding import MARKS
    from mdmsim.cli.diagnosis.machine import checks
    from mdmsim.cli.output import json_line, line
    from mdmsim.clock import WallClock

    every = checks(WallClock())
    width = max(len(check.name) for check in every)
    findings = []
    for check in every:
        finding = check.look()
        findings.append((check.name, finding))
        if not as_json:
            line(f"  {MARKS[finding.state]} {check.name:<{width}}  {finding.seen}")
            if finding.do:
                line(f"    {'':<{width}}  do: {finding.do}")
    lacking = [name for name, finding in findings if finding.state == "missing"]
    if as_json:
        told = [
            {"name": name, "state": finding.state, "seen": finding.seen, "do": finding.do or None}
            for name, finding in findings
        ]
        json_line({"good": not lacking, "checks": told})
    elif lacking:
        line(f"  ✗ {len(lacking)} missing: {', '.join(lacking)}")
    else:
        line("  ✓ mdmsim can run here")
    return FAILED if lacking else PASSED
