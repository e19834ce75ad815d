"""Check-in: Authenticate opens an enrollment, TokenUpdate finishes or refreshes it, CheckOut ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.protocol.checkin import Authenticate, CheckIn, CheckOut, TokenUpdate, UserAuthenticate, parse_checkin
from mdmsim.protocol.connect import Command, build_command
from mdmsim.protocol.errors import Malformed
from reference_server.errors import Refusal
from reference_server.refusals import Refusals
from reference_server.settings import Settings
from reference_server.storage.interface import CheckInStore
from reference_server.storage.records import DeviceDetails, NewCommand, Opening, TokenNews

#: Characters or bytes of one field. Push tokens have 32 bytes (APNs allows itself 100), names of devices some dozens.
MAX_FIELD = 1024

#: Bytes of an unlock token; real ones have one or two thousand.
MAX_UNLOCK_TOKEN = 64 * 1024


def read_checkin(body: bytes) -> CheckIn:
    """The message in a body. Raises Refusal 400."""
    try:
        return parse_checkin(body)
    except Malformed as error:
        raise Refusal(400, str(error)) from None


class CheckIns:
    """Handles check-in messages from senders whose certificate is trusted."""

    def __init__(
        self,
        settings: Settings,
        store: CheckInStore,
        refusals: Refusals,
        clock: Clock,
        chance: Chance,
        *,
        wake_pushes: Callable[[int], None],
        release: Callable[[], NewCommand] | None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._refusals = refusals
        self._clock = clock
        self._chance = chance.stream("first commands")
        self._wake_pushes = wake_pushes
        self._release = release

    async def handle(self, message: CheckIn, identity: str) -> bool:
        """Do what the message asks; True if it finished an enrollment. `identity`: fingerprint. Raises Refusal."""
        if isinstance(message, UserAuthenticate) or message.ids.channel == "user":
            # 410: this user is not managed here (MDM Protocol Reference, "Network user authentication"). The profile
            # lists per-user connections because Macs want to see them, and no user is managed.
            raise Refusal(410, "no user is managed here")
        if isinstance(message, Authenticate):
            await self._authenticate(message, identity)
            return False
        if isinstance(message, TokenUpdate):
            return await self._token_update(message, identity)
        if isinstance(message, CheckOut):
            await self._store.check_out(message.ids.key, identity, refusals=self._refusals, now_ms=self._clock.now_ms())
            return False
        raise Refusal(400, f"{message.message_type} is not offered: the profile lists no such server capability")

    async def _authenticate(self, message: Authenticate, identity: str) -> None:
        _check_lengths(message, ("topic", "serial_number", "device_name", "product_name", "model", "model_name"))
        _check_lengths(message, ("os_version", "build_version", "imei", "meid"))
        opening = Opening(
            enrollment_id=message.ids.key,
            udid=message.ids.udid,
            user_enrollment_id=message.ids.enrollment_id,
            identity=identity,
            topic=message.topic,
            details=DeviceDetails(
                serial_number=message.serial_number,
                product_name=message.product_name,
                device_name=message.device_name,
                os_version=message.os_version,
                build_version=message.build_version,
                model=message.model,
                model_name=message.model_name,
                imei=message.imei,
                meid=message.meid,
            ),
        )
        await self._store.authenticate(opening, refusals=self._refusals, now_ms=self._clock.now_ms())

    async def _token_update(self, message: TokenUpdate, identity: str) -> bool:
        _check_lengths(message, ("topic", "token", "push_magic"))
        _check_lengths(message, ("unlock_token",), most=MAX_UNLOCK_TOKEN)
        now_ms = self._clock.now_ms()
        finished = await self._store.token_update(
            TokenNews(
                enrollment_id=message.ids.key,
                identity=identity,
                topic=message.topic,
                push_token=message.token,
                push_magic=message.push_magic,
                unlock_token=message.unlock_token,
                awaiting_configuration=message.awaiting_configuration,
            ),
            first_commands=self._first_commands(),
            release=self._release,
            refusals=self._refusals,
            now_ms=now_ms,
        )
        self._wake_pushes(now_ms)
        return finished

    def _first_commands(self) -> Sequence[NewCommand]:
        return [
            new_command(
                keys["RequestType"],
                {key: value for key, value in keys.items() if key != "RequestType"},
                uuid,
                setup=True,
            )
            for keys in self._settings.first_commands
            for uuid in (str(self._chance.uuid()).upper(),)
        ]


def _check_lengths(message: CheckIn, names: tuple[str, ...], *, most: int = MAX_FIELD) -> None:
    """Raise Refusal 400 for a field that is absurdly long: it would be read and written with every connect."""
    for name in names:
        if len(getattr(message, name) or "") > most:
            raise Refusal(400, f"{message.message_type}: {name} is longer than {most}")


def new_command(
    request_type: str, keys: dict[str, object], command_uuid: str, *, urgent: bool = False, setup: bool = False
) -> NewCommand:
    """A command to queue, as a plist. Raises Malformed for what a plist cannot hold."""
    body = build_command(Command(command_uuid=command_uuid, request_type=request_type, keys=keys))
    return NewCommand(command_uuid=command_uuid, request_type=request_type, body=body, urgent=urgent, setup=setup)
