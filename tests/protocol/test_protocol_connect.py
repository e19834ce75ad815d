from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.protocol import plist
from mdmsim.protocol.connect import (
    Command,
    ErrorItem,
    Ids,
    Report,
    Status,
    build_command,
    build_report,
    parse_command,
    parse_report,
    report_keys,
)
from mdmsim.protocol.error_chain import chain_from_plist, chain_to_plist
from mdmsim.protocol.errors import Malformed, MalformedCommand

UUID = "5d6e7f80-9102-4344-8566-778899aabbcc"
CHAIN = (ErrorItem(-909, "NSOSStatusErrorDomain", " <NSOSStatusErrorDomain:-909>"), ErrorItem(1, "D", "l", "e"))


def report(**keys: Any) -> bytes:
    return plist.dumps({"UDID": "PHONE-1", "Status": "Acknowledged", "CommandUUID": UUID} | keys)


# Reports ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(Status))
def test_a_report_of_every_status_comes_back_as_it_went(status: Status) -> None:
    uuid = None if status is Status.IDLE else UUID
    chain = CHAIN if status is Status.ERROR else ()
    sent = Report(Ids(udid="PHONE-1"), status, uuid, chain, {"Answer": [1, {"b": b"c"}]}, "RestartDevice")
    assert parse_report(build_report(sent)) == sent


@pytest.mark.parametrize("status", list(Status))
def test_the_label_is_connect_and_the_status(status: Status) -> None:
    assert Report(Ids(udid="x"), status, UUID).label == f"connect:{status.value}"


def test_a_response_never_outdoes_status_and_identifiers() -> None:
    sent = Report(
        Ids(udid="PHONE-1"), Status.NOT_NOW, UUID, response={"Status": "Idle", "UDID": "other", "CommandUUID": "x"}
    )
    assert report_keys(sent) == {"UDID": "PHONE-1", "Status": "NotNow", "CommandUUID": UUID}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            report(Status="Busy"),
            "report: Status is 'Busy'; allowed are Idle, Acknowledged, Error, CommandFormatError, NotNow",
        ),
        (report(Status=1), "report: Status is an integer; it must be a string"),
        (
            report(Status="NotNow", CommandUUID=""),
            "NotNow report: CommandUUID is missing or empty; only an Idle report has none",
        ),
        (report(CommandUUID=7), "Acknowledged report: CommandUUID is an integer; it must be a string"),
        (report(ErrorChain={}), "Acknowledged report: ErrorChain is a dictionary; it must be an array"),
        (report(ErrorChain=["x"]), "Acknowledged report: ErrorChain[0] is a string; it must be a dictionary"),
        (
            report(ErrorChain=[{"ErrorCode": 1, "ErrorDomain": "D"}, {"ErrorCode": "2", "ErrorDomain": "D"}]),
            "Acknowledged report: ErrorChain[1].ErrorCode is a string; it must be an integer",
        ),
        (
            report(ErrorChain=[{"ErrorDomain": "D"}]),
            "Acknowledged report: ErrorChain[0].ErrorCode is missing; it must be an integer",
        ),
        (report(UDID=1), "Acknowledged report: UDID is an integer; it must be a string"),
        (plist.dumps({"Status": "Idle"}), "Idle report: UDID and EnrollmentID are both missing; one of them is needed"),
    ],
)
def test_bad_reports_say_what_was_found_and_what_is_allowed(data: bytes, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_report(data)
    assert str(caught.value) == said


def test_an_error_without_a_chain_is_legal() -> None:
    assert parse_report(report(Status="Error")).error_chain == ()


def test_an_error_item_without_texts_is_read() -> None:
    assert chain_from_plist([{"ErrorCode": 1, "ErrorDomain": "D"}]) == (ErrorItem(1, "D", ""),)


def test_an_error_chain_comes_back_as_it_went() -> None:
    assert chain_from_plist(chain_to_plist(CHAIN)) == CHAIN


def test_us_english_is_left_out_where_there_is_none() -> None:
    assert [set(item) for item in chain_to_plist(CHAIN)] == [
        {"ErrorCode", "ErrorDomain", "LocalizedDescription"},
        {"ErrorCode", "ErrorDomain", "LocalizedDescription", "USEnglishDescription"},
    ]


def test_what_a_report_answers_stays_out_of_its_repr() -> None:
    assert "hush" not in repr(Report(Ids(udid="x"), Status.ACKNOWLEDGED, UUID, response={"UnlockToken": b"hush"}))


values = st.one_of(
    st.text("ab:", max_size=3),
    st.binary(max_size=3),
    st.booleans(),
    st.integers(-5, 5),
    st.lists(st.integers(0, 2)),
    st.just({}),
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*(status.value for status in Status), "x"]),
    st.dictionaries(
        st.sampled_from(["UDID", "EnrollmentID", "UserID", "CommandUUID", "ErrorChain", "RequestType", "Other"]), values
    ),
)
def test_whatever_a_report_holds_nothing_but_malformed_is_raised(status: str, keys: dict[str, Any]) -> None:
    try:
        parsed = parse_report(plist.dumps({"Status": status} | keys))
    except Malformed as error:
        assert error.reason
    else:
        assert parse_report(build_report(parsed)) == parsed


