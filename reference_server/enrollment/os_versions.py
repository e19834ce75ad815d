"""Whether a device's system is old enough to be updated before it enrols."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reference_server.enrollment.machine_info import MachineInfo

_VERSION = re.compile(r"(\d{1,4}(?:\.\d{1,4}){0,3})(?:\s*\(([a-z])\))?")


def version_key(version: str, supplement: str | None = None) -> tuple[tuple[int, ...], str] | None:
    """A version as it compares: 14.0 equals 14.0.0, and 16.1 (a) comes after 16.1. None for what is no version."""
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    extra = match[2] or (supplement or "").strip("() ")
    return (*numbers, 0, 0, 0, 0)[:4], extra


def platform_of(product: str) -> str | None:
    """The platform whose minimum counts for a product such as `iPhone15,4`; None for those that have none."""
    if product.startswith(("iPhone", "iPod")):
        return "ios"
    if product.startswith("iPad"):
        return "ipados"
    # MacBookPro18,1, Macmini9,1, Mac14,2, iMac21,1, VirtualMac2,1
    return "macos" if "Mac" in product else None


def update_needed(info: MachineInfo, minimum: Mapping[str, str]) -> str | None:
    """The version that the device must be updated to; None if it may enrol as it is, or does not say what it runs."""
    wanted = minimum.get(platform_of(info.product) or "")
    here = version_key(info.os_version, info.supplement) if info.os_version is not None else None
    least = version_key(wanted) if wanted is not None else None
    return wanted if here is not None and least is not None and here < least else None
