"""Check-in: Authenticate, TokenUpdate and CheckOut, as flows."""

from __future__ import annotations

import msgspec

from mdmsim.device.device import Device, Work
from mdmsim.device.flow import Flow, exchange
from mdmsim.device.flows.server import accept, checkin_endpoint, put
from mdmsim.device.state import DEVICE_CHANNEL, Channel, Enrollment
from mdmsim.http import Response, TransportError
from mdmsim.protocol.checkin import Authenticate, CheckIn, CheckOut, TokenUpdate, build_checkin
from mdmsim.schema.platforms import AccessRights, version

#: macOS up to here sent `Challenge` in Authenticate, always these five bytes (captured: 10.11 to 10.12.6).
CHALLENGE_UNTIL = (10, 13)
CHALLENGE = b"apple"


def check_in(device: Device, enrollment: Enrollment, message: CheckIn) -> Flow[Response]:
    """PUT a check-in message. Raises Refused, UnexpectedStatus, or a TransportError."""
    endpoint = checkin_endpoint(enrollment)
    label = f"checkin:{type(message).__name__}"
    response = yield from exchange(put(device, enrollment, endpoint, build_checkin(message), label))
    return accept(device, response, during=label, url=endpoint.url)


def authenticate_message(device: Device, enrollment: Enrollment) -> Authenticate:
    """Authenticate as the platform sends it (captured: iOS 9 to 18, macOS 10.11 to 12; tvOS follows iOS)."""
    persona = device.persona
    information = bool(enrollment.access_rights & AccessRights.QUERY_DEVICE)
    if persona.platform == "macos":
        return Authenticate(
            ids=device.ids,
            topic=enrollment.topic,
            os_version=persona.os_version,
            build_version=persona.build_version,
            product_name=persona.product_name,
            serial_number=persona.serial,
            device_name=device.state.device_name or persona.device_name,
            model=persona.model,
            model_name=persona.model_name,
            challenge=CHALLENGE if version(persona.os_version) < CHALLENGE_UNTIL else None,
        )
    if not information:  # mdm/checkin/authenticate.yaml: these keys need the right to device information
        return Authenticate(ids=device.ids, topic=enrollment.topic)
    return Authenticate(
        ids=device.ids,
        topic=enrollment.topic,
        os_version=persona.os_version,
        build_version=persona.build_version,
        product_name=persona.product_name,
        serial_number=persona.serial,
        imei=persona.checkin_imei,
        meid=persona.checkin_meid,
    )


def token_update(device: Device, channel: str = DEVICE_CHANNEL) -> Flow[None]:
    """Tell the server push token, push magic and unlock token; done when a 2xx came.

    Raises Refused, UnexpectedStatus, or a TransportError: the wake stays, so it is tried again.
    """
    enrollment = device.state.enrollment
    if enrollment is None:
        return
    voice = device.voice(channel)
    unlock_token = _told_unlock_token(enrollment, voice)
    message = TokenUpdate(
        ids=device.ids,
        topic=enrollment.topic,
        token=voice.push_token,
        push_magic=voice.push_magic,
        unlock_token=unlock_token,
        awaiting_configuration=enrollment.awaiting,
    )
    yield from check_in(device, enrollment, message)
    device.change(lambda work: _token_updated(work, message, channel))


def _told_unlock_token(enrollment: Enrollment, voice: Channel) -> bytes | None:
    """The unlock token as the server may know it (mdm/checkin/tokenupdate.yaml: it needs the right to passcodes)."""
    if not enrollment.access_rights & AccessRights.LOCK_AND_REMOVE_PASSCODE:
        return None
    return voice.unlock_token or None


def _token_updated(work: Work, message: TokenUpdate, channel: str) -> None:
    enrollment = work.state.enrollment
    if enrollment is None:
        return
    voice = work.state.channel(channel)
    voice.attempts = 0
    first = not enrollment.confirmed
    # A token that changed while this message was on its way is told in a message of its own.
    told = (message.token, message.push_magic, message.unlock_token)
    if (voice.push_token, voice.push_magic, _told_unlock_token(enrollment, voice)) == told:
        voice.wakes.pop("token-update", None)
    work.emit("device.token-updated", push_token=message.token.hex(), first=first)
    if first:
        work.state.enrollment = msgspec.structs.replace(enrollment, confirmed=True)
        work.emit("device.enrolled", server_url=enrollment.server_url, topic=enrollment.topic)


def check_out(device: Device, enrollment: Enrollment) -> Flow[tuple[bool, int | None]]:
    """The one attempt at CheckOut: whether it was delivered, and the status that came, if one did."""
    message = CheckOut(ids=device.ids, topic=enrollment.topic)
    endpoint = checkin_endpoint(enrollment)
    try:
        response = yield from exchange(put(device, enrollment, endpoint, build_checkin(message), "checkin:CheckOut"))
    except TransportError:
        return False, None
    return response.is_success, response.status
