from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.protocol import plist
from mdmsim.protocol.checkin import (
    MESSAGE_TYPES,
    Authenticate,
    CheckIn,
    CheckOut,
    DeclarativeManagement,
    GetBootstrapToken,
    GetToken,
    Ids,
    SetBootstrapToken,
    TokenUpdate,
    UserAuthenticate,
    build_checkin,
    checkin_keys,
    parse_checkin,
)
from mdmsim.protocol.errors import Malformed

MAC = Ids(udid="11223344-5566-5788-99AA-BBCCDDEEFF00")
USER = replace(MAC, user_id="22334455-6677-4899-AABB-CCDDEEFF0011", user_short_name="ada", not_on_console=True)
TOPIC = "com.apple.mgmt.External.0f1e2d3c"

ONE_OF_EACH: list[CheckIn] = [
    Authenticate(ids=MAC, topic=TOPIC, serial_number="C02SYNTHETIC", challenge=b"apple"),
    TokenUpdate(
        ids=USER, topic=TOPIC, token=b"\1" * 32, push_magic="MAGIC", unlock_token=b"", awaiting_configuration=True
    ),
    CheckOut(ids=MAC, topic=TOPIC),
    UserAuthenticate(ids=USER, digest_response="digest"),
    SetBootstrapToken(ids=MAC, bootstrap_token=b"boot", awaiting_configuration=False),
    GetBootstrapToken(ids=MAC, awaiting_configuration=False),
    GetToken(ids=MAC, token_service_type="com.apple.maid", token_parameters={"PhoneUDID": "x"}),
    DeclarativeManagement(ids=MAC, endpoint="status", data=b"{}"),
]


def body(message_type: str, **keys: Any) -> bytes:
    return plist.dumps({"MessageType": message_type, "UDID": "MAC-1", "Topic": TOPIC, **keys})


def token_update(**keys: Any) -> bytes:
    return body("TokenUpdate", **({"Token": b"\1" * 32, "PushMagic": "MAGIC"} | keys))


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: message.message_type)
def test_every_message_comes_back_as_it_went(message: CheckIn) -> None:
    assert parse_checkin(build_checkin(message)) == message


def test_every_message_type_is_covered_here() -> None:
    assert {message.message_type for message in ONE_OF_EACH} == set(MESSAGE_TYPES)


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: message.message_type)
def test_unknown_keys_are_kept_and_written_again(message: CheckIn) -> None:
    extended = replace(message, extra={"NewInVersion99": [1, {"a": b"b"}]})
    assert parse_checkin(build_checkin(extended)).extra == {"NewInVersion99": [1, {"a": b"b"}]}


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: message.message_type)
def test_messages_can_be_members_of_sets(message: CheckIn) -> None:
    assert message in {message, replace(message, extra={"x": []})}


def test_extra_never_outdoes_a_field() -> None:
    keys = checkin_keys(CheckOut(ids=MAC, topic=TOPIC, extra={"MessageType": "Authenticate", "Topic": "other"}))
    assert (keys["MessageType"], keys["Topic"]) == ("CheckOut", TOPIC)


@pytest.mark.parametrize("value", [True, False, None])
def test_awaiting_configuration_has_three_values(value: bool | None) -> None:
    message = TokenUpdate(ids=MAC, topic=TOPIC, token=b"t", push_magic="m", awaiting_configuration=value)
    again = parse_checkin(build_checkin(message))
    assert isinstance(again, TokenUpdate)
    assert again.awaiting_configuration is value


def test_an_absent_unlock_token_differs_from_an_empty_one() -> None:
    absent, empty = parse_checkin(token_update()), parse_checkin(token_update(UnlockToken=b""))
    assert isinstance(absent, TokenUpdate) and isinstance(empty, TokenUpdate)
    assert (absent.unlock_token, empty.unlock_token) == (None, b"")


@pytest.mark.parametrize(
    "message",
    [
        TokenUpdate(ids=MAC, topic=TOPIC, token=b"t", push_magic="hush-hush", unlock_token=b"hush-hush"),
        SetBootstrapToken(ids=MAC, bootstrap_token=b"hush-hush"),
        UserAuthenticate(ids=USER, digest_response="hush-hush"),
        GetToken(ids=MAC, token_service_type="x", token_parameters={"SecurityToken": "hush-hush"}),
    ],
    ids=lambda message: message.message_type,
)
def test_secrets_stay_out_of_repr(message: CheckIn) -> None:
    assert "hush" not in repr(message)


REQUIRED = [
    ("Authenticate", "Topic", {}),
    ("TokenUpdate", "Topic", {"Token": b"t", "PushMagic": "m"}),
    ("TokenUpdate", "Token", {"PushMagic": "m"}),
    ("TokenUpdate", "PushMagic", {"Token": b"t"}),
    ("CheckOut", "Topic", {}),
    ("UserAuthenticate", "UserID", {}),
    ("GetToken", "TokenServiceType", {}),
    ("DeclarativeManagement", "Endpoint", {}),
]


@pytest.mark.parametrize(("message_type", "key", "others"), REQUIRED)
def test_a_missing_key_is_named(message_type: str, key: str, others: dict[str, Any]) -> None:
    keys = {"MessageType": message_type, "UDID": "MAC-1", "Topic": TOPIC, **others}
    keys.pop(key, None)
    with pytest.raises(Malformed) as caught:
        parse_checkin(plist.dumps(keys))
    assert (caught.value.what, caught.value.key, caught.value.problem) == (message_type, key, "missing")


