"""Every refusal has a meaning and something to do."""

from __future__ import annotations

from typing import get_args

import pytest
import trio

from mdmsim.cli.enrollment.meanings import FAIL_INFO, OF_TLS, of_refused_profile, of_status
from mdmsim.cli.enrollment.obstacles import of_exchange
from mdmsim.cli.enrollment.witness import Exchange
from mdmsim.cli.exits import NOT_CARRIED_OUT
from mdmsim.clock import WallClock
from mdmsim.http import OwnLimit, Request, TlsProblem
from mdmsim.pki.scep.errors import FailInfo
from mdmsim.protocol.error_chain import ErrorItem

STATUSES = (301, 400, 401, 403, 404, 405, 410, 413, 415, 418, 422, 429, 500, 502, 503, 504)


@pytest.mark.parametrize(
    "label", ["profile:fetch", "scep:GetCACert", "checkin:Authenticate", "checkin:TokenUpdate", "connect:Idle"]
)
@pytest.mark.parametrize("status", STATUSES)
def test_every_refusal_has_something_to_do(label: str, status: int) -> None:
    meaning, advice = of_status(label, status)
    assert advice
    assert meaning or label == "profile:fetch"


@pytest.mark.parametrize(
    "label", ["profile:fetch", "scep:GetCACert", "checkin:Authenticate", "checkin:TokenUpdate", "connect:Idle"]
)
@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_with_nobody_behind_it_sends_nobody_to_the_servers_log(label: str, status: int) -> None:
    # RFC 9110 sections 15.6.3 to 15.6.5: it is not the server that speaks, or it says that it is not there.
    assert (of_status(label, status)[1] or "").startswith("start the server")


def test_401_means_another_thing_at_each_step() -> None:
    told = {
        of_status(label, 401)[0] for label in ("profile:fetch", "scep:x", "checkin:Authenticate", "checkin:TokenUpdate")
    }
    assert len(told) == 4


def test_only_a_401_ends_an_enrollment_at_token_update() -> None:
    ends = {
        status for status in STATUSES if "removes the profile" in (of_status("checkin:TokenUpdate", status)[0] or "")
    }
    assert ends == {401}


def test_only_a_401_ends_an_enrollment_at_a_connect() -> None:
    ends = {status for status in STATUSES if "removes the profile" in (of_status("connect:Idle", status)[0] or "")}
    assert ends == {401}


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        ([4000, 1000, 2000, 2002], "missing"),
        ([4001, 1009, 1007], "same PayloadUUID"),
        ([4000, 1000, 1008], "same PayloadIdentifier"),
        ([-107], "or PayloadIdentifier, or one has the profile's own UUID"),
        ([-307], "lacks a key"),
        ([4001, 1009, 4006], "DurationUntilRemoval is not above 0"),
        ([4001, 1009, 12005], "pins"),
        ([12011], "per-user-connections"),
        ([12000], "must be there and not 0"),
        ([4001, 1009, 9999], "nothing of a profile is kept"),
    ],
)
def test_the_innermost_known_code_of_a_chain_is_explained(codes: list[int], says: str) -> None:
    chain = tuple(ErrorItem(code=code, domain="X", localized="") for code in codes)
    meaning, advice = of_refused_profile(chain, topic="com.apple.mgmt.x", server_url="https://x")
    assert says in meaning
    assert advice


@pytest.mark.parametrize(
    ("server_url", "checkin_url", "advice"),
    [
        ("http://127.0.0.1:9000/mdm", "http://127.0.0.1:9000/mdm", "add --allow-http"),
        ("https://mdm.example.com/mdm", "http://[::1]/checkin", "add --allow-http"),
        ("https://mdm.example.com/mdm", "http://mdm.example.com/checkin", "on this machine only"),
        ("http://127.0.0.1/mdm", "http://mdm.example.com/checkin", "on this machine only"),
    ],
)
def test_the_url_that_is_http_decides_what_to_do(server_url: str, checkin_url: str, advice: str) -> None:
    chain = (ErrorItem(code=12034, domain="MCMDMErrorDomain", localized=""),)
    said = of_refused_profile(chain, topic="com.apple.mgmt.x", server_url=server_url, checkin_url=checkin_url)
    assert "ServerURL and CheckInURL must be https" in said[0] and "SCEP may be http://" in said[0]
    assert advice in said[1]


def test_every_problem_of_a_handshake_has_words() -> None:
    assert set(OF_TLS) | {"client-certificate"} == set(get_args(TlsProblem))


def test_every_reason_of_a_ca_is_explained() -> None:
    assert set(FAIL_INFO) == set(FailInfo)


def test_a_machine_without_open_files_is_not_blamed_on_the_server() -> None:
    request = Request("PUT", "https://mdm.example/checkin", label="checkin:Authenticate")
    exchange = Exchange(
        request, error=OwnLimit("no connection to mdm.example:443 could be opened: Too many open files")
    )
    obstacle = trio.run(of_exchange, exchange, None, WallClock())
    assert obstacle is not None
    assert (obstacle.what.partition(" has ")[0], obstacle.code) == ("This machine", NOT_CARRIED_OUT)
    assert "ulimit -n" in (obstacle.advice or "")
