"""The apps on a device: what comes with it, what its user has, and what InstalledApplicationList shows of them.

Which keys an app has per platform and version is captured: iOS 11 and 12 (all fourteen on each app), macOS 10.11 and 13.
Bundle identifiers, names and versions are plausible, not a copy of any release.
"""

from __future__ import annotations

from typing import Any

from mdmsim.chance import Chance
from mdmsim.device.personas import Persona
from mdmsim.device.state import App

#: Identifier, name, bytes of the bundle.
_MAC_SYSTEM = (
    ("com.apple.Safari", "Safari", 37_482_496),
    ("com.apple.mail", "Mail", 39_104_512),
    ("com.apple.iCal", "Calendar", 17_936_384),
    ("com.apple.systempreferences", "System Settings", 3_264_512),
    ("com.apple.Terminal", "Terminal", 11_452_416),
    ("com.apple.AppStore", "App Store", 4_980_736),
)
#: Identifier, name, short version, build, whether it came from the store.
_MAC_USER = (
    ("com.microsoft.Word", "Microsoft Word", "16.90.1", "16.90.24102719", False),
    ("com.apple.iWork.Keynote", "Keynote", "14.2", "7041.0.109", True),
    ("com.tinyspeck.slackmacgap", "Slack", "4.41.98", "440000098", True),
    ("org.mozilla.firefox", "Firefox", "132.0", "13224.10.23", False),
)
_IOS_USER = (
    ("com.microsoft.Office.Outlook", "Outlook", "4.2443.0", "32650213", True),
    ("com.apple.Keynote", "Keynote", "14.2", "7041.0.107", True),
    ("com.tinyspeck.chatlyio", "Slack", "24.11.20", "70202006", True),
    ("com.google.chrome.ios", "Chrome", "131.0.6778.31", "131.0.6778.31", True),
)
_TV_USER = (
    ("com.example.signage", "Signage", "3.1", "310", False),
    ("com.apple.TVRemoteTips", "Tips", "2.0", "201", True),
)

#: A system app's bundle is not counted on newer systems (captured: macOS 10.15 and 13).
UNCOUNTED = 1


def apps_of(persona: Persona, chance: Chance, *, fresh: bool = False) -> list[App]:
    """The apps that such a device has. `fresh`: out of the box or erased, so without what a user installed."""
    apps = [_system(persona, *app) for app in _MAC_SYSTEM] if persona.is_mac else []
    if fresh:
        return apps
    pool = _MAC_USER if persona.is_mac else _TV_USER if persona.platform == "tvos" else _IOS_USER
    for identifier, name, short, build, from_store in chance.sample(pool, chance.randint(1, len(pool))):
        apps.append(
            App(
                identifier=identifier,
                name=name,
                short_version=short,
                version=build,
                bundle_size=chance.randint(20, 900) * 1_048_576 + chance.randint(0, 1_048_575),
                dynamic_size=chance.randint(1, 400) * 65_536,
                store_id=chance.randint(800_000_000, 869_999_999) if from_store else 0,
            )
        )
    return apps


def _system(persona: Persona, identifier: str, name: str, size: int) -> App:
    return App(
        identifier=identifier,
        name=name,
        short_version=persona.os_version,
        version=persona.build_version,
        bundle_size=size,
        system=True,
    )


def listed(persona: Persona, app: App) -> dict[str, Any]:
    """One item of InstalledApplicationList with the keys that this platform and version has."""
    return _mac_item(persona, app) if persona.is_mac else _ios_item(persona, app)


def _mac_item(persona: Persona, app: App) -> dict[str, Any]:
    counted = not app.system or not persona.at_least("10.15")
    item: dict[str, Any] = {
        "BundleSize": app.bundle_size if counted else UNCOUNTED,
        "Identifier": app.identifier,
        "Name": app.name,
        "ShortVersion": app.short_version,
        "Version": app.version,
    }
    if persona.at_least("10.13"):
        item["Installing"] = False
        if app.store_id:
            item["ExternalVersionIdentifier"] = app.store_id
            item["HasUpdateAvailable"] = False
    return item


def _ios_item(persona: Persona, app: App) -> dict[str, Any]:
    from_store = bool(app.store_id)
    item: dict[str, Any] = {
        "BundleSize": app.bundle_size,
        "DynamicSize": app.dynamic_size,
        "Identifier": app.identifier,
        "Installing": False,
        "Name": app.name,
        "ShortVersion": app.short_version,
        "Version": app.version,
    }
    if persona.at_least("9.2"):
        item["IsValidated"] = True
    if persona.at_least("11.0"):
        item["ExternalVersionIdentifier"] = app.store_id
    if persona.at_least("11.3"):
        item |= {
            "AdHocCodeSigned": False,
            "AppStoreVendable": from_store,
            "BetaApp": False,
            "DeviceBasedVPP": False,
            "HasUpdateAvailable": False,
        }
    if persona.at_least("16.0") and persona.platform != "tvos":
        item["IsAppClip"] = False
    return item
