"""The authority that servers trust: made once, kept, refused where it is no use."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import DAY, ManualClock
from mdmsim.pki.certificate import certificates_from_pem, to_pem
from mdmsim.proxy.authority import CA_FILE, KEY_FILE, kept_authority
from mdmsim.startup import ServeError


def test_it_is_the_same_the_next_time(tmp_path: Path) -> None:
    clock = ManualClock()
    first = kept_authority(tmp_path, clock=clock, chance=Chance(1))
    assert kept_authority(tmp_path, clock=clock, chance=Chance(2)).certificate == first.certificate
    assert certificates_from_pem((tmp_path / CA_FILE).read_bytes()) == (first.certificate,)


def test_its_key_is_for_the_owner_only(tmp_path: Path) -> None:
    kept_authority(tmp_path, clock=ManualClock(), chance=Chance(1))
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (tmp_path / CA_FILE).read_bytes()


def test_a_lost_certificate_is_written_again(tmp_path: Path) -> None:
    first = kept_authority(tmp_path, clock=ManualClock(), chance=Chance(1))
    (tmp_path / CA_FILE).unlink()
    kept_authority(tmp_path, clock=ManualClock(), chance=Chance(1))
    assert certificates_from_pem((tmp_path / CA_FILE).read_bytes()) == (first.certificate,)


def test_roots_that_were_appended_stay(tmp_path: Path) -> None:
    first = kept_authority(tmp_path, clock=ManualClock(), chance=Chance(1))
    other = kept_authority(tmp_path / "other", clock=ManualClock(), chance=Chance(3))
    with (tmp_path / CA_FILE).open("ab") as file:
        file.write(to_pem(other.certificate))
    kept_authority(tmp_path, clock=ManualClock(), chance=Chance(1))
    assert certificates_from_pem((tmp_path / CA_FILE).read_bytes()) == (first.certificate, other.certificate)


def test_an_old_one_is_refused_before_its_certificates_would_be(tmp_path: Path) -> None:
    clock = ManualClock()
    kept_authority(tmp_path, clock=clock, chance=Chance(1))
    clock.advance(3630 * DAY)
    with pytest.raises(ServeError, match=r"apple-ca\.key\.pem: this CA ends at .* Delete it for a new CA"):
        kept_authority(tmp_path, clock=clock, chance=Chance(1))


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_one_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(ServeError, match=r"apple-ca\.key\.pem: .* Delete it for a new CA"):
        kept_authority(tmp_path, clock=ManualClock(), chance=Chance(1))
