"""The compiled facts against a table of all commands that was written down apart from them."""

from __future__ import annotations

from typing import Any

import pytest

from mdmsim.protocol.errors import Malformed
from mdmsim.schema.availability import AccessRights, Platform, Reason, commands, decide, introduced, judge
from mdmsim.schema.facts import Availability, SharedIPad
from mdmsim.schema.platforms import version

# Per platform the version that introduced the command (- for never); the right needed (0: none, -: not stated, with
# letters where platforms differ); platforms by letter (i m t v w) that need supervision, that need Automated Device
# Enrollment, that allow it in a User Enrollment; channels on macOS; channels on a Shared iPad (no: never there).
# Command                        iOS     macOS   tvOS    visionOS watchOS right        sup  ADE  user mac Shared iPad
MATRIX = """
AccountConfiguration             -       10.11   -       -       -       0             -    m    -    D   -
ActivationLockBypassCode         7.1     10.15   -       2.0     -       0             imv  -    -    D   no
ActiveNSExtensions               -       10.13   -       -       -       256           -    -    -    U   -
ApplyRedemptionCode              5.0     -       -       -       -       4096          -    -    -    -   no
AvailableOSUpdates               9.0     10.11   12.0    -       -       4096:it,0:m   it   -    -    D   D
CertificateList                  4.0     10.7    9.0     1.1     10.0    1             -    -    imv  DU  D
ClearActivationLockBypassCode    7.1     10.15   -       2.0     -       0             imv  -    -    D   no
ClearPasscode                    4.0     -       -       1.1     10.0    4             -    -    -    -   no
ClearRestrictionsPassword        8.0     -       -       -       -       0             i    -    -    -   no
ContentCachingInformation        -       10.15.4 -       -       -       32            -    -    -    D   -
DeclarativeManagement            15.0    13.0    16.0    1.1     10.0    -             -    -    imv  DU  DU
DeleteUser                       9.3     10.13   -       -       -       0             m    -    -    D   only-D
DeviceConfigured                 9.0     10.11   10.2    2.0     -       0             itv  imv  -    D   D
DeviceInformation                4.0     10.7    9.0     1.1     10.0    query         -    -    imv  DU  DU
DeviceLocation                   9.3     -       -       -       -       0             i    -    -    -   D
DeviceLock                       4.0     10.7    -       2.0     10.0    4             -    -    iv   D   D
DisableLostMode                  9.3     -       -       -       -       0             i    -    -    -   D
DisableRemoteDesktop             -       10.14.4 -       -       -       -             m    -    -    D   -
EnableLostMode                   9.3     -       -       -       -       0             i    -    -    -   D
EnableRemoteDesktop              -       10.14.4 -       -       -       -             m    -    -    D   -
EraseDevice                      4.0     10.7    10.2    1.1     10.0    8             -    -    -    D   D
InstallApplication               5.0     10.9    10.2    1.1     10.0    4096          -    -    imv  DU  D
InstalledApplicationList         5.0     10.7    10.2    1.1     10.0    256           -    -    iv   DU  D
InstallEnterpriseApplication     -       10.13.6 -       -       -       4096          -    -    m    D   -
InstallMedia                     8.0     10.9    -       -       -       4096          -    -    i    U   D
InstallProfile                   4.0     10.7    9.0     1.1     10.0    2             -    -    imv  DU  DU
InstallProvisioningProfile       4.0     11.0    10.2    1.1     10.0    128:itvw,0:m  -    -    imv  D   D
InviteToProgram                  7.0     10.9    -       -       -       4096:i,0:m    -    -    -    U   U
LogOutUser                       9.3     -       -       -       -       0             -    -    -    -   only-D
LOMDeviceRequest                 -       11.0    -       -       -       4             -    -    -    D   -
LOMSetupRequest                  -       11.0    -       -       -       4             -    -    -    D   -
ManagedApplicationAttributes     7.0     -       10.2    1.1     10.0    4096          -    -    iv   -   D
ManagedApplicationConfiguration  7.0     10.15   10.2    1.1     10.0    4096          -    -    imv  D   D
ManagedApplicationFeedback       7.0     11.0    10.2    1.1     -       4096          -    -    iv   U   D
ManagedApplicationList           5.0     11.0    10.2    1.1     10.0    4096          -    -    imv  DU  D
ManagedMediaList                 8.0     -       -       -       -       4096          -    -    i    -   D
NSExtensionMappings              -       10.13   -       -       -       256           -    -    -    U   -
OSUpdateStatus                   9.0     10.11.5 12.0    -       -       4096:it,0:m   imt  -    -    D   D
PlayLostModeSound                10.3    -       -       -       -       0             i    -    -    -   D
ProfileList                      4.0     10.7    9.0     1.1     10.0    1             -    -    imv  DU  DU
ProvisioningProfileList          4.0     11.0    10.2    1.1     10.0    64:itvw,0:m   -    -    imv  D   D
RefreshCellularPlans             13.0    -       -       -       -       0             -    -    -    -   D
RemoveApplication                5.0     11.0    10.2    1.1     10.0    4096          -    -    iv   D   D
RemoveMedia                      8.0     -       -       -       -       4096          -    -    i    -   D
RemoveProfile                    4.0     10.7    9.0     1.1     10.0    2             -    -    imv  DU  DU
RemoveProvisioningProfile        4.0     11.0    10.2    1.1     10.0    128:itvw,0:m  -    -    imv  D   D
RequestMirroring                 7.0     10.10   -       -       -       0             -    -    im   D   D
RequestUnlockToken               5.0     -       -       -       -       0             i    -    -    -   no
RestartDevice                    10.3    10.13   10.2    -       -       4             it   -    -    D   D
Restrictions                     4.0     -       9.0     1.1     10.0    512           -    -    -    -   DU
RotateFileVaultKey               -       10.9    -       -       -       4             -    -    -    D   -
ScheduleOSUpdate                 9.0     10.11   12.0    -       -       4096:it,0:m   imt  -    -    D   D
ScheduleOSUpdateScan             -       10.11   -       -       -       0             m    -    -    D   -
SecurityInfo                     4.0     10.7    9.0     1.1     10.0    1024          -    -    imv  DU  D
SetAutoAdminPassword             -       10.11   -       -       -       0             -    m    -    D   -
SetFirmwarePassword              -       10.13   -       -       -       4             -    -    -    D   -
SetRecoveryLock                  -       11.5    -       -       -       4             -    -    -    D   -
Settings                         5.0     10.9    9.0     1.1     10.0    2048          -    -    imv  DU  DU
ShutDownDevice                   10.3    10.13   -       -       -       4             i    -    -    D   D
StopMirroring                    7.0     10.10   -       -       -       0             i    -    -    D   D
UnlockUserAccount                -       10.13   -       -       -       4             -    -    -    D   -
UserConfigured                   17.0    -       -       -       -       0             i    i    -    -   only-U
UserList                         9.3     10.13   -       -       -       0             m    -    -    D   only-D
ValidateApplications             9.2     -       10.2    1.1     -       4096          -    -    iv   -   D
VerifyFirmwarePassword           -       10.13   -       -       -       0             -    -    -    D   -
VerifyRecoveryLock               -       11.5    -       -       -       4             -    -    -    D   -
"""

