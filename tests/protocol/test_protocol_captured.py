"""What we write equals what real devices were seen to write, byte for byte; and what they wrote is understood."""

from __future__ import annotations

import base64
import plistlib
from pathlib import Path
from typing import Any

import pytest

from mdmsim.protocol import plist
from mdmsim.protocol.checkin import Authenticate, CheckIn, CheckOut, Ids, TokenUpdate, build_checkin, parse_checkin
from mdmsim.protocol.connect import ErrorItem, Report, Status, build_report, parse_report

DATA = Path(__file__).parent.parent / "data"

IPAD = Ids(udid="0123456789abcdef0123456789abcdef01234567")
IPHONE = Ids(udid="abcdef0123456789abcdef0123456789abcdef01")
MAC = Ids(udid="11223344-5566-5788-99AA-BBCCDDEEFF00")
BYOD = Ids(enrollment_id="0A1B2C3D-4E5F-4061-8273-8495A6B7C8D9")
MAC_USER = Ids(
    udid="11223344-5566-5788-99AA-BBCCDDEEFF00",
    user_id="22334455-6677-4899-AABB-CCDDEEFF0011",
    user_long_name="Ada Example",
    user_short_name="ada",
    not_on_console=False,
)
TOPIC = "com.apple.mgmt.External.0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f"
CURLY = "The profile “org.example.wifi” is not managed by MDM."


def captured(name: str) -> bytes:
    return (DATA / f"{name}.plist").read_bytes()


def data_of(name: str, key: str) -> bytes:
    """A data value of a fixture, dug out of its text."""
    text = captured(name).decode().split(f"<key>{key}</key>")[1]
    return base64.b64decode("".join(text.split("<data>")[1].split("</data>")[0].split()))


CHECKINS: dict[str, CheckIn] = {
    "authenticate-ios-9.3": Authenticate(
        ids=IPAD,
        topic=TOPIC,
        os_version="9.3.5",
        build_version="13G36",
        product_name="iPad2,5",
        serial_number="F4KJ00SYNTH1",
    ),
    "authenticate-ios-11.3-cellular": Authenticate(
        ids=IPHONE,
        topic=TOPIC.replace("External", "XServer"),
        os_version="11.3.1",
        build_version="15E302",
        product_name="iPhone7,2",
        serial_number="F4KJ00SYNTH2",
        imei="35 000000 000000 9",
        meid="35000000000000",
    ),
    "authenticate-macos-10.12": Authenticate(
        ids=MAC,
        topic=TOPIC,
        os_version="10.12.6",
        build_version="16G2136",
        product_name="iMac14,2",
        serial_number="C02SYNTHETIC",
        device_name="Ada’s iMac & more",
        model="iMac14,2",
        model_name="iMac",
        challenge=b"apple",
    ),
    "authenticate-ios-18.2-user-enrollment": Authenticate(
        ids=BYOD, topic=TOPIC, os_version="18.2.1", build_version="22C161", product_name="iPhone12,1"
    ),
    "tokenupdate-ios-9.3": TokenUpdate(
        ids=IPAD,
        topic=TOPIC,
        token=data_of("tokenupdate-ios-9.3", "Token"),
        push_magic="7A6B5C4D-3E2F-4A1B-8C0D-9E8F7A6B5C4D",
        unlock_token=data_of("tokenupdate-ios-9.3", "UnlockToken"),
        awaiting_configuration=False,
    ),
    "tokenupdate-macos-10.12": TokenUpdate(
        ids=MAC,
        topic=TOPIC,
        token=data_of("tokenupdate-macos-10.12", "Token"),
        push_magic="7A6B5C4D-3E2F-4A1B-8C0D-9E8F7A6B5C4E",
        awaiting_configuration=False,
    ),
    "tokenupdate-macos-10.12-user": TokenUpdate(
        ids=MAC_USER,
        topic=TOPIC,
        token=data_of("tokenupdate-macos-10.12-user", "Token"),
        push_magic="7A6B5C4D-3E2F-4A1B-8C0D-9E8F7A6B5C4F",
    ),
    "tokenupdate-ios-18.2-user-enrollment": TokenUpdate(
        ids=BYOD,
        topic=TOPIC,
        token=data_of("tokenupdate-ios-18.2-user-enrollment", "Token"),
        push_magic="7A6B5C4D-3E2F-4A1B-8C0D-9E8F7A6B5C50",
        awaiting_configuration=False,
    ),
    "checkout-ios-11.3": CheckOut(ids=IPAD, topic=TOPIC),
}

