"""Programs written in Go by others that mdmsim is tried against, installed at test time into a cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

VERSIONS = {
    "nanomdm": "github.com/micromdm/nanomdm/cmd/nanomdm@v0.9.0",
    "h2spec": "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible",
    "scepserver": "github.com/micromdm/scep/v2/cmd/scepserver@v2.3.0",
    "scepclient": "github.com/micromdm/scep/v2/cmd/scepclient@v2.3.0",
    "deptokens": "github.com/micromdm/nanodep/cmd/deptokens@v0.7.0",
    "depserver": "github.com/micromdm/nanodep/cmd/depserver@v0.7.0",
    "depsyncer": "github.com/micromdm/nanodep/cmd/depsyncer@v0.7.0",
}

#: Folders with programs to compile.
SOURCES = {"foreign": "go", "push": "go_push"}

#: Set where a missing program must fail a test instead of skipping it (CI does where Go exists).
REQUIRED = "MDMSIM_INTEROP"


class NoGo(Exception):
    """The program cannot be had on this machine; the text says why."""


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mdmsim" / "go-programs"


def go_program(name: str) -> Path:
    """The path of an installed program; installs it first where it is missing. Raises NoGo.

    One process installs at a time; a version of its own per folder, so a changed version is installed anew.
    """
    module = VERSIONS[name]
    folder = cache_folder() / module.rpartition("@")[2]
    return _made(folder, name, ["install", module], Path.cwd())


def compiled(name: str) -> Path:
    """A program of ours that is made of others' code. Raises NoGo.

    `foreign`, in `go/` next to this file, is the parsers of others behind one pipe; `push`, in `go_push/`, their push
    clients. Kept in a folder named for its sources, so a changed source is compiled anew.
    """
    source = Path(__file__).parent / SOURCES[name]
    return built(name, source)


def built(name: str, source: Path) -> Path:
    """The Go program whose module is that folder. Raises NoGo."""
    files = sorted(file for file in source.iterdir() if file.suffix in (".go", ".mod", ".sum"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    folder = cache_folder() / f"{name}-{digest.hexdigest()[:16]}"
    return _made(folder, name, ["build", "-o", str(folder / name), "."], source)


def _made(folder: Path, name: str, arguments: list[str], directory: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        raise NoGo(f"{name} needs Go to be installed: there is no `go` on the path")
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
            done = subprocess.run(
                [go, *arguments], env=environment, cwd=directory, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise NoGo(f"go {' '.join(arguments)} failed: {done.stderr.strip().splitlines()[-1:]}")
    return program
