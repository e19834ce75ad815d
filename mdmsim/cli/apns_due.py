"""`mdmsim apns due`: what should have been pushed, and what became of it, asked of a fake APNs that runs."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mdmsim.cli.exits import FAILED, PASSED, CommandFailed, Mistake
from mdmsim.cli.options import option
from mdmsim.cli.words import contents
from mdmsim.printable import printable_json

if TYPE_CHECKING:
    import httpx

    from mdmsim.fakeapns.due import DueEntry, DueReport

#: Lines of the list that people see without --all.
SHOWN = 40
#: Said wherever something is told of a time that is not remembered in full. The page says the same.
FORGETFUL = "not everything since then is remembered"
_MARKS = {"never-pushed": "✗", "refused": "✗", "not-delivered": "!", "not-acted": "!", "unknown": "?", "acted": "✓"}
_SUFFIXES: dict[str, Literal["json", "csv", "yaml"]] = {".json": "json", ".csv": "csv", ".yaml": "yaml", ".yml": "yaml"}


def due(
    admin: Annotated[str, option("Admin API of the fake APNs, as it says at its start.", "URL")],
    key: Annotated[str, option("Its key.", "KEY", envvar="MDMSIM_APNS_KEY")],
    file: Annotated[
        str | None, typer.Argument(help='Due-list: JSON, CSV or YAML; "-": standard input.', metavar="FILE")
    ] = None,
    from_server: Annotated[
        str | None, option("Or the reference server's API: what is queued there and not answered is due.", "URL")
    ] = None,
    api_key: Annotated[str | None, option("The server's key.", "KEY", envvar="MDMSIM_API_KEY")] = None,
    server_ca: Annotated[Path | None, option("The CA to trust for the server, PEM.", "FILE")] = None,
    everything: Annotated[bool, option("Show what is done, too, and no matter how much.", None, "--all")] = False,
    as_json: Annotated[bool, option("The whole answer as one line of JSON.", None, "--json")] = False,
) -> int:
    """Due but missing: which devices should have been pushed to, and were not. What was never pushed stands first.

    Exit code 1 when something that is due was never pushed.
    """
    import httpx
    import msgspec

    from mdmsim.fakeapns.due import MISSING, DueReport
    from mdmsim.startup import usable_key

    usable_key(key, "--key")
    usable_key(api_key, "--api-key")
    if (file is None) == (from_server is None):
        raise Mistake("mdmsim apns due: name a due-list, or a server with --from-server. One of the two.")
    entries = _from_server(from_server, api_key, server_ca) if from_server is not None else _from_file(file or "")
    with httpx.Client(base_url=admin, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        body = {"due": [msgspec.structs.asdict(one) for one in entries]}
        answer = _call(client, "POST", "/due", "--admin", "--key", json=body)
    report = msgspec.convert(answer, DueReport)
    if as_json:
        sys.stdout.write(printable_json(msgspec.json.encode(report)).decode("utf-8") + "\n")
    else:
        _show(report, everything)
    return FAILED if any(report.counts.get(verdict) for verdict in MISSING) else PASSED


def _from_file(name: str) -> list[DueEntry]:
    from mdmsim.fakeapns.due_list import BadDueList, due_text, read_due

    data = sys.stdin.buffer.read() if name == "-" else contents(Path(name), "")
    try:
        return read_due(due_text(data, name=name), _SUFFIXES.get(Path(name).suffix.lower()), name=name)
    except BadDueList as error:
        raise Mistake(str(error)) from None


def _from_server(url: str, key: str | None, ca: Path | None) -> list[DueEntry]:
    """What the reference server has queued and got no answer to: one entry for each device, since the oldest command."""
    import httpx

    from mdmsim.fakeapns.due import DueEntry

    if key is None:
        raise Mistake(
            "mdmsim apns due: --from-server needs the server's key. Add --api-key KEY, or set MDMSIM_API_KEY."
        )
    verify: ssl.SSLContext | bool = True
    if ca is not None:
        try:
            verify = ssl.create_default_context(cafile=str(ca))
        except OSError as error:
            raise Mistake(f"--server-ca {ca}: {error.strerror or error}. Name a PEM file with the CA.") from None
    found: list[DueEntry] = []
    base = url.rstrip("/").removesuffix("/api/v1") + "/api/v1"
    with httpx.Client(base_url=base, headers={"authorization": f"Bearer {key}"}, verify=verify, timeout=60) as client:
        after: str | None = ""
        while after is not None:
            query = {"status": "enrolled", "limit": 1000, "after": after}
            page = _call(client, "GET", "/devices", "--from-server", "--api-key", params=query)
            for device in page["devices"]:
                path = f"/devices/{device['id']}/commands"
                oldest = {"state": "queued", "limit": 1}
                for one in _call(client, "GET", path, "--from-server", "--api-key", params=oldest)["commands"]:
                    what = f"{one['request_type']} {one['command_uuid']}"
                    found.append(DueEntry(udid=device["id"], since=one["queued_ms"], what=what))
            after = page["next"]
    return found


def _call(client: httpx.Client, method: str, path: str, place: str, key: str, **more: Any) -> Any:
    """The answer's JSON. `place`, `key`: the options that say where and with what, for messages."""
    import httpx

    from mdmsim.apple_network import refuse_apple_resolved_blocking
    from mdmsim.http import ConnectFailed

    try:
        refuse_apple_resolved_blocking(client.base_url.host, client.base_url.port or 443)
        answer = client.request(method, path, **more)
    except httpx.UnsupportedProtocol:
        raise Mistake(f"{place} {client.base_url}: not a URL. Write e.g. http://127.0.0.1:8080.") from None
    except ConnectFailed as refused:
        raise Mistake(f"{place} {client.base_url}: {refused}") from None
    except httpx.HTTPError as error:
        raise CommandFailed(f"{place} {client.base_url}: does not answer ({error}). Is it running?") from None
    if answer.status_code == 401:
        raise Mistake(f"{key}: {client.base_url} does not take it. It stands where that was started.")
    try:
        decoded = answer.json()
    except ValueError:
        decoded = None
    if not answer.is_success or not isinstance(decoded, dict):
        said = decoded.get("what") or decoded.get("error") if isinstance(decoded, dict) else answer.text[:100]
        raise CommandFailed(f"{place} {client.base_url}: answered {answer.status_code} to {method} {path}: {said}")
    return decoded


