"""NanoMDM itself, unmodified, pushing through the proxy: what it is woken by, and what it says when APNs says no."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from mdmsim.fakeapns.fault_spec import FaultSpec, plan_fault
from tests.interop.stack import SIGNED_HTTP, Member, Site

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


@pytest.fixture
def member(nanomdm_site: Site) -> Member:
    """A device that is enrolled and has nothing to do."""
    return nanomdm_site.ways[SIGNED_HTTP].enrol("mac-silicon")


@contextmanager
def fault(site: Site, name: str, **wishes: Any) -> Iterator[None]:
    service = site.apple.service

    async def plan() -> Any:
        return plan_fault(service, FaultSpec(name=name, **wishes))

    planned = site.call(plan)
    try:
        yield
    finally:
        service.faults.remove(planned)


def test_it_pushes_without_topic_type_and_id_and_wakes_the_device(nanomdm_site: Site, member: Member) -> None:
    """nanopush sends a content type and nothing else: topic from the certificate, id from APNs, in capitals."""
    queued = member.way.server.push(member.udid)
    member.happened("device.push-heard")
    (asked,) = [one for one in nanomdm_site.apple.service.journal if one.device and one.apns_id == queued.apns_id]
    names = {name for name, _ in asked.headers}
    assert names & {"apns-topic", "apns-push-type", "apns-id", "apns-priority", "apns-expiration"} == set()
    assert asked.topic == nanomdm_site.topic
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", queued.apns_id or "")


@pytest.mark.parametrize("reason", ["TooManyRequests", "InternalServerError", "BadDeviceToken"])
def test_it_hands_on_apples_word(nanomdm_site: Site, member: Member, reason: str) -> None:
    status = {"TooManyRequests": 429, "InternalServerError": 500, "BadDeviceToken": 400}[reason]
    with fault(nanomdm_site, "push.refused", reason=reason, times=1):
        queued = member.way.server.push(member.udid)
    assert queued.push_error == f"push HTTP status: {status}: APNs push error: {reason}"


def test_it_hands_on_since_when_a_device_is_gone_in_milliseconds(nanomdm_site: Site, member: Member) -> None:
    before = nanomdm_site.clock.now_ms()
    member.leave()
    error = member.way.server.push(member.udid).push_error or ""
    stated = re.fullmatch(r"push HTTP status: 410: APNs push error: Unregistered: timestamp (\d+)", error)
    assert stated is not None, error
    assert before <= int(stated[1]) <= nanomdm_site.clock.now_ms()


def test_a_connection_that_is_cut_is_made_again_for_the_next_push(nanomdm_site: Site, member: Member) -> None:
    with fault(nanomdm_site, "answer.cut", times=1):
        assert member.way.server.push(member.udid).push_error
    assert member.way.server.push(member.udid).push_error is None


def test_a_refused_stream_is_sent_again_by_go_and_nobody_notices(nanomdm_site: Site, member: Member) -> None:
    """RFC 9113 section 8.7: nothing was processed; golang.org/x/net/http2 repeats the request."""
    with fault(nanomdm_site, "stream.refused", times=1):
        assert member.way.server.push(member.udid).push_error is None


def test_a_goaway_before_its_stream_makes_go_push_on_another_connection(nanomdm_site: Site, member: Member) -> None:
    """Streams above the last one of a GOAWAY were not processed, and Go repeats them on a new connection."""
    with fault(nanomdm_site, "goaway", times=1):
        assert member.way.server.push(member.udid).push_error is None


def test_a_goaway_that_takes_in_its_push_breaks_one_call_of_nanomdm_and_the_next_works(
    nanomdm_site: Site, member: Member
) -> None:
    """NanoMDM's own bug (micromdm/nanomdm pull request 248, after v0.9.0): nanopush reads the status of an answer that
    there is not, and the panic ends the API call. Before the fix nobody can read GOAWAY's reason there.
    """
    with fault(nanomdm_site, "goaway", reason="BadCertificateEnvironment", processed=True, times=1):
        with pytest.raises(httpx.RemoteProtocolError):
            member.way.server.push(member.udid)
    assert member.way.server.push(member.udid).push_error is None
