"""Commands: queue one at the server, and see what became of it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import msgspec

from mdmsim.events import Event
from mdmsim.scenario.errors import did_you_mean
from mdmsim.scenario.match import check_absences, mismatch, shown
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Queued, Run
from mdmsim.scenario.steps.shared import Codes, Recipient, Within, chain_text, has_codes, patience, words
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import NotApplicable, StepFailed
from mdmsim.schema.availability import answer_keys
from mdmsim.schema.availability import commands as known_commands
from mdmsim.target.adapter import CommandStatus
from mdmsim.world.abilities import Ability

StatusWord = Literal["Acknowledged", "Error", "CommandFormatError", "NotNow"]


def check_command(command: str, invented: bool) -> None:
    """Raises ValueError for a request type that Apple does not have, unless it is meant to be unknown."""
    known = known_commands()
    if not invented and command not in known:
        raise ValueError(
            f'Apple has no command "{command}". {did_you_mean(command, known)} '
            'To see what devices say to an unknown one, add "invented: true".'
        )


#: Keys of every report (mdm/commands in Apple's schema leaves them out).
_OF_EVERY_REPORT = dict.fromkeys(("CommandUUID", "Status", "UDID", "EnrollmentID", "RequestType", "ErrorChain"))


def check_response(request_type: str, response: dict[str, Any]) -> None:
    """Raises WrongKey where the answer must lack something that answers to this command never have."""
    known = answer_keys(request_type)
    if known is not None:
        check_absences(response, {**known, **_OF_EVERY_REPORT}, f"an answer to {request_type}", ("response",))


class Queue(Arguments, frozen=True, kw_only=True):
    """The administrator queues a command; the server pushes unless told not to."""

    to: Recipient
    command: Annotated[str, about("Name a RequestType", example="DeviceInformation")]
    keys: Annotated[dict[str, Any], about("The command's keys, in Apple's words")] = msgspec.field(default_factory=dict)
    push: Annotated[bool, about("Whether the server pushes at once")] = True
    invented: Annotated[bool, about("The command is one that Apple does not have")] = False
    as_: Annotated[str | None, about("The name by which later steps know it", example="lock")] = msgspec.field(
        default=None, name="as"
    )

    def __post_init__(self) -> None:
        check_command(self.command, self.invented)

    @property
    def queues(self) -> str:
        return self.command


def queue_needs(*, push: bool = True) -> tuple[Ability, ...]:
    """What queueing a command needs. A push that reaches no device would make devices look silent, or the server slow."""
    return (Ability.QUEUE, Ability.PUSHES) if push else (Ability.QUEUE,)


@step("queue", Queue, title=lambda a: f"queue {a.command} for {a.to}", needs=lambda a: queue_needs(push=a.push))
async def queue(run: Run, arguments: Queue) -> None:
    await queue_for(run, arguments.to, arguments.command, arguments.keys, name=arguments.as_, push=arguments.push)


async def queue_for(
    run: Run, to: str, command: str, keys: dict[str, Any], *, name: str | None = None, push: bool = True
) -> list[Queued]:
    """Queue one command for each device of that name, and remember them as `name` or by the command's own."""
    queued: list[Queued] = []
    for device_id in run.ids(to):
        place = run.place()
        command_uuid = await run.adapter.queue(run.udid(device_id), command, keys, push=push)
        queued.append(Queued(device_id, command_uuid, command, place))
    run.commands[name or command] = queued
    return queued


class ExpectCommand(Arguments, frozen=True, kw_only=True):
    """What a device answered to a queued command, as the server has it on record."""

    command: Annotated[
        str,
        about('Name a queued command: its "as", or its request type', example="DeviceLock", refers_to="command"),
    ]
    status: Annotated[StatusWord, about("What the device answers")] = "Acknowledged"
    response: Annotated[dict[str, Any], about("Keys that the answer must hold; it may hold more", filled=True)] = (
        msgspec.field(default_factory=dict)
    )
    error: Codes = ()
    served: Annotated[int | None, about("How often the server has handed it out so far", minimum=0)] = None
    not_now: Annotated[int | None, about("How often it was answered NotNow so far", minimum=0)] = None
    within: Within = None


@step(
    "expect_command",
    ExpectCommand,
    title=lambda a: f"{a.command} is answered {a.status}",
    expects=True,
    needs=lambda _: (Ability.RESULTS,),
)
async def expect_command(run: Run, arguments: ExpectCommand) -> Outcome:
    seen: list[str] = []
    for queued in run.queued(arguments.command):
        status = await answered(run, queued, arguments)
        seen.append(f"{queued.device}: {arguments.status}{_detail(arguments, status)}")
    return Outcome(_wanted(arguments), "; ".join(seen))


