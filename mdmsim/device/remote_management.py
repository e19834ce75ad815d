"""What a device takes from its cloud configuration: which keys it obeys on its platform and release, and with what effect.

Source, unless said otherwise: Apple, "Profile" of the Device Assignment Services.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mdmsim.device.personas import Persona
from mdmsim.device.state import DeviceState
from mdmsim.device.store import BlobStore
from mdmsim.protocol.cloud_configuration import CloudConfiguration, from_json
from mdmsim.schema.setup_panes import panes_of

#: From this release of iOS on nothing of management comes back with a backup, and `do_not_use_profile_from_backup` says
#: nothing any more (fleetdm/fleet, "WWDC 2026: What IT admins need to know").
NOTHING_FROM_BACKUP = "27.0"

#: From this release of iOS on `do_not_use_profile_from_backup` also keeps all configuration profiles of a backup away.
NO_PROFILES_FROM_BACKUP = "26.4"

#: From these releases on a device is supervised whatever `is_supervised` says.
ALWAYS_SUPERVISED = {"ios": "13.0", "ipados": "13.0", "macos": "11.0", "tvos": "13.0"}

#: From these releases on nobody can skip Remote Management, whatever `is_mandatory` says; Macs and Apple TVs go by the key.
ALWAYS_MANDATORY = {"ios": "13.0", "ipados": "13.0"}

#: Releases that know a key; a platform that is not named ignores it. `is_multi_user`: Shared iPad came with iOS 9.3.
KEY_SINCE = {
    "auto_advance_setup": {"macos": "11.0", "tvos": "10.2"},
    "language": {"macos": "11.0", "tvos": "10.2"},
    "region": {"macos": "11.0", "tvos": "10.2"},
    "allow_pairing": {"ios": "7.0", "ipados": "7.0"},
    "supervising_host_certs": {"ios": "7.0", "ipados": "7.0"},
    "is_multi_user": {"ipados": "9.3"},
    "do_not_use_profile_from_backup": {"ios": "26.0", "ipados": "26.0"},
    "is_return_to_service": {"ios": "26.0", "ipados": "26.0"},
}

#: Effects of keys that mdmsim does not simulate: named in the device's event where the key counts, and in
#: `docs/fake-dep.md`.
NOT_SIMULATED = {
    "is_multi_user": "Shared iPad sessions",
    "is_return_to_service": "keeping managed apps over an erase, with a bootstrap token",
    "language": "choosing a language",
    "region": "choosing a region",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteManagement:
    """A cloud configuration as one device reads it, all defaults and rules of its release applied.

    `url`: where the enrollment profile comes from; `web_view`: as a web page. `anchors`: how many certificates replace
    the built-in roots there. `organisation` to `support_email_address` stand on the Remote Management pane; `org_magic`
    is stored only. `mandatory`: the pane cannot be skipped. `awaits`: held until DeviceConfigured. `pairing`: whether any
    computer may pair; `supervising_hosts`: certificates (DER) of the computers that always may. `panes`: what Setup
    Assistant shows, `skipped`: what the profile hides. `auto_advance`: goes through Setup Assistant by itself where wired.
    `profile_from_backup`: a restored device goes by the configuration in its backup; `profiles_from_backup`: it takes the
    configuration profiles in it. `return_to_service`: set up for return to service with its apps kept. `not_simulated`:
    effects of set keys that mdmsim leaves out.
    """

    url: str
    web_view: bool
    anchors: int
    profile_name: str
    organisation: str
    department: str
    support_phone_number: str
    support_email_address: str
    org_magic: str
    mandatory: bool
    supervised: bool
    removable: bool
    awaits: bool
    multi_user: bool
    pairing: bool
    supervising_hosts: tuple[bytes, ...]
    panes: tuple[str, ...]
    skipped: tuple[str, ...]
    auto_advance: bool
    language: str
    region: str
    profile_from_backup: bool
    profiles_from_backup: bool
    return_to_service: bool
    not_simulated: tuple[str, ...]

    def event_data(self) -> dict[str, Any]:
        """The same as plain values, as the event `device.remote-management` carries them."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def remote_management(persona: Persona, configuration: CloudConfiguration) -> RemoteManagement:
    """What that device does with that configuration. Keys that its platform or release does not know are ignored."""

    def known(key: str) -> bool:
        since = KEY_SINCE[key].get(persona.platform)
        return since is not None and persona.at_least(since)

    def always(since: dict[str, str]) -> bool:
        return persona.platform in since and persona.at_least(since[persona.platform])

    supervised = configuration.is_supervised or always(ALWAYS_SUPERVISED)
    mobile = persona.platform in ("ios", "ipados")
    there = panes_of(persona.platform, persona.os_version)
    skipped = tuple(pane for pane in there if pane in configuration.skip_setup_items)
    multi_user = configuration.is_multi_user and known("is_multi_user")
    return_to_service = configuration.is_return_to_service and known("is_return_to_service")
    ignores_backup = known("do_not_use_profile_from_backup") and (
        configuration.do_not_use_profile_from_backup or persona.at_least(NOTHING_FROM_BACKUP)
    )
    language = configuration.language if known("language") else None
    region = configuration.region if known("region") else None
    set_keys = {
        "is_multi_user": multi_user,
        "is_return_to_service": return_to_service,
        "language": language,
        "region": region,
    }
    return RemoteManagement(
        url=configuration.configuration_web_url or configuration.url,
        web_view=configuration.configuration_web_url is not None,
        anchors=len(configuration.anchor_certs),
        profile_name=configuration.profile_name or "",
        organisation=configuration.organisation.get("name", ""),
        department=configuration.department or "",
        support_phone_number=configuration.support_phone_number or "",
        support_email_address=configuration.support_email_address or "",
        org_magic=configuration.org_magic or "",
        mandatory=configuration.is_mandatory or always(ALWAYS_MANDATORY),
        supervised=supervised,
        # Only a supervised device can be told to keep its enrollment profile.
        removable=configuration.is_mdm_removable or not supervised,
        # Ignored on iOS where the device is not supervised. Always so with return to service (Apple, "Returning a managed
        # device to service").
        awaits=return_to_service or (configuration.await_device_configured and (supervised or not mobile)),
        multi_user=multi_user,
        # Deprecated since iOS 13 in favour of the restriction allowHostPairing; taken to be obeyed still.
        pairing=configuration.allow_pairing or not known("allow_pairing"),
        # Without supervision the certificates are not used.
        supervising_hosts=(
            configuration.supervising_host_certs if supervised and known("supervising_host_certs") else ()
        ),
        panes=tuple(pane for pane in there if pane not in skipped),
        skipped=skipped,
        auto_advance=configuration.auto_advance_setup and known("auto_advance_setup"),
        language=language or "",
        region=region or "",
        # Before the key was known, Apple's current configuration counts: our choice.
        profile_from_backup=known("do_not_use_profile_from_backup") and not ignores_backup,
        profiles_from_backup=not (ignores_backup and persona.at_least(NO_PROFILES_FROM_BACKUP)),
        return_to_service=return_to_service,
        not_simulated=tuple(NOT_SIMULATED[key] for key, value in set_keys.items() if value),
    )


def management_of(state: DeviceState, store: BlobStore) -> RemoteManagement | None:
    """The rules that the device took at its last activation; None where nothing was assigned, or a person skipped it."""
    if not state.cloud_configuration:
        return None
    return remote_management(state.persona, from_json(store.get(state.cloud_configuration)))
