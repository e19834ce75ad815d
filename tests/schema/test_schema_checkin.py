from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.protocol import plist
from mdmsim.protocol.checkin import MESSAGE_TYPES
from mdmsim.protocol.errors import Malformed
from mdmsim.schema import checkin
from mdmsim.schema.availability import Platform, Reason
from mdmsim.schema.checkin import Sender, Violation, available, check, messages, rules
from mdmsim.schema.overrides import OVERRIDES

DATA = Path(__file__).parent.parent / "data"

IPHONE = Sender(platform=Platform.IOS, os_version="18.1")
MAC = Sender(platform=Platform.MACOS, os_version="15.1")
TV = Sender(platform=Platform.TVOS, os_version="18.1")
WATCH = Sender(platform=Platform.WATCHOS, os_version="11.0")
VISION = Sender(platform=Platform.VISIONOS, os_version="2.0")
MAC_USER = replace(MAC, channel="user")
SHARED_IPAD = Sender(platform=Platform.IPADOS, os_version="18.1", shared_ipad=True)
SHARED_USER = replace(SHARED_IPAD, channel="user")
BYOD = replace(IPHONE, enrollment="user")
MAC_BYOD = replace(MAC, enrollment="user")
MAC_BYOD_USER = replace(MAC_BYOD, channel="user")


def checked(values: dict[str, Any], sender: Sender) -> list[Violation]:
    return check(
        values,
        sender.platform,
        sender.os_version,
        sender.channel,
        sender.enrollment,
        sender.access_rights,
        shared_ipad=sender.shared_ipad,
    )


def keys(message: str, sender: Sender, presence: str) -> set[str]:
    """The keys of that presence, without those that every message has."""
    return {rule.name for rule in rules(message, sender) if rule.presence == presence} - {"MessageType", "Topic"}


# Captured messages pass -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sender"),
    [
        ("authenticate-ios-9.3", replace(IPHONE, os_version="9.3.5")),
        ("authenticate-ios-11.3-cellular", replace(IPHONE, os_version="11.3.1")),
        ("authenticate-macos-10.12", replace(MAC, os_version="10.12.6")),
        ("authenticate-ios-18.2-user-enrollment", replace(BYOD, os_version="18.2.1")),
        ("tokenupdate-ios-9.3", replace(IPHONE, os_version="9.3.5")),
        ("tokenupdate-macos-10.12", replace(MAC, os_version="10.12.6")),
        ("tokenupdate-macos-10.12-user", replace(MAC_USER, os_version="10.12.2")),
        ("tokenupdate-ios-18.2-user-enrollment", replace(BYOD, os_version="18.2.1")),
        ("checkout-ios-11.3", replace(IPHONE, os_version="11.3.1")),
    ],
)
def test_captured_messages_have_no_violation(name: str, sender: Sender) -> None:
    assert checked(plist.loads((DATA / f"{name}.plist").read_bytes()), sender) == []


# Which message exists where ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "senders"),
    [
        ("Authenticate", [IPHONE, SHARED_IPAD, MAC, TV, VISION, WATCH, BYOD, MAC_BYOD]),
        (
            "TokenUpdate",
            [IPHONE, SHARED_IPAD, SHARED_USER, MAC, MAC_USER, TV, VISION, WATCH, BYOD, MAC_BYOD, MAC_BYOD_USER],
        ),
        ("CheckOut", [IPHONE, SHARED_IPAD, MAC, TV, VISION, WATCH, BYOD, MAC_BYOD]),
        ("UserAuthenticate", [MAC_USER]),
        ("SetBootstrapToken", [MAC]),
        ("GetBootstrapToken", [MAC]),
        ("GetToken", [IPHONE, SHARED_IPAD, SHARED_USER, MAC, MAC_USER, VISION, BYOD, MAC_BYOD, MAC_BYOD_USER]),
        (
            "DeclarativeManagement",
            [IPHONE, SHARED_IPAD, SHARED_USER, MAC, MAC_USER, TV, VISION, WATCH, BYOD, MAC_BYOD, MAC_BYOD_USER],
        ),
    ],
)
def test_each_message_comes_from_these_senders_only(message: str, senders: list[Sender]) -> None:
    everyone = [IPHONE, SHARED_IPAD, SHARED_USER, MAC, MAC_USER, TV, VISION, WATCH, BYOD, MAC_BYOD, MAC_BYOD_USER]
    assert [sender for sender in everyone if available(message, sender) is None] == [
        s for s in everyone if s in senders
    ]


@pytest.mark.parametrize(
    ("message", "platform", "first", "before"),
    [
        ("TokenUpdate", Platform.TVOS, "10.2", "10.1"),
        ("SetBootstrapToken", Platform.MACOS, "10.15", "10.14.6"),
        ("GetToken", Platform.IOS, "17.0", "16.7.8"),
        ("DeclarativeManagement", Platform.MACOS, "13.0", "12.7"),
        ("DeclarativeManagement", Platform.TVOS, "16.0", "15.6"),
    ],
)
def test_messages_come_with_an_os_version(message: str, platform: Platform, first: str, before: str) -> None:
    assert available(message, Sender(platform=platform, os_version=first)) is None
    too_early = available(message, Sender(platform=platform, os_version=before))
    assert too_early is not None and too_early.reason is Reason.OS_VERSION


