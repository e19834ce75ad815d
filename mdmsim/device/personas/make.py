"""Making personas: everything that one device needs, drawn so that it fits together."""

from __future__ import annotations

from functools import cache
from typing import Any

from mdmsim.chance import Chance
from mdmsim.device.personas import identifiers
from mdmsim.device.personas.catalog import MODELS, PLATFORMS, Model, models_of, releases_of
from mdmsim.device.personas.persona import LocalUser, Persona, PersonaError, Subscription
from mdmsim.device.personas.releases import DEFAULT_VERSIONS, Release, at_least, find_release

#: The kinds of personas there are.
KINDS: tuple[str, ...] = tuple(PLATFORMS)

#: What people call them otherwise. A platform's name means its most usual kind.
ALIASES = {
    "ios": "iphone",
    "ipados": "ipad",
    "macos": "mac-silicon",
    "mac": "mac-silicon",
    "intel": "mac-intel",
    "tvos": "appletv",
    "tv": "appletv",
}

_REGIONS = {"US": ("LL/A", 12), "GB": ("B/A", 3), "AU": ("X/A", 2), "CA": ("VC/A", 2)}
"""Order number suffix of a region, and how many devices in 19 live there."""

_TIME_ZONES = {
    "US": ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"),
    "GB": ("Europe/London",),
    "AU": ("Australia/Sydney", "Australia/Melbourne", "Australia/Brisbane"),
    "CA": ("America/Toronto", "America/Vancouver"),
}
# Name, MCC, MNC, beginning of its ICCIDs (ITU-T E.118 lists).
_CARRIERS = {
    "US": (
        ("T-Mobile", "310", "260", "8901260"),
        ("AT&T", "310", "410", "8901410"),
        ("Verizon", "311", "480", "8914800"),
    ),
    "GB": (("EE", "234", "30", "894412"), ("O2 - UK", "234", "10", "894411"), ("Vodafone UK", "234", "15", "894410")),
    "AU": (("Telstra", "505", "01", "896101"), ("Optus", "505", "02", "896102")),
    "CA": (("Rogers", "302", "720", "8930272"), ("Bell", "302", "610", "8930261")),
}
# Ranges that regulators keep for fiction: nobody's phone rings. Only the first digits are fixed.
_NUMBERS = {"US": ("1{area}55501", 2), "CA": ("1{area}55501", 2), "GB": ("447700900", 3), "AU": ("61491570", 3)}
_AREAS = {"US": ("206", "212", "312", "415", "512", "617"), "CA": ("416", "514", "604")}

_ROOMS = (
    "Living Room",
    "Lobby",
    "Boardroom",
    "Conference Room",
    "Auditorium",
    "Library",
    "Classroom",
    "Kitchen",
    "Lounge",
)


@cache
def _people(locale: str) -> Any:
    # Imported here: faker takes longer to load than the rest of this package together.
    from faker import Faker

    return Faker(locale)


def kind_of(name: str) -> str:
    """The kind behind a kind or an alias. Raises PersonaError naming what there is."""
    kind = ALIASES.get(name.strip().lower(), name.strip().lower())
    if kind not in PLATFORMS:
        raise PersonaError(f'no kind of device "{name}". Kinds: {", ".join(KINDS)}; or {", ".join(ALIASES)}')
    return kind


def kinds_for(platform: str) -> tuple[str, ...]:
    """The kinds of a platform, or the one that a kind's name or an alias means. Raises PersonaError for anything else."""
    kinds = tuple(kind for kind, of in PLATFORMS.items() if of == platform.strip().lower())
    return kinds or (kind_of(platform),)


def make_persona(
    kind: str,
    *,
    chance: Chance,
    os_version: str | None = None,
    supervised: bool = False,
    passcode: str | bool | None = None,
    name: str | None = None,
    model: str | None = None,
) -> Persona:
    """A device of that kind, or alias; the same `chance` gives the same one, and drawing again gives another.

    `os_version`: one of the kind's releases; by default the usual one, or the newest that the model runs. `passcode`: the
    usual for the kind when None (six digits on iPhone and iPad, a password on a Mac, none on an Apple TV), none when
    False, drawn when True, or that one. `name`: the device's name. `model`: identifier, such as `iPhone15,4`. Raises
    PersonaError, naming what is allowed.
    """
    kind = kind_of(kind)
    # Streams of a seed drawn from `chance`: the caller's next persona differs, and a new fact here reshuffles no other.
    own = Chance(chance.bytes(32))
    chosen, release = _model_and_release(kind, os_version, model, own.stream("model"))
    virtual = chosen.identifier.startswith("VirtualMac")
    mac = PLATFORMS[kind] == "macos"

    place = own.stream("place")
    region = place.choice([code for code, (_, weight) in _REGIONS.items() for _ in range(weight)])
    person, user = _person(own.stream("person"), region)
    hardware = own.stream("hardware")
    wifi = None if virtual else identifiers.mac_address(hardware)
    ethernet = None
    if "ethernet" in chosen.ports:
        ethernet = identifiers.local_address(hardware) if virtual else identifiers.mac_address(hardware)
    modem = second = eid = None
    if "cellular" in chosen.ports:
        modem, second, eid = _radio(own.stream("radio"), chosen, region)
    use = own.stream("use")
    suffix = _REGIONS[region][0]
    order = own.stream("order").choice(chosen.orders)
    return Persona(
        kind=kind,
        product_name=chosen.identifier,
        os_version=release.version,
        build_version=release.build,
        udid=identifiers.udid(own.stream("udid"), chosen),
        provisioning_udid=_provisioning_udid(own.stream("provisioning"), chosen),
        serial=identifiers.serial(own.stream("serial"), chosen),
        order_number=f"{order}{suffix}" if order else "",
        device_name=name or _device_name(chosen, release, person, own.stream("room")),
        gigabytes=use.choice(chosen.gigabytes),
        used=round(use.uniform(0.15, 0.85), 3),
        bluetooth=identifiers.next_address(wifi) if wifi else "00:00:00:00:00:00",
        wifi=wifi,
        ethernet=ethernet,
        modem=modem,
        second=second,
        eid=eid,
        user=user if mac else None,
        eas_identifier=_eas_identifier(own.stream("eas")) if kind in ("iphone", "ipad") else None,
        battery=use.randint(20, 100) / 100 if chosen.battery else None,
        region=region,
        time_zone=place.choice(_TIME_ZONES[region]),
        supervised=supervised,
        passcode=_passcode(kind, passcode, own.stream("passcode")),
    )


