"""The page for people: one file with everything in it, which asks nobody but this API for anything."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from mdmsim.fakeapns.admin.endpoints import MAX_BODY

_PAGE = Path(__file__).with_name("page")
#: What every page of the product shares.
_LOOK = Path(__file__).parents[2] / "report" / "page"

STYLES = (_LOOK / "look.css", _PAGE / "inside.css")
SCRIPTS = (
    _LOOK / "dom.js",
    *(
        _PAGE / f"{name}.js"
        for name in (
            "morph",
            "words",
            "api",
            "plot",
            "requests",
            "tokens",
            "overview",
            "connections",
            "faults",
            "due",
            "main",
        )
    ),
)


@cache
def page() -> bytes:
    """The HTML."""
    style, script = _style(), _script()
    return (
        (_PAGE / "inside.html")
        .read_text(encoding="utf-8")
        .replace("/*STYLE*/", style)
        .replace("/*SCRIPT*/", script)
        .encode("utf-8")
    )


@cache
def content_security_policy() -> str:
    """Nothing runs but what this page carries, and it speaks to nobody else."""
    return (
        f"default-src 'none'; style-src '{_hash(_style())}'; script-src '{_hash(_script())}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _style() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in STYLES)


def _script() -> str:
    whole = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    return f'(() => {{\n"use strict";\nconst MAX_BODY = {MAX_BODY};\n{whole}\n}})();\n'


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
