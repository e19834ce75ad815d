"""Connect: the loop in which a device reports and the server hands out commands."""

from __future__ import annotations

from mdmsim.device.commands.execute import execute, format_error
from mdmsim.device.commands.not_now import stands_in_the_way
from mdmsim.device.commands.report_actions import ERASE, UNENROLL, run_after_report
from mdmsim.device.device import Device, Work
from mdmsim.device.flow import Flow, exchange
from mdmsim.device.flows.checkin import token_update
from mdmsim.device.flows.server import Refused, ServerSaidNo, accept, connect_endpoint, put
from mdmsim.device.state import DEVICE_CHANNEL, Undelivered
from mdmsim.http import TransportError
from mdmsim.protocol.connect import Command, Report, Status, build_report, parse_command
from mdmsim.protocol.errors import MalformedCommand


class NotEnrolled(Exception):
    """There is no enrollment to connect for."""


class EndlessSession(Exception):
    """The server hands out commands without end; the text says how many, and whether they were the same."""


def drain_queue(device: Device, channel: str = DEVICE_CHANNEL) -> Flow[int]:
    """Answer queued commands until the server has none left; return how many were answered.

    An undelivered report from an earlier run goes first, in place of Idle. Raises NotEnrolled, Refused,
    UnexpectedStatus, Malformed for an answer that is not a command, EndlessSession, or a TransportError; the wake
    `connect` stays for another try.
    """
    device.change(lambda work: _begin(work, device, channel))
    answered = 0
    uuids: set[str] = set()
    report = device.undelivered(channel) or idle(device)
    while True:
        try:
            command = yield from connect(device, report, channel)
        except MalformedCommand as error:
            if error.command_uuid is None:
                raise
            uuids.add(error.command_uuid)
            _bounded(device, answered, uuids)
            report = format_error(device, error.command_uuid, channel)
            answered += 1
            continue
        if command is None:
            break
        uuids.add(command.command_uuid)
        _bounded(device, answered, uuids)
        undelivered = yield from execute(device, command, channel)
        if undelivered is None:  # it waits for a CA; the report follows when the device wakes for it
            break
        if device.state.enrollment is not None and not device.state.enrollment.confirmed:
            # The command replaced the enrollment profile: the server binds the new identity at TokenUpdate.
            yield from token_update(device, channel)
        report = undelivered
        answered += 1
    device.change(lambda work: _end(work, channel, answered))
    return answered


def _bounded(device: Device, answered: int, uuids: set[str]) -> None:
    """Raise EndlessSession when one more command is too many; it stays without an answer.

    No device's refusal: a real one might go on for ever.
    """
    if answered < device.behaviour.session_commands:
        return
    distinct = len(uuids)
    same = "the same command again and again" if distinct == 1 else f"{distinct} of them different"
    why = f"the server handed out more than {answered} commands in one session ({same}), and never an empty answer"
    device.change(lambda work: work.emit("device.session-endless", answered=answered, distinct=distinct, why=why))
    raise EndlessSession(why)


def _begin(work: Work, device: Device, channel: str) -> None:
    """Note that a connect is due and which push it answers: a device killed from here on connects again."""
    voice = work.state.channel(channel)
    voice.wakes["connect"] = work.now_ms
    if push := device.unheard(channel):
        voice.heard = push.number


def _end(work: Work, channel: str, answered: int) -> None:
    voice = work.state.channel(channel)
    voice.attempts = 0
    if voice.not_now is not None and not stands_in_the_way(work.state, voice.not_now):
        voice.not_now = None  # it ended while the NotNow was on its way: one more poll
    elif voice.undelivered is None:
        voice.wakes.pop("connect", None)
    work.emit("device.connected", answered=answered)


def idle(device: Device) -> Undelivered:
    """The report that asks for work. Never kept: losing it loses nothing."""
    body = build_report(Report(ids=device.ids, status=Status.IDLE))
    return Undelivered(body=body, label="connect:Idle", status="Idle", command_uuid="", request_type="")


def connect(device: Device, report: Undelivered, channel: str = DEVICE_CHANNEL) -> Flow[Command | None]:
    """PUT one report to ServerURL; return the next command, or None when the queue is empty or the device is gone.

    A report whose action restarts, locks, erases or unenrolls the device carries it out once it was sent, whatever the
    answer. Raises NotEnrolled, Refused, UnexpectedStatus, Malformed, or a TransportError.
    """
    enrollment = device.state.enrollment
    if enrollment is None:
        raise NotEnrolled(device.device_id)
    endpoint = connect_endpoint(enrollment)
    try:
        response = yield from exchange(put(device, enrollment, endpoint, report.body, report.label))
        accept(device, response, during=report.label, url=endpoint.url)
    except ServerSaidNo as refusal:
        # What gives the enrollment up after the report is the same as the refusal, which says more about why.
        if not (isinstance(refusal, Refused) and device.voice(channel).after_report == UNENROLL):
            run_after_report(device, channel)
        raise
    except TransportError as error:
        # What comes after the report waits for nothing but its sending: a lost answer does not undo a lock. An erase
        # does not wait even for that: its report is sent once, best effort (MDM Protocol Reference, "EraseDevice").
        if error.sent or device.voice(channel).after_report == ERASE:
            run_after_report(device, channel)
        raise
    device.change(lambda work: _delivered(work, report, channel))
    if run_after_report(device, channel):
        return None
    return parse_command(response.body) if response.body else None


def _delivered(work: Work, report: Undelivered, channel: str) -> None:
    """Any 2xx delivers a report (Apple: Sending MDM commands to a device)."""
    voice = work.state.channel(channel)
    voice.attempts = 0
    if voice.undelivered is not None and voice.undelivered.command_uuid == report.command_uuid:
        voice.undelivered = None
        work.emit(
            "device.report-delivered",
            command_uuid=report.command_uuid,
            request_type=report.request_type,
            status=report.status,
        )
    if report.status != "NotNow":
        voice.not_now = None  # only a NotNow said last makes the device poll by itself
