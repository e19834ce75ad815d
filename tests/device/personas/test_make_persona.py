"""Personas fit together: every identifier, version and string belongs to the same device."""

from __future__ import annotations

import re
import uuid

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.device.personas import KINDS, Persona, PersonaError, kind_of, kinds_for, make_persona
from mdmsim.device.personas.catalog import MODELS, models_of, releases_of
from mdmsim.device.personas.releases import RELEASES

REAL_BUILDS = {"18.2.1": "22C161", "16.2": "20C65", "9.3.5": "13G36", "10.12.6": "16G2136", "13.3.1": "22E261"}

personas = st.builds(
    lambda seed, kind: make_persona(kind, chance=Chance(seed)),
    seed=st.integers(min_value=0, max_value=2**32),
    kind=st.sampled_from(KINDS),
)


@st.composite
def any_model(draw: st.DrawFn) -> Persona:
    """Every model with every release that it runs."""
    model = draw(st.sampled_from(sorted(MODELS)))
    kind = MODELS[model].kind
    version = draw(st.sampled_from([release.version for release in releases_of(kind, MODELS[model])]))
    seed = draw(st.integers(min_value=0, max_value=2**32))
    return make_persona(kind, chance=Chance(seed), model=model, os_version=version)


many = settings(max_examples=120, deadline=None)


@many
@given(any_model())
def test_udid_has_the_form_of_the_chip(persona: Persona) -> None:
    chip = MODELS[persona.product_name].chip.id
    if persona.is_mac:
        assert persona.udid == persona.udid.upper()
        assert uuid.UUID(persona.udid).version == 5
    elif chip is None:
        assert re.fullmatch(r"[0-9a-f]{40}", persona.udid)
    else:
        assert re.fullmatch(rf"{chip}-00[0-9A-F]{{14}}", persona.udid)


@many
@given(any_model())
def test_only_apple_silicon_macs_have_a_provisioning_udid_of_their_own(persona: Persona) -> None:
    if persona.kind == "mac-silicon":
        assert persona.provisioning_udid is not None
        assert re.fullmatch(r"[0-9A-F]{8}-[0-9A-F]{16}", persona.provisioning_udid)
        assert persona.provisioning_udid != persona.udid
    else:
        assert persona.provisioning_udid is None


@many
@given(any_model())
def test_serial_has_the_form_of_its_years(persona: Persona) -> None:
    first, last = MODELS[persona.product_name].years
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]+", persona.serial)
    allowed = {12} if last < 2021 else {10} if first >= 2021 else {10, 12}
    assert len(persona.serial) in allowed


@given(st.integers(min_value=0, max_value=10**6))
@settings(max_examples=20, deadline=None)
def test_serial_of_a_virtual_machine_begins_with_z(seed: int) -> None:
    persona = make_persona("macos", chance=Chance(seed), model="VirtualMac2,1")
    assert re.fullmatch(r"Z[0-9A-Z]{9}", persona.serial)


@many
@given(any_model())
def test_build_belongs_to_version(persona: Persona) -> None:
    pairs = {(release.version, release.build) for release in RELEASES[persona.platform]}
    assert (persona.os_version, persona.build_version) in pairs


@pytest.mark.parametrize(("version", "build"), REAL_BUILDS.items())
def test_captured_builds_are_in_the_table(version: str, build: str) -> None:
    assert any(release.version == version and release.build == build for all_ in RELEASES.values() for release in all_)


def test_version_and_build_are_unique_in_each_table() -> None:
    for releases in RELEASES.values():
        assert (
            len({release.version for release in releases})
            == len({release.build for release in releases})
            == len(releases)
        )


def test_every_model_runs_some_release() -> None:
    assert [name for name, model in MODELS.items() if not releases_of(model.kind, model)] == []


@many
@given(any_model())
def test_model_strings_follow_the_platform(persona: Persona) -> None:
    if persona.is_mac:
        assert persona.model == persona.product_name
        assert persona.model_name in {"iMac", "MacBook Pro", "MacBook Air", "Mac mini", "Virtual Machine"}
        has_number = persona.is_apple_silicon and not persona.is_virtual
        assert (persona.model_number is not None) == has_number
    else:
        assert re.fullmatch(r"M[0-9A-Z]{4}(LL|B|X|VC)", persona.model)
        assert persona.model_number == f"{persona.model}/A"
        assert persona.model_name == {"iphone": "iPhone", "ipad": "iPad", "appletv": "Apple TV"}[persona.kind]
    assert persona.marketing_name.startswith(persona.model_name)