ROWS = {line.split()[0]: line.split()[1:] for line in MATRIX.strip().splitlines()}
PLATFORMS = {
    "i": Platform.IPADOS,
    "m": Platform.MACOS,
    "t": Platform.TVOS,
    "v": Platform.VISIONOS,
    "w": Platform.WATCHOS,
}


class Row:
    """One command on one platform, as the table has it."""

    def __init__(self, command: str, letter: str) -> None:
        columns = ROWS[command]
        self.command, self.platform = command, PLATFORMS[letter]
        self.version = columns["imtvw".index(letter)]
        self.right = self._right(columns[5], letter)
        self.supervised, self.dep, self.user_enrollment = (letter in column for column in columns[6:9])
        self.shared_ipad = columns[10] if letter == "i" else "-"
        #: Channels without a Shared iPad.
        self.channels = columns[9] if letter == "m" else "D"
        self.only_shared = self.shared_ipad.startswith("only")

    @staticmethod
    def _right(column: str, letter: str) -> int:
        for part in column.split(","):
            bit, _, letters = part.partition(":")
            if letter in (letters or letter):
                return int(bit) if bit.isdigit() else 0
        raise AssertionError(column)

    def decide(self, **changes: Any) -> Reason | None:
        """The reason for a device that may do everything, with some things changed."""
        channel = "device" if "D" in (self.shared_ipad if self.only_shared else self.channels) else "user"
        asked: dict[str, Any] = {
            "platform": self.platform,
            "os_version": self.version,
            "supervised": True,
            "dep": True,
            "access_rights": AccessRights.ALL,
            "channel": channel,
            "enrollment": "device",
            "shared_ipad": self.only_shared,
        } | changes
        found = decide(self.command, **asked)
        return None if found is None else found.reason


