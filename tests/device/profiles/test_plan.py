"""What devices accept and refuse in a configuration profile, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.flows.install import install_profile
from mdmsim.device.profiles.plan import read_plan
from mdmsim.pki.cms import sign
from mdmsim.protocol import plist
from mdmsim.protocol.connect import Status
from mdmsim.protocol.errors import Malformed
from tests.device.bench import Bench

#: A device of each kind that is enrolled; each test installs profiles of its own.
BENCHES: dict[str, Bench] = {}
BOTH = ["iphone", "mac-silicon"]


def bench(kind: str) -> Bench:
    if kind not in BENCHES:
        BENCHES[kind] = Bench(kind)
        BENCHES[kind].enroll()
    return BENCHES[kind]


def payload(payload_type: str = "com.apple.wifi.managed", name: str = "one", **keys: Any) -> dict[str, Any]:
    """A payload that installs everywhere, with keys changed; None takes a key away."""
    whole = {
        "PayloadType": payload_type,
        "PayloadIdentifier": f"test.plan.{name}",
        "PayloadUUID": f"UUID-{name}",
        "PayloadVersion": 1,
        "SSID_STR": "Lab",
    } | keys
    return {key: value for key, value in whole.items() if value is not None}


def profile(*payloads: dict[str, Any], **keys: Any) -> bytes:
    """A profile that installs everywhere, with top-level keys changed; None takes a key away."""
    whole = {
        "PayloadType": "Configuration",
        "PayloadIdentifier": "test.plan",
        "PayloadUUID": "UUID-plan",
        "PayloadVersion": 1,
        "PayloadDisplayName": "Plan",
        "PayloadContent": list(payloads or (payload(),)),
    } | keys
    return plist.dumps({key: value for key, value in whole.items() if value is not None})


def install(kind: str, data: bytes) -> list[tuple[str, int, str]]:
    """What InstallProfile answers: the error chain, outer error first; empty where it is acknowledged."""
    report = bench(kind).ask("InstallProfile", Payload=data)
    assert (report.status is Status.ACKNOWLEDGED) == (not report.error_chain)
    return [(item.domain, item.code, item.localized) for item in report.error_chain]


INVALID = ("MCInstallationErrorDomain", 4000, "Invalid Profile")
INVALID_PROFILE = ("MCProfileErrorDomain", 1000, "The profile “Plan” is invalid.")
INVALID_PAYLOAD = ("MCPayloadErrorDomain", 2000, "The payload “test.plan.one” is invalid.")


# --- PayloadVersion, PayloadScope ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [None, "1"])
def test_a_mac_takes_payloads_without_an_integer_as_version(version: str | None) -> None:
    # microsoft/mdatp-xplat issue 257: macOS accepts them; nine of 428 public profiles have such a payload.
    assert install("mac-silicon", profile(payload(PayloadVersion=version))) == []


@pytest.mark.parametrize("version", [None, "1"])
def test_a_mac_takes_a_profile_without_an_integer_as_version(version: str | None) -> None:
    # mosen/profiledocs pull request 8: iOS is stricter than macOS here; 85 of 92 examples there are of this kind.
    assert install("mac-silicon", profile(PayloadVersion=version)) == []
    [entry] = [
        e for e in bench("mac-silicon").ask("ProfileList").response["ProfileList"]
        if e["PayloadIdentifier"] == "test.plan"
    ]  # fmt: skip
    assert entry["PayloadVersion"] == 1


@pytest.mark.parametrize(
    ("version", "cause"),
    [
        (None, ("MCProfileErrorDomain", 1002, "The required field “PayloadVersion” is missing.")),
        ("1", ("MCProfileErrorDomain", 1003, "The field “PayloadVersion” is invalid.")),
    ],
)
def test_an_iphone_refuses_a_profile_without_an_integer_as_version(version: str | None, cause: object) -> None:
    assert install("iphone", profile(PayloadVersion=version)) == [INVALID, INVALID_PROFILE, cause]


@pytest.mark.parametrize(
    ("version", "cause"),
    [
        (None, ("MCPayloadErrorDomain", 2002, "The required field “PayloadVersion” is missing.")),
        ("1", ("MCPayloadErrorDomain", 2003, "The field “PayloadVersion” is invalid.")),
    ],
)
def test_an_iphone_refuses_a_payload_without_an_integer_as_version(version: str | None, cause: object) -> None:
    assert install("iphone", profile(payload(PayloadVersion=version))) == [
        INVALID,
        INVALID_PROFILE,
        INVALID_PAYLOAD,
        cause,
    ]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("scope", ["system", "Computer", 7])
def test_a_scope_of_another_spelling_is_refused_by_no_device(kind: str, scope: object) -> None:
    # TopLevel.yaml: PayloadScope is a key of macOS alone. All profiles of rtrouton/privacy_preferences_control_profiles
    # say "system".
    assert install(kind, profile(PayloadScope=scope)) == []


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("value", [1, 0, 1.0])
def test_a_number_stands_for_a_boolean(kind: str, value: float) -> None:
    # microsoft/mdatp-xplat issue 257: macOS coerces values. To Apple's readers both are an NSNumber, on iOS, too.
    assert install(kind, profile(PayloadRemovalDisallowed=value)) == []


@pytest.mark.parametrize("kind", BOTH)
def test_a_boolean_that_is_a_text_is_refused(kind: str) -> None:
    assert install(kind, profile(PayloadRemovalDisallowed="yes"))


def test_numbers_of_an_mdm_payload_may_be_of_any_kind() -> None:
    phone = Bench("iphone")
    values = plist.loads(phone.profile())
    [mdm] = [one for one in values["PayloadContent"] if one["PayloadType"] == "com.apple.mdm"]
    mdm |= {"SignMessage": 1, "CheckOutWhenRemoved": 0, "AccessRights": 8191.0}
    phone.run(install_profile(phone.device, plist.dumps(values)))
    enrollment = phone.device.state.enrollment
    assert enrollment is not None
    assert (enrollment.sign_message, enrollment.checkout_when_removed, enrollment.access_rights) == (True, False, 8191)


@pytest.mark.parametrize(("kind", "enrols"), [("mac-silicon", True), ("iphone", False)])
def test_a_mac_ignores_a_subject_that_is_nested_wrongly(kind: str, enrols: bool) -> None:
    # micromdm/micromdm pull request 40: macOS ignores malformed subjects and enrols, iOS does not.
    device = Bench(kind)
    values = plist.loads(device.profile())
    [scep] = [one for one in values["PayloadContent"] if one["PayloadType"] == "com.apple.security.scep"]
    scep["PayloadContent"]["Subject"] = [[[["CN", "nested too deep"]]]]
    found = refusal(device, plist.dumps(values))
    assert device.device.enrolled == enrols
    assert (found is None) == enrols
    if not enrols:
        assert found == ("MCPayloadErrorDomain", 2003, "The field “Subject” is invalid.")


# --- UUIDs and identifiers ----------------------------------------------------------------------------------------


def test_a_mac_refuses_a_uuid_that_profile_and_payload_share() -> None:
    # homotechsual/macOS-MDM-Profiles pull request 1, and the profile at commit 30200ae.
    text = "Invalid profile: The PayloadUUID “UUID-one” is used more than once in the profile."
    data = profile(PayloadUUID="UUID-one")
    assert install("mac-silicon", data) == [("ConfigProfilePluginDomain", -107, text)]
    assert install("iphone", data) == []


def test_a_uuid_that_two_payloads_share_is_refused_on_both_platforms() -> None:
    # AhaDNS/setup-guides issue 4.
    data = profile(payload(), payload(name="two", PayloadUUID="UUID-one"))
    text = "Invalid profile: The PayloadUUID “UUID-one” is used more than once in the profile."
    assert install("mac-silicon", data) == [("ConfigProfilePluginDomain", -107, text)]
    # iOS's own reader of profiles (ManagedConfiguration, in public listings): a malformed profile, because of 1007.
    text = "The PayloadUUID “UUID-one” is used more than once in the profile."
    assert install("iphone", data) == [INVALID, INVALID_PROFILE, ("MCProfileErrorDomain", 1007, text)]


def test_an_identifier_that_two_payloads_share_is_refused_on_both_platforms() -> None:
    # Seen on macOS 26.6 by a Terraform provider for Jamf (September 2026); ProfileCreator issue 169 tells of the same.
    data = profile(payload(), payload(name="two", PayloadIdentifier="test.plan.one"))
    text = "Invalid profile: The PayloadIdentifier “test.plan.one” is used more than once in the profile."
    assert install("mac-silicon", data) == [("ConfigProfilePluginDomain", -107, text)]
    # iOS's own reader of profiles refuses them with 1008.
    text = text.removeprefix("Invalid profile: ")
    assert install("iphone", data) == [INVALID, INVALID_PROFILE, ("MCProfileErrorDomain", 1008, text)]


# --- what is no profile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"  not a profile", "Unexpected character n at line 1"),
        (b"\n\n{broken", "Unexpected character { at line 3"),
        # fleetdm/fleet issues 19771, 25831: a CMS message that something changed on its way begins with 0x30, a "0".
        (b"\x30\x80\x06\x09", "Unexpected character 0 at line 1"),
        (b"", "Cannot parse a NULL or zero-length data"),
        (b"\0\1 no profile", "Unexpected character � at line 1"),
        (b"<plist><dict>", "The data couldn’t be read because it isn’t in the correct format."),
    ],
)
def test_a_mac_says_that_bytes_are_no_property_list(data: bytes, text: str) -> None:
    assert install("mac-silicon", data) == [("NSCocoaErrorDomain", 3840, text)]


def test_a_mac_says_the_same_of_a_signature_that_does_not_fit() -> None:
    mac = bench("mac-silicon")
    signed = sign(profile(), mac.authority.identity, form="der", attributes=True, signed_at_ms=mac.clock.now_ms())
    changed = signed.replace(b"Plan", b"Plot")
    assert install("mac-silicon", changed) == [("NSCocoaErrorDomain", 3840, "Unexpected character 0 at line 1")]


@pytest.mark.parametrize("data", [b"not a profile", b"\x30\x80\x06\x09", b"<plist><dict>", b"<plist><array/></plist>"])
def test_an_iphone_calls_it_an_invalid_profile(data: bytes) -> None:
    # bitstadium/HockeyKit issue 185 (iOS 9): the log of profiled.
    assert install("iphone", data) == [INVALID, ("MCProfileErrorDomain", 1000, "Invalid Profile")]


@pytest.mark.parametrize(
    "data", [profile(PayloadType="com.apple.mdm"), profile(PayloadContent={}), profile(PayloadUUID=None)]
)
def test_a_mac_says_that_a_property_list_lacks_what_a_profile_needs(data: bytes) -> None:
    [(domain, code, _)] = install("mac-silicon", data)
    assert (domain, code) == ("CPProfile", -102)


# --- keys of payloads ---------------------------------------------------------------------------------------------


def test_an_iphone_refuses_a_web_clip_without_a_url() -> None:
    # WangGuibin/WebClipChangeAppLogo issue 1; chain and words: thrasr/mdm-server issue 15, the log of profiled.
    data = profile(payload("com.apple.webClip.managed", Label="Lab"))
    assert install("iphone", data) == [
        INVALID,
        INVALID_PROFILE,
        INVALID_PAYLOAD,
        ("MCPayloadErrorDomain", 2002, "The required field “URL” is missing."),
    ]
    assert install("mac-silicon", data) == []


def test_a_mac_refuses_a_network_without_a_name() -> None:
    # Fleet's end-to-end tests of failing profiles (macOS 26.6).
    [error] = install("mac-silicon", profile(payload(SSID_STR=None, AutoJoin=False)))
    text = "Some required information in the profile is missing."
    assert error == ("ConfigProfilePluginDomain", -307, text)


def test_a_second_payload_of_a_type_that_may_be_there_once_has_apples_code() -> None:
    proxy = "com.apple.proxy.http.global"
    chain = install("iphone", profile(payload(proxy), payload(proxy, name="two")))
    assert chain[-1][:2] == ("MCInstallationErrorDomain", 4017)


def test_a_second_payload_of_such_a_type_in_another_profile_has_the_same_code() -> None:
    phone = Bench("iphone")
    phone.enroll()
    proxy = profile(payload("com.apple.proxy.http.global"))
    other = profile(payload("com.apple.proxy.http.global", name="two"), PayloadIdentifier="test.other")
    assert phone.ask("InstallProfile", Payload=proxy).error_chain == ()
    assert phone.ask("InstallProfile", Payload=proxy).error_chain == ()  # a profile replaces itself
    assert phone.ask("InstallProfile", Payload=other).error_chain[-1].code == 4017


TCC = "com.apple.TCC.configuration-profile-policy"


def privacy(**entry: object) -> dict[str, Any]:
    return payload(TCC, Services={"BluetoothAlways": [{"Identifier": "example.app", **entry}]})


def test_a_mac_refuses_privacy_that_is_both_allowed_and_authorized() -> None:
    # kandji-inc/support issue 33 (macOS 15).
    text = "In the payload (UUID: UUID-one), the key 'Authorization and Allowed' is not allowed."
    both = profile(privacy(Allowed=True, Authorization="Allow"))
    assert install("mac-silicon", both) == [("NSPOSIXErrorDomain", 22, text)]
    assert install("mac-silicon", profile(privacy(Allowed=True))) == []


def test_a_person_cannot_install_on_a_mac_what_only_mdm_may() -> None:
    # google/santa issue 1149, jamf/PPPC-Utility issue 24.
    mac = bench("mac-silicon")
    by_hand = profile(privacy(Allowed=True), PayloadIdentifier="test.hand")
    with pytest.raises(DeviceError) as failure:
        mac.run(install_profile(mac.device, by_hand))
    [item] = failure.value.chain
    assert item.localized == "The profile must originate from a user approved MDM server."
    assert "test.hand" not in [installed.identifier for installed in mac.device.state.profiles]
    assert install("mac-silicon", by_hand) == []


# --- words --------------------------------------------------------------------------------------------------------

BROKEN = [
    profile(PayloadIdentifier=7),
    profile(PayloadContent=None),
    profile(payload(PayloadUUID=None)),
    profile(payload(PayloadType=7)),
    profile(payload("com.apple.security.scep", PayloadContent={"URL": 7})),
    profile(payload("com.apple.security.scep", PayloadContent={})),
    profile(payload("com.apple.security.root", PayloadContent=b"no certificate")),
    profile(payload("com.apple.security.pem", PayloadContent=b"no certificate")),
    profile(payload("com.apple.security.pkcs12", PayloadContent=b"no identity", Password="x")),
    profile(payload("com.apple.mdm", Topic="com.apple.mgmt.x")),
    b"<plist><dict><key>A</key></dict></plist>",
    b"\x30\x80\x06\x09",
]


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_no_word_of_our_parsers_is_a_devices(kind: str, data: bytes) -> None:
    chain = install(kind, data)
    assert chain
    for _, _, text in chain:
        assert not any(
            ours in text for ours in ("must be", "PKCS", "ASN", "CMS", "PayloadContent[", "plist", "line 1,")
        )


# --- the MDM payload ----------------------------------------------------------------------------------------------

PER_USER = "com.apple.mdm.per-user-connections"


def refusal(device: Bench, data: bytes) -> tuple[str, int, str] | None:
    """The innermost reason why a person cannot install a profile; None where they can."""
    try:
        device.run(install_profile(device.device, data))
    except DeviceError as error:
        inner = error.chain[-1]
        return inner.domain, inner.code, inner.localized
    return None


@pytest.mark.parametrize("capabilities", [(), ("com.apple.mdm.bootstraptoken",)])
def test_a_mac_of_macos_26_wants_a_server_with_a_user_channel(capabilities: tuple[str, ...]) -> None:
    # graze-social/cocore pull request 54; two more public servers say so of macOS 26.
    mac = Bench("mac-silicon", os_version="26.0")
    found = refusal(mac, mac.profile(server_capabilities=capabilities))
    text = "MDM payload is missing ServerCapabilities key that indicates it supports a user channel."
    assert found is not None
    assert found[2] == text
    assert mac.server.requests == []
    assert refusal(mac, mac.profile(server_capabilities=(PER_USER,))) is None


@pytest.mark.parametrize(("kind", "version"), [("mac-silicon", "15.1"), ("mac-intel", "12.7.6"), ("iphone", "18.1")])
def test_other_devices_take_a_server_without_one(kind: str, version: str) -> None:
    device = Bench(kind, os_version=version)
    assert refusal(device, device.profile()) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("iphone", "The new MDM payload does not match the old payload."),
        ("mac-silicon", "Update to MDM profile contains different server capabilities"),
    ],
)
@pytest.mark.parametrize(("before", "after"), [((PER_USER,), ()), ((), (PER_USER,))])
def test_a_replacement_neither_drops_nor_adds_the_user_channel(
    kind: str, text: str, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    # com.apple.mdm.yaml, ServerCapabilities: such an update is rejected. Words: Microsoft's Intune enrollment errors
    # for iOS; for macOS formed like those of fleetdm/fleet issue 14238.
    device = Bench(kind)
    device.enroll(server_capabilities=before)
    report = device.ask("InstallProfile", Payload=device.profile(server_capabilities=after))
    assert (report.error_chain[-1].domain, report.error_chain[-1].code) == ("MCMDMErrorDomain", 12012)
    assert report.error_chain[-1].localized == text


def test_a_replacement_may_change_other_capabilities() -> None:
    phone = Bench("iphone")
    phone.enroll(server_capabilities=(PER_USER, "com.apple.mdm.bootstraptoken"))
    assert refusal(phone, phone.profile(server_capabilities=(PER_USER, "com.apple.mdm.token"))) is None


@pytest.mark.parametrize(
    "changes", [{"enrollment_mode": "ADDE"}, {"assigned_managed_apple_id": "a@example.org"}, {"required_app_id": 7}]
)
def test_a_replacement_keeps_what_the_first_profile_said_of_account_and_mode(changes: dict[str, Any]) -> None:
    # com.apple.mdm.yaml: the value of these keys must not change.
    phone = Bench("iphone")
    phone.enroll()
    found = refusal(phone, phone.profile(**changes))
    assert found is not None
    assert found[1] == 12012


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["CN", "Allowed", "Authorization"]), inner)
    ),
    max_leaves=6,
)
TOP_KEYS = ["PayloadType", "PayloadVersion", "PayloadScope", "PayloadContent", "EncryptedPayloadContent", "IsEncrypted"]
PAYLOAD_KEYS = [*TOP_KEYS[:3], "PayloadUUID", "PayloadContent", "Services", "Topic", "ServerCapabilities", "Password"]
TYPES = [TCC, "com.apple.mdm", "com.apple.security.scep", "com.apple.security.pkcs12", "com.apple.wifi.managed"]


@pytest.mark.parametrize("kind", BOTH)
@given(
    top=st.dictionaries(st.sampled_from(TOP_KEYS), VALUES, max_size=2),
    inner=st.dictionaries(st.sampled_from(PAYLOAD_KEYS), VALUES, max_size=3),
    payload_type=st.sampled_from(TYPES),
)
@settings(max_examples=60)
def test_whatever_a_profile_holds_a_device_has_a_word_for_it(
    kind: str, top: dict[str, Any], inner: dict[str, Any], payload_type: str
) -> None:
    try:
        data = profile(payload(payload_type, **inner), **top)
    except Malformed:
        return  # what no property list can hold
    try:
        read_plan(bench(kind).device, data, by_mdm=False, manual=True)
    except DeviceError as error:
        assert error.chain or isinstance(error, NotSimulated)
