"""Bodies, headers and addresses as people read them, with secrets and key material taken out. Never raises."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from mdmsim.pki import mdm_signature, proxy_header
from mdmsim.pki.errors import CMSError
from mdmsim.protocol import device_plist
from mdmsim.protocol.errors import Malformed
from mdmsim.report.crypto import describe_der
from mdmsim.report.redact import Long, Redactor, hidden, is_secret_key
from mdmsim.report.tree import LOOK_CAP, Tree, is_document, look_into, name_of, read_document, read_plist

#: The largest text shown as sent, in characters; the rest is cut and counted. And the largest first line of one.
RAW_CAP = 16_384
ABOUT_CAP = 90

#: How every XML plist of a device begins (captured: iOS 9 to 18, macOS 10.11 to 15). Left out of what is stored.
PROLOG = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
)

#: Headers in which proxies hand a client certificate on.
_CERTIFICATE_HEADERS = frozenset(
    [
        "client-cert",
        "client-cert-chain",
        "x-ssl-client-cert",
        "x-client-cert",
        "ssl-client-cert",
        "x-forwarded-tls-client-cert",
        "x-forwarded-client-cert",
        "x-amzn-mtls-clientcert",
        "x-amzn-mtls-clientcert-leaf",
    ]
)

_DATA = re.compile(r"<data>([^<]*)(</data>|\Z)")
# The end tag may be missing: a body that was cut short still holds the beginning of a secret.
_KEYED = re.compile(r"(<key>([^<]*)</key>\s*<(string|data|integer|real)>)([^<]*)")
# Ways to write a text that a search for it would miss.
_TREACHEROUS = re.compile(r"<!\[CDATA\[|<!--|&#|<(?:key|string|data|integer|real)\s")
_UNSURE = "the text is not shown, because not every secret in it can be hidden for sure"


def decode_body(body: bytes, redactor: Redactor) -> dict[str, Any] | None:
    """A body as plain values; None for an empty one.

    `bytes` (size), `is` (plist, json, cms, der, text, binary), `about` (one line), and where they make sense `tree`
    (see `mdmsim.report.tree`), `facts` (pairs of texts), `raw` (the text as sent; without PROLOG where `prolog` is
    true), `note` (why there is no `raw`). What it says is clean only after `Redactor.clean`.
    """
    if not body:
        return None
    view: dict[str, Any] = {"bytes": len(body), "is": "binary", "about": f"{len(body):,} bytes"}
    if len(body) > LOOK_CAP:
        return view | {"note": "too large to show"}
    if is_document(body):
        return view | _plist(body, redactor)
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return view | (_old_style(body, redactor) or _text(body))
        return view | {"is": "json", "about": "JSON", "tree": Tree(redactor).build(value)}
    found = describe_der(body, redactor)
    if found is None:
        return view | _text(body)
    view |= {
        "is": "cms" if found.about.startswith(("CMS", "SCEP")) else "der",
        "about": found.about,
        "facts": found.facts,
    }
    document = read_document(found.content) if found.content else None
    if document is not None:
        view |= {"about": f"{name_of(document)}, {found.about}", "tree": Tree(redactor).build(document)}
    return view


def decode_headers(headers: Iterable[Iterable[str]], redactor: Redactor, *, body: bytes = b"") -> list[list[str]]:
    """Headers as name and value, in their order. `body`: what an Mdm-Signature among them was made over."""
    shown = []
    for name, value in headers:
        small = name.lower()
        if small == mdm_signature.HEADER.lower():
            value = describe_signature(value, body, redactor)
        elif small in _CERTIFICATE_HEADERS:
            value = _certificates(value, redactor)
        elif is_secret_key(small):
            value = _credentials(small, value, redactor)
        shown.append([name, value])
    return shown


def describe_signature(value: str, body: bytes, redactor: Redactor) -> str:
    """An Mdm-Signature header in words: who signed, with what, and whether it is a signature of this body."""
    try:
        data = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return f"[not base64, {len(value):,} characters]"
    found = describe_der(data, redactor)
    if found is None or not found.about.startswith("CMS"):
        return f"[not CMS, {len(data):,} bytes]"
    try:
        mdm_signature.verify_header(value, body)
    except (CMSError, Malformed) as error:
        verdict = f"does not fit this body: {error.reason}"
    else:
        verdict = "fits this body"
    alias = f" ({redactor.certificate(found.certificates[0])})" if found.certificates else ""
    return f"[{found.about}{alias}; {verdict}]"


def decode_url(url: str, redactor: Redactor) -> str:
    """An address with secrets in its query hidden, and long messages (SCEP by GET) counted only."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.password:
        redactor.learn(unquote(parts.password))
        redactor.learn(parts.password)
        url = url.replace(f":{parts.password}@", f":{hidden(len(parts.password))}@")
    if not parts.query:
        return url
    pairs = []
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if is_secret_key(key) and value:
            redactor.learn(value)
            redactor.learn(quote(value, safe=""))
            pairs.append(f"{key}={hidden(len(value))}")
        elif len(value) > 200:
            pairs.append(f"{key}=({len(value):,} characters)")
        else:
            pairs.append(f"{key}={quote(value, safe='/:')}")
    return f"{url.partition('?')[0]}?{'&'.join(pairs)}"