def _show(report: DueReport, everything: bool) -> None:
    from mdmsim.cli.output import line
    from mdmsim.clock import iso

    shown = [answer for answer in report.answers if everything or answer.verdict != "acted"]
    for answer in shown if everything else shown[:SHOWN]:
        name = f"{answer.name} ({answer.device})" if answer.device not in ("", answer.name) else answer.name
        what = f"   {answer.what}" if answer.what else ""
        line(f"  {_MARKS[answer.verdict]} {answer.verdict:<13}  since {iso(answer.since_ms)}  {name}{what}")
        last = answer.acted or answer.delivered or answer.accepted or answer.first
        late = f"{_span(last.late_ms)} late" if last is not None else ""
        if last is not None and not answer.complete:
            # An earlier push may be forgotten: then it was less late than the first that is remembered.
            late = f"at most {late}; {FORGETFUL}"
        said = ", ".join(part for part in (answer.why, late) if part)
        if said:
            line(f"      {said}")
    if not everything and len(shown) > SHOWN:
        line(f"  … and {len(shown) - SHOWN} more: --all shows them")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.counts.items() if count)
    line(f"  {len(report.answers)} due: {counts}" if counts else "  nothing is due")


def _span(ms: int) -> str:
    if ms < 1000:
        return f"{ms} ms"
    if ms < 120_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.0f} min" if ms < 7_200_000 else f"{ms / 3_600_000:.1f} h"
