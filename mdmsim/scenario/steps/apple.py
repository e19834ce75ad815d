"""Apple's side of Automated Device Enrollment: the portal, the server's account there, and which devices get which profile."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mdmsim.device.device import Work
from mdmsim.scenario.match import mismatch, shown
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.shared import DeviceName, Within, patience
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import NotApplicable, StepFailed
from mdmsim.world.abilities import Ability
from mdmsim.world.dep import FAMILIES, DepControl, DepProblem


def portal(run: Run) -> DepControl:
    """The world's portal. Raises NotApplicable where it has none."""
    if run.world.dep is None:
        raise NotApplicable("this world has no fake DEP")
    return run.world.dep


class ConnectDep(Arguments, frozen=True, kw_only=True):
    """The server gets an account at Apple: its public key goes to the portal, the token file that comes back to the server."""


@step(
    "connect_dep",
    ConnectDep,
    title=lambda a: "the server gets an account at Apple",
    needs=lambda _: (Ability.DEP, Ability.DEP_ACCOUNTS),
)
async def connect_dep(run: Run, arguments: ConnectDep) -> None:
    await connected(run, anew=True)


async def connected(run: Run, *, anew: bool = False) -> str:
    """The server's account at Apple, which is made where there is none."""
    if run.apple_account and not anew:
        return run.apple_account
    apple = portal(run)
    account = run.names.next("account")
    certificate = await run.adapter.add_dep_account(account)
    try:
        await apple.add_server(account, certificate)
        token = await apple.token(account)
    except DepProblem as problem:
        raise StepFailed("the portal gives out a token for the server's key", str(problem)) from None
    await run.adapter.set_dep_token(account, token)
    run.apple_account = account
    return account


class DisconnectDep(Arguments, frozen=True, kw_only=True):
    """The server forgets its account at Apple and the devices it knew from there; at Apple nothing changes."""


@step(
    "disconnect_dep",
    DisconnectDep,
    title=lambda a: "the server forgets its account at Apple",
    needs=lambda _: (Ability.DEP_ACCOUNTS,),
)
async def disconnect_dep(run: Run, arguments: DisconnectDep) -> None:
    await run.adapter.remove_dep_account(_account(run))
    run.apple_account = ""


class OrderDevice(Arguments, frozen=True, kw_only=True):
    """Someone buys the device, and the portal assigns it to the server: new, in Setup Assistant, known to Apple.

    The server gets an account at Apple first, unless it has one.
    """

    device: DeviceName
    assigned: Annotated[bool, about("Whether the portal assigns it to the server")] = True
    factory: Annotated[
        Literal["apple", "stranger"],
        about("Who built it: a stranger's signature on its MachineInfo is worth nothing"),
    ] = "apple"


@step(
    "order_device",
    OrderDevice,
    title=lambda a: f"{a.device} is bought{' and assigned' if a.assigned else ''}",
    needs=lambda _: (Ability.DEP, Ability.DEP_ACCOUNTS),
)
async def order_device(run: Run, arguments: OrderDevice) -> None:
    account = await connected(run)
    for device_id in run.ids(arguments.device):
        device = run.device(device_id)
        if device.state.enrollment is not None:
            raise StepFailed(f"{device_id} is new", "it is enrolled already")
        run.world.build(device_id, stranger=arguments.factory == "stranger")
        persona = device.persona
        server = account if arguments.assigned else None
        try:
            await portal(run).order(persona.serial, FAMILIES[persona.platform], server=server)
        except DepProblem as problem:
            raise StepFailed(f"{device_id} can be bought", str(problem)) from None
        await run.world.fleet.change(device_id, _new)


def _new(work: Work) -> None:
    """As it comes out of its box."""
    work.state.setup = "welcome"
    work.state.passcode = ""
    work.state.device_name = ""
    work.emit("device.setup", state="welcome", why="new")


class SyncDep(Arguments, frozen=True, kw_only=True):
    """The server asks Apple which devices it has, and assigns its default profile where one is missing."""


@step(
    "sync_dep",
    SyncDep,
    title=lambda a: "the server asks Apple for its devices",
    needs=lambda _: (Ability.DEP_ACCOUNTS,),
)
async def sync_dep(run: Run, arguments: SyncDep) -> None:
    await run.adapter.sync_dep(_account(run))


