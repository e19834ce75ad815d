"""The front's TLS context: kept when no new one can be made, silent about strange names, dates judged each time."""

from __future__ import annotations

import ssl
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from mdmsim.fakeapns.front import context as contexts
from mdmsim.fakeapns.front.context import server_context
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from tests.fakeapns.front.support import Served, served_front
from tests.fakeapns.support import OTHER_TOPIC, Bench, client_context


def _none_left(*given: object, **named: object) -> None:
    raise OSError(24, "Too many open files")


@pytest.mark.anyio
async def test_without_a_file_to_be_had_the_context_before_is_used_and_made_anew_later(
    served: Served, provider: Identity, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = authority.issue_push(OTHER_TOPIC)
    with monkeypatch.context() as patched:
        patched.setattr(contexts, "tempfile", SimpleNamespace(NamedTemporaryFile=_none_left))
        served.bench.service.certificates.register(newer.certificate)
        async with served.client(provider) as client:
            await client.ask(1)
            assert await client.status(1) == "200"
    async with served.client(newer) as client:
        await client.ask(1, ("apns-topic", OTHER_TOPIC))
        assert await client.status(1) == "400"
    assert not served.front.counters["defect"]


@pytest.mark.anyio
async def test_the_first_connection_needs_no_file(
    served: Served, provider: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = served.client(provider)
    monkeypatch.setattr(contexts, "tempfile", SimpleNamespace(NamedTemporaryFile=_none_left))
    async with client:
        await client.ask(1)
        assert await client.status(1) == "200"


def _hello(name: bytes) -> bytes:
    """What OpenSSL sends first, with a name of the same length instead of its own."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="z" * len(name)).do_handshake()
    return outgoing.read().replace(b"z" * len(name), name)


@pytest.mark.anyio
async def test_a_name_that_is_not_ascii_is_refused_without_a_word_on_stderr(
    bench: Bench, authority: Authority, server_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def tell(report: Any) -> None:
        told.append(report.exc_type)

    monkeypatch.setattr(sys, "unraisablehook", tell)
    async with served_front(bench, authority, server_identity) as served:
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
            await stream.send_all(_hello(b"\xff\xfe\xfd.example"))
            await served.counted("handshake-failed")
        assert told == []

        # Whatever else cannot be raised is still told.
        class Broken:
            def __del__(self) -> None:
                raise KeyError

        Broken()
        assert told == [KeyError]
    assert sys.unraisablehook is tell


@pytest.mark.parametrize(("judged", "resumed"), [("world", True), ("handshake", False)])
def test_where_openssl_judges_dates_no_session_is_resumed_without_it(
    judged: Any, resumed: bool, authority: Authority, server_identity: Identity, provider: Identity
) -> None:
    known = [provider.certificate]
    server = server_context(server_identity, known, ApnsSettings(certificate_dates=judged))
    # The certificates of these tests are from the date of a manual clock.
    server.verify_flags |= ssl.VerifyFlags(0x200000)
    client = client_context(authority.certificate, provider)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for end in (theirs, ours, theirs, ours):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            pass
    with pytest.raises(ssl.SSLWantReadError):
        theirs.read(1)
    assert theirs.session is not None and theirs.session.has_ticket is resumed