def below(text: str) -> str:
    """A version just below that one."""
    parts = list(version(text))
    parts[-1] -= 1
    return ".".join(map(str, [*parts, 99]))


EVERYWHERE = [
    (command, letter) for command in ROWS for letter in PLATFORMS if ROWS[command]["imtvw".index(letter)] != "-"
]
NOWHERE = [(command, letter) for command in ROWS for letter in PLATFORMS if ROWS[command]["imtvw".index(letter)] == "-"]


def test_the_table_has_every_command() -> None:
    assert sorted(ROWS) == sorted(commands())
    assert len(commands()) == 66


@pytest.mark.parametrize(("command", "letter"), NOWHERE)
def test_a_command_is_not_on_platforms_without_it(command: str, letter: str) -> None:
    assert introduced(command, PLATFORMS[letter]) is None
    found = decide(
        command,
        platform=PLATFORMS[letter],
        os_version="99",
        supervised=True,
        dep=True,
        access_rights=AccessRights.ALL,
        channel="device",
        enrollment="device",
    )
    assert found is not None and found.reason is Reason.PLATFORM


@pytest.mark.parametrize(("command", "letter"), EVERYWHERE)
def test_a_command_is_there_from_its_version_on(command: str, letter: str) -> None:
    row = Row(command, letter)
    assert introduced(command, row.platform) == row.version
    assert row.decide() is None
    assert row.decide(os_version="99.9.9") is None
    assert row.decide(os_version=below(row.version)) is Reason.OS_VERSION


@pytest.mark.parametrize(("command", "letter"), EVERYWHERE)
def test_a_command_needs_its_access_right_and_no_other(command: str, letter: str) -> None:
    row = Row(command, letter)
    assert row.decide(access_rights=row.right) is None
    assert row.decide(access_rights=AccessRights.ALL & ~row.right) is (Reason.ACCESS_RIGHT if row.right else None)


@pytest.mark.parametrize(("command", "letter"), EVERYWHERE)
def test_a_command_needs_supervision_where_the_table_says_so(command: str, letter: str) -> None:
    row = Row(command, letter)
    assert row.decide(supervised=False) is (Reason.SUPERVISION if row.supervised else None)


@pytest.mark.parametrize(("command", "letter"), EVERYWHERE)
def test_a_command_needs_automated_enrollment_where_the_table_says_so(command: str, letter: str) -> None:
    row = Row(command, letter)
    assert row.decide(dep=False) is (Reason.DEP if row.dep else None)


@pytest.mark.parametrize(("command", "letter"), EVERYWHERE)
def test_a_command_is_in_user_enrollments_where_the_table_says_so(command: str, letter: str) -> None:
    row = Row(command, letter)
    assert row.decide(enrollment="user") is (None if row.user_enrollment else Reason.ENROLLMENT)