def _model_and_release(kind: str, version: str | None, identifier: str | None, chance: Chance) -> tuple[Model, Release]:
    if identifier is not None:
        fixed = MODELS.get(identifier)
        if fixed is None or fixed.kind != kind:
            known = ", ".join(one.identifier for one in models_of(kind, virtual=True))
            raise PersonaError(f'no {kind} model "{identifier}". Models: {known}')
        candidates = [fixed]
    else:
        candidates = list(models_of(kind))
    usual = DEFAULT_VERSIONS[PLATFORMS[kind]]
    if version is None and not any(_offers(one, usual) for one in candidates):
        # None runs the usual release: too old, or came later. Each runs its own newest then.
        chosen = chance.choice(candidates)
        return chosen, releases_of(kind, chosen)[-1]
    wanted = usual if version is None else version
    able = [one for one in candidates if _offers(one, wanted)]
    release = find_release(PLATFORMS[kind], wanted)
    if not able or release is None:
        what = f"{kind} model {identifier}" if identifier else kind
        allowed = ", ".join(one.version for one in releases_of(kind, candidates[0] if identifier else None))
        raise PersonaError(f'no release "{wanted}" for {what}. Allowed: {allowed}')
    return chance.choice(able), release


def _offers(model: Model, version: str) -> bool:
    release = find_release(PLATFORMS[model.kind], version)
    return release is not None and model.runs(release)


def _provisioning_udid(chance: Chance, model: Model) -> str | None:
    if not model.kind.startswith("mac-"):
        return None
    return identifiers.chip_udid(chance, model.chip.id) if model.chip.id else None


def _person(chance: Chance, region: str) -> tuple[str, LocalUser]:
    """First name, and the account of that person."""
    people = _people(f"en_{region}")
    people.seed_instance(int.from_bytes(chance.bytes(8), "big"))
    first, last = people.first_name(), people.last_name()
    short = "".join(c for c in (first[:1] + last).lower() if c.isascii() and c.isalpha())
    return first, LocalUser(short_name=short, long_name=f"{first} {last}", guid=str(chance.uuid()).upper())


def _device_name(model: Model, release: Release, person: str, chance: Chance) -> str:
    if model.kind == "appletv":
        room = chance.choice(_ROOMS)
        return f"{room} {chance.randint(1, 40)}" if room.endswith(("Room", "room")) and room != "Living Room" else room
    if model.kind in ("iphone", "ipad") and at_least(release.version, "16.0"):
        return model.name  # Since iOS 16 the owner's name is not given away.
    return f"{person}’s {model.name}"


def _radio(chance: Chance, model: Model, region: str) -> tuple[Subscription, Subscription | None, str | None]:
    """Modem, eSIM and its EID. Phones since A12 have two subscriptions; every other tablet has a SIM."""
    imei = identifiers.imei(chance)
    dual = model.chip.id is not None
    eid = identifiers.eid(chance) if dual else None
    second = Subscription(imei=identifiers.imei(chance)) if dual and model.kind == "iphone" else None
    name, mcc, mnc, prefix = chance.choice(_CARRIERS[region])
    number, digits = _NUMBERS[region]
    area = chance.choice(_AREAS.get(region, ("",)))
    with_sim = Subscription(
        imei=imei,
        iccid=identifiers.iccid(chance, prefix),
        phone_number=number.format(area=area) + identifiers.digits(chance, digits),
        carrier=name,
        mcc=mcc,
        mnc=mnc,
        settings_version=f"{chance.randint(50, 61)}.{chance.randint(0, 2)}",
    )
    if model.kind == "ipad" and chance.happens(0.5):
        return Subscription(imei=imei), second, eid
    return with_sim, second, eid


def _eas_identifier(chance: Chance) -> str:
    return "".join(identifiers.SERIAL_ALPHABET[byte % 32] for byte in chance.bytes(26))


def _passcode(kind: str, wanted: str | bool | None, chance: Chance) -> str | None:
    if kind == "appletv":
        if wanted:
            raise PersonaError("an Apple TV has no passcode: leave passcode out, or say False")
        return None
    if wanted is False:
        return None
    if isinstance(wanted, str):
        if not wanted:
            raise PersonaError('passcode="": for none say False')
        return wanted
    drawn = identifiers.digits(chance, 6)
    return f"password-{drawn}" if PLATFORMS[kind] == "macos" else drawn
