"""The web view of Setup Assistant: pages, cookies, redirects and forms until a profile comes.

Source: Apple, "Authenticating through web views": the first request carries MachineInfo in a header; the view ends with
a response of type `application/x-apple-aspen-config`, which must come from the same host.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from mdmsim.device.device import Device
from mdmsim.device.flow import Flow, exchange
from mdmsim.device.personas import fetch_headers
from mdmsim.http import Headers, Request, Response, Trust
from mdmsim.protocol.content_type import is_profile

HEADER = "x-apple-aspen-deviceinfo"

#: How many pages and redirects a view follows before it gives up.
LONGEST_WAY = 20


class WebViewFailed(Exception):
    """The view did not end with a profile; the text says where it stopped."""


@dataclass(slots=True)
class _Form:
    action: str = ""
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    user_field: str = ""
    password_field: str = ""


class _Forms(HTMLParser):
    """The forms of a page, with the fields that a person would fill in."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(_Form(values.get("action", ""), values.get("method", "get").lower()))
        elif tag == "input" and self.forms and values.get("name"):
            form, name, kind = self.forms[-1], values["name"], values.get("type", "text").lower()
            if kind == "password":
                form.password_field = form.password_field or name
            elif kind in ("text", "email", "tel"):
                form.user_field = form.user_field or name
            if kind not in ("submit", "button", "checkbox", "radio"):
                form.fields[name] = values.get("value", "")


def browse(device: Device, url: str, trust: Trust, signed: bytes, *, user: str, password: str) -> Flow[bytes]:
    """Open a view and sign in where a page asks for it; return the profile.

    Raises WebViewFailed for a way without end, a page that asks for nothing, a wrong password (the same form again), an
    address that is none or not https; and a TransportError.
    """
    url = _join("", url)
    start, cookies, filled = urlsplit(url).hostname, _Cookies(), set[str]()
    extra: Headers = ((HEADER, base64.b64encode(signed).decode("ascii")),)
    method, body = "GET", b""
    for _ in range(LONGEST_WAY):
        if urlsplit(url).scheme != "https" and not trust.allow_http:
            raise WebViewFailed(f"{url} is not https")
        response = yield from exchange(_request(device, method, url, body, trust, (*extra, *cookies.header(url))))
        extra = ()  # only the first navigation carries MachineInfo
        cookies.take(url, response)
        if response.status in (301, 302, 303, 307, 308) and (location := response.header("location")):
            if response.status not in (307, 308):
                method, body = "GET", b""
            url = _join(url, location)
            continue
        if not response.is_success:
            raise WebViewFailed(f"{url} answered {response.status}")
        if is_profile(response.header("content-type") or ""):
            if urlsplit(url).hostname != start:
                raise WebViewFailed(f"the profile came from {urlsplit(url).hostname}, not from {start}")
            return response.body
        url, method, body = _submit(url, response, user, password, filled)
    raise WebViewFailed(f"no profile after {LONGEST_WAY} pages")


def _join(base: str, target: str) -> str:
    """Where a link leads. Raises WebViewFailed for what is no address."""
    try:
        url = urljoin(base, target)
        urlsplit(url)
    except ValueError as error:
        raise WebViewFailed(f"{target[:80]!r} is not an address: {error}") from None
    return url


def _request(device: Device, method: str, url: str, body: bytes, trust: Trust, extra: Headers) -> Request:
    kind: Headers = (("Content-Type", "application/x-www-form-urlencoded"),) if body else ()
    headers = (*fetch_headers(device.persona), *kind, *extra)
    return Request(method, url, headers, body, label="enroll:web", trust=trust, max_redirects=0)


def _submit(url: str, response: Response, user: str, password: str, filled: set[str]) -> tuple[str, str, bytes]:
    """Fill in the page's form: where it goes, how, and with what."""
    page = _Forms()
    page.feed(response.body.decode("utf-8", "replace"))
    if not page.forms:
        raise WebViewFailed(f"{url} is a page without a form, and not a profile")
    form = next((f for f in page.forms if f.password_field), page.forms[0])
    target = _join(url, form.action)
    if target in filled:
        raise WebViewFailed(f"{url} asks again: the sign-in was refused")
    if form.password_field:
        if not user:
            raise WebViewFailed(f"{url} asks for a user, and nobody is there to sign in")
        filled.add(target)
    values = dict(form.fields)
    if form.user_field:
        values[form.user_field] = user
    if form.password_field:
        values[form.password_field] = password
    if form.method == "post":
        return target, "POST", urlencode(values).encode()
    return f"{target}{'&' if urlsplit(target).query else '?'}{urlencode(values)}", "GET", b""


class _Cookies:
    """Cookies by host, for as long as the view is open."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, str]] = {}

    def take(self, url: str, response: Response) -> None:
        host = urlsplit(url).hostname or ""
        for name, value in response.headers:
            if name.lower() != "set-cookie":
                continue
            try:
                parsed = SimpleCookie(value)
            except CookieError:
                continue
            self._kept.setdefault(host, {}).update({key: morsel.value for key, morsel in parsed.items()})

    def header(self, url: str) -> Headers:
        kept = self._kept.get(urlsplit(url).hostname or "", {})
        return (("Cookie", "; ".join(f"{key}={value}" for key, value in kept.items())),) if kept else ()
