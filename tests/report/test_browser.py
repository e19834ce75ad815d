"""The page in a real browser: Chromium, as Debian packages it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mdmsim.report import Case, Run, write_report
from tests.browsers import ARGUMENTS, CHROMIUM, MAY_SKIP, REASON

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(MAY_SKIP, reason=REASON),
]

CASE = "#/lock/pin[macos-silicon]"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, demo: tuple[Run, list[Case]]) -> str:
    return write_report(tmp_path_factory.mktemp("report"), *demo).html.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Open]:
    """Opens the report at a fragment; afterwards there must have been no error and no request but for the file."""
    contexts, troubles = [], []

    def open_page(
        fragment: str = "",
        *,
        width: int = 1440,
        height: int = 900,
        scheme: str = "light",
        of: str = address,
        **more: Any,
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on(
            "console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda request: troubles.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
        )
        page.goto(of + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def overflow(page: Any) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_clicking_an_arrow_opens_its_exchange(opened: Open) -> None:
    page = opened(CASE)
    page.locator("svg a.exchange", has_text="checkin:TokenUpdate").click()
    panel = page.locator("#panel")
    assert panel.locator("h2").inner_text() == "checkin:TokenUpdate → 200"
    assert "•••• 36 characters" in panel.inner_text()
    panel.get_by_text("As sent").click()
    assert "<key>PushMagic</key>" in panel.locator("pre").first.inner_text()


def test_a_signature_is_described(opened: Open) -> None:
    page = opened(f"{CASE}?x=5")
    page.locator("#panel summary", has_text="headers").first.click()
    assert "CMS, detached, signed by CN=mac-04 identity, SHA-256" in page.locator("#panel .headers").first.inner_text()


def test_clicking_a_push_opens_what_it_carried(opened: Open) -> None:
    page = opened(CASE)
    page.locator("svg a.push").first.click()
    assert page.locator("#panel h2").inner_text() == "push.accepted"
    assert "mdm •••• 36 characters" in page.locator("#panel").inner_text()


def test_the_filter_is_in_the_address_and_survives_a_reload(opened: Open) -> None:
    page = opened()
    page.locator("#filter").fill("pin macos")
    page.locator(".chip[data-grade=failed]").click()
    page.reload()
    assert page.locator("#filter").input_value() == "pin macos"
    assert page.locator(".chip[data-grade=failed]").get_attribute("aria-pressed") == "true"
    shown = page.locator("nav li:visible a").evaluate_all("nodes => nodes.map(node => node.dataset.case)")
    assert shown == ["lock/pin[macos-silicon]"]


def test_a_filter_that_matches_nothing_offers_a_way_back(opened: Open) -> None:
    page = opened("#/?q=nonsense")
    page.get_by_role("button", name="Show all").click()
    assert page.locator("nav li:visible").count() == 30


def test_a_permalink_opens_its_case_and_exchange(opened: Open) -> None:
    page = opened(f"{CASE}?x=10")
    assert page.locator("#case h2").inner_text().endswith("Mac with PIN: gone until someone types it")
    assert page.locator("#panel h2").inner_text() == "connect:Idle → 200"
    assert page.locator("nav a[aria-current=page]").get_attribute("data-case") == "lock/pin[macos-silicon]"


def test_a_permalink_to_no_case_shows_the_overview(opened: Open) -> None:
    page = opened("#/lock/unheard-of")
    assert page.locator("#overview").is_visible()


def test_the_link_in_a_failure_opens_the_proof(opened: Open) -> None:
    page = opened()
    page.locator(".bad a", has_text="connect:Idle").click()
    assert page.locator("#panel h2").inner_text() == "connect:Idle → 200"
    assert page.locator("svg .chosen .proof").count() == 1


def test_every_case_can_be_walked_through_with_the_keyboard(opened: Open) -> None:
    page = opened()
    seen = []
    for _ in range(30):
        page.keyboard.press("j")
        page.wait_for_function(
            "before => document.querySelector('#case .permalink')?.textContent !== before",
            arg=seen[-1] if seen else None,
        )
        seen.append(page.locator("#case .permalink").inner_text())
    assert len(set(seen)) == 30


def test_exchanges_can_be_walked_through_and_closed_with_the_keyboard(opened: Open) -> None:
    page = opened(CASE)
    page.keyboard.press("]")
    page.locator("#panel").get_by_text("1 of 10").wait_for()
    page.keyboard.press("]")
    page.locator("#panel").get_by_text("2 of 10").wait_for()
    page.keyboard.press("Escape")
    page.locator("#panel").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.dataset.x") == "1"


def test_an_arrow_can_be_reached_and_opened_with_the_keyboard(opened: Open) -> None:
    page = opened(CASE)
    page.locator("svg a.exchange").first.focus()
    page.keyboard.press("Enter")
    page.locator("#panel").get_by_text("1 of 10").wait_for()


def test_the_slash_key_goes_to_the_filter(opened: Open) -> None:
    page = opened()
    page.keyboard.press("/")
    page.keyboard.type("tv")
    assert page.locator("#filter").input_value() == "tv"


PLACES = ["#/", CASE, f"{CASE}?x=10", "#/401-unenroll/report[ios]", "#/lock/notnow[ios]", "#/enrollment/scep[ios]?x=1"]


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_scrolls_sideways(opened: Open, width: int) -> None:
    page = opened(width=width, height=780)
    wide = {}
    for fragment in PLACES:
        page.evaluate("fragment => { location.hash = fragment; return new Promise(requestAnimationFrame); }", fragment)
        wide[fragment] = overflow(page)
    assert {fragment: by for fragment, by in wide.items() if by > 0} == {}


def test_arrows_are_named_for_a_screen_reader(opened: Open) -> None:
    names = (
        opened(CASE)
        .locator("svg a.exchange")
        .evaluate_all("nodes => nodes.map(node => node.getAttribute('aria-label'))")
    )
    assert "0.056: mac-04 to server, checkin:Authenticate, answered 200" in names


def test_every_control_has_a_name(opened: Open) -> None:
    page = opened(f"{CASE}?x=5")
    nameless = page.evaluate(
        "[...document.querySelectorAll('a, button, input')].filter(n => !(n.getAttribute('aria-label') || n.textContent.trim())).length"
    )
    assert nameless == 0


def test_dark_and_light_follow_the_reader(opened: Open) -> None:
    grounds = [
        opened(scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(21, 23, 28)"]


def test_the_texts_can_be_read_against_their_ground(opened: Open) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text."""
    measure = """() => {
      const light = (value) => { const [r, g, b] = value.match(/[\\d.]+/g).map(Number).map((c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ground = (node) => { for (; node; node = node.parentElement) { const c = getComputedStyle(node).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
      const bad = [];
      for (const node of document.querySelectorAll('body *:not(script):not(style)')) {
        if (node instanceof SVGElement || ![...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim()) || !node.offsetParent) continue;
        const style = getComputedStyle(node);
        if (style.opacity < 1 || node.closest('.off')) continue;
        const [a, b] = [light(style.color), light(ground(node))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) bad.push([node.className, node.textContent.slice(0, 20), ratio.toFixed(2)].join(' '));
      }
      return [...new Set(bad)];
    }"""
    for scheme in ("light", "dark"):
        for fragment in ("", f"{CASE}?x=5"):
            assert opened(fragment, scheme=scheme).evaluate(measure) == []


def test_on_paper_the_list_is_gone_and_the_case_stays(opened: Open) -> None:
    page = opened(CASE)
    page.emulate_media(media="print")
    assert not page.locator("nav.list").is_visible()
    assert page.locator("svg.rows").is_visible()


def test_without_javascript_the_verdicts_remain(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    assert "1 failed" in page.locator("h1").inner_text()
    assert page.locator(".cell").count() == 30
    assert page.locator(".noscript").is_visible()


def test_packed_data_opens_the_same(opened: Open, tmp_path: Path, busy: tuple[Run, list[Case]]) -> None:
    large = write_report(tmp_path, *busy).html.as_uri()
    page = opened(f"{CASE}?x=10", of=large)
    page.locator("#panel").get_by_text("10 of").wait_for()
    assert page.locator("svg a.exchange").count() > 10


def test_what_was_sent_is_shown_as_it_was_sent(opened: Open, demo: tuple[Run, list[Case]]) -> None:
    case = next(case for case in demo[1] if case.id == "enrollment/scep[tvos]")
    sent = case.events[case.exchanges[6]].data["request_body"].decode()
    page = opened("#/enrollment/scep[tvos]?x=7")
    assert page.locator("#panel pre").first.evaluate("node => node.textContent") == sent
