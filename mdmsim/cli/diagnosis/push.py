"""One push, sent as a server would send it, and what became of it at every hop: `mdmsim doctor --push`."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from mdmsim.cli.diagnosis import way as ways
from mdmsim.cli.diagnosis.finding import good
from mdmsim.cli.diagnosis.verdict import verdict
from mdmsim.cli.diagnosis.way import Hop, Stopped, Target, Untrusted, stop
from mdmsim.cli.exits import Mistake
from mdmsim.cli.words import contents
from mdmsim.http import Identity
from mdmsim.pki.certificate import identity_from_pem
from mdmsim.pki.push_certificate import topic_of
from mdmsim.protocol.errors import Malformed


@dataclass(frozen=True, slots=True)
class Push:
    """What is asked for. `token`: hex; a `made_up` one belongs to no device, and the right answer to it is a refusal."""

    url: str
    token: str
    made_up: bool
    proxy: str | None = None
    certificate: Path | None = None
    topic: str | None = None
    ca: Path | None = None
    allowed: frozenset[str] = frozenset()


@dataclass(slots=True)
class Answer:
    """What the push service said. `goaway`: the reason in a GOAWAY that came instead, "" for one without."""

    status: int = 0
    reason: str = ""
    apns_id: str = ""
    timestamp_ms: int | None = None
    goaway: str | None = None
    reset: int | None = None
    body: bytes = b""
    settings: dict[str, int] = field(default_factory=dict)


def hops(push: Push) -> Iterator[Hop]:
    """Every hop as it is taken; the last one is the one that failed, or the answer. Raises Mistake."""
    identity = _identity(push.certificate)
    context = ways.tls_context(push.ca, identity)
    way, hop = ways.target(push.url, push.proxy)
    yield hop
    connection: socket.socket | None = None
    try:
        address, hop = ways.resolve(way, push.allowed)
        yield hop
        connection, hop = ways.connect(way, address)
        yield hop
        if way.proxy is not None:
            yield ways.tunnel(way, connection)
        if way.proxy is not None and identity is not None and way.is_apples and way.host not in push.allowed:
            # Behind somebody else's proxy this may be Apple: the certificate is shown only once that is ruled out.
            _secured(way, connection, address, ways.tls_context(push.ca, None), push.allowed)[0].close()
            connection = _again(way, address)
        connection, hop = _secured(way, connection, address, context, push.allowed)
        yield hop
        answer = Answer()
        yield from _exchange(push, way.authority, connection, answer)
        yield from verdict(
            answer,
            certificate=push.certificate,
            subject=topic_of(identity.certificate) if identity is not None else None,
            topic=push.topic,
            made_up=push.made_up,
        )
    except Stopped as stopped:
        yield stopped.hop
    finally:
        if connection is not None:
            connection.close()


def _again(way: Target, address: str) -> socket.socket:
    """One more connection, as far as the host's TLS. Raises Stopped."""
    connection, _ = ways.connect(way, address)
    if way.proxy is not None:
        ways.tunnel(way, connection)
    return connection


def _secured(
    way: Target, connection: socket.socket, address: str, context: ssl.SSLContext, allowed: frozenset[str]
) -> tuple[ssl.SSLSocket, Hop]:
    """TLS on that connection. Raises Stopped."""
    try:
        return ways.secure(way, connection, context, allowed)
    except Untrusted as untrusted:
        connection.close()
        ways.explain_untrusted(way, _again(way, address), untrusted)


def _identity(file: Path | None) -> Identity | None:
    if file is None:
        return None
    try:
        return identity_from_pem(contents(file, "--certificate"))
    except Malformed as error:
        raise Mistake(f"--certificate {file}: {error}. Name a PEM file with push certificate and key.") from None


