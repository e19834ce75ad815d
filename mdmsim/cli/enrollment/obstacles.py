"""From what a device met with to what stands in the way, in the user's terms."""

from __future__ import annotations

import trio

from mdmsim.cli.enrollment.meanings import FAIL_INFO, OF_TLS, SYSTEMS, of_refused_profile, of_status
from mdmsim.cli.enrollment.obstacle import Obstacle
from mdmsim.cli.enrollment.profile import Facts
from mdmsim.cli.enrollment.untrusted import Distrusted, judge, presented_chain
from mdmsim.cli.enrollment.witness import Exchange
from mdmsim.cli.exits import FAILED, NOT_CARRIED_OUT
from mdmsim.clock import Clock
from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.flows.scep import ScepFailed
from mdmsim.http import BadAnswer, ConnectFailed, ExchangeCut, NotAsked, OwnLimit, TimedOut, TLSFailed
from mdmsim.pki.names import issuer_text
from mdmsim.pki.scep.errors import NoRACertificates, RefusedByCA
from mdmsim.protocol.errors import Malformed
from mdmsim.transport.place import place_of


async def of_exchange(exchange: Exchange, facts: Facts | None, clock: Clock) -> Obstacle | None:
    """What an exchange that failed tells; None for one that went well."""
    if exchange.error is not None:
        return await _of_transport(exchange, facts, clock)
    if exchange.response is None or exchange.response.is_success:
        return None
    status = exchange.response.status
    meaning, advice = of_status(exchange.request.label, status)
    failed = "failed at" if status >= 500 else "refused"
    return Obstacle(f"{_who(exchange)} {failed} {_step(exchange)}.", exchange.seen, meaning, advice, FAILED)


def of_device(error: DeviceError, last: Exchange | None, facts: Facts, platform: str) -> Obstacle:
    """What a device itself had against the profile, or against what the SCEP server said."""
    if isinstance(error, NotSimulated):
        return Obstacle(
            f"{error}.",
            meaning="a real device might enrol with this profile; nothing was sent to the server",
            advice="have the server hand out a profile for whole devices whose identity comes by SCEP (over https://, or over "
            "http:// from this machine) or as PKCS #12",
            code=NOT_CARRIED_OUT,
        )
    failure = error.__cause__
    codes = ", ".join(dict.fromkeys(f"{item.domain} {item.code}" for item in error.chain))
    if isinstance(failure, ScepFailed):
        cause = failure.__cause__
        if isinstance(cause, RefusedByCA):
            meaning, advice = (
                FAIL_INFO[cause.fail_info] if cause.fail_info is not None else (None, "see the SCEP server's log")
            )
            return Obstacle(
                "The SCEP server refused to issue an identity.", cause.reason, meaning, advice, chain=error.chain
            )
        asked = last is not None and last.request.label.startswith("scep:")
        url = f" at {last.request.url.partition('?')[0]}" if last is not None and asked else ""
        return Obstacle(
            f"No identity came by SCEP{url}: {failure}.",
            seen=codes,
            advice="answer GetCACert with the CA's certificate alone, as application/x-x509-ca-cert, or add the certificate "
            "of an RA"
            if isinstance(cause, NoRACertificates)
            else "check the SCEP payload of the profile, and the SCEP server's log",
            chain=error.chain,
        )
    meaning, advice = of_refused_profile(
        error.chain, topic=facts.topic, server_url=facts.server_url, checkin_url=facts.checkin_url
    )
    if isinstance(failure, Malformed):  # what a Mac's words leave open
        meaning = f"{meaning}; here: {failure}"
    return Obstacle(
        f"{SYSTEMS[platform]} refused the profile: {codes}.",
        seen="; ".join(item.localized for item in error.chain),
        meaning=meaning,
        advice=advice,
        chain=error.chain,
    )


