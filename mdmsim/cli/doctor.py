"""`mdmsim doctor`: what this machine lacks, and what to do about it; with --push, where the way to a push service ends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from mdmsim.cli.diagnosis.finding import MARKS, Finding
from mdmsim.cli.exits import FAILED, PASSED, Mistake
from mdmsim.cli.options import option


def doctor(
    push: Annotated[
        str | None,
        option("Send one push to this push service, e.g. https://api.push.apple.com, and say which hop fails.", "URL"),
    ] = None,
    proxy: Annotated[
        str | None, option("With --push: the proxy to go through (default: HTTPS_PROXY's).", "URL")
    ] = None,
    certificate: Annotated[Path | None, option("With --push: the push certificate and its key, PEM.", "FILE")] = None,
    topic: Annotated[
        str | None, option("With --push: the apns-topic to send (default: none, as most MDM servers).", "TOPIC")
    ] = None,
    token: Annotated[
        str | None, option("With --push: a device's push token, hex (default: a made-up one).", "HEX")
    ] = None,
    ca: Annotated[
        Path | None, option("With --push: the CA to trust (default: SSL_CERT_FILE's, or this system's).", "FILE")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        option("With --push: a host outside that may be reached, e.g. api.push.apple.com itself. Repeatable.", "HOST"),
    ] = None,
    as_json: Annotated[bool, option("One line of JSON, and nothing else on stdout.", None, "--json")] = False,
) -> int:
    """Look at this machine: what mdmsim needs, and what would make it quicker. Nothing leaves the machine.

    With --push: send one push the way a server would, and say at which hop it ends. Nothing goes to Apple, or to any
    address outside, unless --allow-host names it.

    Exit code 1 when something is missing that mdmsim cannot do without, or a hop refuses; 3 when it cannot be reached.
    """
    if push is None:
        given = (proxy, certificate, topic, token, ca, allow_host)
        if any(given):
            raise Mistake(
                "mdmsim doctor: --proxy, --certificate, --topic, --token, --ca and --allow-host go with --push URL."
            )
        return _machine(as_json)
    return _push(push, proxy, certificate, topic, token, ca, allow_host or [], as_json)


def _machine(as_json: bool) -> int:
    from mdmsim.cli.diagnosis.machine import checks
    from mdmsim.cli.output import json_line, line
    from mdmsim.clock import WallClock

    every = checks(WallClock())
    width = max(len(check.name) for check in every)
    findings = []
    for check in every:
        finding = check.look()
        findings.append((check.name, finding))
        if not as_json:
            _line(check.name, finding, width)
    lacking = [name for name, finding in findings if finding.state == "missing"]
    if as_json:
        json_line({"good": not lacking, "checks": [_told(name, finding) for name, finding in findings]})
    elif lacking:
        line(f"  ✗ {len(lacking)} missing: {', '.join(lacking)}")
    else:
        line("  ✓ mdmsim can run here")
    return FAILED if lacking else PASSED


def _push(
    url: str,
    proxy: str | None,
    certificate: Path | None,
    topic: str | None,
    token: str | None,
    ca: Path | None,
    allowed: list[str],
    as_json: bool,
) -> int:
    from mdmsim.chance import Chance
    from mdmsim.cli.diagnosis.push import Push, hops
    from mdmsim.cli.output import json_line, line

    wish = Push(
        url,
        _token(token) if token is not None else Chance.of_machine().hex(32),
        token is None,
        proxy=proxy,
        certificate=certificate,
        topic=topic,
        ca=ca,
        allowed=frozenset(host.lower().rstrip(".") for host in allowed),
    )
    taken = []
    for hop in hops(wish):
        taken.append(hop)
        if not as_json:
            _line(hop.name, hop.finding, len("certificate"))
    failed = next((hop for hop in taken if hop.finding.state == "missing"), None)
    if as_json:
        not_tried = {"not_tried": _NOT_TRIED} if token is None and failed is None else {}
        json_line({"good": failed is None, "hops": [_told(hop.name, hop.finding) for hop in taken], **not_tried})
    elif failed is not None:
        line(f"  ✗ a push ends here: {failed.name}")
    else:
        line("  ✓ a push goes all the way" if token is not None else f"  ✓ a push goes all the way; {_NOT_TRIED}")
    return failed.code if failed is not None else PASSED


#: What a made-up token leaves open.
_NOT_TRIED = "what comes of an accepted one (answer.cut, answer.stalled and the like) was not tried: --token HEX of a device does"


def _token(text: str) -> str:
    try:
        return bytes.fromhex(text).hex()
    except ValueError:
        raise Mistake(
            "--token: not a push token. It is written in hex, as the courier and GET /tokens show it."
        ) from None


def _line(name: str, finding: Finding, width: int) -> None:
    from mdmsim.cli.output import line

    line(f"  {MARKS[finding.state]} {name:<{width}}  {finding.seen}")
    if finding.do:
        line(f"    {'':<{width}}  do: {finding.do}")


def _told(name: str, finding: Finding) -> dict[str, Any]:
    return {"name": name, "state": finding.state, "seen": finding.seen, "do": finding.do or None}
