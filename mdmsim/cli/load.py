"""`mdmsim load`: a load test with Locust, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdmsim.cli.options import option

#: A copy of `mdmsim.load.options.STORE`, which is heavy to import. A test compares the two.
STORE = Path("mdmsim-load") / "devices.sqlite"


def load(
    shape: Annotated[
        str, typer.Argument(metavar="SHAPE_OR_FILE", help="ramp, push_storm, monday; or a locustfile of your own.")
    ],
    locust: Annotated[
        list[str] | None, typer.Argument(metavar="[-- LOCUST_OPTIONS]", help="Options that go to Locust as they are.")
    ] = None,
    devices: Annotated[int | None, option("How many devices (default: the shape's).", "N", min=1)] = None,
    time: Annotated[str | None, option("How long the shape's own part takes: 30s, 5m.", "TIME")] = None,
    rate: Annotated[float | None, option("How many devices come per second.", "N", min=0.01)] = None,
    every: Annotated[float | None, option("Rhythm of the shape in seconds: connects, or waves.", "S", min=0.01)] = None,
    fail_if: Annotated[
        list[str] | None,
        option('What must not be, e.g. "p99(connect:Idle)>500ms". Repeatable. Default: the shape\'s.', "EXPRESSION"),
    ] = None,
    target: Annotated[
        Path | None, option("Target file of the server to load (default: the reference server).", "FILE")
    ] = None,
    enroll: Annotated[
        str | None, option("Enrollment profile of the server to load: a file, or its URL.", "PROFILE_OR_URL")
    ] = None,
    courier: Annotated[str | None, option("HOST:PORT of the courier of its fake APNs.", "ADDRESS")] = None,
    trust: Annotated[list[Path] | None, option("PEM file of CAs that devices trust. Repeatable.", "FILE")] = None,
    allow_http: Annotated[
        bool,
        option(
            "Accept http:// to this machine as ServerURL and CheckInURL, which real devices never do.",
            None,
            "--allow-http",
        ),
    ] = False,
    allow_host: Annotated[
        list[str] | None, option("A host of Apple's that may be connected to all the same. Repeatable.", "HOST")
    ] = None,
    store: Annotated[Path, option("File that keeps enrolled devices; the server's data go beside it.", "FILE")] = STORE,
    fresh: Annotated[bool, option("New devices, whatever the store holds.", None, "--fresh")] = False,
    platforms: Annotated[
        str | None, option("ios, ipados, macos, tvos; several by commas. Default: ios.", "NAMES")
    ] = None,
    keys: Annotated[
        str | None, option('"shared": a few RSA keys for all devices (default); "pool": each its own.', "KIND")
    ] = None,
    patience: Annotated[float | None, option("Seconds to wait for late devices (default: 30).", "S", min=0)] = None,
    concurrency: Annotated[
        int | None, option("How many devices of a process enrol at the same time (default: 50).", "N", min=1)
    ] = None,
    seed: Annotated[str | None, option("The same seed makes the same new devices in an empty store.", "SEED")] = None,
    web: Annotated[
        bool, option("Locust's page, on loopback, instead of a run that begins at once.", None, "--web")
    ] = False,
) -> int:
    """A load test with Locust: did every device get it, and how late; then percentiles, and what it cost.

    Devices enrol once and stay in the store, so that the next run begins at once. Options after -- are Locust's own:
    --processes 4, --master, --worker, --csv, --html.

    Exit code 1 when a criterion was not met, 3 when the run could not be carried out, a worker was lost, or this machine
    had no open files left.
    """
    import signal

    from mdmsim.cli.exits import CommandFailed, Mistake
    from mdmsim.load.errors import LoadError
    from mdmsim.load.launch import Wishes, run

    if keys not in (None, "shared", "pool"):
        raise Mistake(f'--keys {keys}: there are "shared" and "pool".')
    wishes = Wishes(
        shape=shape,
        devices=devices,
        time=time,
        rate=rate,
        every=every,
        enroll=enroll,
        target=target,
        courier=courier,
        trust=tuple(trust or ()),
        allow_http=allow_http,
        allow_host=tuple(allow_host or ()),
        store=store,
        fresh=fresh,
        platforms=platforms,
        keys=keys,
        patience=patience,
        seed=seed,
        concurrency=concurrency,
        fail_if=tuple(fail_if or ()),
        web=web,
        locust=tuple(locust or ()),
    )
    # From here on there are servers to put down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(wishes, on_ready=_ready)
    except LoadError as error:
        failure = CommandFailed(str(error))
        failure.code = error.code
        raise failure from None


def _ready(name: str, url: str, seconds: float) -> None:
    from mdmsim.cli.output import line

    line(f"  {name:<18} {url:<27} ready in {seconds:.1f} s")
