"""Operating system releases that personas run: version and build belong together, kernel and network library with them.

A real device never mixes the version of one release with the build of another, and servers derive one from the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from mdmsim.schema.platforms import version as version_key


@dataclass(frozen=True, slots=True)
class Release:
    """One release of an operating system.

    `darwin`, `cfnetwork`: versions of kernel and network library, as they stand in the User-Agents of its daemons.
    `branch`: a security release that only devices get which cannot run the next major version.
    """

    version: str
    build: str
    darwin: str
    cfnetwork: str
    branch: bool = False


def at_least(version: str, wanted: str) -> bool:
    """Whether `version` is `wanted` or newer: 10.11 is newer than 10.9, and 16 is 16.0."""
    return version_key(version) >= version_key(wanted)


# Builds captured from devices: iOS 9.3.2, 9.3.5, 11.3.1, 11.4, 15.7, 16.2, 18.2.1, 18.5; the others are Apple's published
# ones as commonly listed. CFNetwork and Darwin: captured for macOS 10.11.6, 10.12.6; elsewhere as apps report them.
_IOS = (
    Release("9.3.2", "13F69", "15.5.0", "758.4.3"),
    Release("9.3.5", "13G36", "15.6.0", "758.5.3"),
    Release("11.3.1", "15E302", "17.5.0", "897.15"),
    Release("11.4", "15F79", "17.6.0", "901.1"),
    Release("12.5.7", "16H81", "18.7.0", "978.0.7", branch=True),
    Release("15.7", "19H12", "21.6.0", "1335.0.3"),
    Release("15.8.3", "19H386", "21.6.0", "1335.0.3.4", branch=True),
    Release("16.2", "20C65", "22.2.0", "1402.0.8"),
    Release("16.6.1", "20G81", "22.6.0", "1410.0.3"),
    Release("16.7.10", "20H350", "22.6.0", "1410.1", branch=True),
    Release("17.0", "21A329", "23.0.0", "1474"),
    Release("17.4.1", "21E236", "23.4.0", "1494.0.7"),
    Release("17.5.1", "21F90", "23.5.0", "1496.0.7"),
    Release("17.6.1", "21G93", "23.6.0", "1498.700.2"),
    Release("17.7", "21H16", "23.6.0", "1498.700.2"),
    Release("18.0", "22A3354", "24.0.0", "1568.100.1"),
    Release("18.1", "22B83", "24.1.0", "1568.200.51"),
    Release("18.2", "22C152", "24.2.0", "1568.300.101"),
    Release("18.2.1", "22C161", "24.2.0", "1568.300.101"),
    Release("18.3.1", "22D72", "24.3.0", "3826.400.120"),
    Release("18.4", "22E240", "24.4.0", "3826.500.111"),
    Release("18.5", "22F76", "24.5.0", "3826.500.131"),
    Release("26.0", "23A341", "25.0.0", "3860.100.1"),
)

# Builds captured: 10.11.6, 10.12.2, 10.12.6, 10.13.1, 13.0, 13.3.1. macOS 26 runs on Apple silicon and the last Macs with
# a T2 (not the MacBook Air of 2020); what it does otherwise than 15 was seen on 26.6 and is said where it is done.
_MACOS = (
    Release("10.11.6", "15G1004", "15.6.0", "760.9"),
    Release("10.12.2", "16C67", "16.3.0", "807.2.14"),
    Release("10.12.6", "16G2136", "16.7.0", "811.9"),
    Release("10.13.1", "17B48", "17.2.0", "889.9"),
    Release("10.14.6", "18G103", "18.7.0", "978.1"),
    Release("10.15.7", "19H2", "19.6.0", "1128.0.1"),
    Release("11.7.10", "20G1427", "20.6.0", "1240.0.4"),
    Release("12.7.6", "21H1320", "21.6.0", "1335.0.3.4"),
    Release("13.0", "22A380", "22.1.0", "1399"),
    Release("13.3.1", "22E261", "22.4.0", "1406.0.4"),
    Release("14.0", "23A344", "23.0.0", "1474"),
    Release("14.5", "23F79", "23.5.0", "1496.0.7"),
    Release("14.6.1", "23G93", "23.6.0", "1498.700.2"),
    Release("15.0", "24A335", "24.0.0", "1568.100.1"),
    Release("15.1", "24B83", "24.1.0", "1568.200.51"),
    Release("15.2", "24C101", "24.2.0", "1568.300.101"),
    Release("15.3.1", "24D70", "24.3.0", "3826.400.120"),
    Release("15.4.1", "24E263", "24.4.0", "3826.500.111"),
    Release("15.5", "24F74", "24.5.0", "3826.500.131"),
    Release("26.0", "25A354", "25.0.0", "3860.100.1"),
)

_TVOS = (
    Release("16.0", "20J373", "22.0.0", "1390"),
    Release("17.0", "21J354", "23.0.0", "1474"),
    Release("18.0", "22J357", "24.0.0", "1568.100.1"),
    Release("18.1", "22J580", "24.1.0", "1568.200.51"),
    Release("18.2", "22K155", "24.2.0", "1568.300.101"),
)

#: Releases by platform, oldest first. iPadOS takes iOS's: the two share version and build.
RELEASES: dict[str, tuple[Release, ...]] = {"ios": _IOS, "ipados": _IOS, "macos": _MACOS, "tvos": _TVOS}

#: What a persona runs unless told otherwise, where its model can: the releases Apple's schema facts are compiled from.
DEFAULT_VERSIONS = {"ios": "18.1", "ipados": "18.1", "macos": "15.1", "tvos": "18.1"}

_BY_VERSION = {(platform, release.version): release for platform, all_ in RELEASES.items() for release in all_}


def find_release(platform: str, version: str) -> Release | None:
    """The release of that platform with that version, spelled as Apple does; None for one that is not listed."""
    return _BY_VERSION.get((platform, version))
