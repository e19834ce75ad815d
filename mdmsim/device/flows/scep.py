"""Getting an identity from a SCEP server, as the SCEP payload says (RFC 8894; com.apple.security.scep.yaml)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mdmsim.device import errors
from mdmsim.device.device import Device
from mdmsim.device.errors import DeviceError
from mdmsim.device.flow import LONGEST_PAUSE, Flow, exchange, pause
from mdmsim.device.personas.user_agents import scep_headers
from mdmsim.device.state import IdentityRef, PendingIdentity
from mdmsim.http import Request, Response, TransportError, Trust, is_loopback
from mdmsim.pki.csr import san_from_payload
from mdmsim.pki.errors import MalformedName
from mdmsim.pki.names import subject_from_payload
from mdmsim.pki.scep import client
from mdmsim.pki.scep.ca_certificates import parse_ca_certificates, promises_authorities
from mdmsim.pki.scep.capabilities import Capabilities, parse_capabilities
from mdmsim.pki.scep.errors import ScepError
from mdmsim.protocol.profile import Payload, ScepPayload

#: MCSCEPErrorDomain (Apple, MDM Protocol Reference, "Error Codes").
KEY_USAGE, BAD_RESPONSE, NETWORK = 22000, 22002, 22005

#: A RetryDelay of zero would be a loop as fast as the CA answers (our choice; the schema names no lower bound).
SHORTEST_RETRY = 1

#: How a payload's Subject names a common name (com.apple.security.scep.yaml, Subject: short names or OIDs).
COMMON_NAME = ("CN", "2.5.4.3")


class ScepFailed(Exception):
    """The CA gave no certificate. `code` is of MCSCEPErrorDomain, `mac_code` of a Mac's NSOSStatusErrorDomain."""

    def __init__(self, code: int, why: str, mac_code: int = ScepError.mac_code) -> None:
        super().__init__(why)
        self.code = code
        self.mac_code = mac_code


@dataclass(frozen=True, slots=True)
class Waiting:
    """The CA has not decided, and the next question is longer away than a flow may pause."""

    pending: PendingIdentity
    seconds: float


def over_http_elsewhere(url: str) -> bool:
    """Whether a SCEP URL is plain http to another machine: a device would ask it, mdmsim does not."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and bool(parts.hostname) and not is_loopback(parts.hostname or "")
    except ValueError:
        return False


def scep_enroll(
    device: Device, payload: Payload, settings: ScepPayload, trust: Trust, *, resume: PendingIdentity | None = None
) -> Flow[IdentityRef | Waiting]:
    """Enrol one identity: GetCACaps, GetCACert, PKIOperation, and polls while the CA leaves it pending.

    Plain http is as good as https here: SCEP protects its own messages, and com.apple.mdm.yaml asks for https in
    ServerURL and CheckInURL alone. As everywhere, http goes to this machine only (see `over_http_elsewhere`).
    A 401 or any other failure here only fails this step. Raises ScepFailed.
    """
    trust = replace(trust, allow_http=True)
    try:
        if resume is None:
            key, transaction = yield from _begin(device, payload, settings, trust)
            polls = 0
        else:
            key, polls = resume.key, resume.polls + 1
            transaction = client.poll(resume.transaction, clock=device.clock, chance=device.draw())
        while True:
            request = _pki_operation(device, settings, trust, transaction)
            answer = _ok((yield from exchange(request)))
            outcome = client.read_reply(transaction, answer.body, at_ms=device.clock.now_ms())
            if isinstance(outcome, client.Certificate):
                certificate = device.store.put(outcome.certificate)
                return IdentityRef(certificate=certificate, key=key)
            if polls >= settings.retries:
                raise ScepFailed(BAD_RESPONSE, f"the CA has not decided after {polls} questions")
            # The first question comes without delay (com.apple.security.scep.yaml, RetryDelay).
            delay = max(settings.retry_delay, SHORTEST_RETRY) if polls else 0
            if delay > LONGEST_PAUSE:
                waiting = PendingIdentity(payload_uuid=payload.uuid, key=key, transaction=transaction, polls=polls)
                return Waiting(waiting, delay)
            yield from _wait(device, delay)
            polls += 1
            transaction = client.poll(transaction, clock=device.clock, chance=device.draw())
    except TransportError as error:
        raise ScepFailed(NETWORK, str(error)) from error
    except ScepError as error:
        raise ScepFailed(error.code, error.reason, error.mac_code) from error


def _wait(device: Device, seconds: int) -> Flow[None]:
    """Let that much time pass; a push, which ends a pause, does not make a CA decide."""
    due = device.clock.now_ms() + seconds * 1000
    while (left := due - device.clock.now_ms()) > 0:
        yield from pause(left / 1000)


def _begin(
    device: Device, payload: Payload, settings: ScepPayload, trust: Trust
) -> Flow[tuple[str, client.Transaction]]:
    caps = yield from _get(device, settings, trust, "GetCACaps")
    # A server that does not know GetCACaps is one of the draft's age (RFC 8894 section 3.5.2).
    capabilities = parse_capabilities(caps.body if caps.is_success else b"")
    answer = yield from _get(device, settings, trust, "GetCACert")
    authorities = parse_ca_certificates(_ok(answer).body)
    ra = promises_authorities(answer.header("Content-Type"))
    key = device.keys.take(bits=settings.key_size)
    transaction = _transaction(device, payload, settings, capabilities, authorities, key, ra=ra)
    return device.store.put(key), transaction


def _transaction(
    device: Device,
    payload: Payload,
    settings: ScepPayload,
    capabilities: Capabilities,
    authorities: tuple[bytes, ...],
    key: bytes,
    *,
    ra: bool,
) -> client.Transaction:
    fill = _variables(device)
    names = {key: [fill(value) for value in values] for key, values in settings.subject_alt_name.items()}
    try:
        subject = subject_from_payload(_subject(device, payload, settings), lenient=device.persona.is_mac)
        san = san_from_payload(names)
    except MalformedName as error:
        raise ScepFailed(KEY_USAGE, error.reason) from error
    return client.begin(
        key=key,
        subject=subject,
        ca_certificates=authorities,
        capabilities=capabilities,
        clock=device.clock,
        chance=device.draw(),
        signer_key=device.keys.take(bits=2048),
        challenge=settings.challenge,
        fingerprint=settings.ca_fingerprint,
        ra=ra,
        key_usage=settings.key_usage,
        san=san,
        region=device.persona.region,
    )


def _subject(device: Device, payload: Payload, settings: ScepPayload) -> list[list[list[str]]]:
    """The subject to ask for. Where it has no CN a Mac adds the payload's identifier (captured)."""
    fill = _variables(device)
    subject = [[[key, fill(value)] for key, value in rdn] for rdn in settings.subject]
    if device.persona.is_mac and not any(key.upper() in COMMON_NAME for rdn in settings.subject for key, _ in rdn):
        subject.append([["CN", payload.identifier]])
    return subject


