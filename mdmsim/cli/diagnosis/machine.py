"""Checks of the machine: Python, packages, programs, files, network, clock. None of them leaves this machine."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import sys
from importlib import metadata
from pathlib import Path

from mdmsim.cli.diagnosis.finding import Check, Finding, advice, good, missing
from mdmsim.clock import DAY, Clock, iso
from mdmsim.pki.key_pool import KeyPool

PYTHON = (3, 11)
#: TLS 1.3 and what the client certificates need.
OPENSSL = (1, 1, 1)
#: Open files that a few thousand devices and their server need.
FILES = 4096
#: Keys in the pool below which enrolling a few devices waits for keys.
KEYS = 20


def checks(clock: Clock, pool: KeyPool | None = None) -> tuple[Check, ...]:
    """All of them, in the order in which they are told. `pool`: the user's by default."""
    keys = pool or KeyPool()
    return (
        Check("python", lambda: python(sys.version_info[:3])),
        Check("packages", packages),
        Check("tls", lambda: tls(ssl.OPENSSL_VERSION_INFO[:3], ssl.OPENSSL_VERSION)),
        Check("cache", lambda: cache(keys.directory)),
        Check("loopback", loopback),
        Check("clock", lambda: clock_sanity(clock)),
        Check("key-pool", lambda: key_pool(keys)),
        Check("open-files", open_files),
        Check("locust", locust),
        Check("openssl", lambda: program("openssl", "interop tests read what mdmsim signs with it")),
        Check("chromium", lambda: chromium(os.environ.get("MDMSIM_CHROMIUM"))),
        Check("go", lambda: program("go", "interop tests build NanoMDM and scepserver with it")),
    )


def python(version: tuple[int, ...]) -> Finding:
    said = ".".join(map(str, version))
    if version[:2] < PYTHON:
        return missing(said, f"install Python {PYTHON[0]}.{PYTHON[1]} or newer")
    return good(said)


def packages(name: str = "mdmsim") -> Finding:
    """Whether everything that the package asks for is installed, in a version that it can use."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires(name) or ()]
    except metadata.PackageNotFoundError:
        return advice(f"{name} runs from a folder", "pip install -e . in it, so that pytest finds its plugin")
    bad: list[str] = []
    needed = [asked for asked in wanted if asked.marker is None or asked.marker.evaluate({"extra": ""})]
    for asked in needed:
        try:
            version = metadata.version(asked.name)
        except metadata.PackageNotFoundError:
            bad.append(f"{asked.name} is not there")
            continue
        if not asked.specifier.contains(version, prereleases=True):
            bad.append(f"{asked.name} {version} is not {asked.specifier}")
    if bad:
        return missing(
            "; ".join(bad), "pip install -c constraints.txt -e . in the source folder, or install mdmsim again"
        )
    return good(f"all {len(needed)} are there")


def tls(version: tuple[int, ...], said: str) -> Finding:
    if version < OPENSSL:
        return missing(said, "use a Python that is built with OpenSSL 1.1.1 or newer")
    return good(said)


def cache(directory: Path) -> Finding:
    """Whether keys can be kept between runs."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return missing(f"{place} cannot be written to", "make it writable, or set XDG_CACHE_HOME to a folder that is")
    if place == directory and directory.stat().st_mode & 0o077:
        return advice(f"{directory} can be read by others", f"chmod 700 {directory}: it holds private keys")
    return good(str(directory))


def key_pool(pool: KeyPool) -> Finding:
    ready = pool.available()
    said = f"{ready} keys, enough for {ready // 2} enrollments"
    return good(said) if ready >= KEYS else advice(said, "mdmsim keys --count 200 makes enrolling quick")


def open_files() -> Finding:
    try:
        import resource
    except ImportError:  # Windows
        return advice("unknown", "see the limits of this system before a load test")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        return good(f"{'unlimited' if soft == resource.RLIM_INFINITY else soft} at a time")
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    return advice(f"{soft} at a time", f"ulimit -n {most} before a load test: every device has a connection")


def loopback(host: str = "127.0.0.1") -> Finding:
    """Whether servers can be started and reached on this machine."""
    try:
        with socket.create_server((host, 0)) as listener:
            address = listener.getsockname()
            with socket.create_connection(address, timeout=5):
                pass
    except OSError as error:
        return missing(
            f"{host}: {(error.strerror or str(error)).lower()}",
            "bring up the loopback interface, and let programs listen on it",
        )
    return good(f"{host} listens and answers on a free port")


def clock_sanity(clock: Clock, package: Path | None = None) -> Finding:
    """Whether the clock is later than the files of mdmsim itself: certificates are judged by it."""
    file = package or Path(__file__)
    now, written = clock.now_ms(), file.stat().st_mtime_ns // 1_000_000
    if now < written - DAY:
        return missing(
            f"{iso(now)}, which is before mdmsim was installed",
            "set the clock: certificates that are made now would not be valid anywhere else",
        )
    return good(iso(now))


def locust() -> Finding:
    # Looked up, not imported: importing Locust changes the whole process.
    try:
        return good(metadata.version("locust"))
    except metadata.PackageNotFoundError:
        return advice("not installed", 'pip install "mdmsim[load]" for mdmsim load')


def program(name: str, purpose: str) -> Finding:
    found = shutil.which(name)
    return good(found) if found else advice("not found", f"install {name}: {purpose}")


def chromium(named: str | None) -> Finding:
    """The browser of the browser tests, found as they find it."""
    found = named or shutil.which("chromium")
    if found is None or not Path(found).exists():
        return advice(
            f"{found} is not there" if found else "not found",
            "apt install chromium, or set MDMSIM_CHROMIUM: browser tests look at report and pages with it",
        )
    return good(found)
