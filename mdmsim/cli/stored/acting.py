"""What a stored device does when it is told to act now, whatever it had planned for later."""

from __future__ import annotations

from collections.abc import Callable

from mdmsim.device.device import Device
from mdmsim.device.flow import Flow
from mdmsim.device.flows.checkin import token_update
from mdmsim.device.flows.connect import EndlessSession, drain_queue
from mdmsim.device.flows.install import resume_installation
from mdmsim.device.flows.server import ServerSaidNo
from mdmsim.device.flows.unenroll import finish_leaving, remove_expired
from mdmsim.device.flows.wake import guarded
from mdmsim.device.power import boot
from mdmsim.device.state import DEVICE_CHANNEL
from mdmsim.http import TransportError
from mdmsim.protocol.errors import Malformed

#: Called with what went wrong, before the device draws its conclusions.
Note = Callable[[Exception], None]


def wake_up(device: Device) -> None:
    """Carry out a boot whose time has come; it needs no network."""
    boot_ms = device.state.boot_ms
    if boot_ms is not None and boot_ms <= device.clock.now_ms():
        device.change(boot)


def act_now(device: Device, note: Note) -> Flow[None]:
    """Do what is pending at once: goodbye, a CA's decision, TokenUpdate, the undelivered report; then drain the queue.

    Profiles whose time is over go first. A refusal or failure is noted and has the consequences that it has for any
    device: it leaves, or tries again later.
    """
    yield from remove_expired(device)
    if device.state.leaving is not None:
        yield from finish_leaving(device)
        return
    if device.state.installation is not None:
        yield from resume_installation(device)
    failed: list[Exception] = []

    def both(error: Exception) -> None:
        failed.append(error)
        note(error)

    if device.state.enrollment is not None and "token-update" in device.voice().wakes:
        yield from guarded(device, "token-update", noted(token_update(device), both))
    waits = device.state.installation is not None and device.state.installation.command is not None
    if device.state.enrollment is not None and not failed and not waits:
        yield from guarded(device, "connect", noted(_drained(device), both))


def _drained(device: Device) -> Flow[None]:
    yield from drain_queue(device, DEVICE_CHANNEL)


def noted(flow: Flow[None], note: Note) -> Flow[None]:
    """The flow, with a word on what it fails with."""
    try:
        yield from flow
    except (ServerSaidNo, TransportError, Malformed, EndlessSession) as error:
        note(error)
        raise