@pytest.mark.parametrize(("command", "letter"), EVERYWHERE)
@pytest.mark.parametrize(("channel", "initial"), [("device", "D"), ("user", "U")])
def test_a_command_is_on_the_channels_of_the_table(command: str, letter: str, channel: str, initial: str) -> None:
    row = Row(command, letter)
    if row.only_shared:
        assert row.decide(channel=channel, shared_ipad=True) is (
            None if initial in row.shared_ipad.split("-")[1] else Reason.CHANNEL
        )
    else:
        assert row.decide(channel=channel) is (None if initial in row.channels else Reason.CHANNEL)


SHARED = [command for command in ROWS if ROWS[command][0] != "-"]


@pytest.mark.parametrize("command", SHARED)
@pytest.mark.parametrize(("channel", "initial"), [("device", "D"), ("user", "U")])
def test_a_command_is_on_shared_ipads_as_the_table_says(command: str, channel: str, initial: str) -> None:
    row = Row(command, "i")
    expected = None if initial in row.shared_ipad.removeprefix("only-") else Reason.CHANNEL
    if row.shared_ipad == "no":
        expected = Reason.SHARED_IPAD if channel == "device" else Reason.CHANNEL
    assert row.decide(channel=channel, shared_ipad=True) is expected


@pytest.mark.parametrize("command", [command for command in SHARED if Row(command, "i").only_shared])
def test_a_command_for_shared_ipads_only_is_not_on_others(command: str) -> None:
    assert Row(command, "i").decide(channel="device", shared_ipad=False) is Reason.SHARED_IPAD


@pytest.mark.parametrize("command", ROWS)
def test_an_iphone_reads_the_same_column_as_an_ipad(command: str) -> None:
    assert introduced(command, Platform.IOS) == introduced(command, Platform.IPADOS)


def test_an_unknown_command_is_unknown_before_anything_else() -> None:
    found = decide(
        "ShutdownDevice",
        platform=Platform.TVOS,
        os_version="1",
        supervised=False,
        dep=False,
        access_rights=0,
        channel="user",
        enrollment="user",
    )
    assert found is not None
    assert (found.reason, found.name) == (Reason.UNKNOWN, "ShutdownDevice")


@pytest.mark.parametrize(
    ("command", "fixes"),
    [
        (
            "ActivationLockBypassCode",
            [
                ("platform", Platform.IPADOS, Reason.PLATFORM),
                ("os_version", "7.1", Reason.OS_VERSION),
                ("channel", "device", Reason.CHANNEL),
                ("enrollment", "device", Reason.ENROLLMENT),
                ("shared_ipad", False, Reason.SHARED_IPAD),
                ("supervised", True, Reason.SUPERVISION),
            ],
        ),
        (
            "AccountConfiguration",
            [
                ("platform", Platform.MACOS, Reason.PLATFORM),
                ("os_version", "10.11", Reason.OS_VERSION),
                ("channel", "device", Reason.CHANNEL),
                ("enrollment", "device", Reason.ENROLLMENT),
                ("dep", True, Reason.DEP),
            ],
        ),
        (
            "RestartDevice",
            [
                ("platform", Platform.IOS, Reason.PLATFORM),
                ("os_version", "10.3", Reason.OS_VERSION),
                ("channel", "device", Reason.CHANNEL),
                ("enrollment", "device", Reason.ENROLLMENT),
                ("supervised", True, Reason.SUPERVISION),
                ("access_rights", 4, Reason.ACCESS_RIGHT),
            ],
        ),
        (
            "UserConfigured",
            [
                ("platform", Platform.IPADOS, Reason.PLATFORM),
                ("os_version", "17.0", Reason.OS_VERSION),
                ("channel", "device", Reason.CHANNEL),
                ("enrollment", "device", Reason.ENROLLMENT),
            ],
        ),
    ],
)
def test_reasons_come_in_their_order(command: str, fixes: list[tuple[str, Any, Reason]]) -> None:
    """Everything is wrong at first and is put right one by one."""
    asked: dict[str, Any] = {
        "platform": Platform.WATCHOS,
        "os_version": "1.0",
        "supervised": False,
        "dep": False,
        "access_rights": 0,
        "channel": "user",
        "enrollment": "user",
        "shared_ipad": command == "ActivationLockBypassCode",
    }
    for key, value, reason in fixes:
        found = decide(command, **asked)
        assert found is not None and found.reason is reason
        asked[key] = value
    left = decide(command, **asked)
    assert (left and left.reason) is (Reason.SHARED_IPAD if command == "UserConfigured" else None)


