"""The command `mdmsim`: thin layers over the library, one module per family of subcommands.

`main` is the console entry. Nothing heavy is imported before a command knows that it needs it.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> int:
    """Run the command line of this process; the exit code (DESIGN: 0 passed, 1 failed, 2 user, 3 not carried out, 130)."""
    try:
        from mdmsim.cli.entry import run
    except KeyboardInterrupt:
        return 130
    return run()
