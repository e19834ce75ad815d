"""What a device gets at activation, as a call and over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.clock import HOUR
from mdmsim.fakedep.front.activation import ActivationFront
from mdmsim.fakedep.front.asgi import MAX_BODY
from mdmsim.protocol.cloud_configuration import PATH, CloudConfiguration, from_json, to_json
from mdmsim.protocol.errors import Malformed
from tests.fakedep.support import NAME, PROFILE, Bench

CERTIFICATE = b"\x30\x03\x02\x01\x01"


@pytest.fixture
async def http(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(ActivationFront(bench.service))
    async with httpx.AsyncClient(transport=transport, base_url="https://iprofiles.apple.com") as client:
        yield client


def _get(bench: Bench, **keys: Any) -> CloudConfiguration:
    bench.order("S1")
    bench.client.define(devices=["S1"], **keys)
    found = bench.service.cloud_configuration("S1")
    assert found is not None
    return found


def test_a_device_gets_the_profile_assigned_to_it_as_it_was_defined(bench: Bench) -> None:
    found = _get(bench, language="en", department="IT")
    assert found.profile == {**PROFILE, "language": "en", "department": "IT"}
    assert (found.url, found.language, found.department, found.region) == (PROFILE["url"], "en", "IT", None)
    assert (found.server_name, found.organisation["name"]) == (NAME, "Example Organisation")


def test_what_the_profile_does_not_say_is_apples_default(bench: Bench) -> None:
    found = _get(bench)
    assert (found.is_mdm_removable, found.allow_pairing) == (True, True)
    flags = (
        found.is_supervised,
        found.is_mandatory,
        found.await_device_configured,
        found.is_multi_user,
        found.auto_advance_setup,
        found.do_not_use_profile_from_backup,
        found.is_return_to_service,
    )
    assert not any(flags)
    assert (found.configuration_web_url, found.anchor_certs, found.skip_setup_items) == (None, (), ())
    assert (found.support_phone_number, found.support_email_address, found.org_magic) == (None, None, None)


def test_certificates_come_as_der_and_bad_ones_are_left_out(bench: Bench) -> None:
    texts = [base64.b64encode(CERTIFICATE).decode(), "x"]
    found = _get(bench, anchor_certs=texts, supervising_host_certs=texts[:1], skip_setup_items=["Siri"])
    assert (found.anchor_certs, found.supervising_host_certs) == ((CERTIFICATE,), (CERTIFICATE,))
    assert found.skip_setup_items == ("Siri",)


def test_the_profile_counts_as_pushed_from_then_on(bench: Bench) -> None:
    bench.order("S1")
    bench.client.define(devices=["S1"])
    _, cursor = bench.client.fetch_all()
    bench.clock.advance(HOUR)
    bench.service.cloud_configuration("S1", {"product": "iPhone15,2"})
    device = bench.service.device("S1")
    assert (device.profile_status, device.profile_push_ms) == ("pushed", bench.clock.now_ms())
    assert [each["op_type"] for each in bench.client.sync_all(cursor)[0]] == ["modified"]
    (event,) = bench.log.of("dep.configuration-served")
    assert (event.data["serial"], event.data["machine_info"]) == ("S1", {"product": "iPhone15,2"})


def test_an_erased_device_gets_it_again_and_a_newer_one_where_there_is_one(bench: Bench) -> None:
    first = _get(bench)
    assert bench.service.cloud_configuration("S1") == first
    uuid = bench.client.define(devices=["S1"])
    found = bench.service.cloud_configuration("S1")
    assert found is not None and found.profile_uuid == uuid != first.profile_uuid


@pytest.mark.parametrize(
    ("state", "why"),
    [("unknown", "owns"), ("unassigned", "no MDM server"), ("empty", "no profile"), ("removed", "no profile")],
)
def test_a_device_without_a_profile_gets_nothing(bench: Bench, state: str, why: str) -> None:
    if state != "unknown":
        bench.order("S1", server=None if state == "unassigned" else NAME)
    if state == "removed":
        bench.client.define(devices=["S1"])
        bench.client.call("DELETE", "/profile/devices", {"devices": ["S1"]})
    assert bench.service.cloud_configuration("S1") is None
    assert why in bench.log.of("dep.configuration-absent")[0].data["why"]


def test_a_profile_goes_with_the_server_that_defined_it(bench: Bench) -> None:
    _get(bench)
    bench.portal.add_server("other")
    bench.portal.assign(["S1"], "other")
    assert bench.service.cloud_configuration("S1") is None


def test_a_configuration_can_be_withheld_once(bench: Bench) -> None:
    bench.order("S1")
    bench.client.define(devices=["S1"])
    bench.fault("activation.withheld", times=1)
    assert bench.service.cloud_configuration("S1") is None
    assert bench.service.device("S1").profile_status == "assigned"
    assert bench.service.cloud_configuration("S1") is not None


@pytest.mark.anyio
async def test_the_endpoint_gives_what_the_call_gives(bench: Bench, http: httpx.AsyncClient) -> None:
    wanted = _get(bench)
    answer = await http.post(PATH, json={"serial_number": "S1", "product": "Mac14,2"})
    assert answer.status_code == 200 and from_json(answer.content) == wanted
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.anyio
async def test_the_endpoint_says_204_where_there_is_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.post(PATH, json={"serial_number": "UNKNOWN1"})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [None, 500])
async def test_the_endpoint_can_be_out_of_order(bench: Bench, http: httpx.AsyncClient, status: int | None) -> None:
    _get(bench)
    before = bench.service.device("S1")
    bench.fault("activation.refused", status, times=1)
    assert (await http.post(PATH, json={"serial_number": "S1"})).status_code == (status or 503)
    assert bench.service.device("S1") == before
    assert (await http.post(PATH, json={"serial_number": "S1"})).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"serial_number":5}', b'{"serial_number":""}', b"\xff"])
async def test_the_endpoint_refuses_what_names_no_device(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post(PATH, content=body)
    assert answer.status_code == 400 and "serial_number" in answer.json()["error"]


@pytest.mark.anyio
async def test_the_endpoint_is_one_path_and_one_method(http: httpx.AsyncClient) -> None:
    statuses = [(await http.get(PATH)).status_code, (await http.post("/v2", json={})).status_code]
    assert statuses == [405, 404]


@pytest.mark.anyio
async def test_a_body_that_is_too_long_is_413(http: httpx.AsyncClient) -> None:
    assert (await http.post(PATH, content=b"x" * (MAX_BODY + 1))).status_code == 413


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=100) | st.dictionaries(st.text(max_size=9), st.integers()).map(lambda v: json.dumps(v).encode())
)
def test_any_other_body_of_an_answer_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        from_json(body)


def test_a_configuration_survives_json(bench: Bench) -> None:
    found = _get(bench, skip_setup_items=["Siri"])
    assert from_json(to_json(found)) == found
