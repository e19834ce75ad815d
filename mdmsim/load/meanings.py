"""What a refusal means to a device, in a few words for Locust's table of failures.

Sources: Apple's MDM Protocol Reference ("Terminating a Management Relationship"), Apple's article on sending MDM
commands, mdm/errors/unrecognized.device.yaml, RFC 8894 section 4.
"""

from __future__ import annotations

from mdmsim.http import Response, TransportError

#: What transport errors mean, by class.
TRANSPORT = {
    "ConnectFailed": "nobody listens there",
    "OwnLimit": "this machine has no open file, port or memory left to connect with",
    "NotAsked": "a device does not go to that URL",
    "TLSFailed": "the TLS handshake failed",
    "ExchangeCut": "the connection ended before the answer did",
    "TimedOut": "no answer in time",
    "BadAnswer": "the answer is not proper HTTP",
}


#: The name under which exchanges are counted that the generator could not begin: they are no failures of the server.
GENERATOR = "generator:not-sent"


class ExchangeFailed(Exception):
    """One exchange without a 2xx, as Locust shows it."""


def of_error(error: TransportError) -> ExchangeFailed:
    """An exchange without an answer. Equal causes have equal texts, so that they are counted together."""
    kind = type(error).__name__
    return ExchangeFailed(f"{kind}: {TRANSPORT.get(kind, 'no complete answer')}")


def of_answer(label: str, response: Response) -> ExchangeFailed:
    """An answer that is no 2xx: status, what it means to the device, and the first line that the server wrote."""
    lines = response.body[:200].decode("utf-8", "replace").strip().splitlines()
    said = f' ("{lines[0][:80]}")' if lines and not lines[0].lstrip().startswith(("<", "{")) else ""
    return ExchangeFailed(f"{response.status}: {_meaning(label, response.status)}{said}")


def _meaning(label: str, status: int) -> str:
    kind, _, message = label.partition(":")
    if kind == "scep":
        return "the SCEP server refuses; nothing is installed"
    if kind == "profile":
        return "no enrollment profile is handed out"
    if kind == "api":
        return "the server's API refuses"
    if status == 401:
        if message == "Authenticate":
            return "the server does not want this device; nothing is installed"
        return "the server disowns the device, which removes its profile"
    if status == 403:
        return "the identity may not speak for this device; it stays enrolled and tries again"
    if status == 413:
        return "the message is larger than the server takes"
    if message == "Authenticate":
        return "check-in fails; nothing is installed"
    again = "the server is overloaded or down" if status in (429, 502, 503, 504) else "the server failed"
    return (
        f"{again if status >= 500 or status == 429 else 'the server refuses the message'}; the device tries again later"
    )