def _credentials(name: str, value: str, redactor: Redactor) -> str:
    """A secret header: the scheme of an Authorization and the names of cookies stay, values go."""
    if name.endswith("authorization"):
        scheme, blank, secret = value.partition(" ")
        if blank and secret:
            redactor.learn(secret)
            if scheme.lower() == "basic":
                try:
                    redactor.learn(base64.b64decode(secret).decode("utf-8").partition(":")[2])
                except ValueError:
                    pass
            return f"{scheme} {hidden(len(secret))}"
    if name in ("cookie", "set-cookie"):
        for part in value.split(";"):
            redactor.learn(part.partition("=")[2].strip())
        return f"{value.partition('=')[0]}={hidden(len(value.partition('=')[2]))}"
    redactor.learn(value)
    return hidden(len(value))


def _certificates(value: str, redactor: Redactor) -> str:
    try:
        chain = proxy_header.parse(value)
    except Malformed:
        return f"[no certificate that can be read, {len(value):,} characters]"
    described = []
    for der in chain:
        found = describe_der(der, redactor)
        described.append(f"{found.about if found else 'unreadable'} ({redactor.certificate(der)})")
    return f"[{'; '.join(described)}]"


def _text(body: bytes) -> dict[str, Any]:
    try:
        source = body.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    if any(ord(letter) < 32 and letter not in "\t\r\n\f" for letter in source[:4096]):
        return {}
    first = source.strip().partition("\n")[0].strip()
    about = "blank text" if not first else Long.of(f"text: {first}", ABOUT_CAP)
    return {"is": "text", "about": about, "raw": Long.of(source, RAW_CAP)}


def _plist(body: bytes, redactor: Redactor) -> dict[str, Any]:
    binary = body.lstrip().startswith(b"bplist")
    try:
        value = read_plist(body)
    except Malformed as error:
        view = {"is": "binary" if binary else "text", "about": f"a property list that cannot be read: {error.reason}"}
        return view if binary else view | _raw(body, redactor, [])
    tree = Tree(redactor)
    view = {"is": "plist", "about": f"{name_of(value)}{', binary' if binary else ''}", "tree": tree.build(value)}
    return view if binary else view | _raw(body, redactor, tree.secrets)


def _old_style(body: bytes, redactor: Redactor) -> dict[str, Any] | None:
    """An old-style plist, which devices read; without its text, in which secrets cannot be found for sure."""
    try:
        value = device_plist.loads_any(body)
    except Malformed:
        return None
    return {
        "is": "plist",
        "about": f"{name_of(value)}, old style",
        "tree": Tree(redactor).build(value),
        "note": _UNSURE,
    }


def _raw(body: bytes, redactor: Redactor, secrets: list[str | bytes]) -> dict[str, Any]:
    """The text of an XML plist without secrets and key material; a note instead if that cannot be done for sure."""
    try:
        source = body.decode("utf-8")
    except UnicodeDecodeError:
        return {"note": "the text is not shown, because it is not UTF-8"}
    if _TREACHEROUS.search(source):
        return {"note": _UNSURE}
    source = _KEYED.sub(lambda match: _hide_keyed(match, redactor), source)
    source = _DATA.sub(lambda match: _name_data(match, redactor), source)
    squeezed = "".join(source.split())
    for secret in secrets:
        text = (
            base64.b64encode(secret).decode("ascii") if isinstance(secret, bytes) else html.escape(secret, quote=False)
        )
        if f">{''.join(text.split())}<" in squeezed:
            return {"note": _UNSURE}
    if source.startswith(PROLOG):
        return {"raw": Long.of(source[len(PROLOG) :], RAW_CAP), "prolog": True}
    return {"raw": Long.of(source, RAW_CAP)}


def _hide_keyed(match: re.Match[str], redactor: Redactor) -> str:
    head, key, kind, value = match.groups()
    if not is_secret_key(html.unescape(key)) or not value.strip():
        return match.group()
    if kind != "data":
        redactor.learn(html.unescape(value))
        return head + hidden(len(html.unescape(value)))
    try:
        secret = base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        return head + hidden(len(value))
    redactor.learn(secret)
    return head + hidden(len(secret), "bytes")


def _name_data(match: re.Match[str], redactor: Redactor) -> str:
    """Keys, signatures and documents in data values go: they differ between runs, or may hold secrets of their own."""
    try:
        value = base64.b64decode("".join(match.group(1).split()), validate=True)
    except ValueError:
        return match.group()
    insight = look_into(value, redactor)
    if insight is None:
        return match.group()
    return f"<data>[{html.escape(insight.about, quote=False)}, {len(value):,} bytes]{match.group(2)}"
