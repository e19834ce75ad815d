"""`python -m benchmarks [NAME...] [--json FILE]`: run them all, or those named, and print a table."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure

NAMES = ("connect", "push", "push_store", "wake", "dep", "enrollment", "load", "server", "world", "automated")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all when none is named")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as a JSON list")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        print(f'no benchmark "{unknown[0]}": there are {", ".join(NAMES)}', file=sys.stderr)
        return 2
    figures: list[Figure] = []
    for name in options.names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures.extend(import_module(f"benchmarks.{name}").run())
    table = Table("benchmark", "value", "unit", "floor", "ratio", "goal", "")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.value:.3f}",
            figure.unit,
            "" if figure.floor is None else f"{figure.floor:.3f}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.goal or "",
            "" if figure.met is None else ("met" if figure.met else "MISSED"),
        )
    Console(width=120).print(table)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    return 0 if all(figure.met is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
