"""Connect: a report comes in, the next command goes out, until nothing is left for this session."""

from __future__ import annotations

from collections.abc import Callable

from mdmsim.clock import Clock
from mdmsim.protocol.connect import Report, parse_report
from mdmsim.protocol.errors import Malformed
from reference_server.errors import Refusal
from reference_server.refusals import Refusals
from reference_server.storage.interface import ConnectStore
from reference_server.storage.records import Connected, NewCommand


def read_report(body: bytes) -> Report:
    """The report in a body. Raises Refusal 400."""
    try:
        return parse_report(body)
    except Malformed as error:
        raise Refusal(400, str(error)) from None


class Connects:
    """Handles reports from senders whose certificate is trusted."""

    def __init__(
        self,
        store: ConnectStore,
        refusals: Refusals,
        clock: Clock,
        *,
        wake_pushes: Callable[[int], None],
        release: Callable[[], NewCommand] | None,
    ) -> None:
        self._store = store
        self._refusals = refusals
        self._clock = clock
        self._wake_pushes = wake_pushes
        self._release = release

    async def handle(self, report: Report, body: bytes, identity: str) -> Connected:
        """Keep the report, choose the next command. `identity`: fingerprint. Raises Refusal."""
        if report.ids.channel == "user":
            raise Refusal(410, "no user is managed here")
        connected = await self._store.connect(
            report,
            body,
            identity=identity,
            release=self._release,
            refusals=self._refusals,
            now_ms=self._clock.now_ms(),
        )
        if connected.push_due_ms is not None:
            self._wake_pushes(connected.push_due_ms)
        return connected