async def answered(run: Run, queued: Queued, wanted: ExpectCommand) -> CommandStatus:
    """Wait for the next report about a command and compare it. Raises StepFailed."""

    def is_report(event: Event) -> bool:
        return (
            event.kind == "device.report-delivered"
            and event.device == queued.device
            and event.data.get("command_uuid") == queued.command_uuid
        )

    if wanted.status != "NotNow":  # being put off counts only since the last thing that anyone did
        for position in range(queued.seen, run.mark):
            event = run.world.log.events[position]
            if is_report(event) and event.data.get("status") == "NotNow":
                queued.seen = position + 1
    failed = partial(_failed, run, queued)
    came = await run.wait_for(is_report, within_ms=patience(wanted.within), since=queued.seen)
    udid = run.udid(queued.device)
    what = f"{queued.request_type} of {queued.device}"
    if came is None:
        status = await run.adapter.command(udid, queued.command_uuid)
        waited = f"within {wanted.within}" if wanted.within else "in time"
        raise failed(
            f"{what} is answered {wanted.status} {waited}",
            f"no new answer; on the server it is {status.state}, served {status.served} times, NotNow {status.not_now} times",
        )
    event, queued.seen = came
    # Not even an expected Error: the device did not refuse, it cannot be simulated in this.
    if (why := run.not_simulated([queued.device], queued.command_uuid)) is not None:
        raise NotApplicable(why)
    status = await run.adapter.command(udid, queued.command_uuid)
    said = str(event.data.get("status"))
    if said != wanted.status:
        raise failed(f"{what} is answered {wanted.status}", f"{said}{_reason(status)}")
    # NotNow is no result: a server counts it and keeps the command.
    on_record = "NotNow" if said == "NotNow" and status.not_now else status.status
    if on_record != wanted.status:
        raise failed(f"the server has on record that {what} was answered {wanted.status}", f"{on_record}")
    problem = mismatch(wanted.response, status.response)
    if problem is not None:
        raise failed(f"the answer to {what} holds {shown(wanted.response)}", problem)
    if wanted.error and not has_codes(status.error_chain, wanted.error):
        raise failed(f"an error chain with {words(wanted.error)}", chain_text(status.error_chain))
    for name, number, count in (
        ("served", wanted.served, status.served),
        ("answered NotNow", wanted.not_now, status.not_now),
    ):
        if number is not None and number != count:
            raise failed(f"{what} {name} {number} times", f"{name} {count} times")
    return status


def _failed(run: Run, queued: Queued, expected: str, observed: str) -> StepFailed:
    """A failure shown by the last exchange that carried the command or a report about it."""
    uuid = queued.command_uuid.encode()

    def carries(event: Event) -> bool:
        if event.kind != "exchange" or event.device != queued.device:
            return False
        return uuid in event.data["request_body"] or uuid in event.data["response_body"]

    exchanges = run.since(run.opened, carries)
    return StepFailed(expected, observed, proof=exchanges[-1] if exchanges else None)


def _reason(status: CommandStatus) -> str:
    return f": {chain_text(status.error_chain)}" if status.error_chain else ""


def _wanted(arguments: ExpectCommand) -> str:
    extra = f" with {shown(arguments.response)}" if arguments.response else ""
    codes = f" with {words(arguments.error)}" if arguments.error else ""
    return f"{arguments.command} is answered {arguments.status}{extra}{codes}"


def _detail(arguments: ExpectCommand, status: CommandStatus) -> str:
    if arguments.response:
        return f" with {shown({key: status.response.get(key) for key in arguments.response})}"
    return _reason(status)


class Query(Arguments, frozen=True, kw_only=True):
    """Queue a command and look at its answer: how the effect of an earlier step is seen from outside."""

    to: Recipient
    command: Annotated[str, about("Name a RequestType", example="ProfileList")]
    keys: Annotated[dict[str, Any], about("The command's keys, in Apple's words")] = msgspec.field(default_factory=dict)
    status: Annotated[StatusWord, about("What the device answers")] = "Acknowledged"
    response: Annotated[dict[str, Any], about("Keys that the answer must hold; it may hold more", filled=True)] = (
        msgspec.field(default_factory=dict)
    )
    error: Codes = ()
    invented: Annotated[bool, about("The command is one that Apple does not have")] = False
    within: Within = None

    def __post_init__(self) -> None:
        check_command(self.command, self.invented)
        check_response(self.command, self.response)

    @property
    def queues(self) -> str:
        return self.command


@step(
    "query",
    Query,
    title=lambda a: f"ask {a.to}: {a.command}",
    needs=lambda _: (*queue_needs(), Ability.RESULTS),
)
async def query(run: Run, arguments: Query) -> Outcome:
    await queue_for(run, arguments.to, arguments.command, arguments.keys)
    return await expect_command(
        run,
        ExpectCommand(
            command=arguments.command,
            status=arguments.status,
            response=arguments.response,
            error=arguments.error,
            within=arguments.within,
        ),
    ) or Outcome("an answer", "none")
