"""Pairing with computers, by `allow_pairing` and `supervising_host_certs` of the DEP profile (Apple, "Profile")."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mdmsim.device.flows.install import install_profile
from mdmsim.device.pairing import PairingRefused, pair
from mdmsim.events import Event
from mdmsim.protocol.payloads import Payload
from mdmsim.protocol.profile import build_profile
from tests.device.bench import Bench

SUPERVISOR, OTHER = b"0\x03own", b"0\x05other"


def bench_with(kind: str = "iphone", **profile: Any) -> Bench:
    bench = Bench(kind)
    configuration = {
        "serial_number": "S1",
        "profile_uuid": "P1",
        "profile": profile,
        "server_name": "server",
        "server_uuid": "U1",
        "organisation": {},
    }
    bench.device.state.cloud_configuration = bench.store.put(json.dumps(configuration).encode())
    return bench


def pairings(bench: Bench) -> list[Event]:
    bench.device.save()  # publishes what was noted
    return bench.log.of("device.pairing")


@pytest.mark.parametrize("certificate", [None, OTHER, SUPERVISOR])
def test_without_a_rule_a_device_pairs_with_any_computer(certificate: bytes | None) -> None:
    for bench in (Bench(), bench_with(), bench_with(allow_pairing=True)):
        bench.device.change(lambda work: pair(work, certificate))
        assert [e.data["outcome"] for e in pairings(bench)] == ["trusted"]


@pytest.mark.parametrize("certificate", [None, OTHER])
def test_where_pairing_is_not_allowed_a_stranger_is_refused(certificate: bytes | None) -> None:
    hosts = [base64.b64encode(SUPERVISOR).decode()]
    bench = bench_with("ipad", allow_pairing=False, supervising_host_certs=hosts)
    with pytest.raises(PairingRefused):
        bench.device.change(lambda work: pair(work, certificate))
    assert [e.data for e in pairings(bench)] == [{"host": "stranger", "outcome": "refused"}]


def test_where_pairing_is_not_allowed_a_supervising_host_is_trusted() -> None:
    bench = bench_with(allow_pairing=False, supervising_host_certs=[base64.b64encode(SUPERVISOR).decode()])
    bench.device.change(lambda work: pair(work, SUPERVISOR))
    assert [e.data for e in pairings(bench)] == [{"host": "supervising", "outcome": "trusted"}]


@pytest.mark.parametrize("supervised", [True, False])
def test_the_restriction_counts_on_supervised_devices_only(supervised: bool) -> None:
    # com.apple.applicationaccess.yaml, allowHostPairing: iOS 7, supervised.
    bench = bench_with(supervising_host_certs=[base64.b64encode(SUPERVISOR).decode()])
    bench.device.state.supervised = supervised
    restriction = Payload(
        type="com.apple.applicationaccess", identifier="test.restrictions", uuid="R-1", keys={"allowHostPairing": False}
    )
    profile = build_profile(identifier="test", uuid="P-1", display_name="Test", payloads=(restriction,))
    bench.run(install_profile(bench.device, profile))
    if supervised:
        with pytest.raises(PairingRefused, match="restriction"):
            bench.device.change(lambda work: pair(work, None))
    else:
        bench.device.change(lambda work: pair(work, None))
    bench.device.change(lambda work: pair(work, SUPERVISOR))
    assert [e.data["outcome"] for e in pairings(bench)] == ["refused" if supervised else "trusted", "trusted"]


@pytest.mark.parametrize("kind", ["mac-silicon", "appletv"])
def test_other_platforms_do_not_pair(kind: str) -> None:
    bench = bench_with(kind)
    with pytest.raises(PairingRefused, match="does not pair"):
        bench.device.change(lambda work: pair(work, None))
    assert pairings(bench) == []