def test_the_schema_and_the_parser_know_the_same_messages() -> None:
    assert set(messages()) == set(MESSAGE_TYPES)


# Which key in which message ---------------------------------------------------------------------------------------------

INVENTORY = {"OSVersion", "BuildVersion", "ProductName"}


@pytest.mark.parametrize(
    ("message", "sender", "required", "optional"),
    [
        ("Authenticate", IPHONE, {"UDID", "SerialNumber", *INVENTORY}, {"IMEI", "MEID"}),
        ("Authenticate", replace(IPHONE, access_rights=8191 - 16), {"UDID"}, set()),
        ("Authenticate", replace(IPHONE, os_version="8.4"), {"UDID"}, set()),
        ("Authenticate", BYOD, {"EnrollmentID", *INVENTORY}, set()),
        ("Authenticate", TV, {"UDID", "SerialNumber", *INVENTORY}, set()),
        ("Authenticate", WATCH, {"UDID", "SerialNumber", *INVENTORY}, {"IMEI", "MEID"}),
        ("Authenticate", VISION, {"UDID", "SerialNumber", *INVENTORY}, {"IMEI", "MEID"}),
        ("Authenticate", MAC, {"UDID", "SerialNumber", "DeviceName", "Model", "ModelName", *INVENTORY}, {"Challenge"}),
        ("Authenticate", MAC_BYOD, {"EnrollmentID", "DeviceName", "Model", "ModelName", *INVENTORY}, {"Challenge"}),
        ("TokenUpdate", IPHONE, {"UDID", "Token", "PushMagic"}, {"UnlockToken", "AwaitingConfiguration"}),
        ("TokenUpdate", replace(IPHONE, access_rights=3), {"UDID", "Token", "PushMagic"}, {"AwaitingConfiguration"}),
        ("TokenUpdate", replace(IPHONE, os_version="8.4"), {"UDID", "Token", "PushMagic"}, {"UnlockToken"}),
        ("TokenUpdate", BYOD, {"EnrollmentID", "Token", "PushMagic"}, {"AwaitingConfiguration"}),
        ("TokenUpdate", TV, {"UDID", "Token", "PushMagic"}, {"AwaitingConfiguration"}),
        ("TokenUpdate", WATCH, {"UDID", "Token", "PushMagic"}, {"UnlockToken"}),
        ("TokenUpdate", SHARED_IPAD, {"UDID", "Token", "PushMagic"}, {"AwaitingConfiguration"}),
        (
            "TokenUpdate",
            SHARED_USER,
            {"UDID", "Token", "PushMagic", "UserID", "UserShortName"},
            {"AwaitingConfiguration", "UserLongName"},
        ),
        ("TokenUpdate", MAC, {"UDID", "Token", "PushMagic"}, {"AwaitingConfiguration"}),
        (
            "TokenUpdate",
            MAC_USER,
            {"UDID", "Token", "PushMagic", "UserID", "UserShortName", "UserLongName", "NotOnConsole"},
            set(),
        ),
        (
            "TokenUpdate",
            MAC_BYOD_USER,
            {"EnrollmentID", "EnrollmentUserID", "Token", "PushMagic", "NotOnConsole"},
            {"UserID", "UserShortName", "UserLongName"},
        ),
        ("CheckOut", IPHONE, {"UDID"}, set()),
        ("CheckOut", BYOD, {"EnrollmentID"}, set()),
        ("CheckOut", MAC_BYOD, {"EnrollmentID"}, set()),
        ("UserAuthenticate", MAC_USER, {"UDID", "UserID"}, {"DigestResponse"}),
        ("SetBootstrapToken", MAC, {"UDID"}, {"BootstrapToken", "AwaitingConfiguration"}),
        ("GetBootstrapToken", MAC, {"UDID"}, {"AwaitingConfiguration"}),
        ("GetToken", IPHONE, {"UDID", "TokenServiceType"}, {"TokenParameters"}),
        ("DeclarativeManagement", TV, {"UDID", "Endpoint"}, {"Data"}),
        (
            "DeclarativeManagement",
            MAC_USER,
            {"UDID", "Endpoint", "UserID", "UserShortName", "UserLongName"},
            {"Data", "NotOnConsole"},
        ),
    ],
)
def test_a_message_has_these_keys(message: str, sender: Sender, required: set[str], optional: set[str]) -> None:
    assert (keys(message, sender, "required"), keys(message, sender, "optional")) == (required, optional)


# Violations -------------------------------------------------------------------------------------------------------------


