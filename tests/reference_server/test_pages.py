"""The server's page, as text and in a real browser: Chromium, as Debian packages it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reference_server.enrollment.pages import landing_page
from tests.browsers import ARGUMENTS, CHROMIUM, MAY_SKIP, REASON
from tests.reference_server.kit import Server, settings


def test_what_the_operator_wrote_is_text_and_not_markup() -> None:
    page = landing_page(settings(organization="<script>alert(1)</script> & {sons}"))
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; {sons}" in page


@pytest.mark.anyio
async def test_the_page_may_load_nothing_and_says_nothing_secret(server: Server) -> None:
    answer = await server.request("GET", "/")
    assert answer.status == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert server.settings.api_key.encode() not in answer.body


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    if MAY_SKIP:
        pytest.skip(REASON)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 360, 768, 1440])
def test_the_page_fits_from_a_phone_to_a_desk(browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.set_content(landing_page(settings(organization="Donaudampfschifffahrtsgesellschaft" * 2)))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_role("link", name="Get an enrollment profile").is_visible()
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_readers_colours(browser: Any, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.set_content(landing_page(settings()))
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 28)"}[scheme]
    page.close()
