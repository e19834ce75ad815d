"""The page in a real browser, over a fake APNs that runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.admin.endpoints import MAX_BODY
from mdmsim.fakeapns.answers import PushRequest
from mdmsim.fakeapns.courier.local import LocalCourier
from mdmsim.fakeapns.due_list import BadDueList, due_text, read_due
from mdmsim.fakeapns.fault_names import CATALOGUE
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.pki.certificate import certificates_from_pem
from tests.browsers import ARGUMENTS, CHROMIUM, MAY_SKIP, REASON

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")

expect = sync_api.expect

pytestmark = [pytest.mark.browser, pytest.mark.skipif(MAY_SKIP, reason=REASON)]

MAGIC = "8C3F2D6E-0B0E-4B8C-9A55-0F4E5A5B6C7D"
VIEWS = ("overview", "requests", "connections", "topics", "tokens", "pending", "faults", "due")
Open = Callable[..., Any]


class Fake:
    """A fake APNs with devices, and a provider without a network."""

    def __init__(self, apns: FakeApns) -> None:
        self.apns = apns
        self.key = apns.admin_key
        self.url = f"{apns.admin_url}/"
        self._certificate = certificates_from_pem(Path(apns.certificate().file).read_bytes())[0]

    def do(self, job: Callable[[ApnsService], Any]) -> Any:
        async def run(service: ApnsService) -> Any:
            return job(service)

        return self.apns.call(run)

    def device(self, name: str, *, listens: bool = True) -> str:
        def job(service: ApnsService) -> str:
            token = service.register(name, self.apns.topic)
            service.tokens.call(name, [f"UDID-{name}".upper(), f"SN{name}".upper()])
            if listens:
                courier = LocalCourier(service, on_push=lambda *heard: None, name=f"fleet of {name}")
                courier.open()
                service.sessions()[-1].subscribe([(self.apns.topic, token)])
            return token.hex()

        return str(self.do(job))

    def push(self, token: str, **headers: str) -> None:
        def job(service: ApnsService) -> None:
            provider = service.open_provider(self._certificate, peer="192.0.2.7:40001")
            fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
            request = PushRequest("POST", f"/3/device/{token}", fields, json.dumps({"mdm": MAGIC}).encode())
            service.push(request, provider)

        self.do(job)


@pytest.fixture
def fake(request: pytest.FixtureRequest) -> Iterator[Fake]:
    """A parameter says how many requests it remembers."""
    with FakeApns(settings=ApnsSettings(journal_size=getattr(request, "param", 10_000))) as apns:
        yield Fake(apns)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, fake: Fake) -> Iterator[Open]:
    """Opens a view; afterwards there must have been no error, and no request but to this fake."""
    contexts, troubles = [], []

    def open_page(
        view: str = "", *, width: int = 1280, scheme: str = "light", key: bool = True, trouble: str = "", **more: Any
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on(
            "console",
            lambda message: (
                troubles.append(message.text)
                if message.type in ("error", "warning") and not (trouble and trouble in message.text)
                else None
            ),
        )
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda request: (
                troubles.append(request.url)
                if not request.url.startswith((fake.url, "data:")) or fake.key in request.url
                else None
            ),
        )
        if key:
            page.goto(f"{fake.url}#key={fake.key}")
            page.locator("#inside").wait_for()
        page.goto(f"{fake.url}#/{view}")
        if key:
            page.locator("main h1").first.wait_for(state="attached")
            expect(page.locator("#state")).to_have_text("live")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def devices(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("tbody td.device").all_inner_texts()]


# the key


def test_the_key_is_typed_in_once_for_a_tab(opened: Open, fake: Fake) -> None:
    page = opened(key=False, trouble="401")
    assert not page.locator("#inside").is_visible()
    page.get_by_label("Key").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("That key is not the one of this fake.").wait_for()
    page.get_by_label("Key").fill(fake.key)
    page.get_by_role("button", name="look inside").click()
    page.locator(".tiles").wait_for()
    page.reload()
    page.locator(".tiles").wait_for()
    page.get_by_role("button", name="lock").click()
    assert page.locator("#door").is_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_key_in_the_address_is_taken_from_there_at_once(opened: Open, fake: Fake) -> None:
    page = opened(key=False)
    page.goto("about:blank")
    page.goto(f"{fake.url}#key={fake.key}")
    page.locator(".tiles").wait_for()
    assert fake.key not in page.url
    assert "key=" not in page.evaluate("location.href + JSON.stringify(history.state)")


# every view


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_and_has_a_heading(opened: Open, fake: Fake, view: str, width: int) -> None:
    fake.push(fake.device("mac-1"))
    fake.push(fake.device("mac-2", listens=False), apns_priority="7")
    fake.push(fake.device("mac-3", listens=False))
    page = opened(view, width=width)
    assert page.locator("main h1").count() == 1
    assert page.locator("nav [aria-current=page]").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator("main table:not(:has(caption))").count() == 0
    assert page.locator("main input:not([id]), main select:not([id]), main textarea:not([id])").count() == (
        1 if view == "due" else 0  # the file's, whose label is around it
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_reader(opened: Open, scheme: str) -> None:
    page = opened(scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 23, 28)")


def test_the_overview_counts_and_draws_the_past(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"))
    fake.push(fake.device("mac-2"), apns_priority="7")
    page = opened()
    tiles = dict(
        zip(page.locator(".tile-name").all_inner_texts(), page.locator(".tile b").all_inner_texts(), strict=True)
    )
    assert (tiles["accepted"], tiles["refused"], tiles["delivered"], tiles["listening"]) == ("1", "1", "1", "2")
    assert page.locator(".counts a").all_inner_texts() == ["BadPriority"]
    names = [plot.get_attribute("aria-label") or "" for plot in page.locator("figure svg[role=img]").all()]
    assert [name.partition(",")[0] for name in names] == ["Pushes per second", "From accepted to delivered"]


def test_a_value_that_stands_alone_is_drawn_to_be_seen(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"))
    page = opened()
    dot = page.locator("figure svg[role=img] path.alone[d^=M]").first
    dot.wait_for(state="attached")
    assert dot.evaluate("node => parseFloat(getComputedStyle(node).strokeWidth)") >= 6


def test_the_table_of_faults_is_even(opened: Open, fake: Fake) -> None:
    fake.apns.faults.add("push.delayed", times=1, seconds=5)
    page = opened("faults")
    assert page.get_by_text("1 time at most").is_visible()
    ends = page.locator("thead th").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().bottom)")
    assert len(set(ends)) == 1
    row = page.locator("tbody tr")
    with_button = row.bounding_box()["height"]
    row.locator("button").evaluate("node => { node.style.display = 'none'; }")
    assert with_button == row.bounding_box()["height"]


def test_connections_tell_who_is_there_and_can_be_told_to_go(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"))
    page = opened("connections")
    text = page.locator("main").inner_text()
    assert "192.0.2.7:40001" in text
    assert "fleet of mac-1" in text
    page.get_by_label("Reason").fill("Shutdown")
    page.get_by_role("button", name="send GOAWAY").click()
    page.get_by_text("0 connections told").wait_for()  # the front has none: this provider came without a network


def test_a_topic_leads_to_its_tokens(opened: Open, fake: Fake) -> None:
    fake.device("mac-1")
    page = opened("topics")
    page.locator("tbody a.opener").click()
    page.locator("main h1", has_text="Tokens").wait_for()
    assert page.locator("#q").input_value() == fake.apns.topic


def test_a_token_tells_all_that_is_known_of_it(opened: Open, fake: Fake) -> None:
    token = fake.device("mac-1", listens=False)
    fake.push(token)
    page = opened("tokens")
    page.locator("tbody a.opener").click()
    page.locator("main h1", has_text="mac-1").wait_for()
    text = page.locator("main").inner_text()
    assert token in text
    assert "SNMAC-1, UDID-MAC-1" in text
    assert "Kept for it" in text
    assert "•••• 36 characters" in text
    assert MAGIC not in text


def test_pending_pushes_say_why_they_wait(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1", listens=False))
    page = opened("pending")
    assert "nobody listens" in page.locator("tbody tr").inner_text()


# requests


def test_a_row_opens_by_keyboard_and_tells_the_life_of_the_push(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"), user_agent="a test")
    page = opened("requests")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    detail = page.locator("tr.detail")
    detail.get_by_text("user-agent").wait_for()
    assert page.locator("tr.opened a.opener").get_attribute("aria-expanded") == "true"
    assert detail.locator(".life b").all_inner_texts() == ["accepted", "delivered", "acknowledged"]
    assert "open=1" in page.url
    page.keyboard.press("Escape")
    detail.wait_for(state="detached")


def test_the_push_magic_is_shown_only_when_asked_for(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"))
    page = opened("requests?open=1")
    payload = page.locator("pre.payload")
    assert payload.inner_text() == '{"mdm":"•••• 36 characters"}'
    page.get_by_role("button", name="show the push magic").click()
    expect(payload).to_contain_text(MAGIC)
    page.get_by_role("button", name="hide the push magic").click()
    expect(payload).not_to_contain_text(MAGIC)
    assert MAGIC not in page.url


def test_a_refused_request_says_why(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"), apns_priority="7")
    page = opened("requests")
    assert "400 BadPriority" in page.locator("tbody tr td.verdict").inner_text()
    assert page.locator("tbody tr td.became").inner_text().strip()


def test_verdicts_can_be_filtered(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("good"))
    fake.push(fake.device("bad"), apns_priority="7")
    page = opened("requests")
    page.get_by_role("link", name="✗ refused").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert devices(page) == ["bad"]
    assert "only=refused" in page.url


# search


@pytest.mark.parametrize("view", ["requests", "tokens", "pending"])
def test_one_box_finds_by_device_udid_serial_and_token(opened: Open, fake: Fake, view: str) -> None:
    tokens = {name: fake.device(name, listens=False) for name in ("mac-1", "phone-2", "mac-3")}
    for token in tokens.values():
        fake.push(token)
    page = opened(view)
    for words in ("phone", "UDID-PHONE-2", "snphone-2", tokens["phone-2"], tokens["phone-2"][:12], "phone external"):
        page.keyboard.press("/")
        page.locator("#q").fill(words)
        expect(page.locator("tbody tr")).to_have_count(1)
        assert devices(page) == ["phone-2"]
        page.locator("#q").fill("")
        expect(page.locator("tbody tr")).to_have_count(3)
        page.keyboard.press("Escape")


def test_the_filter_is_in_the_address_and_survives_a_reload(opened: Open, fake: Fake) -> None:
    fake.device("mac-1")
    fake.device("phone-2")
    page = opened("tokens")
    page.locator("#q").fill("phone")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("#/tokens?q=phone")
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.locator("#q").input_value() == "phone"
    page.get_by_role("link", name="Pending").click()
    assert page.url.endswith("#/pending?q=phone")


def test_on_a_view_without_a_list_the_box_finds_requests(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"))
    page = opened("faults")
    page.locator("#q").fill("mac-1")
    page.locator("main h1", has_text="Requests").wait_for()


def test_nothing_found_is_said(opened: Open, fake: Fake) -> None:
    fake.device("mac-1")
    page = opened("tokens?q=nobody")
    assert "No token matches." in page.locator("main").inner_text()


def test_fifty_thousand_tokens_come_in_pages(opened: Open, fake: Fake) -> None:
    def adopt(service: ApnsService) -> None:
        for number in range(50_000):
            service.adopt(fake.apns.topic, number.to_bytes(32, "big"), device=f"mac-{number:05}")

    fake.do(adopt)
    page = opened("tokens")
    assert "1 to 100 of 50,000" in page.locator(".pages").inner_text()
    page.get_by_label("Next page").click()
    expect(page.locator("tbody td.device").first).to_contain_text("mac-00100")
    page.get_by_label("Last page").click()
    expect(page.locator("tbody td.device").first).to_contain_text("mac-49900")
    assert page.locator("tbody tr").count() == 100
    page.locator("#q").fill("mac-31415")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert devices(page) == ["mac-31415"]


# live


def test_a_push_appears_by_itself_and_the_focus_stays(opened: Open, fake: Fake) -> None:
    one, other = fake.device("mac-1"), fake.device("mac-2")
    fake.push(one)
    page = opened("requests")
    page.keyboard.press("j")
    fake.push(other)
    expect(page.locator("tbody tr")).to_have_count(2)
    assert devices(page) == ["mac-2", "mac-1"]
    assert page.evaluate("document.activeElement.closest('tr').dataset.key") == "r1"


def test_the_request_that_is_open_stays_open_when_newer_ones_push_it_out(opened: Open, fake: Fake) -> None:
    token = fake.device("mac-1")
    fake.push(token)
    page = opened("requests?open=1")
    page.locator("tr.detail pre.payload").wait_for()
    for _ in range(60):
        fake.push(token)
    page.locator("tbody tr[data-key=r61]").wait_for()
    assert page.locator("tbody tr").last.locator("pre.payload").inner_text() == '{"mdm":"•••• 36 characters"}'
    page.keyboard.press("Escape")
    expect(page.locator("tbody tr")).to_have_count(50)


@pytest.mark.parametrize("fake", [3], indirect=True)
def test_the_request_that_is_open_stays_open_when_it_is_forgotten(opened: Open, fake: Fake) -> None:
    token = fake.device("mac-1")
    fake.push(token)
    page = opened("requests?open=1", trouble="404")
    page.locator("tr.detail pre.payload").wait_for()
    for _ in range(4):
        fake.push(token)
    page.locator("tbody tr[data-key=r5]").wait_for()
    assert page.locator("tr.detail pre.payload").is_visible()


def test_what_is_typed_into_the_goaway_form_outlives_what_happens(opened: Open, fake: Fake) -> None:
    page = opened("connections")
    page.get_by_label("Reason").fill("Shutdown")
    fake.push(fake.device("mac-1"))
    page.get_by_text("fleet of mac-1").wait_for()
    assert page.get_by_label("Reason").input_value() == "Shutdown"
    assert page.evaluate("document.activeElement.name") == "reason"


def test_it_rests_while_the_tab_is_hidden(opened: Open, fake: Fake) -> None:
    page = opened("requests")
    page.evaluate(
        "() => { Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true });"
        " window.away = true; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    expect(page.locator("#state")).to_have_text("asleep")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    fake.push(fake.device("mac-1"))
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 700))")
    assert asked == []
    page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_it_can_be_paused(opened: Open, fake: Fake) -> None:
    page = opened("requests")
    page.get_by_role("button", name="pause").click()
    expect(page.locator("#state")).to_have_text("paused")
    fake.push(fake.device("mac-1"))
    assert page.locator("tbody tr").count() == 0
    page.get_by_role("button", name="go on").click()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_it_says_when_the_fake_is_gone(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"))
    page = opened("requests", trouble="ERR_")
    fake.apns.close()
    page.locator("#gone").wait_for()
    assert (
        "does not answer since" in page.locator("#gone").inner_text() or "cut off" in page.locator("#gone").inner_text()
    )
    assert devices(page) == ["mac-1"]


# what can be done


def test_a_fault_is_planned_and_ended_from_the_form(opened: Open, fake: Fake) -> None:
    token = fake.device("mac-1")
    page = opened("faults")
    page.get_by_label("Fault", exact=True).select_option("push.refused")
    page.get_by_label("Reason").fill("TooManyRequests")
    page.get_by_label("Only device").fill("SNMAC-1")
    page.get_by_label("Times").fill("2")
    page.get_by_role("button", name="plan it").click()
    page.locator("tbody tr").wait_for()
    row = page.locator("tbody tr").inner_text()
    assert "device mac-1" in row
    assert "2 times at most" in row
    fake.push(token)
    page.get_by_text("1 of 1").wait_for()
    page.get_by_role("button", name="End fault 1, push.refused").click()
    page.locator("tbody tr").wait_for(state="detached")
    assert fake.do(lambda service: service.faults.planned) == []


def test_every_fault_has_its_fields(opened: Open, fake: Fake) -> None:
    page = opened("faults")
    for kind in page.locator("#f-name option").all_inner_texts():
        page.get_by_label("Fault", exact=True).select_option(kind)
        names = page.locator("[data-takes] [name]").evaluate_all("nodes => nodes.map(node => node.name)")
        assert names == list(CATALOGUE[kind].takes)


def test_a_fault_that_cannot_be_planned_says_why(opened: Open) -> None:
    page = opened("faults", trouble="400")
    page.get_by_label("Fault", exact=True).select_option("push.refused")
    page.get_by_label("Reason").fill("NotApples")
    page.get_by_role("button", name="plan it").click()
    page.get_by_text('reason "NotApples" is not one of Apple').wait_for()


def test_a_blackout_is_told_and_ended(opened: Open, fake: Fake) -> None:
    fake.do(lambda service: service.darkness.begin(600, "providers"))
    page = opened()
    page.get_by_text("Blackout: providers until").wait_for()
    page.get_by_role("button", name="end it now").click()
    page.get_by_text("Blackout: providers until").wait_for(state="detached")
    assert not fake.do(lambda service: service.darkness.over("providers"))


def test_the_log_level_can_be_changed(opened: Open, fake: Fake) -> None:
    page = opened()
    with page.expect_response(lambda response: response.request.method == "PUT") as told:
        page.get_by_label("Log").select_option("warning")
    assert told.value.json()["level"] == "warning"


# due but missing


def test_what_is_due_is_pasted_and_judged(opened: Open, fake: Fake) -> None:
    now = fake.do(lambda service: service.clock.now_ms())
    fake.push(fake.device("mac-1", listens=False))
    fake.push(fake.device("mac-2", listens=False), apns_priority="7")
    page = opened("due")
    page.get_by_label("Due-list").fill(f"device,since\nmac-1,{now}\nold,2020-01-01T00:00:00Z\nmac-2,{now}\n")
    page.get_by_role("button", name="judge").click()
    page.get_by_text("3 judged").wait_for()
    page.locator("tbody tr").nth(2).wait_for()
    assert [text.strip() for text in page.locator("tbody td.verdict").all_inner_texts()] == [
        "✗ refused",
        "! not delivered",
        "? unknown",
    ]


def test_a_file_is_opened_and_what_was_never_pushed_stands_first(opened: Open, fake: Fake, tmp_path: Path) -> None:
    now = fake.do(lambda service: service.clock.now_ms())
    fake.push(fake.device("mac-1", listens=False))
    entries = [{"device": "mac-1", "since": now}, {"device": "mac-2", "since": now, "what": "DeviceLock"}]
    (tmp_path / "due.json").write_text(json.dumps(entries))
    page = opened("due")
    page.locator("input[type=file]").set_input_files(tmp_path / "due.json")
    page.get_by_text("2 judged").wait_for()
    first = page.locator("tbody tr").first.inner_text()
    assert "never pushed" in first
    assert "DeviceLock" in first


def test_a_mistake_in_the_list_is_told_with_its_line(opened: Open) -> None:
    page = opened("due", trouble="400")
    page.get_by_label("Due-list").fill("udid,since\nA,soon\n")
    page.get_by_role("button", name="judge").click()
    page.get_by_text("line 2: since").wait_for()


def test_what_was_found_of_the_list_before_does_not_stand_under_a_mistake(opened: Open, fake: Fake) -> None:
    now = fake.do(lambda service: service.clock.now_ms())
    page = opened("due", trouble="400")
    page.get_by_label("Due-list").fill(f"device,since\nmac-1,{now}\n")
    page.get_by_role("button", name="judge").click()
    page.locator("tbody tr").wait_for()
    page.get_by_label("Due-list").fill("udid,since\nA,soon\n")
    page.get_by_role("button", name="judge").click()
    page.get_by_text("line 2: since").wait_for()
    expect(page.locator("tbody tr")).to_have_count(0)
    fake.push(fake.device("mac-1"))
    page.get_by_label("Due-list").fill(f"device,since\nmac-1,{now}\n")
    page.get_by_role("button", name="judge").click()
    page.get_by_text("not acted upon 1").wait_for()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.csv", b"", "empty.csv, line 1: no column since. The first line names the columns, e.g. udid,since"),
        ("wide.csv", "device,since\n".encode("utf-16"), "wide.csv: it is not UTF-8. Save it as UTF-8."),
        ("image.bin", bytes(range(256)), "image.bin: it is not UTF-8. Save it as UTF-8."),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_the_command_lines_words(
    opened: Open, tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadDueList, match=f"^{re.escape(words)}$"):
        read_due(due_text(data, name=name), "csv", name=name)
    page = opened("due", trouble="400")
    page.locator("input[type=file]").set_input_files(tmp_path / name)
    expect(page.locator("main .says")).to_have_text(words)


def test_a_file_that_the_api_would_not_take_is_not_read(opened: Open, fake: Fake, tmp_path: Path) -> None:
    page = opened("due")
    page.evaluate("() => { Blob.prototype.arrayBuffer = Blob.prototype.text = () => { throw new Error('read'); }; }")
    with (tmp_path / "due.csv").open("wb") as file:
        file.truncate(MAX_BODY + 1)
    page.locator("input[type=file]").set_input_files(tmp_path / "due.csv")
    expect(page.locator("main .says")).to_have_text("due.csv: 17 MiB. It can have 16: split it.")


def test_a_long_file_is_judged_and_not_laid_out(opened: Open, fake: Fake, tmp_path: Path) -> None:
    now = fake.do(lambda service: service.clock.now_ms())
    (tmp_path / "due.csv").write_text("device,since\n" + "".join(f"mac-{n},{now}\n" for n in range(20_000)))
    page = opened("due")
    page.locator("input[type=file]").set_input_files(tmp_path / "due.csv")
    page.get_by_text("20,000 judged").wait_for()
    assert page.get_by_label("Due-list").input_value() == ""
    assert "due.csv is too long to be shown" in (page.get_by_label("Due-list").get_attribute("placeholder") or "")
    with page.expect_response("**/due*") as told:
        page.get_by_role("button", name="judge").click()
    assert told.value.json()["counts"]["never-pushed"] == 20_000


def test_the_list_is_still_there_after_a_look_elsewhere(opened: Open, fake: Fake) -> None:
    page = opened("due")
    page.get_by_label("Due-list").fill("device,since\nmac-1,0\n")
    page.get_by_role("button", name="judge").click()
    page.locator("tbody tr").wait_for()
    page.get_by_role("link", name="Topics").click()
    page.locator("main h1", has_text="Topics").wait_for()
    page.get_by_role("link", name="Due").click()
    page.locator("tbody tr").wait_for()
    assert page.get_by_label("Due-list").input_value() == "device,since\nmac-1,0\n"


def test_what_may_be_forgotten_is_not_called_first_or_late_without_saying_so(opened: Open, fake: Fake) -> None:
    now = fake.do(lambda service: service.clock.now_ms())
    for name in ("mac-1", "mac-2"):
        fake.push(fake.device(name, listens=False))
    page = opened("due")
    page.get_by_label("Due-list").fill(f"device,since\nmac-1,2020-01-01T00:00:00Z\nmac-2,{now}\n")
    page.get_by_role("button", name="judge").click()
    old, new = page.locator("tbody tr").nth(0), page.locator("tbody tr").nth(1)
    expect(old.locator("td.became")).to_contain_text("not everything since then is remembered")
    expect(old.locator("td.became")).to_contain_text("first push remembered")
    expect(old.locator("td.number")).to_have_text(re.compile("^≤ "))
    expect(new.locator("td.became")).not_to_contain_text("remembered")
    expect(new.locator("td.number")).not_to_have_text(re.compile("≤"))


def test_the_list_is_judged_again_when_something_happens(opened: Open, fake: Fake) -> None:
    now = fake.do(lambda service: service.clock.now_ms())
    token = fake.device("mac-1")
    page = opened("due")
    page.get_by_label("Due-list").fill(f"device,since\nmac-1,{now}\n")
    page.get_by_role("button", name="judge").click()
    page.get_by_text("never pushed 1").wait_for()
    fake.push(token)
    page.get_by_text("not acted upon 1").wait_for()


def test_on_paper_there_is_what_was_seen_and_nothing_to_press(opened: Open, fake: Fake) -> None:
    fake.push(fake.device("mac-1"))
    page = opened("requests")
    page.emulate_media(media="print")
    assert page.locator("tbody tr").is_visible()
    assert not any(page.locator(hidden).is_visible() for hidden in ("nav.list", ".search", "#pause", ".chips"))
