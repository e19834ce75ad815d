"""The openssl command, with bytes for files."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.interop.needs import from_path


class Refused(AssertionError):
    """openssl did not accept what it was given; the text is its own."""


class OpenSSL:
    """Runs openssl in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._program = from_path("openssl")
        self._folder = folder
        self._files = 0

    def file(self, content: bytes) -> str:
        """A file with that content; its path."""
        self._files += 1
        path = self._folder / f"{self._files}"
        path.write_bytes(content)
        return str(path)

    def __call__(self, *arguments: str | bytes, input: bytes = b"", fails: bool = False) -> bytes:
        """Run a command; its standard output. Arguments that are bytes become files. Raises Refused."""
        command = [self.file(a) if isinstance(a, bytes) else a for a in arguments]
        done = subprocess.run([self._program, *command], input=input, capture_output=True, timeout=30, check=False)
        if done.returncode != 0:
            raise Refused(f"openssl {arguments[0]!r}: {done.stderr.decode(errors='replace').strip()[-400:]}")
        return done.stdout

    def session(self, *arguments: str | bytes, input: bytes) -> str:
        """`s_client`: everything it said, whatever its exit code."""
        command = [self.file(a) if isinstance(a, bytes) else a for a in arguments]
        done = subprocess.run(
            [self._program, "s_client", *command], input=input, capture_output=True, timeout=30, check=False
        )
        return (done.stdout + done.stderr).decode(errors="replace")
