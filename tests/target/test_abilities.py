"""What an adapter says that it offers is what it offers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.http import ConnectFailed, Request, Response, Trust
from mdmsim.target.adapter import Adapter, ApiUnreachable, NotOffered
from mdmsim.target.nanomdm import NanoMDMAdapter
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.world.abilities import Ability


class Nobody:
    """An `Outbound` at whose other end nobody is."""

    async def send(self, request: Request) -> Response:
        raise ConnectFailed("connection refused")


ADAPTERS: list[Adapter] = [
    ReferenceAdapter(Nobody(), "https://mdm.test", "k", Trust()),
    NanoMDMAdapter(Nobody(), "https://mdm.test", "k", Trust(), profile="https://mdm.test/enroll", chance=Chance(1)),
]

Call = Callable[[Adapter], Awaitable[object]]

CALLS: list[tuple[Ability, Call]] = [
    (Ability.PROFILE, lambda a: a.enrollment_profile()),
    (Ability.PROFILE_CHANGES, lambda a: a.enrollment_profile(sign=False)),
    (Ability.QUEUE, lambda a: a.queue("D", "ProfileList", {})),
    (Ability.QUEUE, lambda a: a.clear_passcode("D", token=b"t")),
    (Ability.QUEUE, lambda a: a.renew_enrollment("D")),
    (Ability.RESULTS, lambda a: a.command("D", "C")),
    (Ability.RECORDS, lambda a: a.device("D")),
    (Ability.PUSH, lambda a: a.push("D")),
    (Ability.REMOVE, lambda a: a.remove("D")),
    (Ability.REFUSE, lambda a: a.refuse(udid="D", at="any")),
    (Ability.REFUSE, lambda a: a.allow(udid="D")),
    (Ability.DEP_ACCOUNTS, lambda a: a.add_dep_account("x")),
    (Ability.DEP_ACCOUNTS, lambda a: a.set_dep_token("x", b"")),
    (Ability.DEP_ACCOUNTS, lambda a: a.remove_dep_account("x")),
    (Ability.DEP_ACCOUNTS, lambda a: a.sync_dep("x")),
    (Ability.DEP_ACCOUNTS, lambda a: a.assign_dep_profile("x", "p", {}, [])),
    (Ability.DEP_ACCOUNTS, lambda a: a.dep_device("x", "S")),
]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@pytest.mark.parametrize(("ability", "call"), CALLS)
def test_what_is_declared_is_tried_and_what_is_not_is_refused_unsent(
    adapter: Adapter, ability: Ability, call: Call
) -> None:
    async def main() -> None:
        await call(adapter)

    with pytest.raises(ApiUnreachable if ability in adapter.abilities else NotOffered):
        trio.run(main)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_an_adapter_declares_nothing_that_is_not_tried_here(adapter: Adapter) -> None:
    assert adapter.abilities <= {ability for ability, _ in CALLS}