async def _of_transport(exchange: Exchange, facts: Facts | None, clock: Clock) -> Obstacle:
    request, error = exchange.request, exchange.error
    if isinstance(error, NotAsked):
        return Obstacle(
            f"A device does not go to {request.url.partition('?')[0]} for {_step(exchange)}.",
            exchange.seen,
            "nothing was sent to anybody",
            "correct the URL; --allow-http is for http:// on this machine, --allow-host for a host of Apple's",
            FAILED,
        )
    place = place_of(request.url)
    if isinstance(error, TLSFailed):
        return await _of_tls(error, exchange, facts, clock)
    what, advice = f"{place.at} did not answer {_step(exchange)}.", "see the server's log"
    if isinstance(error, OwnLimit):
        what = "This machine has no open file, port or memory left to connect with; the server is not to blame."
        advice = "raise the limit (ulimit -n), or enrol fewer devices at the same time (--concurrency)"
    elif isinstance(error, ConnectFailed):
        what, advice = f"{place.at} cannot be reached.", "start the server, or check the host and port"
    elif isinstance(error, TimedOut):
        what = f"No complete answer to {_step(exchange)} came from {place.at} within {request.timeout:g} s."
        advice = "see the server's log; if nothing arrived there, something on the way drops the packets"
    elif isinstance(error, ExchangeCut):
        what = f"{place.at} ended the connection in the middle of {_step(exchange)}."
    elif isinstance(error, BadAnswer):
        what = f"{place.at} answered {_step(exchange)} with something that a device does not take."
    return Obstacle(what, exchange.seen, advice=advice, code=NOT_CARRIED_OUT)


async def _of_tls(error: TLSFailed, exchange: Exchange, facts: Facts | None, clock: Clock) -> Obstacle:
    """A handshake that failed, by what it failed at; only the server's own refusals are called refusals."""
    request = exchange.request
    place = place_of(request.url)
    if error.problem == "untrusted":
        chain = await trio.to_thread.run_sync(presented_chain, place.host, place.port)
        distrusted = judge(chain, place.host, request.trust.anchors, clock)
        if distrusted is not None:
            return _of_distrust(distrusted, exchange, facts)
    if error.problem == "client-certificate":
        return _of_client_certificate(exchange)
    what, meaning, advice = OF_TLS[error.problem]
    return Obstacle(what.format(at=place.at), exchange.seen, meaning, advice, NOT_CARRIED_OUT)


def _of_client_certificate(exchange: Exchange) -> Obstacle:
    identity = exchange.request.identity
    if identity is None:
        return Obstacle(
            f"{_who(exchange)} demands a client certificate in the TLS handshake, before {_step(exchange)}.",
            exchange.seen,
            "a device has a certificate for ServerURL and CheckInURL only, not before its identity was issued",
            "have the server ask for client certificates at these two URLs alone, or make them optional in TLS",
            FAILED,
        )
    return Obstacle(
        f"{_who(exchange)} refused the device's certificate in the TLS handshake; "
        f"it was issued by {issuer_text(identity.certificate)}.",
        exchange.seen,
        "a device has no other certificate for this enrollment, so nothing of it gets through",
        "have the server accept client certificates of that CA",
        FAILED,
    )


def _of_distrust(distrusted: Distrusted, exchange: Exchange, facts: Facts | None) -> Obstacle:
    at = place_of(exchange.request.url).at
    if distrusted.fault is not None:
        return Obstacle(
            f"The certificate of {at} is not good: {distrusted.fault}.",
            exchange.seen,
            "a device does not connect, and cannot be told to",
            "give the server a certificate that is valid for the host in the URL",
            NOT_CARRIED_OUT,
        )
    signed = (
        f"The certificate of {at} is signed by itself ({distrusted.subject})"
        if distrusted.self_signed
        else f"The certificate of {at} is signed by {distrusted.authority}"
    )
    if facts is None or facts.server_url is None:
        what, remedy = f"{signed}, which this machine does not trust.", "add --trust with that CA's certificate as PEM"
    else:
        carried = f"; it carries {', '.join(facts.carries)}" if facts.carries else ""
        if distrusted.leaf_carried:
            carried = "; it carries the server's certificate itself, which is no root"
        what = f"{signed}, which the profile does not carry{carried}."
        remedy = "add --trust with that CA's certificate as PEM, or put it in the profile, as a real device would need"
    return Obstacle(
        what,
        exchange.seen,
        "a device trusts the roots of its system, and those that the profile installs before check-in; a certificate "
        "that is no root helps to build a chain, but does not end one",
        remedy,
        NOT_CARRIED_OUT,
    )


def _step(exchange: Exchange) -> str:
    kind, _, name = exchange.request.label.partition(":")
    return {"profile": "the request for the profile", "scep": f"SCEP's {name}"}.get(kind, name)


def _who(exchange: Exchange) -> str:
    """Whom the request went to: an MDM server's CA may be somebody else's."""
    return "The SCEP server" if exchange.request.label.startswith("scep:") else "The server"
