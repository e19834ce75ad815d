"""The HTTP/2 libraries that the front can run on: h2, and jh2, which has the same interface; made to look like Apple's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

#: Of the five settings that Apple's servers announce (seen in a pushy debug log of 2021). The fifth is
#: MAX_CONCURRENT_STREAMS: clients wait for it in the first SETTINGS frame before they send anything.
MAX_HEADER_LIST = 8000
_HEADER_TABLE = 4096
_WINDOW = 65535
MAX_FRAME = 16384

#: Closed streams that the library remembers, to tell late frames from wrong ones.
_REMEMBERED_STREAMS = 4096


class NoEngine(ValueError):
    """The library is not installed."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One library's modules. They are looked up by name, so both libraries look the same from here."""

    name: str
    config: Any
    connection: Any
    events: Any
    exceptions: Any
    settings: Any
    #: Makes a header of a name and a value that stays out of the client's table.
    never_indexed: Callable[[bytes, bytes], tuple[bytes, bytes]]


@cache
def engine(name: str) -> Engine:
    """The library of that name, "h2" or "jh2". Raises NoEngine where it is not installed."""
    try:
        config, connection, events, exceptions, settings = (
            import_module(f"{name}.{module}") for module in ("config", "connection", "events", "exceptions", "settings")
        )
        hpack: Any = import_module({"h2": "hpack"}.get(name, f"{name}.hpack"))
    except ImportError:
        raise NoEngine(f'http2="{name}": {name} is not installed. Install mdmsim[fast], or take "h2".') from None
    return Engine(name, config, connection, events, exceptions, settings, hpack.NeverIndexedHeaderTuple)


def server_connection(library: Engine, stream_limit: int) -> Any:
    """The library's server side, with Apple's settings announced and its stream limit switched off."""
    # Names and values as bytes: decoding is ours, and cannot fail. Our own headers need no check.
    config = library.config.H2Configuration(
        client_side=False,
        header_encoding=None,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    connection = _sparing(library)(config)
    codes = library.settings.SettingCodes
    values = {
        codes.HEADER_TABLE_SIZE: _HEADER_TABLE,
        codes.MAX_CONCURRENT_STREAMS: stream_limit,
        codes.INITIAL_WINDOW_SIZE: _WINDOW,
        codes.MAX_FRAME_SIZE: MAX_FRAME,
        codes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
    }
    announced = library.settings.Settings(client=False, initial_values=values)
    # h2 would announce ENABLE_PUSH and ENABLE_CONNECT_PROTOCOL as well. Apple does not, and some old clients reject
    # ENABLE_PUSH from a server.
    for code in [code for code in announced if code not in values]:
        del announced[code]
    connection.local_settings = announced
    connection.initiate_connection()
    # But h2 looks them up when it judges frames; and the stream limit is judged here, stream by stream, while h2 would
    # end the connection.
    values[codes.MAX_CONCURRENT_STREAMS] = 2**31 - 1
    connection.local_settings = library.settings.Settings(client=False, initial_values=values)
    connection.decoder.max_header_list_size = MAX_HEADER_LIST
    return connection


def _sparing(library: Engine) -> Any:
    if (known := _SPARING.get(library.name)) is not None:
        return known

    base: Any = library.connection.H2Connection

    class Sparing(base):  # type: ignore[misc]
        """The library's connection, which counts its streams at every request: one by one, however many there are.

        The limit is kept elsewhere. What is left of the count is that it forgets closed streams, now and then.
        """

        MAX_CLOSED_STREAMS = _REMEMBERED_STREAMS
        _sweep_at = 64

        @property
        def open_inbound_streams(self) -> int:
            if len(self.streams) < self._sweep_at:
                return 0
            count: int = super().open_inbound_streams
            self._sweep_at = 2 * len(self.streams) + 64
            return count

        def _acknowledge_settings(self) -> Any:
            said = super()._acknowledge_settings()
            # A client allows a table of any size. What is in it is ours to choose (RFC 7541 section 4.2): without a
            # bound, memory and the search for each header would grow with every answer.
            encoder = self.encoder
            if encoder.header_table_size > _HEADER_TABLE:
                encoder.header_table_size = _HEADER_TABLE
            # To be said before the next answer: the smallest size there was, and the one that holds.
            changes = getattr(encoder, "table_size_changes", None)
            if changes:
                changes[:-1] = [min(changes)] if min(changes) < changes[-1] else []
            return said

    _SPARING[library.name] = Sparing
    return Sparing


_SPARING: dict[str, Any] = {}
