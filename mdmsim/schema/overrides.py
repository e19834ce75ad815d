"""Where real devices or Apple's prose say otherwise than the schema's attributes: named, each with its source.

An override with `required` makes an optional key required and leaves alone what is forbidden or not there;
`optional` and `forbidden` are final. The first that fits counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mdmsim.protocol.ids import Channel
from mdmsim.schema.platforms import Enrollment, Platform

Presence = Literal["required", "optional", "forbidden"]

#: Commands that the schema's attributes allow on any iPad and its text on a Shared iPad alone, each with its source.
SHARED_IPAD_ONLY: dict[str, str] = {
    "UserConfigured": "mdm/commands/user.configured.yaml: works on Shared iPads with AwaitUserConfiguration only",
}

_IOS = (Platform.IOS, Platform.IPADOS)
_MACOS = (Platform.MACOS,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One correction. What is None or empty fits everything. `type`: for keys that the schema does not have at all."""

    name: str
    messages: tuple[str, ...]
    keys: tuple[str, ...]
    presence: Presence
    why: str
    source: str
    platforms: tuple[Platform, ...] = ()
    channel: Channel | None = None
    enrollment: Enrollment | None = None
    shared_ipad: bool | None = None
    type: str | None = None

    def fits(
        self, message: str, key: str, *, platform: Platform, channel: Channel, enrollment: Enrollment, shared_ipad: bool
    ) -> bool:
        return (
            message in self.messages
            and key in self.keys
            and (not self.platforms or platform in self.platforms)
            and self.channel in (None, channel)
            and self.enrollment in (None, enrollment)
            and self.shared_ipad in (None, shared_ipad)
        )


OVERRIDES: tuple[Override, ...] = (
    Override(
        name="authenticate.udid",
        messages=("Authenticate",),
        keys=("UDID",),
        presence="required",
        why="optional in the schema because User Enrollments leave it out; every other device sends it",
        source="mdm/checkin/authenticate.yaml, text of UDID; captured: iOS 9 to 11, macOS 10.11 to 10.12",
        enrollment="device",
    ),
    Override(
        name="authenticate.enrollment-id",
        messages=("Authenticate",),
        keys=("EnrollmentID",),
        presence="required",
        why="optional in the schema because only User Enrollments have it; there it is the only identifier",
        source="mdm/checkin/authenticate.yaml, text of EnrollmentID; captured: iOS 18.2.1",
        enrollment="user",
    ),
    Override(
        name="authenticate.inventory",
        messages=("Authenticate",),
        keys=("OSVersion", "BuildVersion", "ProductName", "SerialNumber"),
        presence="required",
        why="every captured device sends them wherever access rights and enrollment let it",
        source="captured: iOS 9 to 18, macOS 10.11 to 10.12",
    ),
    Override(
        name="authenticate.challenge",
        messages=("Authenticate",),
        keys=("Challenge",),
        presence="optional",
        type="data",
        why="a key that the schema does not have",
        source="captured: macOS 10.11 to 10.12.6",
        platforms=_MACOS,
    ),
    Override(
        name="checkout.udid",
        messages=("CheckOut",),
        keys=("UDID",),
        presence="forbidden",
        why="the schema forgets macOS where it forbids the UDID in User Enrollments, unlike in every other message",
        source="mdm/checkin/tokenupdate.yaml, UDID; User Enrollment never sends a UDID",
        platforms=_MACOS,
        enrollment="user",
    ),
    Override(
        name="tokenupdate.not-on-console",
        messages=("TokenUpdate",),
        keys=("NotOnConsole",),
        presence="forbidden",
        why="a user channel's key that the schema excludes on every platform without one, tvOS forgotten",
        source="mdm/checkin/tokenupdate.yaml, NotOnConsole on iOS, visionOS and watchOS",
        platforms=(Platform.TVOS,),
    ),
    Override(
        name="tokenupdate.unlock-token",
        messages=("TokenUpdate",),
        keys=("UnlockToken",),
        presence="forbidden",
        why="tvOS has no passcode and no ClearPasscode command that could use it",
        source="mdm/commands/passcode.clear.yaml: n/a on tvOS",
        platforms=(Platform.TVOS,),
    ),
    Override(
        name="shared-ipad.device-channel",
        messages=("TokenUpdate", "DeclarativeManagement", "GetToken"),
        keys=("UserID", "UserShortName"),
        presence="forbidden",
        why="the schema ties these keys to Shared iPad, not to its user channel, which their presence announces",
        source="mdm/checkin/tokenupdate.yaml, text of UserShortName",
        platforms=_IOS,
        channel="device",
    ),
    Override(
        name="shared-ipad.user-channel",
        messages=("TokenUpdate", "DeclarativeManagement", "GetToken"),
        keys=("UserID", "UserShortName"),
        presence="required",
        why="without them the message would be the device channel's",
        source="mdm/checkin/tokenupdate.yaml, text of UserShortName",
        platforms=_IOS,
        channel="user",
    ),
    Override(
        name="shared-ipad.user-long-name",
        messages=("TokenUpdate", "DeclarativeManagement", "GetToken"),
        keys=("UserLongName",),
        presence="optional",
        why="n/a in the schema, but Apple's older description sends it",
        source="MDM Protocol Reference, iOS support for per-user connections",
        platforms=_IOS,
        channel="user",
        shared_ipad=True,
    ),
    Override(
        name="macos.user-enrollment-names",
        messages=("TokenUpdate", "DeclarativeManagement", "GetToken"),
        keys=("UserID", "UserShortName", "UserLongName"),
        presence="optional",
        why="in a User Enrollment EnrollmentUserID names the user; whether the names come along was not seen",
        source="mdm/checkin/tokenupdate.yaml, EnrollmentUserID",
        platforms=_MACOS,
        channel="user",
        enrollment="user",
    ),
    Override(
        name="macos.user-channel",
        messages=("TokenUpdate", "DeclarativeManagement", "GetToken"),
        keys=("UserID", "UserShortName"),
        presence="required",
        why="optional in the schema; every captured user channel sends them",
        source="captured: TokenUpdate of macOS 10.11 and 10.12.2",
        platforms=_MACOS,
        channel="user",
        enrollment="device",
    ),
    Override(
        name="macos.not-on-console",
        messages=("DeclarativeManagement", "GetToken"),
        keys=("NotOnConsole",),
        presence="optional",
        type="boolean",
        why="the user channel's identifiers come as a group with its other messages",
        source="captured: TokenUpdate, Idle and results of macOS user channels",
        platforms=_MACOS,
        channel="user",
    ),
    Override(
        name="userauthenticate.digest-response",
        messages=("UserAuthenticate",),
        keys=("DigestResponse",),
        presence="optional",
        why="only the second of the two messages answers a challenge",
        source="mdm/checkin/userauthenticate.yaml, text of DigestResponse",
    ),
    Override(
        name="bootstrap-token.udid",
        messages=("SetBootstrapToken", "GetBootstrapToken"),
        keys=("UDID",),
        presence="required",
        type="string",
        why="the schema lists no identifier at all, but a server could not tell whose token it is",
        source="servers in production find the device by its UDID",
    ),
)
