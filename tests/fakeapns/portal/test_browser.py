"""The portal's page in a real browser, with a real fake APNs behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.pki.push_certificate import is_push_certificate, topic_of
from tests.browsers import ARGUMENTS, CHROMIUM, MAY_SKIP, REASON
from tests.cli.commands import process
from tests.fakeapns.portal.support import customer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")

pytestmark = [pytest.mark.browser, pytest.mark.live, pytest.mark.skipif(MAY_SKIP, reason=REASON)]

KEY = "a-key-that-nobody-guesses"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with process("apns", "--admin-key", KEY, "--json") as running:
        assert running.stdout is not None
        yield json.loads(running.stdout.readline())["admin_url"] + "/portal"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page; afterwards there must have been no error of its own, and the key in no URL."""
    contexts, troubles, urls = [], [], []

    def open_page(*, width: int = 1200, height: int = 800, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if "Security Policy" in message.text else None)
        page.on("request", lambda request: urls.append(request.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
    assert [url for url in urls if "nobody" in url] == []


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    file = tmp_path / "request.b64"
    file.write_bytes(customer()[1])
    return file


def signed_in(page: Any, account: str) -> Any:
    page.get_by_label("Account").fill(account)
    page.get_by_label("Admin key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text(f"Signed in as {account}").wait_for()
    return page


def created(page: Any, request_file: Path) -> str:
    page.locator("#request").set_input_files(request_file)
    page.get_by_label("I want a new topic").check()
    page.get_by_role("button", name="Create a new topic").click()
    page.get_by_text("Created com.apple.mgmt.External.").wait_for()
    topic: str = page.locator("#certificates tr:last-child th .mono").inner_text()
    return topic


def test_a_certificate_is_created_renewed_downloaded_and_revoked(
    opened: Callable[..., Any], request_file: Path
) -> None:
    page = signed_in(opened(), "story@acme.example")
    topic = created(page, request_file)

    page.get_by_role("button", name=f"Renew {topic}").click()
    page.locator("#renew-request").set_input_files(request_file)
    page.get_by_role("dialog").get_by_role("button", name="Renew").click()
    page.get_by_text(f"Renewed {topic} until").wait_for()
    assert page.locator("#certificates tr").count() == 1

    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download {topic}").click()
    assert download.value.suggested_filename == "MDM_ Acme MDM, Inc._Certificate.pem"
    (der,) = certificates_from_pem(Path(download.value.path()).read_bytes())
    assert is_push_certificate(der) and topic_of(der) == topic

    page.get_by_role("button", name=f"Revoke {topic}").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    page.get_by_text(f"Revoked {topic}.").wait_for()
    row = page.locator("#certificates tr").first
    assert "revoked" in row.inner_text()
    assert row.get_by_role("button").all_inner_texts() == ["Download"]


def test_creating_is_warned_of_and_must_be_meant(opened: Callable[..., Any], request_file: Path) -> None:
    page = signed_in(opened(), "warned@acme.example")
    assert "Devices that are enrolled with another topic do not hear a new one" in page.locator(".warning").inner_text()
    page.locator("#request").set_input_files(request_file)
    page.get_by_role("button", name="Create a new topic").click()
    assert page.locator("#sure:invalid").count() == 1
    assert page.locator("#certificates tr").count() == 0


def test_a_refusal_is_shown_in_words(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = signed_in(opened(), "refused@acme.example")
    (tmp_path / "bare.csr").write_text("-----BEGIN CERTIFICATE REQUEST-----\n")
    page.locator("#request").set_input_files(tmp_path / "bare.csr")
    page.get_by_label("I want a new topic").check()
    page.get_by_role("button", name="Create a new topic").click()
    page.get_by_text("an MDM vendor must sign it first").wait_for()


def test_a_wrong_key_is_told_and_forgotten(opened: Callable[..., Any]) -> None:
    page = opened()
    page.get_by_label("Admin key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("This is not the admin key.").wait_for()
    assert page.evaluate("sessionStorage.getItem('mdmsim-admin-key')") is None
    assert page.locator("#signed-in").is_hidden()


def test_the_key_is_kept_for_the_tab_and_nowhere_else(opened: Callable[..., Any]) -> None:
    page = signed_in(opened(), "kept@acme.example")
    page.reload()
    page.get_by_text("Signed in as kept@acme.example").wait_for()
    assert page.evaluate("[document.cookie, localStorage.length, location.search]") == ["", 0, ""]
    page.get_by_role("button", name="Sign out").click()
    page.reload()
    assert page.locator("#sign-in").is_visible()


def test_text_of_others_is_never_markup(opened: Callable[..., Any], request_file: Path) -> None:
    page = signed_in(opened(), "hostile@acme.example")
    page.get_by_label("Note").fill("<img src=x onerror=document.title='caught'>")
    created(page, request_file)
    assert "<img src=x" in page.locator("#certificates").inner_text()
    assert page.title() == "Push certificates · mdmsim"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(opened: Callable[..., Any], request_file: Path, scheme: str) -> None:
    page = signed_in(opened(width=360, height=740, scheme=scheme), f"{scheme}@acme.example")
    created(page, request_file)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_it_works_by_keyboard_alone(opened: Callable[..., Any]) -> None:
    page = opened()
    page.get_by_label("Admin key").focus()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    page.get_by_text("Signed in as").wait_for()
