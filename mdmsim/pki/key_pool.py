"""RSA keys made ahead of time: a folder that worker processes fill and that hands each key out once.

One file per key, mode 0600. A key is claimed by renaming its file, which succeeds for one process only, so that
several runs on one machine may share the folder. A process that dies between claim and use loses that key; no key
is ever given out twice.
"""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from mdmsim.pki.errors import MalformedKey
from mdmsim.pki.keys import FreshKeys, KeySource, check_size, load_key

_SUFFIX = ".key"
_CLAIM = ".claimed"
_NEW = ".new"

#: RSA keys that an enrollment by SCEP takes: the identity's, and the throw-away one that signs the request.
KEYS_PER_DEVICE = 2


def default_directory() -> Path:
    """The pool in the user's cache folder (XDG Base Directory)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "mdmsim" / "keys"


class KeyPool:
    """A `KeySource` over the folder; where the pool is empty, keys come from `fallback` (fresh ones by default).

    `directory`: the user's cache folder by default; made with mode 0700 when first written to. `bits`: the size
    that this pool keeps; other sizes come from the fallback.
    """

    def __init__(self, directory: Path | None = None, *, bits: int = 2048, fallback: KeySource | None = None) -> None:
        check_size(bits)
        self._directory = directory or default_directory()
        self._bits = bits
        self._fallback = fallback or FreshKeys()
        self._listed: list[str] = []

    @property
    def directory(self) -> Path:
        return self._directory

    def available(self) -> int:
        """How many keys lie ready at this moment."""
        return len(self._list())

    def _list(self) -> list[str]:
        prefix = f"rsa{self._bits}-"
        try:
            with os.scandir(self._directory) as entries:
                return [e.name for e in entries if e.name.startswith(prefix) and e.name.endswith(_SUFFIX)]
        except OSError:
            return []  # no folder yet, or not ours to read: an empty pool, and the fallback serves

    def take(self, *, bits: int = 2048) -> bytes:
        if bits == self._bits:
            # Twice: the first list may be old, and other processes faster. Not for ever: a folder that may be read
            # but not changed would list the same keys again and again.
            for _ in range(2):
                self._listed = self._listed or self._list()
                while self._listed:
                    if (key := self._claim(self._listed.pop())) is not None:
                        return key
        return self._fallback.take(bits=bits)

    def take_ec(self) -> bytes:
        return self._fallback.take_ec()

    def _claim(self, name: str) -> bytes | None:
        """The key of that file, if this process is the one that gets it and it is what it should be."""
        claimed = self._directory / f"{name}.{os.getpid()}{_CLAIM}"
        try:
            (self._directory / name).rename(claimed)
        except OSError:
            return None  # another process was faster
        try:
            found = claimed.stat(follow_symlinks=False)
            # A key that others could have read or planted is no secret.
            private = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077 and found.st_uid == os.geteuid()
            key = claimed.read_bytes() if private else b""
            claimed.unlink()
            loaded = load_key(key) if key else None
        except (OSError, MalformedKey):
            return None
        return key if isinstance(loaded, rsa.RSAPrivateKey) and loaded.key_size == self._bits else None

    def fill(self, count: int, *, workers: int = 1) -> int:
        """Bring the pool up to `count` keys and return how many were made. Blocks; about 55 ms of CPU per key."""
        before = self.available()
        with self.start_filling(count, workers=workers) as filling:
            filling.wait()
        return max(0, self.available() - before)

    def start_filling(self, count: int, *, workers: int = 1) -> Filling:
        """Begin to bring the pool up to `count` keys in that many worker processes. Raises OSError, ValueError."""
        if workers < 1:
            raise ValueError(f"{workers} worker processes: at least one is needed")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        missing = max(0, count - self.available())
        shares = [missing // workers + (number < missing % workers) for number in range(workers)]
        command = [sys.executable, "-m", "mdmsim.pki.key_pool", str(self._directory), str(self._bits)]
        return Filling([[*command, str(share)] for share in shares if share])

    def _sweep(self) -> None:
        """Remove what processes left behind that no longer run."""
        for leftover in (*self._directory.glob(f"*{_CLAIM}"), *self._directory.glob(f"*{_NEW}")):
            pid = leftover.name.split(".")[-2]
            if pid.isdigit() and not _runs(int(pid)):
                leftover.unlink(missing_ok=True)

    def put(self, key: bytes) -> None:
        """Add a key (PKCS#8 DER) to the pool, whole or not at all."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"rsa{self._bits}-{hashlib.sha256(key).hexdigest()[:32]}{_SUFFIX}"
        unfinished = self._directory / f"{name}.{os.getpid()}{_NEW}"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        unfinished.rename(self._directory / name)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class Filling:
    """Worker processes at work on a pool. As a context it stops them when left, so none outlives its user."""

    def __init__(self, commands: list[list[str]]) -> None:
        # This very package, also where it was found by other means than an installation.
        path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
        # In our process group, so that Ctrl-C in a terminal ends them, too.
        self._processes = [
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )
            for command in commands
        ]

    def __enter__(self) -> Filling:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return any(process.poll() is None for process in self._processes)

    def wait(self) -> None:
        """Until every worker has made its share."""
        for process in self._processes:
            process.wait()

    def stop(self) -> None:
        """End the workers; keys that are finished stay in the pool."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        self.wait()


def work(directory: str, bits: str, count: str) -> None:
    """What a worker process does: make that many keys, or fewer if its parent is gone."""
    pool, fresh, parent = KeyPool(Path(directory), bits=int(bits)), FreshKeys(), os.getppid()
    os.nice(5)
    for _ in range(int(count)):
        if os.getppid() != parent:
            return
        pool.put(fresh.take(bits=int(bits)))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a worker without a traceback
    try:
        work(*sys.argv[1:4])
    except OSError as problem:
        sys.exit(
            f"key pool {sys.argv[1]}: {problem.strerror}. Keys will be made when they are needed, which is slower."
        )
