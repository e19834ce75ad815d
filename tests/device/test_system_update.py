"""A user updates the system: what changes, what APNs does to the push token, and which releases a model runs."""

from __future__ import annotations

import pytest

from mdmsim.device.device import Behaviour
from mdmsim.device.system_update import CannotUpdate, update_os
from tests.device.bench import Bench, TokenUpdate


def enrolled(kind: str, *, rate: float = 0.0, **persona: object) -> Bench:
    bench = Bench(kind, behaviour=Behaviour(push_token_on_update=rate), **persona)  # type: ignore[arg-type]
    bench.enroll()
    return bench


@pytest.mark.parametrize(("kind", "before", "after"), [("iphone", "18.1", "18.5"), ("appletv", "18.1", "18.2")])
def test_the_updated_device_restarts_and_answers_with_the_new_release(kind: str, before: str, after: str) -> None:
    bench = enrolled(kind, os_version=before, passcode=False)
    bench.device.change(lambda work: update_os(work, after))
    assert bench.device.state.power == "restarting"
    bench.later(60)
    answers = bench.ask("DeviceInformation", Queries=["OSVersion", "BuildVersion"]).response["QueryResponses"]
    assert answers["OSVersion"] == after
    assert answers["BuildVersion"] == bench.device.persona.release.build


@pytest.mark.parametrize(("rate", "told"), [(0.0, 1), (1.0, 2)])
def test_a_new_push_token_after_an_update_is_a_matter_of_the_behaviour(rate: float, told: int) -> None:
    bench = enrolled("mac-silicon", rate=rate, passcode=False)
    bench.device.change(update_os)
    bench.later(60)
    tokens = [update.token for update in bench.server.of(TokenUpdate)]
    assert len(tokens) == len(set(tokens)) == told


def test_a_release_that_the_model_does_not_run_is_refused_with_those_that_it_runs() -> None:
    bench = Bench("iphone", os_version="18.1", model="iPhone11,8")
    with pytest.raises(CannotUpdate, match=r"cannot be updated to 26\.0; later releases: 18\.2, .*18\.5$"):
        bench.device.change(lambda work: update_os(work, "26.0"))
    assert bench.device.persona.os_version == "18.1"


def test_the_newest_release_has_nothing_to_be_updated_to() -> None:
    bench = Bench("appletv", os_version="18.2")
    with pytest.raises(CannotUpdate, match="later releases: none"):
        bench.device.change(update_os)
