"""What the proxy answers itself: over TLS under Apple's names, and over plain HTTP."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import trio

from mdmsim.pki.authority import Authority
from mdmsim.proxy.answers import LOOKUP_PATH, SERVER_NAMES, Listening, answers, serve
from mdmsim.proxy.connect import ConnectProxy
from mdmsim.proxy.hosts import CATALOGUE_HOST, METADATA_HOST, VPP_HOST
from tests.fakeapns.support import client_context, serving

pytestmark = pytest.mark.anyio

CATALOGUE = b'{"AssetSets": {"iOS": []}}'
METADATA = {"361309726": {"name": "Pages"}, "409183694": {"name": "Keynote"}}


@pytest.fixture
async def ports(authority: Authority) -> AsyncIterator[Listening]:
    async with trio.open_nursery() as nursery:
        identity = authority.issue_server(SERVER_NAMES)
        yield await nursery.start(partial(serve, answers(CATALOGUE, METADATA), identity))
        nursery.cancel_scope.cancel()


async def _get(port: int, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, f"http://127.0.0.1:{port}{path}")


async def test_the_catalogue_is_sent_as_it_is(ports: Listening) -> None:
    answer = await _get(ports.plain, "/v2/pmv")
    assert (answer.status_code, answer.content) == (200, CATALOGUE)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("ids", "names"),
    [("361309726", ["Pages"]), ("361309726,1,409183694", ["Pages", "Keynote"]), ("1", []), ("", [])],
)
async def test_metadata_is_looked_up_by_adam_id(ports: Listening, ids: str, names: list[str]) -> None:
    query = f"?version=2&p=mdm-lockup&caller=MDM&platform=enterprisestore&cc=us&l=en&id={ids}"
    answer = await _get(ports.plain, LOOKUP_PATH + query)
    assert [found["name"] for found in answer.json()["results"].values()] == names


@pytest.mark.parametrize(("path", "status"), [("/", 404), ("/v2/assets", 404), ("/v1/pmv", 404)])
async def test_other_paths_are_not_there(ports: Listening, path: str, status: int) -> None:
    answer = await _get(ports.plain, path)
    assert answer.status_code == status
    assert "/v2/pmv (gdmf.apple.com)" in answer.text


async def test_only_get_is_answered(ports: Listening) -> None:
    assert (await _get(ports.plain, "/v2/pmv", "POST")).status_code == 405


@pytest.mark.parametrize(("host", "path"), [(CATALOGUE_HOST, "/v2/pmv"), (METADATA_HOST, LOOKUP_PATH)])
async def test_apples_names_are_answered_through_the_proxy(
    ports: Listening, authority: Authority, host: str, path: str
) -> None:
    routes = dict.fromkeys((CATALOGUE_HOST, METADATA_HOST), ("127.0.0.1", ports.tls))
    async with serving(ConnectProxy(routes).serve) as proxy:
        context = client_context(authority.certificate)
        async with httpx.AsyncClient(verify=context, proxy=f"http://127.0.0.1:{proxy}") as client:
            assert (await client.get(f"https://{host}{path}")).status_code == 200


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
async def test_curl_reads_the_catalogue(ports: Listening) -> None:
    command = ["curl", "-sS", "--insecure", "--connect-to", f"{CATALOGUE_HOST}:443:127.0.0.1:{ports.tls}"]
    with trio.fail_after(20):
        done = await trio.run_process([*command, f"https://{CATALOGUE_HOST}/v2/pmv"], capture_stdout=True, check=False)
    assert done.stdout == CATALOGUE


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/mdm/v2/assets", {"errorNumber": 9729}),
        ("/mdm/getVPPLicensesSrv", {"errorNumber": 9729, "status": -1}),
        ("/WebObjects/MZFinance.woa/wa/getVPPUsersSrv", {"errorNumber": 9729, "status": -1}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_apps_and_books_are_out_of_order_as_apple_says_it(
    ports: Listening, authority: Authority, path: str, body: dict[str, object], method: str
) -> None:
    async with serving(ConnectProxy({VPP_HOST: ("127.0.0.1", ports.tls)}).serve) as port:
        context = client_context(authority.certificate)
        async with httpx.AsyncClient(verify=context, proxy=f"http://127.0.0.1:{port}", trust_env=False) as client:
            answer = await client.request(method, f"https://{VPP_HOST}{path}")
    told = answer.json()
    told.pop("errorMessage")
    assert (answer.status_code, told, answer.headers["retry-after"]) == (503, body, "3600")


async def test_the_outage_is_of_that_host_only(ports: Listening) -> None:
    assert (await _get(ports.plain, "/mdm/v2/assets")).status_code == 404