def test_access_rights_do_not_count_in_a_user_enrollment() -> None:
    assert Row("InstallProfile", "i").decide(access_rights=0, enrollment="user") is None


def test_the_reason_reads_as_a_sentence() -> None:
    found = decide(
        "DeviceLock",
        platform=Platform.TVOS,
        os_version="18.1",
        supervised=True,
        dep=True,
        access_rights=8191,
        channel="device",
        enrollment="device",
    )
    assert str(found) == "DeviceLock does not exist on tvOS"


@pytest.mark.parametrize("os_version", ["", "18.x", "latest", "18..1", ".1", "１８.1", "9" * 50, "18.1 beta", "-1"])
def test_a_version_that_is_none_is_malformed_and_nothing_else(os_version: str) -> None:
    with pytest.raises(Malformed, match="OS version"):
        Row("InstallProfile", "i").decide(os_version=os_version)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("10.9", "10.15"),
        ("9.3.6", "10.0"),
        ("10.15.3", "10.15.4"),
        ("10.15", "10.15.4"),
        ("18", "18.0.1"),
        ("17.99", "18.0"),
    ],
)
def test_versions_compare_number_by_number(lower: str, higher: str) -> None:
    assert version(lower) < version(higher)


def test_trailing_zeros_do_not_count() -> None:
    assert version("18") == version("18.0") == version("18.0.0")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (8191, None),
        (1, None),
        (3, None),
        (192 + 1, None),
        (0, "allowed are 1 to 8191"),
        (-1, "allowed are 1 to 8191"),
        (8192, "allowed are 1 to 8191"),
        (2, "needs inspecting them (1)"),
        (128 + 1, "needs inspecting them (64)"),
    ],
)
def test_access_rights_follow_the_rules_of_the_payload(value: int, said: str | None) -> None:
    problem = AccessRights.problem(value)
    if said is None:
        assert problem is None
    else:
        assert problem is not None
        assert said in problem


# What the schema's format has and no command of this release uses: rows written here -------------------------------------


@pytest.mark.parametrize(
    ("row", "changes", "reason"),
    [
        (Availability(introduced="4.0", removed="18.0"), {"os_version": "17.7"}, None),
        (Availability(introduced="4.0", removed="18.0"), {"os_version": "18"}, Reason.REMOVED),
        (Availability(introduced="4.0", deprecated="9.0"), {"os_version": "18.0"}, None),
        (Availability(user_enrollment="required"), {"enrollment": "device"}, Reason.ENROLLMENT),
        (Availability(user_enrollment="required"), {"enrollment": "user"}, None),
        (Availability(user_enrollment="ignored"), {"enrollment": "user"}, None),
        (Availability(shared_ipad=SharedIPad(mode="ignored")), {"shared_ipad": True}, None),
        (Availability(right=5), {"access_rights": 4}, Reason.ACCESS_RIGHT),
        (Availability(right=5), {"access_rights": 7}, None),
    ],
)
def test_rows_mean_what_the_format_says(row: Availability, changes: dict[str, Any], reason: Reason | None) -> None:
    asked: dict[str, Any] = {
        "platform": Platform.IOS,
        "os_version": "17.0",
        "supervised": False,
        "dep": False,
        "access_rights": 0,
        "channel": "device",
        "enrollment": "device",
        "shared_ipad": False,
    } | changes
    found = judge("Thing", {"iOS": row}, **asked)
    assert (found and found.reason) is reason


def test_a_platform_that_a_row_leaves_out_does_not_have_the_thing() -> None:
    found = judge(
        "Thing",
        {"iOS": Availability()},
        platform=Platform.MACOS,
        os_version="15.1",
        supervised=True,
        dep=True,
        access_rights=8191,
        channel="device",
        enrollment="device",
        shared_ipad=False,
    )
    assert found is not None and found.reason is Reason.PLATFORM
