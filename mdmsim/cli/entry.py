"""From the words of a command line to an exit code, whatever happens in between."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mdmsim.cli.exits import INTERRUPTED, MISTAKE, NOT_CARRIED_OUT, Interrupted
from mdmsim.printable import printable_lines

#: Set to 1 for tracebacks.
DEBUG = "MDMSIM_DEBUG"


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's); the exit code. Raises nothing but with MDMSIM_DEBUG=1."""
    try:
        code = _run(arguments)
        # typer turns a KeyboardInterrupt into this code by itself, without a word.
        return _interrupted(code) if code == INTERRUPTED else code
    except Interrupted as interrupted:
        return _interrupted(interrupted.code)
    except KeyboardInterrupt:
        return _interrupted(INTERRUPTED)
    except BaseException as error:
        if os.environ.get(DEBUG) == "1":
            raise
        return _failed(error)


def _run(arguments: Sequence[str] | None) -> int:
    import typer

    from mdmsim.cli.app import app
    from mdmsim.cli.usage import usage_text

    # typer carries a click of its own in newer versions: its base class is found, not imported.
    bases = (kind for kind in typer.BadParameter.__mro__ if issubclass(kind, Exception))
    usage = next(kind for kind in bases if kind.__name__ == "ClickException")
    try:
        code = app(list(arguments) if arguments is not None else None, prog_name="mdmsim", standalone_mode=False)
    except usage as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "mdmsim"
        text = usage_text(error)
        if type(error).__name__ == "NoArgsIsHelpError":
            return _say(text, MISTAKE)
        end = "" if text.endswith(("?", ".")) else "."
        return _say(f"{command}: {text}{end} See {command} --help", MISTAKE)
    return code if isinstance(code, int) else 0


def _interrupted(code: int) -> int:
    if code == INTERRUPTED:
        _say("interrupted", code)
    return code


def _failed(error: BaseException) -> int:
    from mdmsim.cli.failures import explain, leaves

    if any(isinstance(leaf, BrokenPipeError) for leaf in leaves(error)):
        # Whoever read the output has seen enough; what is still buffered must not fail at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    known = explain(error)
    if known is not None:
        return _interrupted(known[1]) if known[1] == INTERRUPTED else _say(*known)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else NOT_CARRIED_OUT
    cause = next(leaves(error))
    return _say(
        f"a bug in mdmsim: {type(cause).__name__}: {cause}. {DEBUG}=1 before the command shows where", NOT_CARRIED_OUT
    )


def _say(message: str, code: int) -> int:
    try:
        sys.stdout.flush()
        sys.stderr.write(f"{printable_lines(message)}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody is left to be told, the exit code remains
    return code
