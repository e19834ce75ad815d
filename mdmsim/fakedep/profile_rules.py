"""What a profile definition may hold. Apple, "Profile" and "Define a Profile" of the Device Assignment Services."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any
from urllib.parse import quote, urlsplit

from mdmsim.fakedep.errors import refuse
from mdmsim.schema.setup_panes import PANES

#: Keys with a flag in them. Version 2: await_device_configured, auto_advance_setup, is_multi_user.
FLAGS = (
    "allow_pairing",
    "auto_advance_setup",
    "await_device_configured",
    "do_not_use_profile_from_backup",
    "is_mandatory",
    "is_mdm_removable",
    "is_multi_user",
    "is_return_to_service",
    "is_supervised",
)

#: Keys with a text: longest in characters, word of refusal, whether working clients send it empty.
_TEXTS: dict[str, tuple[int, str, bool]] = {
    "department": (125, "DEPARTMENT_INVALID", True),
    "support_phone_number": (50, "SUPPORT_PHONE_INVALID", False),
    "support_email_address": (250, "SUPPORT_EMAIL_INVALID", False),
    "org_magic": (256, "MAGIC_INVALID", True),
}

_CERTIFICATES = ("anchor_certs", "supervising_host_certs")

#: Every documented key of a profile; `devices` and `profile_uuid` belong to the requests about it.
DOCUMENTED = frozenset(
    (
        *FLAGS,
        *_TEXTS,
        *_CERTIFICATES,
        "profile_name",
        "url",
        "configuration_web_url",
        "skip_setup_items",
        "devices",
        "language",
        "region",
        "profile_uuid",
    )
)

_MAX_NAME = 125
_MAX_URL = 2000
# ISO 639-1 or 639-2, with script or region behind it as devices write languages; ISO 3166-1 alpha-2.
_LANGUAGE = re.compile("[a-z]{2,3}(-[A-Za-z]{2,8})*")
_REGION = re.compile("[A-Z]{2}")


def check(body: dict[str, Any], *, refuse_empty: bool) -> list[str]:
    """Judge a definition. Returns what Apple takes but a person should know. Raises Refused.

    `refuse_empty`: empty texts are refused as documented even where clients that work send them.
    """
    warnings: list[str] = []
    # Apple looks at the URL first, and takes an empty one for a missing one (micromdm issue 596). No other order is known.
    _url(body, "url", required=True)
    _name(body)
    _url(body, "configuration_web_url", required=False)
    for key, (longest, reason, lenient) in _TEXTS.items():
        _text(body, key, longest, reason, lenient and not refuse_empty, warnings)
    for key in FLAGS:
        if body.get(key) is not None and not isinstance(body[key], bool):
            raise refuse("MALFORMED_REQUEST_BODY", f'"{key}" is not true or false')
    if body.get("is_mdm_removable") is False and body.get("is_supervised") is not True:
        raise refuse("FLAGS_INVALID", "is_mdm_removable may be false only where is_supervised is true")
    for key, pattern in (("language", _LANGUAGE), ("region", _REGION)):
        value = body.get(key)
        if value is not None and value != "" and not (isinstance(value, str) and pattern.fullmatch(value)):
            raise refuse("LOCALE_INVALID", f'"{key}" is {value!r}')
    for key in _CERTIFICATES:
        _certificates(body, key, warnings)
    for item in _strings(body, "skip_setup_items"):
        if item not in PANES:
            warnings.append(f"skip_setup_items: no pane is called {item[:60]}")
    warnings.extend(f"unknown key {key[:60]}" for key in body if key not in DOCUMENTED)
    return warnings


def _name(body: dict[str, Any]) -> None:
    name = body.get("profile_name")
    if name is None:
        raise refuse("CONFIG_NAME_REQUIRED", '"profile_name" is missing')
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME:
        raise refuse("CONFIG_NAME_INVALID", f"profile_name has 1 to {_MAX_NAME} characters")


def _url(body: dict[str, Any], key: str, *, required: bool) -> None:
    url = body.get(key)
    if url is None or url == "":
        if required:
            raise refuse("CONFIG_URL_REQUIRED", f'"{key}" is missing or empty')
        return
    if not isinstance(url, str) or len(quote(url, safe="%/:?#[]@!$&'()*+,;=~")) > _MAX_URL:
        raise refuse("CONFIG_URL_INVALID", f"{key} has 1 to {_MAX_URL} characters")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or any(letter.isspace() for letter in url):
        raise refuse("CONFIG_URL_INVALID", f"{key} is no URL")


def _text(body: dict[str, Any], key: str, longest: int, reason: str, lenient: bool, warnings: list[str]) -> None:
    value = body.get(key)
    if value is None:
        return
    if value == "" and lenient:
        warnings.append(f"{key} is empty: documented as invalid")
    elif not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise refuse(reason, f"{key} has 1 to {longest} characters")


def _certificates(body: dict[str, Any], key: str, warnings: list[str]) -> None:
    for number, text in enumerate(_strings(body, key)):
        try:
            if base64.b64decode(text, validate=True)[:1] == b"\x30":
                continue
        except (binascii.Error, ValueError):
            pass
        warnings.append(f"{key}[{number}] is not base64 of a DER certificate")


def _strings(body: dict[str, Any], key: str) -> list[str]:
    found = body.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise refuse("MALFORMED_REQUEST_BODY", f'"{key}" is not an array of strings')
    return found