# Commands --------------------------------------------------------------------------------------------------------------


def test_a_command_comes_back_as_it_went() -> None:
    sent = Command("0001_DeviceLock", "DeviceLock", {"PIN": "123456"}, {"Note": 1})
    assert parse_command(build_command(sent)) == sent


def test_the_keys_of_a_command_have_no_request_type() -> None:
    inner = {"RequestType": "RequestMirroring", "DestinationName": "x", "RequestRequiresNetworkTether": True}
    command = parse_command(plist.dumps({"CommandUUID": "c", "Command": inner}))
    assert (command.request_type, set(command.keys)) == (
        "RequestMirroring",
        {"DestinationName", "RequestRequiresNetworkTether"},
    )


def test_a_command_written_with_its_keys_in_any_order_is_read() -> None:
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>CommandUUID</key><string>c</string>'
        b"<key>Command</key><dict><key>RequestType</key><string>ProfileList</string></dict></dict></plist>"
    )
    assert parse_command(body) == Command("c", "ProfileList")


def test_secrets_of_a_command_stay_out_of_its_repr() -> None:
    assert "123456" not in repr(Command("c", "DeviceLock", {"PIN": "123456"}))


@pytest.mark.parametrize(
    ("values", "uuid", "said"),
    [
        ({"CommandUUID": "c"}, "c", "command: Command is missing; it must be a dictionary"),
        ({"CommandUUID": "c", "Command": []}, "c", "command: Command is an array; it must be a dictionary"),
        ({"CommandUUID": "c", "Command": {}}, "c", "command: Command.RequestType is missing; it must be a string"),
        (
            {"CommandUUID": "c", "Command": {"RequestType": 1}},
            "c",
            "command: Command.RequestType is an integer; it must be a string",
        ),
        ({"Command": {"RequestType": "X"}}, None, "command: CommandUUID is missing; it must be a string"),
        (
            {"CommandUUID": 1, "Command": {"RequestType": "X"}},
            None,
            "command: CommandUUID is an integer; it must be a string",
        ),
    ],
)
def test_a_malformed_command_keeps_the_uuid_that_a_format_error_echoes(
    values: dict[str, Any], uuid: str | None, said: str
) -> None:
    with pytest.raises(MalformedCommand) as caught:
        parse_command(plist.dumps(values))
    assert (str(caught.value), caught.value.command_uuid) == (said, uuid)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_random_commands_raise_nothing_but_malformed_command(data: bytes) -> None:
    with pytest.raises(MalformedCommand):
        parse_command(data)
