"""Check-in messages: what a device PUTs to CheckInURL.

Keys: mdm/checkin/*.yaml, corrected by captures of iOS 9 to 18 and macOS 10.11 to 15. Wire keys that a class has no
field for are kept in `extra` and written again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, assert_never

from mdmsim.protocol import plist
from mdmsim.protocol.fields import Fields
from mdmsim.protocol.ids import Channel, Ids, put_ids, take_ids

__all__ = [
    "Authenticate",
    "Channel",
    "CheckIn",
    "CheckOut",
    "DeclarativeManagement",
    "GetBootstrapToken",
    "GetToken",
    "Ids",
    "MESSAGE_TYPES",
    "SetBootstrapToken",
    "TokenUpdate",
    "UserAuthenticate",
    "build_checkin",
    "parse_checkin",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate:
    """A device asks to be enrolled (mdm/checkin/authenticate.yaml).

    macOS sends `device_name`, `model`, `model_name` and, seen up to 10.12, `challenge`; iOS only some cellular devices'
    `imei` and `meid` besides; a User Enrollment no serial number (captured).
    """

    message_type: ClassVar[str] = "Authenticate"

    ids: Ids
    topic: str
    os_version: str | None = None
    build_version: str | None = None
    product_name: str | None = None
    serial_number: str | None = None
    imei: str | None = None
    meid: str | None = None
    device_name: str | None = None
    model: str | None = None
    model_name: str | None = None
    challenge: bytes | None = field(default=None, repr=False)
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUpdate:
    """A channel says where it can be pushed to (mdm/checkin/tokenupdate.yaml).

    `awaiting_configuration` has three values: None when the key is absent, which says nothing about the state.
    `unlock_token` may be absent from later messages, which does not take back the one sent before (captured: iOS).
    """

    message_type: ClassVar[str] = "TokenUpdate"

    ids: Ids
    topic: str
    token: bytes
    push_magic: str = field(repr=False)
    unlock_token: bytes | None = field(default=None, repr=False)
    awaiting_configuration: bool | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOut:
    """A device says that its enrollment profile is gone (mdm/checkin/checkout.yaml)."""

    message_type: ClassVar[str] = "CheckOut"

    ids: Ids
    topic: str
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserAuthenticate:
    """A directory user of a Mac logs in; the second message has the digest (mdm/checkin/userauthenticate.yaml)."""

    message_type: ClassVar[str] = "UserAuthenticate"

    ids: Ids
    digest_response: str | None = field(default=None, repr=False)
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBootstrapToken:
    """A Mac puts its bootstrap token in escrow; an absent or empty one removes it (setbootstraptoken.yaml)."""

    message_type: ClassVar[str] = "SetBootstrapToken"

    ids: Ids
    bootstrap_token: bytes | None = field(default=None, repr=False)
    awaiting_configuration: bool | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetBootstrapToken:
    """A Mac asks for its bootstrap token (mdm/checkin/getbootstraptoken.yaml)."""

    message_type: ClassVar[str] = "GetBootstrapToken"

    ids: Ids
    awaiting_configuration: bool | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetToken:
    """A device asks for a token of some service (mdm/checkin/gettoken.yaml)."""

    message_type: ClassVar[str] = "GetToken"

    ids: Ids
    token_service_type: str
    token_parameters: dict[str, Any] | None = field(default=None, repr=False, hash=False)
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclarativeManagement:
    """A step of declarative management; `data` is JSON (mdm/checkin/declarativemanagement.yaml)."""

    message_type: ClassVar[str] = "DeclarativeManagement"

    ids: Ids
    endpoint: str
    data: bytes | None = field(default=None, repr=False)
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


CheckIn = (
    Authenticate
    | TokenUpdate
    | CheckOut
    | UserAuthenticate
    | SetBootstrapToken
    | GetBootstrapToken
    | GetToken
    | DeclarativeManagement
)

#: Every message type that is understood.
MESSAGE_TYPES: tuple[str, ...] = (
    Authenticate.message_type,
    TokenUpdate.message_type,
    CheckOut.message_type,
    UserAuthenticate.message_type,
    SetBootstrapToken.message_type,
    GetBootstrapToken.message_type,
    GetToken.message_type,
    DeclarativeManagement.message_type,
)


def parse_checkin(body: bytes) -> CheckIn:
    """The message in a check-in body. Raises Malformed; its `what` is the message type once that is known."""
    return checkin_of(plist.loads(body, what="check-in"))


def checkin_of(values: dict[str, Any]) -> CheckIn:
    """The message in a parsed plist. Raises Malformed."""
    fields = Fields("check-in", values)
    message_type = fields.required_string("MessageType")
    if message_type not in MESSAGE_TYPES:
        raise fields.error("MessageType", f"is {message_type[:60]!r}; known are {', '.join(MESSAGE_TYPES)}")
    fields.what = message_type
    ids = take_ids(fields)
    match message_type:
        case Authenticate.message_type:
            return Authenticate(
                ids=ids,
                topic=fields.required_string("Topic"),
                os_version=fields.string("OSVersion"),
                build_version=fields.string("BuildVersion"),
                product_name=fields.string("ProductName"),
                serial_number=fields.string("SerialNumber"),
                imei=fields.string("IMEI"),
                meid=fields.string("MEID"),
                device_name=fields.string("DeviceName"),
                model=fields.string("Model"),
                model_name=fields.string("ModelName"),
                challenge=fields.data("Challenge"),
                extra=fields.rest(),
            )
        case TokenUpdate.message_type:
            return TokenUpdate(
                ids=ids,
                topic=fields.required_string("Topic"),
                token=fields.required_data("Token"),
                push_magic=fields.required_string("PushMagic"),
                unlock_token=fields.data("UnlockToken"),
                awaiting_configuration=fields.boolean("AwaitingConfiguration"),
                extra=fields.rest(),
            )
        case CheckOut.message_type:
            return CheckOut(ids=ids, topic=fields.required_string("Topic"), extra=fields.rest())
        case UserAuthenticate.message_type:
            if ids.udid is None:
                raise fields.error("UDID", "is missing; it must be a string", "missing")
            if ids.user_id is None:
                raise fields.error("UserID", "is missing; it must be a string", "missing")
            return UserAuthenticate(ids=ids, digest_response=fields.string("DigestResponse"), extra=fields.rest())
        case SetBootstrapToken.message_type:
            return SetBootstrapToken(
                ids=ids,
                bootstrap_token=fields.data("BootstrapToken"),
                awaiting_configuration=fields.boolean("AwaitingConfiguration"),
                extra=fields.rest(),
            )
        case GetBootstrapToken.message_type:
            return GetBootstrapToken(
                ids=ids, awaiting_configuration=fields.boolean("AwaitingConfiguration"), extra=fields.rest()
            )
        case GetToken.message_type:
            return GetToken(
                ids=ids,
                token_service_type=fields.required_string("TokenServiceType"),
                token_parameters=fields.dictionary("TokenParameters"),
                extra=fields.rest(),
            )
        case _:
            return DeclarativeManagement(
                ids=ids,
                endpoint=fields.required_string("Endpoint"),
                data=fields.data("Data"),
                extra=fields.rest(),
            )


def build_checkin(message: CheckIn) -> bytes:
    """The body of a check-in message, as a device writes it. Raises Malformed for what a plist cannot hold."""
    return plist.dumps(checkin_keys(message), like_device=True)


def checkin_keys(message: CheckIn) -> dict[str, Any]:
    """The wire keys of a message; what is None is left out."""
    keys: dict[str, Any]
    match message:
        case Authenticate():
            keys = {
                "Topic": message.topic,
                "OSVersion": message.os_version,
                "BuildVersion": message.build_version,
                "ProductName": message.product_name,
                "SerialNumber": message.serial_number,
                "IMEI": message.imei,
                "MEID": message.meid,
                "DeviceName": message.device_name,
                "Model": message.model,
                "ModelName": message.model_name,
                "Challenge": message.challenge,
            }
        case TokenUpdate():
            keys = {
                "Topic": message.topic,
                "Token": message.token,
                "PushMagic": message.push_magic,
                "UnlockToken": message.unlock_token,
                "AwaitingConfiguration": message.awaiting_configuration,
            }
        case CheckOut():
            keys = {"Topic": message.topic}
        case UserAuthenticate():
            keys = {"DigestResponse": message.digest_response}
        case SetBootstrapToken():
            keys = {
                "BootstrapToken": message.bootstrap_token,
                "AwaitingConfiguration": message.awaiting_configuration,
            }
        case GetBootstrapToken():
            keys = {"AwaitingConfiguration": message.awaiting_configuration}
        case GetToken():
            keys = {"TokenServiceType": message.token_service_type, "TokenParameters": message.token_parameters}
        case DeclarativeManagement():
            keys = {"Endpoint": message.endpoint, "Data": message.data}
        case _:
            assert_never(message)
    known = {key: value for key, value in keys.items() if value is not None}
    return message.extra | {"MessageType": message.message_type} | put_ids(message.ids) | known
