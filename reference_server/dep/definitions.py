"""Profiles at Apple: what the server adds to the keys that somebody wishes. Apple, "Profile"."""

from __future__ import annotations

import base64
from typing import Any

from reference_server.settings import Settings


def default_wishes(settings: Settings) -> dict[str, Any]:
    """What a profile has unless told otherwise: supervised, held until configured, and not to be removed."""
    return {
        "profile_name": settings.organization[:125],
        "is_supervised": True,
        "is_mandatory": True,
        "is_mdm_removable": False,
        "await_device_configured": True,
    }


def definition(settings: Settings, wishes: dict[str, Any] | None) -> dict[str, Any]:
    """The definition as it goes to Apple. A wish of null leaves a key out, also one that the server would add."""
    own: dict[str, Any] = {
        "url": settings.automated_url,
        # They replace the built-in roots for the way to `url`.
        "anchor_certs": [base64.b64encode(anchor).decode("ascii") for anchor in settings.trusted_roots],
    }
    if settings.automated_login == "web":
        own["configuration_web_url"] = settings.web_login_url
    whole = default_wishes(settings) | own | settings.dep_profile | (wishes or {})
    return {key: value for key, value in sorted(whole.items()) if value is not None}
