"""A machine that has no more to give is not the server's fault, and said as what it is."""

from __future__ import annotations

import errno
import os
import resource
import socket
from typing import Any

import pytest
import trio

from mdmsim.clock import ManualClock
from mdmsim.http import ConnectFailed, OwnLimit, Request, Trust
from mdmsim.transport.blocking import BlockingTransport
from mdmsim.transport.descriptors import SPARE, make_room, own_limit
from mdmsim.transport.outbound import HttpOutbound
from mdmsim.transport.trio_client import TrioTransport

pytestmark = pytest.mark.anyio

REQUEST = Request("GET", "http://127.0.0.1:9/", trust=Trust(allow_http=True))


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


def _none_left(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_no_open_file_left_is_no_server_that_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", _none_left)
    with BlockingTransport(clock=ManualClock()) as blocking, pytest.raises(OwnLimit, match="Too many open files"):
        blocking.send(REQUEST)
    monkeypatch.setattr(trio, "open_tcp_stream", _none_left)
    with TrioTransport() as transport:
        with pytest.raises(OwnLimit, match="Too many open files"):
            await transport.send(REQUEST)
    async with HttpOutbound() as outbound:
        with pytest.raises(OwnLimit, match="Too many open files"):
            await outbound.send(REQUEST)


async def test_a_server_that_does_not_listen_is_no_limit_of_ours() -> None:
    with TrioTransport() as transport, pytest.raises(ConnectFailed) as error:
        await transport.send(REQUEST)
    assert not isinstance(error.value, OwnLimit)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL])
def test_a_limit_is_found_in_groups_and_behind_other_errors(number: int) -> None:
    inner = OSError(number, os.strerror(number))
    outer = OSError("all attempts to connect failed")
    outer.__cause__ = ExceptionGroup("attempts", [OSError(errno.ECONNREFUSED, "refused"), inner])
    assert isinstance(own_limit(outer, "a:1"), OwnLimit)
    assert own_limit(OSError(errno.ECONNREFUSED, "refused"), "a:1") is None


@pytest.mark.parametrize(
    ("limits", "raised", "fits"),
    [
        ((4096, 4096), None, None),
        ((256, 4096), (1000 + SPARE, 4096), None),
        ((256, resource.RLIM_INFINITY), (1000 + SPARE, resource.RLIM_INFINITY), None),
        ((256, 1000), (1000, 1000), 1000 - SPARE),
        ((100, 200), (200, 200), 0),
    ],
)
def test_the_limit_is_raised_as_far_as_it_has_to_and_may_be(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: tuple[int, int] | None, fits: int | None
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: seen.append(new))
    assert make_room(1000) == fits
    assert seen == ([raised] if raised is not None else [])
