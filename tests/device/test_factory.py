"""Factory identities: three levels, one per device, kept through an erase, and read by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from mdmsim.chance import Chance
from mdmsim.device.erase import erase
from mdmsim.device.factory import Factory
from mdmsim.device.machine_info import signed_machine_info
from mdmsim.pki.certificate import to_pem
from tests.device.bench import KEYS, Bench


def built(kind: str = "iphone") -> tuple[Bench, Factory]:
    bench = Bench(kind)
    factory = Factory(keys=KEYS, clock=bench.clock, chance=Chance("factory"))
    factory.build(bench.device)
    return bench, factory


def test_openssl_reads_machine_info_up_to_the_root(tmp_path: Path) -> None:
    for kind in ("iphone", "mac-silicon"):
        bench, factory = built(kind)
        (tmp_path / "root.pem").write_bytes(to_pem(factory.root))
        (tmp_path / "info.der").write_bytes(signed_machine_info(bench.device))
        done = subprocess.run(
            ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(tmp_path / "info.der"),
             "-CAfile", str(tmp_path / "root.pem"), "-purpose", "any", "-no_check_time"],
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        assert bench.device.persona.serial.encode() in done.stdout


def test_an_erase_keeps_the_factory_identity() -> None:
    bench, _ = built()
    before = bench.device.state.factory
    bench.device.change(lambda work: erase(work, by="user"))
    assert bench.device.state.factory == before is not None


def test_the_ca_may_bear_apples_names_for_servers_that_compare_them() -> None:
    bench = Bench()
    factory = Factory(keys=KEYS, clock=bench.clock, chance=Chance(1), apple_names=True)
    assert b"Apple iPhone Device CA" in factory.chain[0]
    assert b"Simulated" not in factory.chain[0]