@pytest.mark.parametrize(
    ("message_type", "key", "others"), [row for row in REQUIRED if row[1] not in ("Token", "UserID")]
)
def test_an_empty_string_does_not_do_for_a_required_key(message_type: str, key: str, others: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=f"^{message_type}: {key} is empty"):
        parse_checkin(body(message_type, **others, **{key: ""}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (body("Authenticate", OSVersion=18), "Authenticate: OSVersion is an integer; it must be a string"),
        (body("Authenticate", Challenge="apple"), "Authenticate: Challenge is a string; it must be data"),
        (body("Authenticate", DeviceName=["x"]), "Authenticate: DeviceName is an array; it must be a string"),
        (token_update(Token="dG9rZW4="), "TokenUpdate: Token is a string; it must be data"),
        (token_update(PushMagic=b"MAGIC"), "TokenUpdate: PushMagic is data; it must be a string"),
        (token_update(UnlockToken=True), "TokenUpdate: UnlockToken is a boolean; it must be data"),
        (token_update(AwaitingConfiguration=0), "TokenUpdate: AwaitingConfiguration is an integer; it must be a boolean"),
        (token_update(NotOnConsole="NO"), "TokenUpdate: NotOnConsole is a string; it must be a boolean"),
        (token_update(Topic=1.5), "TokenUpdate: Topic is a real; it must be a string"),
        (body("CheckOut", UDID={}), "CheckOut: UDID is a dictionary; it must be a string"),
        (body("GetToken", TokenServiceType="x", TokenParameters=[]), "GetToken: TokenParameters is an array; it must be a dictionary"),
        (body("DeclarativeManagement", Endpoint="status", Data="{}"), "DeclarativeManagement: Data is a string; it must be data"),
        (body("SetBootstrapToken", BootstrapToken="x"), "SetBootstrapToken: BootstrapToken is a string; it must be data"),
        (plist.dumps({"UDID": "x"}), "check-in: MessageType is missing; it must be a string"),
        (plist.dumps({"MessageType": 7}), "check-in: MessageType is an integer; it must be a string"),
        (plist.dumps([1]), "check-in: the outermost value is an array; it must be a dictionary"),
    ],
)  # fmt: skip
def test_a_wrong_type_names_message_key_what_was_found_and_what_is_allowed(data: bytes, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_checkin(data)
    assert str(caught.value) == said


def test_an_unknown_message_type_lists_the_known_ones() -> None:
    with pytest.raises(Malformed, match="'ReturnToService'; known are Authenticate, TokenUpdate"):
        parse_checkin(body("ReturnToService"))


def test_a_message_without_any_identifier_is_malformed() -> None:
    with pytest.raises(Malformed, match="UDID and EnrollmentID are both missing"):
        parse_checkin(plist.dumps({"MessageType": "CheckOut", "Topic": TOPIC}))


@pytest.mark.parametrize("udid", ["", "A:B", "A B", "../x", "a\nb", "ü", "x" * 129])
def test_identifiers_that_could_pose_as_another_enrollment_are_refused(udid: str) -> None:
    with pytest.raises(Malformed, match="CheckOut: UDID is"):
        parse_checkin(body("CheckOut", UDID=udid))


values = st.one_of(
    st.none(),
    st.text("abc:", max_size=3),
    st.binary(max_size=3),
    st.booleans(),
    st.integers(-5, 5),
    st.just([]),
    st.just({}),
)
KEYS = ("UDID", "EnrollmentID", "UserID", "UserShortName", "Topic", "Token", "PushMagic", "UnlockToken", "Endpoint", "Data",
        "AwaitingConfiguration", "NotOnConsole", "TokenServiceType", "TokenParameters", "Challenge", "Other")  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MESSAGE_TYPES), st.dictionaries(st.sampled_from(KEYS), values))
def test_whatever_the_keys_hold_nothing_but_malformed_is_raised(message_type: str, keys: dict[str, Any]) -> None:
    present = {key: value for key, value in keys.items() if value is not None} | {"MessageType": message_type}
    try:
        message = parse_checkin(plist.dumps(present))
    except Malformed as error:
        assert error.what == message_type
    else:
        assert checkin_keys(message) == present


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bodies_raise_nothing_but_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_checkin(data)


# Identifiers -----------------------------------------------------------------------------------------------------------

SHARED = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"


@pytest.mark.parametrize(
    ("ids", "channel", "key"),
    [
        (Ids(udid="U"), "device", "U"),
        (Ids(udid="U", enrollment_id="E"), "device", "U"),
        (Ids(enrollment_id="E"), "device", "E"),
        (Ids(udid="U", user_id="G", user_short_name="ada"), "user", "U:G"),
        (Ids(udid="U", user_id=SHARED, user_short_name="ada@example.org"), "user", "U:ada@example.org"),
        (Ids(udid="U", user_short_name="ada@example.org"), "user", "U:ada@example.org"),
        (Ids(enrollment_id="E", enrollment_user_id="P"), "user", "E:P"),
        (Ids(enrollment_id="E", enrollment_user_id="P", user_id="G"), "user", "E:P"),
        (Ids(udid="U", user_id="G", enrollment_user_id="P"), "user", "U:G"),
        (Ids(udid="U", user_long_name="Ada", not_on_console=False), "device", "U"),
    ],
)
def test_channel_and_key_follow_the_identifiers(ids: Ids, channel: str, key: str) -> None:
    assert (ids.channel, ids.key, ids.device_key) == (channel, key, key.partition(":")[0])


def test_a_key_needs_a_device() -> None:
    with pytest.raises(Malformed, match="neither UDID nor EnrollmentID"):
        _ = Ids(user_id="G").key