REPORTS: dict[str, Report] = {
    "idle-ios-18.2-user-enrollment": Report(BYOD, Status.IDLE),
    "idle-macos-11": Report(MAC, Status.IDLE),
    "idle-macos-10.15-user": Report(MAC_USER, Status.IDLE),
    "notnow-ios-11.3": Report(IPAD, Status.NOT_NOW, "0001_SecurityInfo"),
    "commandformaterror-ios-11.3": Report(IPAD, Status.COMMAND_FORMAT_ERROR, "0002_Nonsense"),
    "error-ios-11.3-removeprofile": Report(
        IPAD,
        Status.ERROR,
        "5d6e7f80-9102-4344-8566-778899aabbcc",
        (ErrorItem(12013, "MCMDMErrorDomain", CURLY, CURLY),),
    ),
    "error-macos-10.13-unknown": Report(
        MAC,
        Status.ERROR,
        "5d6e7f80-9102-4344-8566-778899aabbcd",
        (ErrorItem(12021, "MCMDMErrorDomain", "Unknown command: ShutdownDevice <MDMClientError:91>"),),
    ),
    "error-ios-11.3-availableosupdates": Report(
        IPAD,
        Status.ERROR,
        "5d6e7f80-9102-4344-8566-778899aabbce",
        (
            ErrorItem(2213, "DeviceManagement.error", "No update available."),
            ErrorItem(
                3,
                "com.apple.softwareupdateservices.errors",
                "The operation couldn’t be completed. (com.apple.softwareupdateservices.errors error 3.)",
            ),
        ),
    ),
    "devicelock-ios-11.3-no-passcode": Report(
        IPAD,
        Status.ACKNOWLEDGED,
        "5d6e7f80-9102-4344-8566-778899aabbcf",
        response={"MessageResult": "NoPasscodeSet"},
    ),
    "deviceinformation-ios-11.3": Report(
        IPAD,
        Status.ACKNOWLEDGED,
        "5d6e7f80-9102-4344-8566-778899aabbd0",
        response={
            "QueryResponses": {
                "iTunesStoreAccountIsActive": False,
                "WiFiMAC": "02:00:00:aa:bb:cc",
                "SubscriberMCC": "",
                "Model": "MD786X",
                "IsSupervised": True,
                "IsRoaming": False,
                "DeviceCapacity": plist.single(25.682976),
                "DataRoamingEnabled": False,
                "CurrentCarrierNetwork": "",
                "BatteryLevel": plist.single(0.86),
                "AvailableDeviceCapacity": plist.single(15.4682695),
            }
        },
    ),
    "deviceinformation-macos-10.12": Report(
        MAC,
        Status.ACKNOWLEDGED,
        "5d6e7f80-9102-4344-8566-778899aabbd3",
        response={
            "QueryResponses": {
                "DeviceName": "Ada’s iMac",
                "DeviceCapacity": 464.82241058349609,
                "BluetoothMAC": "02-00-00-aa-bb-cd",
                "AvailableDeviceCapacity": 60.977592468261719,
                "ActiveManagedUsers": [],
            }
        },
        request_type="DeviceInformation",
    ),
    "profilelist-macos-13": Report(
        MAC,
        Status.ACKNOWLEDGED,
        "5d6e7f80-9102-4344-8566-778899aabbd1",
        response={
            "ProfileList": [
                {
                    "PayloadIdentifier": "org.example.wifi",
                    "PayloadUUID": "44556677-8899-4AAB-BCCD-DEEFF0011223",
                    "PayloadVersion": 1,
                    "IsEncrypted": False,
                    "HasRemovalPasscode": False,
                    "SignerCertificates": [data_of("profilelist-macos-13", "SignerCertificates")],
                    "PayloadContent": [
                        {
                            "PayloadType": "com.apple.wifi.managed",
                            "PayloadIdentifier": "org.example.wifi.1",
                            "PayloadUUID": "33445566-7788-499A-ABBC-CDDEEFF00112",
                            "PayloadVersion": 1,
                            "PayloadDisplayName": "Wi-Fi",
                        }
                    ],
                }
            ]
        },
    ),
    "certificatelist-macos-13": Report(
        MAC,
        Status.ACKNOWLEDGED,
        "5d6e7f80-9102-4344-8566-778899aabbd2",
        response={
            "CertificateList": [
                {
                    "Data": data_of("certificatelist-macos-13", "Data"),
                    "IsIdentity": False,
                    "CommonName": "?Error_-26276?",
                }
            ]
        },
    ),
}


@pytest.mark.parametrize("name", CHECKINS)
def test_checkin_is_written_as_captured(name: str) -> None:
    assert build_checkin(CHECKINS[name]).decode() == captured(name).decode()


@pytest.mark.parametrize("name", CHECKINS)
def test_captured_checkin_is_read_with_nothing_left_over(name: str) -> None:
    assert parse_checkin(captured(name)) == CHECKINS[name]


@pytest.mark.parametrize("name", REPORTS)
def test_report_is_written_as_captured(name: str) -> None:
    assert build_report(REPORTS[name]).decode() == captured(name).decode()


@pytest.mark.parametrize("name", REPORTS)
def test_captured_report_is_read_whole(name: str) -> None:
    assert parse_report(captured(name)) == REPORTS[name]


def test_every_captured_message_is_in_these_tables() -> None:
    assert {path.stem for path in DATA.glob("*.plist")} == {*CHECKINS, *REPORTS}


@pytest.mark.parametrize(
    ("name", "content_length"),
    [
        ("authenticate-ios-18.2-user-enrollment", 570),
        ("tokenupdate-ios-18.2-user-enrollment", 621),
        ("idle-ios-18.2-user-enrollment", 310),
        ("idle-macos-11", 302),
    ],
)
def test_message_has_the_content_length_of_the_real_request(name: str, content_length: int) -> None:
    body = build_checkin(CHECKINS[name]) if name in CHECKINS else build_report(REPORTS[name])
    assert len(body) == content_length


@pytest.mark.parametrize("name", [*CHECKINS, *REPORTS])
def test_a_foreign_reader_finds_the_same_values(name: str) -> None:
    theirs: dict[str, Any] = plistlib.loads(captured(name))
    assert theirs == plist.loads(captured(name))
