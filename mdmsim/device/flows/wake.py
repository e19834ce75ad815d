"""What a device does when it wakes by itself: the one entry for whoever runs devices."""

from __future__ import annotations

from mdmsim.device.device import Device, Work
from mdmsim.device.flow import Flow
from mdmsim.device.flows.automated import unattended_setup
from mdmsim.device.flows.checkin import token_update
from mdmsim.device.flows.connect import EndlessSession, drain_queue
from mdmsim.device.flows.install import resume_installation
from mdmsim.device.flows.server import Refused, UnexpectedStatus
from mdmsim.device.flows.unenroll import finish_leaving, leave, remove_expired
from mdmsim.device.power import boot
from mdmsim.device.state import DEVICE_CHANNEL
from mdmsim.http import TransportError
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.mdm_push import parse_payload


def next_flow(device: Device) -> Flow[None] | None:
    """What the device wants to do now, or None. Ask again after each flow: one push may follow another.

    A pending boot is carried out at once: it needs no network.
    """
    now = device.clock.now_ms()
    if device.state.boot_ms is not None and device.state.boot_ms <= now:
        device.change(boot)
        device.save()
    wish = next((wish for wish in device.wishes() if wish.at_ms <= now), None)
    if wish is None:
        return None
    match wish.reason:
        case "remove-expired":
            return remove_expired(device)
        case "leave":
            return finish_leaving(device)
        case "setup":
            return unattended_setup(device)
        case "install":
            return resume_installation(device)
        case "token-update":
            return guarded(device, "token-update", token_update(device, wish.channel), wish.channel)
        case "push":
            return hear_push(device, wish.channel)
        case _:
            return guarded(device, "connect", _drained(device, wish.channel), wish.channel)


def hear_push(device: Device, channel: str = DEVICE_CHANNEL) -> Flow[None]:
    """Connect because of a push, if it carries this enrollment's push magic; otherwise take note and stay silent."""
    push = device.unheard(channel)
    if push is None:
        return
    try:
        magic = parse_payload(push.payload)
        problem = None if magic == device.voice(channel).push_magic else "wrong push magic"
    except Malformed as error:
        problem = error.reason
    if not device.enrolled:
        problem = "not enrolled"
    if problem is not None:
        device.change(lambda work: _ignore(work, channel, push.number, problem))
        return
    device.change(lambda work: work.emit("device.push-heard", number=push.number, connects=True))
    yield from guarded(device, "connect", _drained(device, channel), channel)


def _ignore(work: Work, channel: str, number: int, why: str) -> None:
    work.state.channel(channel).heard = number
    work.emit("device.push-ignored", why=why)


def _drained(device: Device, channel: str) -> Flow[None]:
    yield from drain_queue(device, channel)


def guarded(device: Device, reason: str, flow: Flow[None], channel: str = DEVICE_CHANNEL) -> Flow[None]:
    """Run a flow as a device does by itself: a refusal ends the enrollment, any other failure is tried again later.

    At once where the network went and came back meanwhile: what was cut by that would otherwise wait for a return that
    has been.
    """
    returns = device.state.returns
    try:
        yield from flow
    except Refused as refusal:
        yield from leave(device, reason="refused", url=refusal.url, status=refusal.response.status)
    except UnexpectedStatus as unexpected:
        status, label, why = unexpected.response.status, unexpected.during, str(unexpected)
        device.change(lambda work: _refused_for_now(work, reason, status, label, why, channel))
    except (TransportError, Malformed, EndlessSession) as error:
        why = f"{type(error).__name__}: {error}"
        if device.state.returns != returns and device.reachable and device.enrolled:
            device.change(lambda work: work.wake(reason, work.now_ms, channel))
        else:
            device.change(lambda work: work.retry(reason, why, channel))


def _refused_for_now(work: Work, reason: str, status: int, label: str, why: str, channel: str) -> None:
    work.emit("device.report-refused", status=status, label=label)
    work.retry(reason, why, channel)
