"""What every request to the MDM server has in common: address, identity, signature, and what a refusal means."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from mdmsim.device.device import Device
from mdmsim.device.personas import mdm_headers
from mdmsim.device.state import Enrollment
from mdmsim.http import Request, Response
from mdmsim.pki.mdm_signature import HEADER, SignatureStyle, sign_body
from mdmsim.printable import printable
from mdmsim.protocol import device_plist
from mdmsim.schema.platforms import version

#: The code of a 403 that ends an enrollment (mdm/errors/unrecognized.device.yaml), and the versions that know it.
UNRECOGNIZED_DEVICE = "com.apple.unrecognized.device"
UNRECOGNIZED_SINCE = {
    "ios": (17,),
    "ipados": (17,),
    "tvos": (17,),
    "macos": (14,),
    "watchos": (10,),
    "visionos": (1, 1),
}


class ServerSaidNo(Exception):
    """The server did not answer with a 2xx. `url` is the URL of the profile that was asked, not of a redirect."""

    def __init__(self, response: Response, *, during: str, url: str) -> None:
        first_line = response.body[:200].decode("utf-8", "replace").strip().splitlines()
        said = f": {first_line[0]}" if first_line else ""
        super().__init__(printable(f"{during} answered {response.status}, expected 2xx{said}"))
        self.response = response
        self.during = during
        self.url = url


class Refused(ServerSaidNo):
    """The server disowns the enrollment: a device gives it up."""


class UnexpectedStatus(ServerSaidNo):
    """Any other refusal: the device keeps its enrollment and tries again later."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of the two addresses of an enrollment, and who may answer there."""

    url: str
    purpose: Literal["checkin", "connect"]
    pins: list[str]


def checkin_endpoint(enrollment: Enrollment) -> Endpoint:
    """Where check-in messages go: CheckInURL, or ServerURL where the payload has none."""
    if enrollment.checkin_url:
        return Endpoint(enrollment.checkin_url, "checkin", enrollment.checkin_pins)
    return Endpoint(enrollment.server_url, "checkin", enrollment.server_pins)


def connect_endpoint(enrollment: Enrollment) -> Endpoint:
    return Endpoint(enrollment.server_url, "connect", enrollment.server_pins)


def put(device: Device, enrollment: Enrollment, endpoint: Endpoint, body: bytes, label: str) -> Request:
    """The PUT that carries a message to the MDM server, signed where the payload asks for it.

    Source: com.apple.mdm.yaml (SignMessage, pinning lists); header sets as captured from iOS 18.2.1.
    """
    identity = device.identity(enrollment.identity)
    headers = mdm_headers(device.persona, endpoint.purpose)
    if enrollment.sign_message:
        headers = (*headers, (HEADER, sign_body(body, identity, style=signature_style(device))))
    return Request(
        method="PUT",
        url=endpoint.url,
        headers=headers,
        body=body,
        label=label,
        identity=identity,
        trust=device.trust(_roots(device, enrollment), endpoint.pins),
    )


def _roots(device: Device, enrollment: Enrollment) -> list[str]:
    """The certificates under which the server may stand: those of the enrollment profile, and those that MDM installed.

    So a server can move to another CA: it sends the new root first (Apple, "Trust manually installed certificate
    profiles": what came by MDM is trusted at once, what a person installed is not).
    """
    state = device.state
    managed = {installed.identifier for installed in state.profiles if installed.managed}
    if not managed:
        return enrollment.anchors
    roots = [kept.certificate for kept in state.keychain if kept.key is None and kept.profile in managed]
    return list(dict.fromkeys((*enrollment.anchors, *roots)))


_PLAIN = SignatureStyle()
_WITH_ATTRIBUTES = SignatureStyle(attributes=True)


def signature_style(device: Device) -> SignatureStyle:
    return _WITH_ATTRIBUTES if device.behaviour.signature_attributes else _PLAIN


def accept(device: Device, response: Response, *, during: str, url: str) -> Response:
    """The response if it is a 2xx. Raises Refused for what ends an enrollment, UnexpectedStatus for the rest.

    401 from either URL ends an enrollment that is not account-driven (MDM Protocol Reference, "Terminating a
    Management Relationship"); so does 403 with the code `com.apple.unrecognized.device` on systems that know it.
    """
    if response.is_success:
        return response
    if response.status == 401 or (response.status == 403 and _disowned(device, response)):
        raise Refused(response, during=during, url=url)
    raise UnexpectedStatus(response, during=during, url=url)


def _disowned(device: Device, response: Response) -> bool:
    since = UNRECOGNIZED_SINCE.get(device.persona.platform)
    if since is None or version(device.persona.os_version) < since:
        return False
    return error_code(response) == UNRECOGNIZED_DEVICE


def error_code(response: Response) -> object:
    """The `code` of an error body, which is JSON or an XML plist as its content type says."""
    kind = (response.header("content-type") or "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            body = json.loads(response.body)
        elif kind in ("application/xml", "text/xml", "application/x-plist"):
            body = device_plist.loads_any(response.body, what="error body")
        else:
            return None
    except (ValueError, RecursionError):  # Malformed is a ValueError; json gives up on depth only by RecursionError
        return None
    return body.get("code") if isinstance(body, dict) else None
