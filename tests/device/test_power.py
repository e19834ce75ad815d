"""Power and network: what a boot, the button and a return of the network change, and what they leave alone."""

from __future__ import annotations

from mdmsim.device.power import restart, set_network, shut_down, switch_on
from tests.device.bench import Bench


def test_a_running_device_takes_no_notice_of_the_button_that_switches_on() -> None:
    bench = Bench(state={"unlocked_since_boot": True})
    bench.device.change(switch_on)
    bench.device.save()
    assert (bench.device.state.unlocked_since_boot, bench.log.of("device.power")) == (True, [])


def test_a_device_that_is_shut_down_while_it_restarts_stays_off() -> None:
    bench = Bench("mac-silicon")
    bench.device.change(lambda work: restart(work, why="test"))
    bench.device.change(lambda work: shut_down(work, why="user"))
    assert bench.device.next_wake_ms() is None
    bench.later(600)
    assert bench.device.state.power == "off"


def test_a_network_that_is_up_already_does_not_return_once_more() -> None:
    bench = Bench()
    before = bench.device.state.returns
    bench.device.change(lambda work: set_network(work, up=True))
    bench.device.save()
    assert (bench.device.state.returns, bench.log.of("device.network")) == (before, [])