def _exchange(push: Push, authority: str, connection: ssl.SSLSocket, answer: Answer) -> Iterator[Hop]:
    """HTTP/2, and the push itself. The answer is left in `answer`. Raises Stopped."""
    protocol = connection.selected_alpn_protocol()
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    http2.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", f"/3/device/{push.token}"),
        ("content-type", "application/json"),
        # Not to be kept: a push that waits for that device must not be replaced by this one.
        ("apns-expiration", "0"),
    ]
    if push.topic is not None:
        headers.append(("apns-topic", push.topic))
    http2.send_headers(1, headers)
    http2.send_data(1, b'{"mdm":"mdmsim doctor"}', end_stream=True)
    greeted = False
    try:
        connection.sendall(http2.data_to_send())
        while data := connection.recv(65536):
            if not greeted and data.startswith(b"HTTP/1."):
                stop("http2", "it answers in HTTP/1.1", "this is not a push host: take the port of the fake APNs")
            ended = _received(http2, http2.receive_data(data), answer)
            if not greeted and answer.settings:
                greeted = True
                how = "agreed by ALPN" if protocol == "h2" else "without ALPN, by prior knowledge"
                most = answer.settings.get("max_concurrent_streams")
                yield Hop("http2", good(f"{how}; up to {most} pushes at a time" if most is not None else how))
            connection.sendall(http2.data_to_send())
            if ended:
                return
    except ssl.SSLEOFError:
        # A reset that arrives together with the end of TLS: some OpenSSL calls tell the one, some the other.
        stop("answer" if greeted else "http2", "it hung up without an answer", _FAULT)
    except ssl.SSLError as error:
        refused = ways.client_certificate_refused(error)
        if refused is not None:
            raise Stopped(refused) from None
        stop("answer" if greeted else "http2", f"TLS ended it: {error.reason or error}", _FAULT)
    except h2.exceptions.ProtocolError as error:
        stop("answer" if greeted else "http2", f"what came is not HTTP/2: {error}", "take the port of the fake APNs")
    except TimeoutError:
        said = f"nothing came in {ways.PATIENCE:.0f} s"
        stop(
            "answer" if greeted else "http2", said, f"{_FAULT}. Some servers wait for ever here: NanoMDM has no timeout"
        )
    except OSError as error:
        stop(
            "answer" if greeted else "http2",
            f"the connection was cut ({(error.strerror or str(error)).lower()})",
            _FAULT,
        )
    if answer.goaway is None:
        if not greeted and push.certificate is not None:
            said = "it hung up right after the handshake, without a word of HTTP/2: as a rule it does not know the certificate"
            stop("certificate", said, f"{ways.MAKE_KNOWN}; or {_FAULT}")
        stop("answer" if greeted else "http2", "it hung up without an answer", _FAULT)


_FAULT = "a fault may be planned or a blackout be on: GET /faults of its admin API lists them"


def _received(http2: h2.connection.H2Connection, events: list[h2.events.Event], answer: Answer) -> bool:
    """Take in what came; whether there is nothing more to wait for."""
    ended = False
    for event in events:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            changed = {
                getattr(key, "name", str(key)).lower(): each.new_value for key, each in event.changed_settings.items()
            }
            answer.settings |= changed or {"none": 0}
        elif isinstance(event, h2.events.ResponseReceived):
            said = {str(name): str(value) for name, value in event.headers or ()}
            answer.status = int(said.get(":status", "0"))
            answer.apns_id = said.get("apns-id", "")
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data or b""
            http2.acknowledge_received_data(event.flow_controlled_length or 0, 1)
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code or 0)
            ended = True
        elif isinstance(event, h2.events.ConnectionTerminated):
            answer.goaway, _ = _reason(event.additional_data or b"")
            ended = True
        elif isinstance(event, h2.events.StreamEnded):
            ended = True
    if ended and answer.body:
        answer.reason, answer.timestamp_ms = _reason(answer.body)
    return ended


def _reason(body: bytes) -> tuple[str, int | None]:
    """Reason and timestamp of an error's JSON; "" for what is none."""
    try:
        said = json.loads(body)
    except ValueError:
        return "", None
    if not isinstance(said, dict):
        return "", None
    reason, timestamp = said.get("reason"), said.get("timestamp")
    return (reason if isinstance(reason, str) else ""), (timestamp if isinstance(timestamp, int) else None)


def failed(found: list[Hop]) -> Hop | None:
    """The hop that failed, if one did."""
    return next((hop for hop in found if hop.finding.state == "missing"), None)
