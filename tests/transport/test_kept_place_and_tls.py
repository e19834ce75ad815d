from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import trio

from mdmsim.http import ConnectFailed, Request, Response, Trust
from mdmsim.transport import tls
from mdmsim.transport.blocking import BlockingTransport
from mdmsim.transport.kept import Kept, Key
from mdmsim.transport.lru import Lru
from mdmsim.transport.place import is_loopback, next_hop, place_of
from mdmsim.transport.trio_client import TrioTransport
from tests.transport.certs import HOST, ROOT, leaf
from tests.transport.script import Ask, Script, ok
from tests.transport.shells import playing, put, run

KEY: Key = ("https", "a", 443, None, Trust())
OTHER: Key = ("https", "b", 443, None, Trust())


class FakeLink:
    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.idle_since = 0.0
        self.ended = ""

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


# kept connections


def test_the_youngest_connection_is_taken_first() -> None:
    kept = Kept(8, 60)
    old, young = FakeLink(), FakeLink()
    kept.give(KEY, old, 1)
    kept.give(KEY, young, 2)
    assert [kept.take(KEY, 3) for _ in range(3)] == [young, old, None]


def test_the_longest_idle_connection_makes_room() -> None:
    kept = Kept(2, 60)
    links = [FakeLink(n) for n in range(3)]
    for link, key in zip(links, (KEY, OTHER, KEY), strict=True):
        kept.give(key, link, 1)
    assert [link.ended for link in links] == ["closed", "", ""] and len(kept) == 2


def test_a_connection_idle_for_too_long_is_closed_instead_of_used() -> None:
    kept = Kept(8, 60)
    link = FakeLink()
    kept.give(KEY, link, 0)
    assert kept.take(KEY, 60.1) is None and link.ended == "closed"


def test_nothing_is_kept_where_the_limit_is_zero() -> None:
    kept, link = Kept(0, 60), FakeLink()
    kept.give(KEY, link, 0)
    assert link.ended == "closed" and kept.take(KEY, 0) is None


def test_closing_closes_all() -> None:
    kept, links = Kept(8, 60), [FakeLink(), FakeLink()]
    kept.give(KEY, links[0], 0)
    kept.give(OTHER, links[1], 0)
    kept.close()
    assert [link.ended for link in links] == ["closed", "closed"] and kept.take(KEY, 0) is None


@pytest.mark.parametrize("wrong", [{"keep": -1}, {"keep_seconds": -1.0}])
def test_a_negative_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="negative"):
        TrioTransport(**wrong)


def test_an_lru_forgets_what_was_not_used_for_longest() -> None:
    lru: Lru[str, int] = Lru(2)
    lru.put("a", 1)
    lru.put("b", 2)
    lru.get("a")
    lru.put("c", 3)
    assert (lru.get("a"), lru.get("b"), lru.get("c"), len(lru)) == (1, None, 3, 2)


# places


@pytest.mark.parametrize("url", ["https://api.push.apple.com/3/device/00", "https://MDMEnrollment.Apple.com./session"])
@pytest.mark.parametrize("shell", ["trio", "blocking"])
def test_apples_hosts_are_refused(url: str, shell: str) -> None:
    request = Request("GET", url, trust=Trust(system=True))
    with pytest.raises(ConnectFailed, match="that is Apple's"):
        if shell == "trio":
            trio.run(TrioTransport().send, request)
        else:
            BlockingTransport().send(request)


@pytest.mark.parametrize("kind", ["trio", "blocking"])
def test_an_apple_host_that_is_pointed_at_a_fake_is_not_refused(kind: str) -> None:
    name = "api.push.apple.com"
    server = leaf(ROOT, name)

    async def main() -> Response:
        async with playing(kind, Script([[Ask(), ok(b"fake")]]), server=server, host=name) as shell:
            return await shell.send(put(url=f"https://{name}/"))

    assert run(kind, main).body == b"fake"


def test_an_apple_host_can_be_allowed_by_name() -> None:
    transport = TrioTransport(allow_hosts={"localhost.apple.com"})
    transport._check(place_of("https://localhost.apple.com/"))
    with pytest.raises(ConnectFailed, match="that is Apple's"):
        transport._check(place_of("https://other.apple.com/"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("a.test", False),
    ],
)
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_redirect_to_another_host_leaves_credentials_behind() -> None:
    request = put(headers=(("authorization", "Bearer x"), ("Mdm-Signature", "y")))
    same = next_hop(request, Response(307, (("Location", "/b"),)), 0)
    other = next_hop(request, Response(307, (("Location", "https://other.test/b"),)), 0)
    assert same is not None and same.headers == request.headers
    assert other is not None and other.headers == (("Mdm-Signature", "y"),)


# TLS


@pytest.mark.parametrize("memory", [True, False])
def test_a_key_is_readable_by_this_user_only_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch, memory: bool) -> None:
    if not memory:
        monkeypatch.delattr("os.memfd_create")
    with tls._secret_file(b"secret") as name:
        assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
        assert Path(name).read_bytes() == b"secret"
    assert not Path(name).exists()


def test_an_identity_is_loaded_without_memfd_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    context = tls.new_context(Trust())
    tls.load_identity(context, leaf(ROOT, purpose="client", common_name="device"))


@pytest.mark.parametrize("kind", ["trio", "blocking"])
def test_a_session_is_resumed_for_the_same_identity_only(kind: str) -> None:
    script = Script([[Ask(), ok()]] * 4)
    devices = [leaf(ROOT, purpose="client", common_name=f"device-{n}") for n in range(2)]
    resumed: list[bool] = []
    original = tls.TlsPipe.handshake

    def watch(self: tls.TlsPipe) -> bool:
        done = original(self)
        if done:
            resumed.append(bool(self.tls.session_reused))
        return done

    async def main() -> None:
        async with playing(kind, script, keep=0) as shell:
            for device in (devices[0], devices[0], devices[1], devices[0]):
                await shell.send(put(identity=device))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tls.TlsPipe, "handshake", watch)
        run(kind, main)
    assert resumed == [False, True, False, True]
    assert script.played.clients == [devices[n].certificate for n in (0, 0, 1, 0)]


@pytest.mark.parametrize("kind", ["trio", "blocking"])
def test_a_chain_sent_by_the_device_reaches_the_server(kind: str) -> None:
    from tests.transport.certs import INTERMEDIATE

    device = leaf(INTERMEDIATE, purpose="client", common_name="deep", chain=(INTERMEDIATE.der,))
    script = Script([[Ask(), ok()]])

    async def main() -> None:
        async with playing(kind, script) as shell:
            await shell.send(put(identity=device))

    run(kind, main)
    assert script.played.clients == [device.certificate]


def test_idle_connections_are_replaced_after_their_time() -> None:
    script = Script([[Ask(), ok(), Ask(), ok()], [Ask(), ok()]])

    async def main() -> None:
        async with playing("in-process", script, keep_seconds=30.0) as shell:
            await shell.send(put())
            await trio.sleep(31)
            await shell.send(put())

    run("in-process", main)
    assert [len(requests) for requests in script.played.requests] == [1, 1]


def test_key_types_are_told_from_their_head() -> None:
    assert [tls.key_type(leaf(ROOT, HOST, rsa_key=kind).key) for kind in (True, False)] == ["rsa", "ec"]
