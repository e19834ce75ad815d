"""The queries of DeviceInformation: which right each needs, and which devices know it.

Source of rights, platforms and versions: mdm/commands/information.device.yaml. A few queries are not in it but were
captured being answered; they stand at the end of the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from mdmsim.device.personas.persona import Persona
from mdmsim.schema.platforms import AccessRights


@dataclass(frozen=True, slots=True)
class Query:
    """`since`: platform to the first version that knows the query; `needs`: hardware or state without which it is not
    answered ("" for none); `private`: not answered under a user enrollment.
    """

    name: str
    right: AccessRights | None
    since: dict[str, str]
    needs: str
    private: bool


_RIGHTS = {
    "-": None,
    "device": AccessRights.QUERY_DEVICE,
    "network": AccessRights.QUERY_NETWORK,
    "apps": AccessRights.MANAGE_APPS,
}

# Name, right, first version on iOS, macOS and tvOS ("-": never; "0": always), then "private" where a user enrollment does
# not answer, then what else it needs. "shared": Shared iPad only. "never": removed, or answered by no device here.
_TABLE = """
UDID                                  -        0      0      0      private
ProvisioningUDID                      -        -      11.3   -      private
OrganizationInfo                      -        7.0    10.11  9.0
MDMOptions                            -        7.0    11.0   9.0
LastCloudBackupDate                   -        8.0    -      -      private
AwaitingConfiguration                 -        9.0    10.11  10.2   private
iTunesStoreAccountIsActive            apps     7.0    10.9   9.0    private
iTunesStoreAccountHash                apps     8.0    10.10  9.0    private
DeviceName                            device   0      0      0
OSVersion                             device   0      0      0
SupplementalOSVersionExtra            device   16.1   13.0   16.1
BuildVersion                          device   0      0      0
SupplementalBuildVersion              device   16.1   13.0   16.1
ModelName                             device   0      0      0
Model                                 device   0      0      0
ModelNumber                           device   16.4   13.3   16.4   -       model-number
IsAppleSilicon                        device   -      12.0   -
ProductName                           device   0      0      0
SerialNumber                          device   0      0      0      private
DeviceCapacity                        device   0      0      -
AvailableDeviceCapacity               device   0      0      -
IMEI                                  device   0      -      -      private modem
MEID                                  device   0      -      -      private modem
ModemFirmwareVersion                  device   0      -      -      private modem
CellularTechnology                    device   4.2.6  -      -
BatteryLevel                          device   5.0    13.3   -      -       battery
HasBattery                            device   -      13.3   -
IsSupervised                          device   6.0    10.15  9.0
IsMultiUser                           device   9.3    -      -
IsDeviceLocatorServiceEnabled         device   7.0    -      -
IsActivationLockEnabled               device   7.0    10.15  -      private
IsActivationLockSupported             device   -      10.15  -      private
IsDoNotDisturbInEffect                device   7.0    -      -      private
DeviceID                              device   -      -      9.0
EASDeviceIdentifier                   device   7.0    -      -
IsCloudBackupEnabled                  device   7.1    -      -      private
ActiveManagedUsers                    device   -      10.11  -
OSUpdateSettings                      device   -      10.11  -      private
LocalHostName                         device   -      10.11  -
HostName                              device   -      10.11  -
AutoSetupAdminAccounts                device   -      10.11  -      private
SystemIntegrityProtectionEnabled      device   -      10.12  -
SupportsLOMDevice                     device   -      11.0   -
IsMDMLostModeEnabled                  device   9.3    -      -      private
MaximumResidentUsers                  device   9.3    -      -      private shared
EstimatedResidentUsers                device   14.0   -      -      private shared
QuotaSize                             device   13.4   -      -      private shared
ResidentUsers                         device   13.4   -      -      private shared
UserSessionTimeout                    device   14.5   -      -      private shared
TemporarySessionTimeout               device   14.5   -      -      private shared
TemporarySessionOnly                  device   14.5   -      -      private shared
ManagedAppleIDDefaultDomains          device   16.0   -      -      private shared
OnlineAuthenticationGracePeriod       device   16.0   -      -      private shared
SkipLanguageAndLocaleSetupForNewUsers device   16.2   -      -      private shared
PushToken                             device   9.3    10.12  -      private
DiagnosticSubmissionEnabled           device   9.3    -      -
AppAnalyticsEnabled                   device   9.3    -      -
TimeZone                              device   14.0   -      14.0
ICCID                                 network  0      -      -      private modem
BluetoothMAC                          network  0      0      0      private
WiFiMAC                               network  0      0      0      private wifi
EthernetMAC                           network  -      0      -      private
CurrentCarrierNetwork                 network  0      -      -      private modem
SIMCarrierNetwork                     network  0      -      -      private never
SubscriberCarrierNetwork              network  5.0    -      -      private modem
CarrierSettingsVersion                network  0      -      -      private modem
PhoneNumber                           network  0      -      -      private modem
DataRoamingEnabled                    network  5.0    -      -      private
VoiceRoamingEnabled                   network  5.0    -      -      private
PersonalHotspotEnabled                network  7.0    -      -      private modem
IsNetworkTethered                     network  10.3   -      -
IsRoaming                             network  4.2    -      -      private
SubscriberMCC                         network  4.2.6  -      -      private
SubscriberMNC                         network  4.2.6  -      -      private
CurrentMCC                            network  0      -      -      private modem
CurrentMNC                            network  0      -      -      private modem
ServiceSubscriptions                  network  12.0   -      -      private modem
PINRequiredForEraseDevice             device   -      11.0   -      private
PINRequiredForDeviceLock              device   -      11.0   -      private
SupportsiOSAppInstalls                device   -      11.0   -
SoftwareUpdateDeviceID                -        15.0   12.0   -      private
SoftwareUpdateSettings                -        14.5   -      -      private
AccessibilitySettings                 -        16.0   -      -      private
DevicePropertiesAttestation           -        16.0   14.0   16.0
EACSPreflight                         device   -      13.3   -      private
CurrentConsoleManagedUser             device   -      10.11  -
Languages                             device   -      10.11  -      -       old-mac
OSXSoftwareUpdateStatus               device   -      10.13  -      private
XsanConfiguration                     device   -      10.13  -
"""


def _read(line: str) -> Query:
    name, right, ios, macos, tvos, *rest = line.split()
    since = {"ios": ios, "ipados": ios, "macos": macos, "tvos": tvos}
    return Query(
        name=name,
        right=_RIGHTS[right],
        since={platform: version for platform, version in since.items() if version != "-"},
        needs=rest[1] if len(rest) > 1 else "",
        private="private" in rest[:1],
    )


#: Every query there is, by name.
QUERIES: dict[str, Query] = {query.name: query for query in map(_read, _TABLE.strip().splitlines())}

#: Names of all queries, in the schema's order.
QUERY_NAMES: tuple[str, ...] = tuple(QUERIES)


def query_right(name: str) -> AccessRights | None:
    """The access right without which the answer is silently left out; None where none is needed, or for no such query."""
    query = QUERIES.get(name)
    return query.right if query else None


def answerable(persona: Persona, name: str) -> bool:
    """Whether such a device with such a release answers this query when it has something to say. False for no such query."""
    query = QUERIES.get(name)
    if query is None or persona.platform not in query.since or not persona.at_least(query.since[persona.platform]):
        return False
    match query.needs:
        case "":
            return True
        case "modem":
            return persona.is_cellular
        case "wifi":
            return persona.wifi_mac is not None
        case "battery":
            return persona.battery is not None
        case "model-number":
            return persona.model_number is not None
        case "old-mac":
            # Captured on macOS 10.11 and 10.13.1, gone by 13.
            return not persona.at_least("11.0")
        case _:
            return False