class AssignProfile(Arguments, frozen=True, kw_only=True):
    """The administrator defines a profile at Apple and assigns it to the device; the server asks for its devices first."""

    device: DeviceName
    profile: Annotated[str, about("The server's name for the profile", example="kiosk")] = "story"
    keys: Annotated[
        dict[str, Any],
        about("Keys of the profile in Apple's words; the server adds its own", example="{auto_advance_setup: true}"),
    ] = msgspec.field(default_factory=dict)


@step(
    "assign_profile",
    AssignProfile,
    title=lambda a: f"{a.device} gets the profile {a.profile}: {shown(a.keys)}",
    needs=lambda _: (Ability.DEP_ACCOUNTS,),
)
async def assign_profile(run: Run, arguments: AssignProfile) -> Outcome:
    account = _account(run)
    await run.adapter.sync_dep(account)
    serials = [run.device(device_id).persona.serial for device_id in run.ids(arguments.device)]
    results = await run.adapter.assign_dep_profile(account, arguments.profile, arguments.keys, serials)
    wanted = f"Apple says SUCCESS for {len(serials)}"
    # Those that have it already are not assigned again.
    if set(results) - {"SUCCESS"}:
        raise StepFailed(wanted, shown(dict(results)))
    return Outcome(wanted, shown(dict(results)))


class Reassign(Arguments, frozen=True, kw_only=True):
    """Somebody takes the device from the server in the portal, or gives it back."""

    device: DeviceName
    to: Annotated[Literal["nobody", "server"], about("Whose it is from now on")]


@step(
    "reassign",
    Reassign,
    title=lambda a: f"the portal assigns {a.device} to {a.to}",
    needs=lambda _: (Ability.DEP, Ability.DEP_ACCOUNTS),
)
async def reassign(run: Run, arguments: Reassign) -> None:
    server = _account(run) if arguments.to == "server" else None
    for device_id in run.ids(arguments.device):
        try:
            await portal(run).assign(run.device(device_id).persona.serial, server)
        except DepProblem as problem:
            raise StepFailed(f"{device_id} can be assigned to {arguments.to}", str(problem)) from None


class ExpectDep(Arguments, frozen=True, kw_only=True):
    """What Apple's portal shows of the device's profile, and what the server knows of the device at Apple."""

    device: DeviceName
    status: Annotated[
        Literal["empty", "assigned", "pushed", "removed"] | None,
        about("The profile at the portal; pushed: the device has fetched it"),
    ] = None
    record: Annotated[dict[str, Any], about("Keys of the server's record, as the server names them", filled=True)] = (
        msgspec.field(default_factory=dict)
    )
    within: Within = None

    def __post_init__(self) -> None:
        if self.status is None and not self.record:
            raise ValueError('it compares nothing. Give "status", "record" or both, e.g. "status: assigned".')


@step(
    "expect_dep",
    ExpectDep,
    title=lambda a: f"{a.device} at Apple: {_dep_words(a)}",
    expects=True,
    needs=lambda a: ((Ability.DEP,) if a.status is not None else ()) + ((Ability.DEP_ACCOUNTS,) if a.record else ()),
)
async def expect_dep(run: Run, arguments: ExpectDep) -> Outcome:
    wanted = _dep_words(arguments)
    for device_id in run.ids(arguments.device):

        async def problem(device_id: str = device_id) -> str | None:
            serial = run.device(device_id).persona.serial
            if arguments.status is not None:
                status = await portal(run).status(serial)
                if status != arguments.status:
                    return f"profile {status or 'unknown'}"
            if not arguments.record:
                return None
            record = await run.adapter.dep_device(_account(run), serial)
            return mismatch(arguments.record, record) if record is not None else "the server knows no such device"

        found = await run.until(problem, within_ms=patience(arguments.within))
        if found is not None:
            raise StepFailed(f"{device_id} at Apple has {wanted}", found)
    return Outcome(wanted, wanted)


def _dep_words(arguments: ExpectDep) -> str:
    said = [f"profile {arguments.status}"] if arguments.status else []
    if arguments.record:
        said.append(shown(arguments.record))
    return " and ".join(said)


def _account(run: Run) -> str:
    if not run.apple_account:
        raise StepFailed("the server has an account at Apple", "it has none: begin with connect_dep or order_device")
    return run.apple_account
