"""The panes of Setup Assistant that `skip_setup_items` of a DEP profile can hide, and the releases that have them."""

from __future__ import annotations

from mdmsim.schema.platforms import version as version_key

# From Apple's device-management schema, other/skipkeys.yaml. Per platform the release that brought the pane and, behind
# "..", the one from which on its key is deprecated or removed. iPadOS has the panes of iOS. Panes without a release here
# are those of platforms that mdmsim has no devices of (Tips: visionOS).
_TABLE = """
pane                                  ios          macos         tvos
Accessibility                         -            11.0          -
AccessibilityAppearance               17.0         -             -
ActionButton                          17.0         -             -
Android                               9.0          -             -
Appearance                            13.0         10.14         -
AppleID                               7.0          10.9          10.2
AppStore                              14.3         11.1          -
Biometric                             8.1          10.12.4       -
CameraButton                          18.0         -             -
DeviceToDeviceMigration               12.4         -             -
Diagnostics                           7.0          10.9          10.2
DisplayTone                           9.3.2..15.0  10.13.6..12.0 -
EnableLockdownMode                    17.1         14.0          -
FileVault                             -            10.10         -
HomeButtonSensitivity                 10.0..15.0   -             -
iCloudDiagnostics                     -            10.12.4       -
iCloudStorage                         -            10.13.4       -
iMessageAndFaceTime                   12.0         -             -
Intelligence                          18.0         15.0          -
Keyboard                              13.0         -             -
LiquidGlass                           27.0         27.0          -
Location                              7.0          10.11         10.2
MessagingActivationUsingPhoneNumber   10.0         -             -
Multitasking                          26.0         -             -
OnBoarding                            11.0..14.0   -             -
OSShowcase                            26.0         26.1          -
Passcode                              7.0          10.9          -
Payment                               8.1          10.12.4       -
Privacy                               11.3         10.13.4       11.3
Restore                               7.0          10.9          -
RestoreCompleted                      14.0         -             -
Safety                                16.0         -             -
SafetyAndHandling                     18.4         -             -
ScreenSaver                           -            -             10.2
ScreenTime                            12.0         10.15         -
SIMSetup                              12.0         -             -
Siri                                  7.0          10.12         10.2
SoftwareUpdate                        12.0         15.4          -
SpokenLanguage                        13.0         -             -
TapToSetup                            -            -             10.2
TermsOfAddress                        16.0         13.0          -
Tips                                  -            -             -
TOS                                   7.0          10.9          10.2
TVHomeScreenSync                      -            -             11.0
TVProviderSignIn                      -            -             11.0
TVRoom                                -            -             11.4
UnlockWithWatch                       -            15.0          -
UpdateCompleted                       14.0         26.1          -
Wallpaper                             -            14.1..26.0    -
WatchMigration                        11.0         -             -
WebContentFiltering                   18.2..26.1   -             -
Welcome                               13.0         15.0          -
Zoom                                  8.3..17.0    -             -
"""


def _read(table: str) -> dict[str, dict[str, tuple[str, str | None]]]:
    head, *lines = table.split("\n")[1:-1]
    platforms = head.split()[1:]
    panes = {}
    for line in lines:
        name, *cells = line.split()
        spans = {platform: cell.partition("..") for platform, cell in zip(platforms, cells, strict=True) if cell != "-"}
        panes[name] = {platform: (first, end or None) for platform, (first, _, end) in spans.items()}
    return panes


#: Pane to platform (ios, macos, tvos) to the first release that has it and the first that has it no more (None: still there).
PANES: dict[str, dict[str, tuple[str, str | None]]] = _read(_TABLE)


def panes_of(platform: str, version: str) -> tuple[str, ...]:
    """The panes that can be skipped on that release of ios, ipados, macos or tvos, in the order of their names.

    That a pane is gone from the release on in which its key is deprecated is our reading of the schema. Whether a device
    shows each of them depends on its hardware too, which is not looked at.
    """
    column = "ios" if platform == "ipados" else platform
    return tuple(
        name
        for name, platforms in PANES.items()
        if (span := platforms.get(column)) is not None
        and version_key(span[0]) <= version_key(version)
        and (span[1] is None or version_key(version) < version_key(span[1]))
    )