@many
@given(any_model())
def test_mac_addresses_are_spelled_as_the_platform_does(persona: Persona) -> None:
    small = r"([0-9a-f]{2}:){5}[0-9a-f]{2}"
    for address in (persona.wifi_mac, persona.ethernet_mac):
        assert address is None or re.fullmatch(small, address)
    if not persona.is_mac:
        assert re.fullmatch(small, persona.bluetooth_mac)
    elif persona.at_least("11.0"):
        assert re.fullmatch(r"([0-9A-F]{2}:){5}[0-9A-F]{2}", persona.bluetooth_mac)
    else:
        assert re.fullmatch(r"([0-9a-f]{2}-){5}[0-9a-f]{2}", persona.bluetooth_mac)
    assert persona.is_mac or persona.ethernet_mac is None


@many
@given(any_model())
def test_a_mac_without_a_port_gives_its_wifi_address_as_ethernet(persona: Persona) -> None:
    if persona.is_laptop:
        assert persona.ethernet_mac == persona.wifi_mac


@many
@given(any_model())
def test_only_modems_have_numbers_of_modems(persona: Persona) -> None:
    cellular = "cellular" in MODELS[persona.product_name].ports
    assert persona.is_cellular == (persona.imei is not None) == (persona.meid is not None) == cellular
    assert persona.second is None or (persona.kind == "iphone" and persona.eid is not None)
    assert persona.imei2 is None or persona.imei2 != persona.imei


@pytest.mark.parametrize(
    ("kind", "version", "imei", "meid"),
    [("iphone", "11.3.1", True, True), ("iphone", "16.7.10", False, False), ("iphone", "15.7", False, False)],
)
def test_authenticate_of_an_iphone_carries_modem_numbers_as_captured(
    kind: str, version: str, imei: bool, meid: bool
) -> None:
    persona = make_persona(kind, chance=Chance(1), os_version=version)
    assert (persona.checkin_imei is not None, persona.checkin_meid is not None) == (imei, meid)


def test_authenticate_of_a_cellular_ipad_carries_imei_alone() -> None:
    persona = make_persona("ipad", chance=Chance(1), os_version="15.7", model="iPad12,2")
    assert persona.checkin_imei == persona.imei
    assert persona.checkin_meid is None


@many
@given(personas)
def test_a_persona_survives_msgpack(persona: Persona) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(persona), type=Persona) == persona


def test_a_persona_is_small() -> None:
    sizes = [len(msgspec.msgpack.encode(make_persona(kind, chance=Chance(7)))) for kind in KINDS]
    assert max(sizes) < 700


def test_two_thousand_personas_share_no_identifier() -> None:
    chance = Chance("fleet")
    fleet = [make_persona(KINDS[number % len(KINDS)], chance=chance) for number in range(2_000)]
    for name in ("udid", "serial", "wifi", "bluetooth"):
        values = [getattr(persona, name) for persona in fleet]
        assert len(set(values)) == len(values), name
    imeis = [line.imei for persona in fleet for line in (persona.modem, persona.second) if line is not None]
    assert len(set(imeis)) == len(imeis)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_persona(kind: str) -> None:
    assert make_persona(kind, chance=Chance(41)) == make_persona(kind, chance=Chance(41))


def test_drawing_again_gives_another_persona() -> None:
    chance = Chance(41)
    assert make_persona("ios", chance=chance).udid != make_persona("ios", chance=chance).udid


def test_a_name_of_ones_own_changes_nothing_else() -> None:
    drawn = make_persona("macos", chance=Chance(3))
    named = make_persona("macos", chance=Chance(3), name="Front Desk")
    assert msgspec.structs.replace(named, device_name=drawn.device_name) == drawn
    assert named.local_host_name() == "Front-Desk"


@pytest.mark.parametrize(
    ("alias", "kind"),
    [("macos", "mac-silicon"), ("iOS", "iphone"), ("ipados", "ipad"), ("tvos", "appletv"), ("mac-t2", "mac-t2")],
)
def test_platform_names_mean_their_usual_kind(alias: str, kind: str) -> None:
    assert kind_of(alias) == kind


def test_kinds_for_a_platform_are_all_of_them() -> None:
    assert kinds_for("macos") == ("mac-intel", "mac-t2", "mac-silicon")
    assert kinds_for("intel") == ("mac-intel",)


