"""Packages from npm that push clients in Node are made of, installed at test time into a cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from tests.interop.go_programs import cache_folder


class NoNode(Exception):
    """Node or its packages cannot be had on this machine; the text says why."""


def node_modules(package: Path) -> Path:
    """The folder `node_modules` for that package.json, which names exact versions. Raises NoNode.

    One process installs at a time; a folder per package.json, so a changed one is installed anew. There is no lock file:
    npm's would record where packages came from, which is each machine's own matter.
    """
    if shutil.which("node") is None:
        raise NoNode("there is no `node` on the path")
    npm = shutil.which("npm")
    if npm is None:
        raise NoNode("there is no `npm` on the path")
    text = package.read_bytes()
    folder = cache_folder().with_name("node-packages") / hashlib.sha256(text).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    done_before = folder / "installed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done_before.exists():
            (folder / "package.json").write_bytes(text)
            done = subprocess.run(
                [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise NoNode(f"npm install failed: {done.stderr.strip().splitlines()[-3:]}")
            done_before.touch()
    return folder / "node_modules"
