"""The page on which somebody signs in during Setup Assistant, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reference_server.enrollment.login_page import dead_end_page, login_page
from tests.browsers import ARGUMENTS, CHROMIUM, MAY_SKIP, REASON
from tests.reference_server.kit import settings


def test_what_others_wrote_is_text_and_not_markup() -> None:
    bad = "<script>alert(1)</script> & {sons}"
    pages = (
        login_page(settings(organization=bad), bad, name=bad, wrong=True),
        dead_end_page(bad, bad),
    )
    assert not any("<script>" in page for page in pages)
    assert all("{sons}" in page for page in pages)


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
@pytest.mark.parametrize("width", [320, 768])
@pytest.mark.parametrize("wrong", [False, True])
def test_the_form_fits_and_is_found_by_its_labels(browser: Any, width: int, wrong: bool) -> None:
    page = browser.new_page(viewport={"width": width, "height": 700})
    organization = "Donaudampfschifffahrtsgesellschaft" * 2
    page.set_content(login_page(settings(organization=organization), "SERIAL1", name="ada", wrong=wrong))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_label("Name").input_value() == "ada"
    assert page.get_by_label("Password").get_attribute("type") == "password"
    assert page.get_by_role("button", name="Sign in").bounding_box()["height"] >= 24
    assert page.get_by_role("alert").count() == int(wrong)
    page.close()


@pytest.mark.browser
def test_the_keyboard_is_enough(browser: Any) -> None:
    page = browser.new_page()
    page.set_content(login_page(settings(), "SERIAL1"))
    page.get_by_label("Name").focus()
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type("secret")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Sign in"
    assert page.get_by_label("Password").input_value() == "secret"
    page.close()
