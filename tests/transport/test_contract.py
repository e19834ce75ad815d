"""The contract of all transports, fed by one byte script for sockets and memory alike."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Callable
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
import trio

from mdmsim.http import (
    BadAnswer,
    ConnectFailed,
    ExchangeCut,
    Identity,
    NotAsked,
    Request,
    Response,
    TimedOut,
    TLSFailed,
    TransportError,
    Trust,
)
from mdmsim.transport.http1 import Limits
from mdmsim.transport.wire import Tap
from tests.transport.certs import HOST, INTERMEDIATE, OTHER_ROOT, ROOT, SERVER, authority, leaf
from tests.transport.script import Action, Ask, Cut, Hush, Say, Script, Shut, ok, status
from tests.transport.shells import SHELLS, SOON, TRUST, Shell, playing, put, run

Play = Callable[..., list[Response]]
DEVICE = leaf(ROOT, purpose="client", common_name="device", rsa_key=True)
GZIP = ("Accept-Encoding", "gzip, deflate, br")


@pytest.fixture(params=SHELLS)
def kind(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def exchange(kind: str, script: Script, *requests: Request, tap: Tap | None = None, **settings: Any) -> list[Response]:
    """Send the requests one after the other; raises what the transport raises."""

    async def main() -> list[Response]:
        async with playing(kind, script, **settings) as shell:
            return [await shell.send(request, tap=tap) for request in requests]

    return run(kind, main)


def failing(
    kind: str,
    error: type[TransportError],
    script: Script,
    request: Request | None = None,
    tap: Tap | None = None,
    **settings: Any,
) -> TransportError:
    """The error of exactly that class that one request ends with."""
    with pytest.raises(error) as caught:
        exchange(kind, script, request or put(), tap=tap, **settings)
    assert type(caught.value) is error
    return caught.value


# what goes over the wire


def test_a_request_is_written_as_given(kind: str) -> None:
    script = Script([[Ask(), ok()]])
    exchange(
        kind,
        script,
        put(url=f"https://{HOST}/mdm/connect?tenant=7&x=%20", headers=(("User-Agent", "MDM/1.0"), ("accept", "*/*"))),
    )
    assert script.played.all_requests == [
        b"PUT /mdm/connect?tenant=7&x=%20 HTTP/1.1\r\nHost: mdm.example.test\r\nUser-Agent: MDM/1.0\r\naccept: */*\r\n"
        b"Content-Length: 8\r\n\r\n<plist/>"
    ]


def test_an_empty_put_announces_its_length_and_a_get_does_not(kind: str) -> None:
    script = Script([[Ask(), ok(), Ask(), ok()]])
    exchange(kind, script, put(b""), put(b"", method="GET"))
    assert [b"Content-Length: 0" in request for request in script.played.all_requests] == [True, False]


def test_a_large_body_arrives_whole(kind: str) -> None:
    body = bytes(range(256)) * 8192
    script = Script([[Ask(), ok()]])
    exchange(kind, script, put(body))
    assert script.played.all_requests[0].endswith(b"\r\n\r\n" + body)


def test_the_answer_comes_with_status_headers_body_and_its_url(kind: str) -> None:
    script = Script([[Ask(), Say(b"HTTP/1.1 403 No\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nno")]])
    (response,) = exchange(kind, script, put())
    assert response == Response(
        403, (("X-A", "1"), ("x-a", "2"), ("Content-Length", "2")), b"no", f"https://{HOST}/mdm"
    )


# answers in all their forms


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param([ok()], b"", id="an empty 200"),
        pytest.param([Say(b"HTTP/1.1 204 No Content\r\n\r\n")], b"", id="a 204 without length"),
        pytest.param([Say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", piece=1)], b"hello", id="byte by byte"),
        pytest.param(
            [Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: x\r\n\r\n")],
            b"hello",
            id="chunked with extension and trailer",
        ),
        pytest.param([Say(b"HTTP/1.1 200 OK\r\n\r\nhello"), Shut()], b"hello", id="ended by closing"),
        pytest.param([Say(b"HTTP/1.0 200 OK\r\n\r\nhello"), Shut()], b"hello", id="HTTP/1.0"),
        pytest.param([Say(b"HTTP/1.1 100 Continue\r\n\r\n"), ok(b"hello")], b"hello", id="after 100 Continue"),
        pytest.param(
            [Say(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"), ok(b"hello")],
            b"hello",
            id="after several interim answers",
        ),
        pytest.param([Say(b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello")], b"hello", id="no reason phrase"),
    ],
)
def test_an_answer_is_read(kind: str, answer: list[Any], body: bytes) -> None:
    (response,) = exchange(kind, Script([[Ask(), *answer, Hush()]]), put())
    assert response.body == body


def test_interim_headers_are_not_the_answers(kind: str) -> None:
    (response,) = exchange(kind, Script([[Ask(), Say(b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"), ok(), Hush()]]), put())
    assert response.header("Link") is None


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(b"hello" * 100, mtime=0)),
        ("deflate", zlib.compress(b"hello" * 100)),
        ("deflate", zlib.compress(b"hello" * 100)[2:-4]),
        ("br", brotli.compress(b"hello" * 100)),
        ("deflate, gzip", gzip.compress(zlib.compress(b"hello" * 100), mtime=0)),
    ],
)
def test_an_offered_coding_is_undone(kind: str, coding: str, packed: bytes) -> None:
    script = Script([[Ask(), ok(packed, f"Content-Encoding: {coding}")]])
    (response,) = exchange(kind, script, put(headers=(GZIP,)))
    assert response.body == b"hello" * 100


def test_a_coding_stays_where_the_request_offered_none(kind: str) -> None:
    (response,) = exchange(kind, Script([[Ask(), ok(b"packed", "Content-Encoding: gzip")]]), put())
    assert response.body == b"packed"


def test_a_head_request_ends_with_the_head(kind: str) -> None:
    script = Script([[Ask(), Say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Ask(), ok()]])
    first, second = exchange(kind, script, put(b"", method="HEAD"), put())
    assert (first.body, second.status, len(script.played.requests)) == (b"", 200, 1)


# answers that are none


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"HTTP/2 200 OK\r\n\r\n", id="another version"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab", id="a length that is no number"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="a chunk size that is none"),
        pytest.param(b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", id="protocol switched"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", id="a head without end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, id="nothing but interim answers"),
    ],
)
def test_what_is_no_answer_is_a_bad_answer(kind: str, answer: bytes) -> None:
    assert failing(kind, BadAnswer, Script([[Ask(), Say(answer), Hush()]])).sent


def test_an_answer_over_the_limit_is_a_bad_answer(kind: str) -> None:
    script = Script([[Ask(), ok(b"x" * 17 * 2**20 + b"x"), Hush()]])
    assert "17825792 bytes" in str(failing(kind, BadAnswer, script))


def test_an_answer_at_the_limit_is_taken(kind: str) -> None:
    (response,) = exchange(kind, Script([[Ask(), ok(b"x" * 17 * 2**20), Hush()]]), put())
    assert len(response.body) == Limits().body


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(bytes(18 * 2**20), mtime=0)),
        ("br", brotli.compress(bytes(18 * 2**20), quality=1)),
        ("gzip", gzip.compress(b"hello", mtime=0)[:-6]),
        ("br", brotli.compress(b"hello" * 99)[:-3]),
        ("gzip", b"no gzip at all"),
        ("br", b"no brotli at all"),
        ("zstd", b"not offered"),
    ],
)
def test_a_body_that_cannot_be_decoded_is_a_bad_answer(kind: str, coding: str, packed: bytes) -> None:
    script = Script([[Ask(), ok(packed, f"Content-Encoding: {coding}")]])
    failing(kind, BadAnswer, script, put(headers=(GZIP,)))


@pytest.mark.parametrize("ending", [Shut, Cut])
@pytest.mark.parametrize(
    ("answer", "how_far"),
    [
        pytest.param(b"", "before the answer", id="before it"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", "in the middle of the answer's head", id="in the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "after 5 bytes", id="in the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "after 5", id="in chunks"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", "in the middle of the answer's head", id="after an interim one"),
    ],
)
def test_an_answer_cut_short_is_a_cut_exchange(kind: str, answer: bytes, how_far: str, ending: type) -> None:
    error = failing(kind, ExchangeCut, Script([[Ask(), Say(answer), ending()]]))
    assert how_far in str(error) and error.sent


def test_an_answer_ended_by_closing_must_be_ended_in_order(kind: str) -> None:
    failing(kind, ExchangeCut, Script([[Ask(), Say(b"HTTP/1.1 200 OK\r\n\r\nhel"), Cut()]]))


def test_a_silent_server_times_out(kind: str) -> None:
    error = failing(kind, TimedOut, Script([[Ask(), Hush()]]), put(timeout=SOON))
    assert error.sent


def test_a_server_that_stops_in_the_middle_times_out(kind: str) -> None:
    failing(kind, TimedOut, Script([[Ask(), Say(b"HTTP/1.1 200 OK\r\nCon"), Hush()]]), put(timeout=SOON))


def test_a_request_may_have_all_the_time_in_the_world(kind: str) -> None:
    (response,) = exchange(kind, Script([[Ask(), ok(b"at last")]]), put(timeout=float("inf")))
    assert response.body == b"at last"


def test_an_error_tells_what_was_asked(kind: str) -> None:
    error = failing(kind, ExchangeCut, Script([[Ask(), Cut()]]), put(label="connect:Idle"))
    assert str(error).startswith(f"connect:Idle PUT https://{HOST}/mdm: the connection ended")


# kept connections


def test_a_connection_is_used_again(kind: str) -> None:
    script = Script([[Ask(), ok(b"1"), Ask(), ok(b"2"), Ask(), ok(b"3")]])
    answers = exchange(kind, script, put(), put(), put())
    assert [answer.body for answer in answers] == [b"1", b"2", b"3"]
    assert len(script.played.requests) == 1


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([ok(b"1", "Connection: close"), Hush()], id="the server says close"),
        pytest.param([Say(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1"), Hush()], id="HTTP/1.0"),
        pytest.param([Say(b"HTTP/1.1 200 OK\r\n\r\n1"), Shut()], id="ended by closing"),
        pytest.param([Say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1rubbish"), Hush()], id="rubbish behind it"),
        pytest.param([ok(b"1"), Shut()], id="closed while idle"),
        pytest.param([ok(b"1"), Cut()], id="cut while idle"),
    ],
)
def test_a_connection_that_is_over_is_replaced(kind: str, first: list[Any]) -> None:
    script = Script([[Ask(), *first], [Ask(), ok(b"2")]])
    answers = exchange(kind, script, put(), put(b"<second/>"))
    assert [answer.body for answer in answers] == [b"1", b"2"]
    assert [len(requests) for requests in script.played.requests] == [1, 1]


@pytest.mark.parametrize("ending", [Shut, Cut])
def test_a_request_on_a_stale_connection_is_sent_once_more(kind: str, ending: type) -> None:
    script = Script([[Ask(), ok(b"1"), Ask(), ending()], [Ask(), ok(b"2")]])
    answers = exchange(kind, script, put(), put(b"<second/>"))
    assert [answer.body for answer in answers] == [b"1", b"2"]
    assert [request[-9:] == b"<second/>" for request in script.played.all_requests] == [False, True, True]


@pytest.mark.parametrize("ending", [Shut, Cut])
@pytest.mark.parametrize(
    "came", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"]
)
def test_a_request_is_not_sent_again_once_a_byte_of_an_answer_came(kind: str, came: bytes, ending: type) -> None:
    script = Script([[Ask(), ok(b"1"), Ask(), Say(came), ending()], [Ask(), ok(b"2")]])
    with pytest.raises(ExchangeCut):
        exchange(kind, script, put(), put())
    assert [len(requests) for requests in script.played.requests] == [2]


def test_a_request_is_not_sent_again_on_a_fresh_connection(kind: str) -> None:
    script = Script([[Ask(), ok(b"1"), Ask(), Cut()], [Ask(), Cut()], [Ask(), ok(b"3")]])
    with pytest.raises(ExchangeCut):
        exchange(kind, script, put(), put())
    assert [len(requests) for requests in script.played.requests] == [2, 1]


def test_a_request_is_not_sent_again_after_a_timeout(kind: str) -> None:
    script = Script([[Ask(), ok(b"1"), Ask(), Hush()], [Ask(), ok(b"2")]])
    with pytest.raises(TimedOut):
        exchange(kind, script, put(), put(timeout=SOON))
    assert len(script.played.requests) == 1


def test_another_identity_gets_a_connection_of_its_own(kind: str) -> None:
    other = leaf(ROOT, purpose="client", common_name="other")
    script = Script([[Ask(), ok()], [Ask(), ok()], [Ask(), ok()]])
    exchange(kind, script, put(identity=DEVICE), put(identity=other), put())
    assert script.played.clients == [DEVICE.certificate, other.certificate, None]


def test_no_connection_is_kept_where_none_may_be(kind: str) -> None:
    script = Script([[Ask(), ok(), Hush()], [Ask(), ok(), Hush()]])
    exchange(kind, script, put(), put(), keep=0)
    assert len(script.played.requests) == 2


# redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_with_method_and_body(kind: str, code: int) -> None:
    script = Script([[Ask(), status(code, "Location: /elsewhere?a=b#part"), Ask(), ok(b"there")]])
    (response,) = exchange(kind, script, put(b"<body/>"))
    assert script.played.all_requests[1].startswith(b"PUT /elsewhere?a=b HTTP/1.1\r\n")
    assert script.played.all_requests[1].endswith(b"<body/>")
    assert (response.url, response.body) == (f"https://{HOST}/elsewhere?a=b", b"there")


def test_a_redirect_is_never_remembered(kind: str) -> None:
    moved = status(308, "Location: /new")
    script = Script([[Ask(), moved, Ask(), ok(), Ask(), moved, Ask(), ok()]])
    exchange(kind, script, put(), put())
    assert [request.split()[1] for request in script.played.all_requests] == [b"/mdm", b"/new", b"/mdm", b"/new"]


def test_a_redirect_without_end_is_a_bad_answer(kind: str) -> None:
    loop: list[Action] = [Ask(), status(307, "Location: /mdm")]
    script = Script([loop * 9])
    assert "redirects for ever" in str(failing(kind, BadAnswer, script, put(max_redirects=3)))
    assert len(script.played.all_requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        f"http://{HOST}/",
        "http://127.0.0.1/",
        "ftp://x/",
        "apple-remotemanagement-user-login://x",
        "https://[::",
    ],
)
def test_a_redirect_to_a_place_not_allowed_is_a_bad_answer(kind: str, location: str) -> None:
    script = Script([[Ask(), status(302, f"Location: {location}"), Hush()]])
    failing(kind, BadAnswer, script, put(trust=Trust(anchors=(ROOT.der,), allow_http=True)))


def test_a_redirect_is_the_answer_where_none_may_be_followed(kind: str) -> None:
    script = Script([[Ask(), status(308, "Location: apple-remotemanagement-user-login://done?access-token=x")]])
    (response,) = exchange(kind, script, put(max_redirects=0))
    assert response.status == 308


def test_a_redirect_without_location_is_the_answer(kind: str) -> None:
    (response,) = exchange(kind, Script([[Ask(), status(302)]]), put())
    assert response.status == 302


def test_a_redirect_to_nowhere_tells_that_the_first_server_saw_the_request(kind: str) -> None:
    script = Script([[Ask(), status(307, "Location: https://nobody.invalid/"), Hush()]])
    assert failing(kind, ConnectFailed, script).sent


# TLS


def test_the_client_certificate_is_presented(kind: str) -> None:
    script = Script([[Ask(), ok()]])
    exchange(kind, script, put(identity=DEVICE))
    assert script.played.clients == [DEVICE.certificate]


def test_identities_of_both_key_types_are_told_apart(kind: str) -> None:
    devices = [leaf(ROOT, purpose="client", common_name=f"device-{n}", rsa_key=bool(n % 2)) for n in range(4)]
    script = Script([[Ask(), ok()]] * 8)
    exchange(kind, script, *(put(identity=device) for device in (*devices, *devices)), keep=0)
    assert script.played.clients == [device.certificate for device in (*devices, *devices)]


def test_a_chain_with_an_intermediate_is_trusted(kind: str) -> None:
    server = leaf(INTERMEDIATE, HOST, chain=(INTERMEDIATE.der,))
    (response,) = exchange(kind, Script([[Ask(), ok()]]), put(), server=server)
    assert response.status == 200


def test_an_intermediate_that_the_profile_carries_completes_the_chain(kind: str) -> None:
    server = leaf(INTERMEDIATE, HOST)
    trust = Trust(anchors=(ROOT.der, INTERMEDIATE.der))
    (response,) = exchange(kind, Script([[Ask(), ok()]]), put(trust=trust), server=server)
    assert response.status == 200


EXPIRED = leaf(ROOT, HOST, from_days=-90, to_days=-5)


@pytest.mark.parametrize(
    ("server", "trust"),
    [
        pytest.param(leaf(ROOT, "other.example.test"), TRUST, id="another host's name"),
        pytest.param(leaf(ROOT, common_name=HOST), TRUST, id="the name in the common name only"),
        pytest.param(EXPIRED, TRUST, id="expired"),
        pytest.param(leaf(ROOT, HOST, from_days=5), TRUST, id="not yet valid"),
        pytest.param(leaf(OTHER_ROOT, HOST), TRUST, id="a foreign root"),
        pytest.param(leaf(INTERMEDIATE, HOST), TRUST, id="the intermediate is missing"),
        pytest.param(leaf(INTERMEDIATE, HOST), Trust(anchors=(INTERMEDIATE.der,)), id="an intermediate is no anchor"),
        pytest.param(leaf(ROOT, HOST, purpose="client"), TRUST, id="a client's certificate"),
        pytest.param(SERVER, Trust(), id="no anchors"),
        pytest.param(SERVER, Trust(system=True), id="not one of the system's"),
        pytest.param(SERVER, Trust(anchors=(ROOT.der,), pins=(OTHER_ROOT.der,)), id="another pin"),
        pytest.param(SERVER, Trust(anchors=(ROOT.der,), pins=(INTERMEDIATE.der,)), id="a pin outside the chain"),
        pytest.param(SERVER, Trust(anchors=(b"no certificate",)), id="an anchor that is no certificate"),
        pytest.param(
            leaf(ROOT, HOST, chain=(INTERMEDIATE.der,)),
            Trust(anchors=(ROOT.der,), pins=(INTERMEDIATE.der,)),
            id="a pin that was sent along but plays no part",
        ),
    ],
)
def test_a_server_that_is_not_trusted_sees_no_request(kind: str, server: Identity, trust: Trust) -> None:
    script = Script([[Ask(), ok()]])
    error = failing(kind, TLSFailed, script, put(trust=trust), server=server)
    assert not script.played.all_requests and not error.sent


@pytest.mark.parametrize("pin", [SERVER.certificate, ROOT.der], ids=["the server's certificate", "its authority's"])
def test_a_pin_in_the_chain_is_accepted(kind: str, pin: bytes) -> None:
    trust = Trust(anchors=(ROOT.der,), pins=(OTHER_ROOT.der, pin))
    (response,) = exchange(kind, Script([[Ask(), ok()]]), put(trust=trust))
    assert response.status == 200


def test_pins_hold_on_every_later_connection(kind: str) -> None:
    script = Script([[Ask(), ok()], [Ask(), ok()], [Ask(), ok()]])
    pinned = put(trust=Trust(anchors=(ROOT.der,), pins=(OTHER_ROOT.der,)))

    async def main() -> None:
        async with playing(kind, script, keep=0) as shell:
            for _ in range(2):
                await shell.send(put())
            with pytest.raises(TLSFailed):
                await shell.send(pinned)
            with pytest.raises(TLSFailed):
                await shell.send(pinned)

    run(kind, main)
    assert len(script.played.all_requests) == 2


def test_a_key_that_does_not_fit_its_certificate_is_refused(kind: str) -> None:
    for other in (leaf(ROOT, purpose="client", common_name="x", rsa_key=True), leaf(ROOT, purpose="client")):
        script = Script([[Ask(), ok()]])
        failing(kind, TLSFailed, script, put(identity=Identity(DEVICE.certificate, other.key)))
        assert not script.played.all_requests


def test_a_client_certificate_that_the_server_does_not_accept_fails_the_handshake(kind: str) -> None:
    stranger = leaf(OTHER_ROOT, purpose="client", common_name="stranger")
    script = Script([[Ask(), ok()]])
    error = failing(kind, TLSFailed, script, put(identity=stranger))
    assert "the server refused the connection" in str(error) and not error.sent
    assert not script.played.all_requests


def test_an_address_stands_in_the_certificate_like_a_name(kind: str) -> None:
    (response,) = exchange(kind, Script([[Ask(), ok()]]), put(url="https://127.0.0.1/"), host="127.0.0.1")
    assert response.status == 200


def test_a_server_with_a_certificate_of_its_own_signing_is_its_own_anchor(kind: str) -> None:
    lonely = authority("Lonely")
    server = leaf(lonely, HOST)
    (response,) = exchange(
        kind, Script([[Ask(), ok()]]), put(trust=Trust(anchors=(lonely.der,))), server=server, client_anchor=None
    )
    assert response.status == 200


# where nobody goes


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "https:///x",
        "mdm.example.test",
        "https://[::1",
        "https://a b/",
        "https://x:0/",
    ],
)
def test_a_url_that_names_no_place_is_not_asked(kind: str, url: str) -> None:
    assert not failing(kind, NotAsked, Script([]), put(url=url)).sent


def test_a_place_that_does_not_exist_fails_to_connect(kind: str) -> None:
    assert not failing(kind, ConnectFailed, Script([]), put(url="https://nobody.invalid/")).sent


def test_a_port_where_nobody_listens_is_refused_in_so_many_words(kind: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, so that nobody else listens there; and no listen()
        url = f"https://127.0.0.1:{unused.getsockname()[1]}/"
        error = failing(kind, ConnectFailed, Script([]), put(url=url), host="127.0.0.1")
    assert str(error).endswith(": Connection refused") and not error.sent


@pytest.mark.parametrize(
    ("url", "allow"), [(f"http://{HOST}/", True), ("http://127.0.0.1/", False), ("http://localhost/", False)]
)
def test_plain_http_is_refused(kind: str, url: str, allow: bool) -> None:
    trust = Trust(allow_http=allow)
    assert "will not ask" in str(failing(kind, NotAsked, Script([]), put(url=url, trust=trust)))


def test_plain_http_to_loopback_can_be_allowed(kind: str) -> None:
    script = Script([[Ask(), ok(), Ask(), ok()]])
    request = put(url="http://127.0.0.1/x", trust=Trust(allow_http=True))
    exchange(kind, script, request, request, host="127.0.0.1", tls=False)
    assert len(script.played.all_requests) == 2


def test_a_tls_server_asked_in_plain_http_gives_no_answer(kind: str) -> None:
    async def main() -> None:
        async with playing(kind, Script([[Hush()]]), host="127.0.0.1") as shell:
            if kind == "in-process":
                url = "http://127.0.0.1:443/"
            else:
                (address,) = shell.client._connect_to.values()
                url = f"http://127.0.0.1:{address[1]}/"
            with pytest.raises(TransportError):
                await shell.send(put(url=url, trust=Trust(allow_http=True)))

    run(kind, main)


# faults on the wire


def test_a_request_can_be_cut_in_the_middle(kind: str) -> None:
    script = Script([[Hush()]])
    error = failing(kind, ExchangeCut, script, tap=Tap(cut_request_after=30))
    assert not error.sent and script.played.endings == [b"PUT /mdm HTTP/1.1\r\nHost: mdm.e"]


def test_a_request_can_be_cut_at_a_share_of_it(kind: str) -> None:
    script = Script([[Hush()]])
    failing(kind, ExchangeCut, script, put(b"x" * 10_000), tap=Tap(cut_request_share=0.5))
    assert len(script.played.endings[0]) == (10_000 + 68) // 2


@pytest.mark.parametrize("count", [0, 12, 50])
def test_an_answer_can_be_cut_and_nothing_is_sent_again(kind: str, count: int) -> None:
    script = Script([[Ask(), ok(), Ask(), ok(b"x" * 100), Hush()], [Ask(), ok()]])

    async def main() -> TransportError:
        async with playing(kind, script) as shell:
            await shell.send(put())
            with pytest.raises(ExchangeCut) as caught:
                await shell.send(put(), tap=Tap(cut_response_after=count))
            return caught.value

    assert run(kind, main).sent
    assert len(script.played.all_requests) == 2


def test_a_stall_ends_with_the_timeout(kind: str) -> None:
    script = Script([[Ask(), ok(), Hush()]])
    error = failing(kind, TimedOut, script, put(timeout=SOON), tap=Tap(stall_seconds=float("inf")))
    assert error.sent and len(script.played.all_requests) == 1


def test_a_short_stall_only_delays(kind: str) -> None:
    (response,) = exchange(kind, Script([[Ask(), ok(b"late"), Hush()]]), put(), tap=Tap(stall_seconds=0.05))
    assert response.body == b"late"


def test_the_tap_tells_connection_reuse_and_redirects(kind: str) -> None:
    script = Script([[Ask(), ok(), Ask(), status(307, "Location: /b"), Ask(), ok()]])
    first, second = Tap(), Tap()

    async def main() -> None:
        async with playing(kind, script) as shell:
            await shell.send(put(), tap=first)
            await shell.send(put(), tap=second)

    run(kind, main)
    assert (first.connection, first.reused, first.hops) == (1, False, [])
    assert (second.connection, second.reused, second.hops) == (1, True, [(307, f"https://{HOST}/b")])


# many at a time


def test_exchanges_do_not_mix(kind: str) -> None:
    count = 8

    class Echo(Script):
        async def play(self, stream: Any, client: bytes | None = None) -> None:
            data = b""
            while not data.endswith(b"</n>"):
                data += await stream.get()
            body = data.partition(b"\r\n\r\n")[2]
            await stream.put(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await stream.shut()

    answers: dict[int, bytes] = {}

    async def main() -> None:
        async with playing(kind, Echo([])) as shell:

            async def one(number: int, shell: Shell) -> None:
                answers[number] = (await shell.send(put(b"<n>%d</n>" % number))).body

            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(one, number, shell)

    run(kind, main)
    assert answers == {number: b"<n>%d</n>" % number for number in range(count)}