def test_an_unknown_kind_is_refused_with_the_kinds_there_are() -> None:
    with pytest.raises(PersonaError, match=r'"android".*iphone, ipad, mac-intel'):
        make_persona("android", chance=Chance(1))


def test_an_unknown_release_is_refused_with_the_releases_there_are() -> None:
    with pytest.raises(PersonaError, match=r'"18\.9".*9\.3\.2.*18\.5'):
        make_persona("ios", chance=Chance(1), os_version="18.9")


def test_a_release_that_the_model_cannot_run_is_refused() -> None:
    with pytest.raises(PersonaError, match=r"iPhone15,4\. Allowed: 17\.0"):
        make_persona("ios", chance=Chance(1), model="iPhone15,4", os_version="9.3.5")


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(PersonaError, match="Models: iPad2,5"):
        make_persona("ipad", chance=Chance(1), model="iPhone15,4")


def test_nobody_gets_a_virtual_machine_by_chance() -> None:
    assert all(not model.identifier.startswith("Virtual") for kind in KINDS for model in models_of(kind))


@pytest.mark.parametrize(
    ("kind", "version"), [("ios", "18.1"), ("ipados", "18.1"), ("macos", "15.1"), ("tvos", "18.1")]
)
def test_the_usual_release_is_the_default(kind: str, version: str) -> None:
    assert make_persona(kind, chance=Chance(5)).os_version == version


@pytest.mark.parametrize("kind", ["iphone", "ipad"])
def test_phones_and_tablets_have_six_digits_unless_told_otherwise(kind: str) -> None:
    assert re.fullmatch(r"\d{6}", make_persona(kind, chance=Chance(2)).passcode or "")
    assert not make_persona(kind, chance=Chance(2), passcode=False).has_passcode
    assert make_persona(kind, chance=Chance(2), passcode="1234").passcode == "1234"


def test_an_apple_tv_never_has_a_passcode() -> None:
    assert not make_persona("tvos", chance=Chance(2)).has_passcode
    with pytest.raises(PersonaError, match="Apple TV has no passcode"):
        make_persona("tvos", chance=Chance(2), passcode="1234")


def test_an_empty_passcode_is_refused() -> None:
    with pytest.raises(PersonaError, match="say False"):
        make_persona("ios", chance=Chance(2), passcode="")


@many
@given(personas)
def test_repr_does_not_show_the_passcode(persona: Persona) -> None:
    assert "passcode" not in repr(persona)
    assert persona.passcode is None or persona.passcode not in repr(persona)


@many
@given(any_model())
def test_device_names_are_given_as_people_find_them(persona: Persona) -> None:
    if persona.kind in ("iphone", "ipad") and persona.at_least("16.0"):
        assert persona.device_name == persona.model_name
    elif persona.kind != "appletv":
        assert persona.device_name.endswith(f"’s {persona.model_name}")
    assert re.fullmatch(r"[0-9A-Za-z-]+", persona.local_host_name())


@many
@given(any_model())
def test_only_macs_have_a_local_user(persona: Persona) -> None:
    assert (persona.user is not None) == persona.is_mac
    if persona.user is not None:
        assert re.fullmatch(r"[a-z]+", persona.user.short_name)
        assert str(uuid.UUID(persona.user.guid)).upper() == persona.user.guid
        assert persona.device_name.startswith(persona.user.long_name.split()[0])


@pytest.mark.parametrize(
    ("kind", "version", "erase"),
    [("mac-intel", None, True), ("mac-t2", "11.7.10", True), ("mac-t2", "15.1", False), ("mac-silicon", None, False)],
)
def test_every_mac_needs_a_pin_to_lock_but_not_every_one_to_erase(kind: str, version: str | None, erase: bool) -> None:
    persona = make_persona(kind, chance=Chance(1), os_version=version)
    assert persona.needs_pin_for_lock
    assert persona.needs_pin_for_erase is erase


def test_a_persona_of_an_unknown_release_says_so() -> None:
    persona = msgspec.structs.replace(make_persona("ios", chance=Chance(1)), os_version="99.0")
    with pytest.raises(PersonaError, match=r'"99\.0"'):
        _ = persona.release


def test_a_persona_of_an_unknown_model_says_so() -> None:
    persona = msgspec.structs.replace(make_persona("ios", chance=Chance(1)), product_name="iPhone99,9")
    with pytest.raises(PersonaError, match="iPhone99,9"):
        _ = persona.marketing_name