def token_update(**changes: Any) -> dict[str, Any]:
    """A legal TokenUpdate of an iPhone with some things changed; None takes a key away."""
    whole = {"MessageType": "TokenUpdate", "UDID": "x", "Topic": "t", "Token": b"t", "PushMagic": "m"} | changes
    return {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "sender", "violations"),
    [
        ({}, IPHONE, []),
        ({"Token": None}, IPHONE, [("Token", "missing")]),
        ({"Token": "t"}, IPHONE, [("Token", "type")]),
        ({"AwaitingConfiguration": 1}, IPHONE, [("AwaitingConfiguration", "type")]),
        ({"PushMagic": True, "Topic": None}, IPHONE, [("Topic", "missing"), ("PushMagic", "type")]),
        ({"UnlockToken": b"k"}, TV, [("UnlockToken", "forbidden")]),
        ({"UnlockToken": b"k"}, MAC, [("UnlockToken", "forbidden")]),
        ({"NotOnConsole": False}, IPHONE, [("NotOnConsole", "forbidden")]),
        ({"UserID": "u"}, MAC, [("UserID", "forbidden")]),
        ({"EnrollmentID": "e"}, IPHONE, [("EnrollmentID", "forbidden")]),
        ({}, BYOD, [("UDID", "forbidden"), ("EnrollmentID", "missing")]),
        ({"Colour": "red"}, IPHONE, [("Colour", "unknown")]),
        ({"MessageType": "Nonsense"}, IPHONE, [("MessageType", "value")]),
        ({"MessageType": None}, IPHONE, [("MessageType", "value")]),
        ({"MessageType": "SetBootstrapToken"}, IPHONE, [("", "unavailable")]),
    ],
)
def test_a_departure_from_the_shape_is_found(
    changes: dict[str, Any], sender: Sender, violations: list[tuple[str, str]]
) -> None:
    assert [(found.key, found.rule) for found in checked(token_update(**changes), sender)] == violations


def test_values_outside_the_list_are_found() -> None:
    message = {"MessageType": "GetToken", "UDID": "x", "TokenServiceType": "com.example"}
    assert [str(found) for found in checked(message, IPHONE)] == [
        "TokenServiceType must be one of com.apple.maid, com.apple.watch.pairing"
    ]


def test_keys_inside_a_dictionary_are_checked_too() -> None:
    message = {
        "MessageType": "GetToken",
        "UDID": "x",
        "TokenServiceType": "com.apple.watch.pairing",
        "TokenParameters": {"PhoneUDID": 1, "SecurityToken": "s", "Shoe": 42},
    }
    assert [(found.key, found.rule) for found in checked(message, IPHONE)] == [
        ("TokenParameters.PhoneUDID", "type"),
        ("TokenParameters.Shoe", "unknown"),
    ]


def test_a_violation_reads_as_a_sentence() -> None:
    assert [str(found) for found in checked(token_update(Token="t"), IPHONE)] == ["Token is a string; it must be data"]


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["MessageType", "UDID", "Token", "TokenParameters", "Topic", "Data", "x"]),
        st.one_of(st.sampled_from(MESSAGE_TYPES), st.binary(max_size=2), st.booleans(), st.integers(), st.floats(), st.just([]), st.just({"a": 1})),
    ),
    st.sampled_from([IPHONE, MAC, MAC_USER, TV, SHARED_USER, MAC_BYOD_USER]),
)  # fmt: skip
def test_checking_never_raises_whatever_the_values(values: dict[str, Any], sender: Sender) -> None:
    assert all(str(violation) for violation in checked(values, sender))


def test_an_os_version_that_is_none_is_malformed() -> None:
    with pytest.raises(Malformed, match="OS version"):
        check(token_update(), Platform.IOS, "eighteen")


# Overrides --------------------------------------------------------------------------------------------------------------


def test_override_names_are_unique() -> None:
    assert len({override.name for override in OVERRIDES}) == len(OVERRIDES)


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override.name)
def test_every_override_states_reason_and_source_and_known_messages(override: Any) -> None:
    assert override.why and override.source
    assert set(override.messages) <= set(messages())


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override.name)
def test_every_override_decides_somewhere(override: Any) -> None:
    """One that changes nothing any more should be deleted: the schema has caught up."""
    senders = [IPHONE, SHARED_IPAD, SHARED_USER, MAC, MAC_USER, TV, BYOD, MAC_BYOD, MAC_BYOD_USER]
    decided = {
        rule.override
        for message in messages()
        for sender in senders
        if available(message, sender) is None
        for rule in rules(message, sender)
    }
    assert override.name in decided


@pytest.mark.parametrize("override", [o for o in OVERRIDES if o.type is None], ids=lambda override: override.name)
def test_every_override_of_a_known_key_names_keys_of_the_schema(override: Any) -> None:
    for message in override.messages:
        assert set(override.keys) <= {key.name for key in checkin.shape(message).keys}
