"""How an enrollment ends: by the user, by the server's command, by a refusal, or because its profile's time is over."""

from __future__ import annotations

import msgspec

from mdmsim.device.device import Device, Work
from mdmsim.device.flow import Flow
from mdmsim.device.flows.checkin import check_out
from mdmsim.device.profiles.store import expired, remove_enrollment, remove_profile
from mdmsim.device.state import Leaving


class NotRemovable(Exception):
    """The profile came by Automated Device Enrollment and may be removed by its server only."""


def leave_by_user(device: Device) -> Flow[None]:
    """A person removes the enrollment profile. Raises NotRemovable where they may not."""
    enrollment = device.state.enrollment
    if enrollment is not None and not enrollment.removable:
        raise NotRemovable(f"{enrollment.profile} cannot be removed by the user")
    yield from leave(device, reason="user")


def leave(device: Device, *, reason: str, url: str = "", status: int | None = None) -> Flow[None]:
    """Decide to give up the enrollment, then do it; a Mac that went behind its PIN does it when it is back."""
    device.change(lambda work: decide_to_leave(work, reason=reason, url=url, status=status))
    if device.state.present:
        yield from finish_leaving(device)


def remove_expired(device: Device) -> Flow[None]:
    """Remove every profile whose time is over; where that is the enrollment profile, the enrollment ends.

    That needs no network: a CheckOut that cannot be delivered is not repeated.
    """
    device.change(_remove_expired)
    if device.state.leaving is not None:
        yield from finish_leaving(device)


def _remove_expired(work: Work) -> None:
    enrollment = work.state.enrollment.profile if work.state.enrollment else None
    for identifier in expired(work):
        if identifier == enrollment:
            decide_to_leave(work, reason="expired")
        else:
            remove_profile(work, identifier, why="expired")


def decide_to_leave(work: Work, *, reason: str, url: str = "", status: int | None = None) -> None:
    """Write down that the enrollment ends: from here on nothing but CheckOut is sent, even after a restart."""
    if work.state.enrollment is not None and work.state.leaving is None:
        work.state.leaving = Leaving(reason=reason, url=url, status=status)
        voice = work.state.channel()
        voice.undelivered = None
        voice.after_report = None
        voice.wakes = {"leave": work.now_ms}


def finish_leaving(device: Device) -> Flow[None]:
    """Try CheckOut once, if the payload asks for it, then remove the profile and everything that is managed.

    The identity is still there for CheckOut and goes with the profile. Source: MDM Protocol Reference, "Detecting
    Inactive Devices": one attempt, never repeated.
    """
    enrollment, leaving = device.state.enrollment, device.state.leaving
    if enrollment is None or leaving is None:
        return
    if enrollment.checkout_when_removed and not leaving.checkout_tried:
        device.change(_note_checkout)  # saved before the request goes out, so a killed device does not try twice
        delivered, status = yield from check_out(device, enrollment)
        device.change(lambda work: work.emit("device.checkout", delivered=delivered, status=status))
    device.change(_remove)


def _note_checkout(work: Work) -> None:
    if work.state.leaving is not None:
        work.state.leaving = msgspec.structs.replace(work.state.leaving, checkout_tried=True)


def _remove(work: Work) -> None:
    leaving = work.state.leaving
    if leaving is None:
        return
    remove_enrollment(work, why=leaving.reason)
    work.state.leaving = None
    work.emit("device.unenrolled", reason=leaving.reason, url=leaving.url, status=leaving.status)
