"""What Apple's schema asks of a payload, and which of that a device enforces when it installs a profile.

The schema asks for more than devices enforce: of 428 public profiles that Macs install, many break it somewhere. So a
broken rule makes a device refuse a profile only where a device, or Apple's table of error codes, was seen to refuse
it: those rules are listed in ENFORCED, each with its source. A captured refusal would add a line there; a profile that
is known to install although it breaks a line would take that line away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mdmsim.schema import facts
from mdmsim.schema.platforms import Platform, version

#: A required key is absent; a second payload of a type that may be there once; a person installs what only MDM may.
Rule = Literal["required", "single", "manual"]


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a payload breaks. `index`: which payload of those given; `key`: the absent key of "required"."""

    rule: Rule
    index: int
    payload_type: str
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """A rule of the schema that devices enforce. An empty `payload_type` stands for every type.

    `since`: the oldest OS version that was seen to do so, where it is not known for older ones. `beyond_schema`: the
    schema does not have this rule, and devices do; then `unless` are keys of which any makes up for the absent one.
    """

    rule: Rule
    platforms: tuple[Platform, ...]
    source: str
    payload_type: str = ""
    key: str = ""
    since: str = "0"
    unless: tuple[str, ...] = ()
    beyond_schema: bool = False

    def covers(self, broken: Broken, platform: Platform, os_version: str) -> bool:
        return (
            broken.rule == self.rule
            and platform in self.platforms
            and self.payload_type in ("", broken.payload_type)
            and self.key in ("", broken.key)
            and version(os_version) >= version(self.since)
        )


_IOS = (Platform.IOS, Platform.IPADOS)
_MACOS = (Platform.MACOS,)

#: Payload types of which a device has one, over all its profiles, with the code for a second one.
#: Source: MDM Protocol Reference, error codes: MCInstallationErrorDomain.
SINGLE_CODES: dict[str, int] = {
    "com.apple.proxy.http.global": 4017,
    "com.apple.apn.managed": 4018,
    "com.apple.cellular": 4018,
    "com.apple.app.lock": 4019,
    "com.apple.homescreenlayout": 4028,
    "com.apple.notificationsettings": 4029,
}

#: Keys without which iOS's own reader of a payload (ManagedConfiguration, in public listings of it) gives up with 2002.
#: Types that are absent were not looked up. A web clip without URL: WangGuibin/WebClipChangeAppLogo issue 1 (iOS 14.6).
_IOS_REQUIRED: dict[str, tuple[str, ...]] = {
    "com.apple.webClip.managed": ("URL", "Label"),
    "com.apple.vpn.managed": ("VPNType",),
    "com.apple.caldav.account": ("CalDAVHostName",),
    "com.apple.relay.managed": ("Relays",),
    "com.apple.declarations": ("Declarations",),
    "com.apple.extensiblesso": ("Type",),
    "com.apple.mail.managed": ("EmailAccountType", "IncomingMailServerAuthentication"),
    "com.apple.cellularprivatenetwork.managed": ("DataSetName", "VersionNumber"),
}

ENFORCED: tuple[Enforced, ...] = (
    *(
        Enforced(
            rule="required",
            platforms=_IOS,
            payload_type=payload_type,
            key=key,
            source="iOS's own reader (_IOS_REQUIRED)",
        )
        for payload_type, keys in _IOS_REQUIRED.items()
        for key in keys
    ),
    Enforced(
        rule="required",
        platforms=_MACOS,
        payload_type="com.apple.wifi.managed",
        key="SSID_STR",
        unless=("HESSID", "DomainName", "RoamingConsortiumOIs", "NAIRealmNames"),  # Hotspot 2.0 goes without an SSID
        beyond_schema=True,
        source="Fleet's end-to-end tests of failing profiles: macOS 26.6 refuses it (ConfigProfilePluginDomain -307)",
    ),
    # Types of iOS that must come by MDM (com.apple.dnsProxy.managed, com.apple.networkusagerules) are not listed: that
    # an iPhone refuses them by hand was never captured, although Apple's table has a code for it (4022).
    Enforced(
        rule="manual",
        platforms=_MACOS,
        source="google/santa issues 1125 and 1149 (TCC and system extensions, macOS 13), jamf/PPPC-Utility issue 24",
    ),
    Enforced(
        rule="manual",
        platforms=_MACOS,
        payload_type="com.apple.mobiledevice.passwordpolicy",
        since="15.7.3",
        beyond_schema=True,
        source="usnistgov/macos_security issue 628: refused by macOS 15.7.3, accepted by an earlier one",
    ),
    # On a Mac nothing is "single": no refusal was captured, and profiles with several com.apple.MCX payloads install.
    *(
        Enforced(rule="single", platforms=_IOS, payload_type=payload_type, source=f"Apple's code {code} (SINGLE_CODES)")
        for payload_type, code in SINGLE_CODES.items()
    ),
)


def has_payload(payload_type: str, platform: Platform, os_version: str) -> bool:
    """Whether the schema has that payload type on the platform, in that OS version. Raises Malformed for no version."""
    entry = facts.load().payloads.get(payload_type)
    where = entry.platforms.get(platform.column) if entry is not None else None
    now = version(os_version)
    return (
        where is not None
        and where.available
        and (where.introduced is None or version(where.introduced) <= now)
        and (where.removed is None or now < version(where.removed))
    )


def broken_rules(
    payloads: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    platform: Platform,
    os_version: str,
    manual: bool,
    installed: Collection[str] = (),
) -> Iterator[Broken]:
    """What the schema has against payloads, given as type and keys, in their order. Unknown types break nothing.

    `manual`: a person installs them, no MDM server. `installed`: types of payloads of other profiles on the device.
    """
    schema = facts.load().payloads
    seen = set(installed)
    for index, (payload_type, keys) in enumerate(payloads):
        if not has_payload(payload_type, platform, os_version):
            continue
        entry = schema[payload_type]
        where = entry.platforms[platform.column]
        for key in entry.required:
            there = key.platforms.get(platform.column)
            if (there is None or there.available) and key.name not in keys:
                yield Broken("required", index, payload_type, key.name)
        if where.multiple is False and payload_type in seen:
            yield Broken("single", index, payload_type)
        if manual and where.manual is False:
            yield Broken("manual", index, payload_type)
        seen.add(payload_type)


def refused_rule(
    payloads: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    platform: Platform,
    os_version: str,
    manual: bool,
    installed: Collection[str] = (),
) -> Broken | None:
    """The first broken rule for which a device of that platform and OS version refuses the profile; None if there is none.

    Raises Malformed for an OS version that is no version.
    """
    refused = [
        broken
        for broken in broken_rules(
            payloads, platform=platform, os_version=os_version, manual=manual, installed=installed
        )
        if any(one.covers(broken, platform, os_version) for one in ENFORCED if not one.beyond_schema)
    ]
    for enforced in ENFORCED:
        if not enforced.beyond_schema:
            continue
        for index, (payload_type, keys) in enumerate(payloads):
            broken = Broken(enforced.rule, index, payload_type, enforced.key)
            breaks = manual if enforced.rule == "manual" else not keys.keys() & {enforced.key, *enforced.unless}
            if breaks and enforced.covers(broken, platform, os_version):
                refused.append(broken)
    return min(refused, key=lambda broken: broken.index, default=None)
