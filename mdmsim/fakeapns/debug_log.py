"""The log: what providers, devices and the service do, one readable line each, into a file that rotates.

`warning`: refused pushes with the reason why, injected faults, connections that are not served. `info`: connections,
too. `debug`: every request with its headers, every step of every push, every token. The level changes while all goes
on: over the admin API, or by signal (`follow_signals`). Push magics and credentials are masked (`masking`).
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal

import trio

from mdmsim.clock import iso
from mdmsim.events import Event
from mdmsim.fakeapns.journal import Step, Transaction
from mdmsim.fakeapns.masking import header_lines, payload_text
from mdmsim.fakeapns.service import ApnsService
from mdmsim.printable import printable
from mdmsim.startup import ServeError

Level = Literal["off", "warning", "info", "debug"]

LEVELS: tuple[Level, ...] = ("off", "warning", "info", "debug")
#: Where a log goes that was asked for without a file: the current folder.
FILE = Path("mdmsim-apns.log")
#: A file grows to that many bytes, then it becomes FILE.1, and so on; the oldest goes.
FILE_SIZE = 10 << 20
FILES = 5

_EVENTS: dict[str, Level] = {
    "provider.connected": "info",
    "provider.disconnected": "info",
    "courier.connected": "info",
    "courier.disconnected": "info",
    "courier.subscribed": "debug",
    "courier.unsubscribed": "debug",
    "token.registered": "debug",
    "token.retired": "debug",
    "fault.injected": "warning",
}


def log_wishes(level: Level | None, file: Path | None) -> tuple[Level, Path | None]:
    """Level and file of a log as asked for on a command line: either may be left out. `-` is standard error, None here.

    A level alone writes to `FILE` in the current folder, a file alone has level info, neither is no log.
    """
    if level is None:
        level = "off" if file is None else "info"
    elif file is None and level != "off":
        file = FILE
    return level, None if file == Path("-") else file


class DebugLog:
    """The log of one service. `usual`: the level that it begins with and goes back to. `file`: None: standard error.

    Raises ServeError where the file cannot be written.
    """

    def __init__(self, service: ApnsService, *, usual: Level = "off", file: Path | None = None) -> None:
        self.usual: Level = usual
        self.file = file
        self._service = service
        self._level: Level = "off"
        self._handler: logging.Handler | None = None
        self._endings: list[Callable[[], None]] = []
        if file is not None:
            self._handler = _handler(file)
        self.set(usual)

    @property
    def level(self) -> Level:
        return self._level

    def set(self, level: Level) -> None:
        """Log that much from now on. Nothing is watched at `off`."""
        if level == self._level:
            return
        before, self._level = self._level, level
        if before == "off":
            self._handler = self._handler or _handler(None)
            service = self._service
            self._endings = [service.journal.watch(self._step), service.events.subscribe(self._event)]
        self._write(level if level != "off" else before, f"log level {level}")
        if level == "off":
            self._unwatch()

    def close(self) -> None:
        """Log nothing any more, and let go of the file."""
        self._unwatch()
        self._level = "off"
        if self._handler is not None:
            self._handler.close()
            self._handler = None

    def _unwatch(self) -> None:
        for end in self._endings:
            end()
        self._endings = []

    def _wanted(self, level: Level) -> bool:
        return LEVELS.index(level) <= LEVELS.index(self._level)

    def _write(self, level: Level, text: str, at_ms: int | None = None) -> None:
        if self._handler is not None:
            at_ms = self._service.clock.now_ms() if at_ms is None else at_ms
            line = f"{iso(at_ms)} {level:<7} {printable(text)}"
            self._handler.handle(logging.makeLogRecord({"msg": line, "levelno": logging.INFO}))

    def _step(self, step: Step, transaction: Transaction, at_ms: int) -> None:
        if step in ("accepted", "refused"):
            level: Level = "warning" if transaction.status != 200 else "debug"
            if self._wanted(level):
                self._write(level, _request(transaction, whole=self._level == "debug"), at_ms)
        elif self._level == "debug":
            late = at_ms - transaction.at_ms
            self._write("debug", f"request {transaction.number}: {step} after {late} ms{_whose(transaction)}", at_ms)

    def _event(self, event: Event) -> None:
        level = _EVENTS.get(event.kind)
        if level is None:
            return
        data = event.data
        if event.kind == "provider.connected" and data.get("refusal"):
            level = "warning"
        if self._wanted(level):
            said = " ".join(f"{name}={_plain(value)}" for name, value in data.items() if value not in (None, "", {}))
            device = f" device={event.device}" if event.device else ""
            self._write(level, f"{event.kind}{device} {said}", event.at_ms)


async def follow_signals(log: DebugLog) -> None:
    """SIGUSR1: level debug. SIGUSR2: back to the usual level. Until cancelled.

    Only in the main thread, as all of Python's signals.
    """
    with trio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
        async for number in signals:
            log.set("debug" if number == signal.SIGUSR1 else log.usual)


def _request(transaction: Transaction, *, whole: bool) -> str:
    verdict = str(transaction.status) if transaction.status else "no answer"
    if transaction.reason:
        verdict += f" {transaction.reason}"
    if transaction.why:
        verdict += f" ({transaction.why})"
    if transaction.fault:
        verdict += f" [fault {transaction.fault}]"
    text = (
        f"request {transaction.number}: {transaction.method} {transaction.path} over connection {transaction.provider}"
        f" ({transaction.environment}): {verdict}{_whose(transaction)} apns-id={transaction.apns_id}"
    )
    if whole:
        headers = "; ".join(f"{name}: {value}" for name, value in header_lines(transaction.headers))
        text += f" headers {{{headers}}} payload {payload_text(transaction.payload)}"
    return text


def _whose(transaction: Transaction) -> str:
    device = f" device={transaction.device}" if transaction.device else ""
    return f"{device} topic={transaction.topic}" if transaction.topic else device


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "{" + " ".join(f"{name}={item}" for name, item in value.items() if item) + "}"
    return str(value)


class _Rotating(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        # A full disk must neither end the fake nor fill its output: lines are lost.
        pass


def _handler(file: Path | None) -> logging.Handler:
    if file is None:
        return logging.StreamHandler(sys.stderr)
    try:
        return _Rotating(file, maxBytes=FILE_SIZE, backupCount=FILES, encoding="utf-8")
    except OSError as error:
        raise ServeError(f"{file}: cannot be written ({error.strerror}). Choose another file for the log.") from None
