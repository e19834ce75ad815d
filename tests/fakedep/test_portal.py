"""The portal: orders, servers, assignments; mistakes are one message and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import DAY, ManualClock
from mdmsim.fakedep.errors import PortalError, UnknownDevice, UnknownServer
from mdmsim.fakedep.portal import FAMILIES, DeviceOrder, Portal
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.keys import FreshKeys
from tests.fakedep.support import NAME, Bench


@pytest.fixture(scope="module")
def elliptic() -> bytes:
    """A certificate that nothing can be encrypted for."""
    authority = Authority.create("x", keys=FreshKeys(), clock=ManualClock(), chance=Chance(1), kind="ec")
    return authority.certificate


def test_ordered_devices_belong_to_nobody_until_they_are_assigned(bench: Bench) -> None:
    bench.order("S1", server=None)
    assert bench.client.fetch_all()[0] == []
    bench.portal.assign(["S1"], NAME)
    assert [each["serial_number"] for each in bench.client.fetch_all()[0]] == ["S1"]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_order_needs_no_more_than_serial_number_and_family(bench: Bench, family: str) -> None:
    (device,) = bench.portal.order([DeviceOrder(serial_number="S1", device_family=family)], order_number="W1")
    assert (device.device_family, device.os, device.order_number) == (family, FAMILIES[family][0], "W1")
    assert device.model and device.description


def test_new_devices_of_a_family_go_to_its_default_server(bench: Bench) -> None:
    bench.portal.default_server("Mac", NAME)
    orders = [DeviceOrder(serial_number=f"{family}1", device_family=family) for family in ("Mac", "iPhone")]
    bench.portal.order(orders)
    assert [each["serial_number"] for each in bench.client.fetch_all()[0]] == ["Mac1"]
    bench.portal.default_server("Mac", None)
    bench.portal.order([DeviceOrder(serial_number="Mac2", device_family="Mac")])
    assert len(bench.client.fetch_all()[0]) == 1


def test_assigning_a_device_to_the_server_it_has_changes_nothing(bench: Bench) -> None:
    bench.order("S1")
    _, cursor = bench.client.fetch_all()
    bench.portal.assign(["S1", "S1"], NAME)
    assert bench.client.sync_all(cursor)[0] == []


def test_a_removed_server_leaves_its_devices_to_nobody_and_its_name_free(bench: Bench) -> None:
    bench.order("S1")
    bench.portal.default_server("iPhone", NAME)
    bench.portal.remove_server(NAME)
    bench.portal.order(["S2"])
    assert [device.server for device in bench.service.devices()] == [None, None]
    assert bench.portal.add_server(NAME).count == 0


def test_a_server_is_found_by_name_and_by_uuid(bench: Bench) -> None:
    (server,) = bench.service.servers()
    bench.portal.order(["S1"], server=server.uuid)
    bench.portal.order(["S2"], server=server.name)
    assert server.count == 2


def test_organisations_keep_their_devices_apart(bench: Bench) -> None:
    bench.portal.add_organisation("Other")
    bench.portal.add_server("theirs", organisation="Other")
    bench.portal.order(["S1"], server="theirs")
    assert bench.service.device("S1").organisation == "Other"
    with pytest.raises(PortalError, match="S1"):
        bench.portal.assign(["S1"], NAME)


MISTAKES: list[tuple[Callable[[Portal], Any], str]] = [
    (lambda portal: portal.order(["TAKEN1"]), "ordered already"),
    (lambda portal: portal.order(["S2", "S2"]), "ordered already"),
    (lambda portal: portal.order(["S2", "S 3"]), "letters and digits"),
    (lambda portal: portal.order(["S2", ""]), "letters and digits"),
    (lambda portal: portal.order(["S2", DeviceOrder(serial_number="S3", device_family="Newton")]), "Newton"),
    (lambda portal: portal.order(["S2"], server="nobody"), "nobody"),
    (lambda portal: portal.order(["S2"], organisation="nobody"), "nobody"),
    (lambda portal: portal.assign(["TAKEN1", "UNKNOWN1"], NAME), "UNKNOWN1"),
    (lambda portal: portal.assign(["TAKEN1"], "nobody"), "nobody"),
    (lambda portal: portal.unassign(["TAKEN1", "UNKNOWN1"]), "UNKNOWN1"),
    (lambda portal: portal.release(["TAKEN1", "UNKNOWN1"]), "UNKNOWN1"),
    (lambda portal: portal.replace("UNKNOWN1", "S2"), "UNKNOWN1"),
    (lambda portal: portal.replace("TAKEN1", "TAKEN1"), "ordered already"),
    (lambda portal: portal.set_asset_tag("UNKNOWN1", "x"), "UNKNOWN1"),
    (lambda portal: portal.add_server(NAME), "one of that name"),
    (lambda portal: portal.add_server(" "), "name"),
    (lambda portal: portal.add_server("x", organisation="nobody"), "nobody"),
    (lambda portal: portal.add_server("x", certificate=b"no certificate"), "uploaded file"),
    (lambda portal: portal.add_server("x", certificate=b"-----BEGIN NONSENSE-----"), "uploaded file"),
    (lambda portal: portal.upload_certificate(NAME, b""), "uploaded file"),
    (lambda portal: portal.remove_server("nobody"), "nobody"),
    (lambda portal: portal.token(NAME), "public key"),
    (lambda portal: portal.plain_token("nobody"), "nobody"),
    (lambda portal: portal.default_server("Newton", NAME), "Newton"),
    (lambda portal: portal.default_server("Mac", "nobody"), "nobody"),
    (lambda portal: portal.add_organisation("Example Organisation"), "one of that name"),
    (lambda portal: portal.accept_terms("nobody"), "nobody"),
]


@pytest.mark.parametrize(("mistake", "word"), MISTAKES)
def test_a_mistake_is_one_message_and_changes_nothing(
    bench: Bench, mistake: Callable[[Portal], Any], word: str
) -> None:
    bench.order("TAKEN1")
    _, cursor = bench.client.fetch_all()
    before = bench.service.devices()
    with pytest.raises(PortalError, match=word):
        mistake(bench.portal)
    assert bench.service.devices() == before
    assert bench.client.sync_all(cursor)[0] == []
    assert [server.name for server in bench.service.servers()] == [NAME]


def test_a_key_that_cannot_be_encrypted_for_leaves_the_old_token_in_force(bench: Bench, elliptic: bytes) -> None:
    bench.portal.upload_certificate(NAME, to_pem(elliptic))
    with pytest.raises(PortalError, match="RSA"):
        bench.portal.token(NAME)
    assert bench.client.login()[0] == 200


def test_unknown_devices_and_servers_have_errors_of_their_own(bench: Bench) -> None:
    with pytest.raises(UnknownDevice):
        bench.service.device("UNKNOWN1")
    with pytest.raises(UnknownServer):
        bench.service.expire_sessions("nobody")


def test_the_same_seed_gives_the_same_tokens_and_uuids() -> None:
    first, second = Bench(), Bench()
    assert first.client.token == second.client.token
    assert first.client.define() == second.client.define()
    assert [first.client.login(), first.client.session] == [second.client.login(), second.client.session]


def test_an_asset_tag_and_a_deadline_show_as_modified(bench: Bench) -> None:
    bench.order("S1")
    _, cursor = bench.client.fetch_all()
    bench.portal.set_asset_tag("S1", "A-7")
    bench.portal.set_migration_deadline("S1", bench.clock.now_ms() + DAY)
    records, _ = bench.client.sync_all(cursor)
    assert [each["op_type"] for each in records] == ["modified", "modified"]
    assert records[1]["asset_tag"] == "A-7" and "mdm_migration_deadline" in records[1]
