"""The calls that look: nothing of the service changes by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread

from mdmsim.fakeapns.admin.answered import (
    Blackout,
    Changes,
    Connections,
    HistoryView,
    PendingPage,
    PendingView,
    Pushes,
    Stats,
    TokenDetail,
    TokenPage,
    Topic,
    TransactionDetail,
    TransactionPage,
)
from mdmsim.fakeapns.admin.asked import ChangesQuery, DetailQuery, DueQuery, PendingQuery, TokenQuery, TransactionQuery
from mdmsim.fakeapns.admin.census import census
from mdmsim.fakeapns.admin.endpoints import Refused
from mdmsim.fakeapns.admin.metrics import exposition
from mdmsim.fakeapns.admin.search import Words, chosen, device_of
from mdmsim.fakeapns.admin.views import (
    courier_view,
    is_pending,
    latency_view,
    pending_view,
    provider_view,
    token_view,
    transaction_detail,
    transaction_view,
)
from mdmsim.fakeapns.debug_log import DebugLog
from mdmsim.fakeapns.due import DueEntry, DueReport, Judge, arranged, check_due, token_of
from mdmsim.fakeapns.due_list import BadDueList, Format, due_text, read_due
from mdmsim.fakeapns.history import EVERY_SECONDS, History
from mdmsim.fakeapns.journal import Step, Transaction
from mdmsim.fakeapns.moments import moment_ms
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.session import Slot

#: How many requests a token's own page shows.
OF_ONE_TOKEN = 50
#: How many entries of a due-list are judged in one go.
DUE_PORTION = 500


class FrontView(Protocol):
    """What the front tells of its connections, and the one thing that it can be told."""

    def connections_info(self) -> list[Any]: ...

    def goaway(
        self,
        reason: str = "",
        code: int = 0,
        *,
        connections: Sequence[int] | int | None = None,
        last_stream: int | None = None,
    ) -> int: ...


class Looking:
    """Handlers. `counters`: more numbers about connections; `front`: None where there is none to ask."""

    def __init__(
        self,
        service: ApnsService,
        *,
        counters: Callable[[], Mapping[str, int]],
        front: FrontView | None,
        history: History,
        log: DebugLog,
    ) -> None:
        self._service = service
        self._counters = counters
        self._front = front
        self._history = history
        self._log = log

    async def health(self, path: Any, query: Any, body: Any) -> dict[str, str]:
        if (trouble := self._service.trouble) is not None:
            raise Refused(503, trouble, {"status": "failing", "store": trouble})
        return {"status": "ok"}

    async def stats(self, path: Any, query: Any, body: Any) -> Stats:
        service = self._service
        counts, darkness = service.counts, service.darkness
        by_topic = await census(service)
        return Stats(
            now_ms=service.clock.now_ms(),
            started_ms=service.started_ms,
            pushes=Pushes(**{name: getattr(counts, name) for name in Pushes.__struct_fields__}),
            reasons=dict(counts.reasons.most_common()),
            faults=dict(counts.faults.most_common()),
            planned_faults=len(service.faults.planned),
            tokens=sum(topic.tokens for topic in by_topic),
            retired=sum(topic.retired for topic in by_topic),
            listening=sum(topic.listening for topic in by_topic),
            pending=sum(topic.pending for topic in by_topic),
            requests=service.journal.total,
            remembered=len(service.journal),
            delivery=latency_view(counts.delivery),
            acting=latency_view(counts.acting),
            connections=dict(self._counters()),
            blackout=Blackout(
                providers_until_ms=darkness.until_ms("providers"), devices_until_ms=darkness.until_ms("devices")
            ),
            log_level=self._log.level,
            trouble=service.trouble,
        )

    async def metrics(self, path: Any, query: Any, body: Any) -> str:
        return exposition(self._service, await census(self._service), self._counters())

    async def history(self, path: Any, query: Any, body: Any) -> HistoryView:
        return HistoryView(
            every_seconds=EVERY_SECONDS, now_ms=self._service.clock.now_ms(), samples=self._history.samples
        )

    async def changes(self, path: Any, query: ChangesQuery, body: Any) -> Changes:
        """Wait until something is new. Whoever waits is told by the service; nothing is looked at meanwhile."""
        if query.since == (cursor := self._cursor()) and query.wait:
            happened = anyio.Event()

            def step(step: Step, transaction: Transaction, at_ms: int) -> None:
                happened.set()

            endings = (
                self._service.journal.watch(step),
                self._service.events.subscribe(lambda event: happened.set()),
            )
            try:
                with anyio.move_on_after(query.wait):
                    await happened.wait()
            finally:
                for end in endings:
                    end()
            cursor = self._cursor()
        return Changes(cursor=cursor, changed=cursor != query.since, now_ms=self._service.clock.now_ms())

    async def transactions(self, path: Any, query: TransactionQuery, body: Any) -> TransactionPage:
        found = await chosen(self._service.journal.newest_first(), self._filter(query), query.limit + 1)
        page = found[: query.limit]
        return TransactionPage(
            transactions=[transaction_view(transaction, self._service.tokens) for transaction in page],
            next=page[-1].number if len(found) > query.limit else None,
            requests=self._service.journal.total,
            remembered=len(self._service.journal),
        )

    async def transaction(self, path: dict[str, Any], query: DetailQuery, body: Any) -> TransactionDetail:
        number = whole_number(path["number"])
        oldest = next(iter(self._service.journal), None)
        if oldest is not None and number < oldest.number:
            raise Refused(404, f"request {number}: forgotten; the oldest that is remembered is {oldest.number}")
        found = await chosen(self._service.journal, lambda transaction: transaction.number == number, 1)
        if not found:
            raise Refused(404, f"request {number}: there was none")
        return transaction_detail(found[0], self._service.tokens, reveal=query.reveal)

    async def tokens(self, path: Any, query: TokenQuery, body: Any) -> TokenPage:
        tokens, now_ms = self._service.tokens, self._service.clock.now_ms()
        words = Words(query.q, tokens)
        if words or query.device is not None or query.topic is not None or query.state is not None:
            device = tokens.device_called(query.device) if query.device is not None else None

            def matches(slot: Slot) -> bool:
                one = slot.registration
                return (
                    (device is None or one.device == device)
                    and query.topic in (None, one.topic)
                    and (query.state is None or _is(slot, query.state, now_ms))
                    and words.in_slot(slot)
                )

            found = await chosen(tokens, matches)
            page, total = found[query.offset : query.offset + query.limit], len(found)
        else:
            page, total = list(islice(tokens, query.offset, query.offset + query.limit)), len(tokens)
        return TokenPage(
            tokens=[token_view(slot, now_ms) for slot in page],
            next=query.offset + len(page) if query.offset + len(page) < total else None,
            total=total,
        )

    async def token(self, path: dict[str, Any], query: DetailQuery, body: Any) -> TokenDetail:
        service = self._service
        token = token_bytes(path["token"])
        slot = service.slot(path["topic"], token)
        if slot is None:
            raise Refused(404, f"token {token.hex()}: not registered for {path['topic']}")
        now_ms = service.clock.now_ms()
        newest = await chosen(service.journal.newest_first(), lambda one: token_of(one) == token.hex(), OF_ONE_TOKEN)
        return TokenDetail(
            token=token_view(slot, now_ms),
            aliases=service.tokens.aliases(slot.registration.device),
            pending=pending_view(slot, slot.kept, reveal=query.reveal)
            if slot.kept is not None and is_pending(slot, now_ms)
            else None,
            transactions=[transaction_view(transaction, service.tokens) for transaction in newest],
        )

    async def pending(self, path: Any, query: PendingQuery, body: Any) -> PendingPage:
        now_ms = self._service.clock.now_ms()
        words = Words(query.q, self._service.tokens)
        found = await chosen(self._service.tokens, lambda slot: is_pending(slot, now_ms) and words.in_slot(slot))
        end = query.offset + query.limit
        views: list[PendingView] = [
            pending_view(slot, slot.kept, reveal=query.reveal)
            for slot in found[query.offset : end]
            if slot.kept is not None
        ]
        return PendingPage(pending=views, next=end if end < len(found) else None, total=len(found))

    async def topics(self, path: Any, query: Any, body: Any) -> list[Topic]:
        return await census(self._service)

    async def connections(self, path: Any, query: Any, body: Any) -> Connections:
        told = {info.number: info for info in self._front.connections_info()} if self._front is not None else {}
        return Connections(
            providers=[provider_view(one, told.get(one.number)) for one in self._service.providers()],
            couriers=[courier_view(session) for session in self._service.sessions()],
        )

    async def due(self, path: Any, query: DueQuery, body: tuple[bytes, str]) -> DueReport:
        data, kind = body
        try:
            # In a thread: a long list takes a second to read.
            checked = await anyio.to_thread.run_sync(_checked, data, kind)
        except BadDueList as error:
            raise Refused(400, str(error)) from None
        judge, answers = Judge(self._service), []
        for _ in judge.look():
            await anyio.lowlevel.checkpoint()
        for number, one in enumerate(checked):
            if number % DUE_PORTION == 0:
                await anyio.lowlevel.checkpoint()
            answers.append(judge.answer(*one))
        return arranged(answers, self._service.clock.now_ms(), verdict=query.verdict, limit=query.limit)

    def _filter(self, query: TransactionQuery) -> Callable[[Transaction], bool]:
        tests: list[Callable[[Transaction], bool]] = []
        if query.before is not None:
            before = query.before
            tests.append(lambda one: one.number < before)
        if query.since is not None:
            try:
                since_ms = moment_ms(query.since)
            except ValueError as error:
                raise Refused(400, f"since: {error}") from None
            tests.append(lambda one: one.at_ms >= since_ms)
        if query.device is not None:
            device = self._service.tokens.device_called(query.device)
            tests.append(lambda one: device_of(one, self._service.tokens) == device)
        if query.token is not None:
            token = token_bytes(query.token).hex()
            tests.append(lambda one: token_of(one) == token)
        for name in ("topic", "apns_id", "status", "reason", "provider"):
            if (wanted := getattr(query, name)) is not None:
                tests.append(partial(_has, name, wanted))
        if query.fault is not None:
            tests.append(lambda one: bool(one.fault) if query.fault == "any" else one.fault == query.fault)
        if query.verdict is not None:
            tests.append(lambda one: (one.status == 200) == (query.verdict == "accepted"))
        if words := Words(query.q, self._service.tokens):
            tests.append(words.in_transaction)
        return lambda one: all(test(one) for test in tests)

    def _cursor(self) -> str:
        """Another text as soon as something has changed. Of this run only: after a restart, every cursor is old."""
        service, counts = self._service, self._service.counts
        numbers = (
            service.started_ms,
            service.journal.total,
            *(getattr(counts, name) for name in Pushes.__struct_fields__),
            sum(counts.faults.values()),
            len(service.faults.planned),
            len(service.tokens),
            service.certificates.version,
            len(service.signing_keys.registered()),
            *(provider.number for provider in service.providers()[-1:]),
            len(service.providers()),
            sum(session.subscriptions for session in service.sessions()),
            len(service.sessions()),
            service.darkness.over("providers"),
            service.darkness.over("devices"),
            self._log.level,
        )
        return "-".join(map(str, numbers))


_FORMATS: dict[str, Format] = {
    "application/json": "json",
    "text/csv": "csv",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
}


def _checked(data: bytes, kind: str) -> list[tuple[int, DueEntry, int]]:
    return check_due(read_due(due_text(data), _FORMATS.get(kind)))


def _has(name: str, wanted: object, transaction: Transaction) -> bool:
    return bool(getattr(transaction, name) == wanted)


def _is(slot: Slot, state: str, now_ms: int) -> bool:
    retired = slot.registration.retired_ms is not None
    match state:
        case "retired":
            return retired
        case "listening":
            return slot.session is not None
        case "deaf":
            return not retired and slot.session is None
        case "pending":
            return is_pending(slot, now_ms)
        case _:
            return not retired


def whole_number(text: str) -> int:
    """A number as it is written in a path. Raises Refused."""
    # More digits than any number has are no number that was ever given.
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise Refused(404, f'number "{text[:20]}": there is none; write a whole number, as the list has it')


def token_bytes(text: str) -> bytes:
    """A token as it is written in a path or a body. Raises Refused."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refused(400, f'token "{text[:20]}": a token is written in hex') from None