def _variables(device: Device) -> Callable[[str], str]:
    """What fills in macOS's variables, in Subject and SubjectAltName (mdmb's scep.go); iOS knows none."""
    persona = device.persona
    name = device.state.device_name or persona.device_name
    host = name.replace("’", "").replace("'", "").replace(" ", "-")
    values = {
        "%ComputerName%": name,
        "%HardwareUUID%": persona.udid,
        "%SerialNumber%": persona.serial,
        "%HostName%": f"{host}.local",
        "%LocalHostName%": host,
        "%MACAddress%": persona.ethernet_mac or persona.wifi_mac or "",
    }

    def fill(value: str) -> str:
        for variable, content in values.items() if persona.is_mac else ():
            value = value.replace(variable, content)
        return value

    return fill


def _get(device: Device, settings: ScepPayload, trust: Trust, operation: str) -> Flow[Response]:
    url = client.operation_url(settings.url, operation, settings.name)
    request = Request("GET", url, scep_headers(device.persona), label=f"scep:{operation}", trust=trust)
    return (yield from exchange(request))


def _pki_operation(device: Device, settings: ScepPayload, trust: Trust, transaction: client.Transaction) -> Request:
    if not transaction.post:
        url = client.pki_operation_url(settings.url, transaction.message)
        return Request("GET", url, scep_headers(device.persona), label="scep:PKIOperation", trust=trust)
    headers = scep_headers(device.persona, post=True)
    url = client.pki_operation_url(settings.url)
    return Request("POST", url, headers, transaction.message, label="scep:PKIOperation", trust=trust)


def _ok(response: Response) -> Response:
    if response.status != 200:
        raise ScepFailed(BAD_RESPONSE, f"the SCEP server answered {response.status}")
    return response


def scep_chain(device: Device, display_name: str, failure: ScepFailed) -> DeviceError:
    """What a device reports when a SCEP payload fails: MCSCEPErrorDomain on iOS, NSOSStatusErrorDomain on a Mac."""
    persona = device.persona
    if persona.is_mac:
        text = f" <{errors.OS_STATUS}:{failure.mac_code}>"
        return DeviceError((errors.item(persona, errors.OS_STATUS, failure.mac_code, text),))
    # Words: logs of profiled in mosen/SCEPy issue 1 and wso2-attic/wso2mobileserver issue 2; `failure` has the details.
    text = {
        NETWORK: "Could not connect to the server.",
        22003: "The Registration Authority’s response is invalid.",
    }.get(failure.code, "The SCEP server returned an invalid response.")
    cause = errors.item(persona, errors.SCEP, failure.code, text)
    return errors.install_failed(persona, display_name, cause)
