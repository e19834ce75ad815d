"""The secrets that a device tells its server in TokenUpdate, and what makes it tell them again.

Apple: a TokenUpdate is due whenever push token, push magic or unlock token changes.
"""

from __future__ import annotations

from mdmsim.device.device import Work
from mdmsim.device.keybag import escrow_keybag
from mdmsim.device.state import DEVICE_CHANNEL, Enrollment
from mdmsim.schema.platforms import AccessRights

#: Platforms with an escrow keybag (mdm/checkin/tokenupdate.yaml: UnlockToken; never captured from macOS or tvOS).
WITH_UNLOCK_TOKEN = ("ios", "ipados")


def has_unlock_token(work: Work, enrollment: Enrollment | None) -> bool:
    """Whether this device hands out an unlock token; the server needs the right to lock and remove passcodes for it."""
    if enrollment is None or work.persona.platform not in WITH_UNLOCK_TOKEN:
        return False
    return bool(enrollment.access_rights & AccessRights.LOCK_AND_REMOVE_PASSCODE)


def renew_push_token(work: Work, channel: str = DEVICE_CHANNEL) -> None:
    """APNs gave the device a new push token for its topic: the server is told in a TokenUpdate."""
    if work.state.enrollment is None:
        return
    work.state.channel(channel).push_token = work.draw().bytes(32)
    work.wake("token-update", work.now_ms, channel)


def renew_unlock_token(work: Work) -> None:
    """A new escrow keybag, as a changed passcode makes one; told in a TokenUpdate unless the behaviour says otherwise."""
    if not has_unlock_token(work, work.state.enrollment):
        return
    work.state.channel().unlock_token = escrow_keybag(work.draw())
    if work.behaviour.token_update_on_passcode:
        work.wake("token-update", work.now_ms)
