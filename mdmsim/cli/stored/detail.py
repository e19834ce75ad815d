"""All that there is to see of one stored device. Secrets appear by their first characters, keys not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mdmsim.cli.output import secret
from mdmsim.cli.stored.account import Account
from mdmsim.clock import iso
from mdmsim.device.device import Device
from mdmsim.device.state import Channel, DeviceState, KeychainItem
from mdmsim.device.store import BlobStore
from mdmsim.pki.certificate import fingerprint, not_after_ms, not_before_ms
from mdmsim.pki.errors import MalformedCertificate
from mdmsim.pki.names import issuer_text, subject_text
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.profile import parse_profile


def detail(device: Device) -> dict[str, Any]:
    """As `mdmsim show --json` prints it (docs/command-line.md)."""
    state, store = device.state, device.store
    return {
        **Account.of(device).as_json(),
        "persona": _persona(device),
        "physical": _condition(state),
        "enrollment": _enrollment(device),
        "profiles": [
            {
                "identifier": kept.identifier,
                "name": _name(store.get(kept.content)),
                "uuid": kept.uuid,
                "managed": kept.managed,
                "installed": iso(kept.installed_ms),
                "removes_itself": iso(kept.removal_ms) if kept.removal_ms is not None else None,
            }
            for kept in state.profiles
        ],
        "certificates": [_certificate(item, store) for item in state.keychain],
        "apps": [
            {"identifier": app.identifier, "name": app.name, "version": app.short_version, "managed": app.managed}
            for app in state.apps
            if not app.system
        ],
        "channels": {name: _channel(voice) for name, voice in state.channels.items()},
    }


def _persona(device: Device) -> dict[str, Any]:
    persona, state = device.persona, device.state
    return {
        "kind": persona.kind,
        "name": state.device_name or persona.device_name,
        "build_version": persona.build_version,
        "order_number": persona.order_number,
        "gigabytes": persona.gigabytes,
        "imei": persona.modem.imei if persona.modem is not None else None,
        "wifi": persona.wifi,
        "supervised": state.supervised,
        "has_passcode": bool(state.passcode),
        "region": persona.region,
        "language": persona.language,
    }


def _condition(state: DeviceState) -> dict[str, Any]:
    return {
        "power": state.power,
        "back_at": iso(state.boot_ms) if state.boot_ms is not None else None,
        "network": state.network,
        "screen_locked": state.screen_locked,
        "lock_message": state.lock_message or None,
        "behind_pin": state.pin_lock is not None,
        "setup": state.setup,
    }


def _enrollment(device: Device) -> dict[str, Any] | None:
    enrollment = device.state.enrollment
    if enrollment is None:
        return None
    identity = device.store.get(enrollment.identity.certificate)
    return {
        "profile": enrollment.profile,
        "server_url": enrollment.server_url,
        "checkin_url": enrollment.checkin_url,
        "topic": enrollment.topic,
        "access_rights": enrollment.access_rights,
        "identity": _described(identity),
        "signs_messages": enrollment.sign_message,
        "says_goodbye": enrollment.checkout_when_removed,
        "by": "automated device enrollment" if enrollment.dep else "profile",
        "removable": enrollment.removable,
        "awaiting_configuration": enrollment.awaiting,
        "confirmed": enrollment.confirmed,
        "roots": [_subject(device.store.get(digest)) for digest in enrollment.anchors],
        "trusted_at_enroll": [_subject(device.store.get(digest)) for digest in device.state.trusted],
    }


def _certificate(item: KeychainItem, store: BlobStore) -> dict[str, Any]:
    return {**_described(store.get(item.certificate)), "identity": item.key is not None, "profile": item.profile}


def _described(der: bytes) -> dict[str, Any]:
    try:
        return {
            "subject": subject_text(der),
            "issuer": issuer_text(der),
            "valid_from": iso(not_before_ms(der)),
            "valid_until": iso(not_after_ms(der)),
            "sha256": fingerprint(der),
        }
    except MalformedCertificate as error:
        return {
            "subject": f"unreadable: {error.reason}",
            "issuer": "",
            "valid_from": "",
            "valid_until": "",
            "sha256": "",
        }


def _subject(der: bytes) -> str:
    return str(_described(der)["subject"])


def _name(profile: bytes) -> str | None:
    try:
        return parse_profile(profile).display_name
    except Malformed:
        return None


def _channel(voice: Channel) -> dict[str, Any]:
    undelivered = voice.undelivered
    return {
        "push_token": secret(voice.push_token.hex()) if voice.push_token else None,
        "push_magic": secret(voice.push_magic) if voice.push_magic else None,
        "unlock_token": f"{len(voice.unlock_token)} bytes" if voice.unlock_token else None,
        "pushes_heard": voice.heard,
        "undelivered": {
            "request_type": undelivered.request_type,
            "status": undelivered.status,
            "command_uuid": undelivered.command_uuid,
        }
        if undelivered is not None
        else None,
        "not_now": voice.not_now,
        "failed_tries": voice.attempts,
    }


def lines(found: dict[str, Any], account: Account) -> Iterator[str]:
    """The same for people."""
    columns, persona, condition = account.columns, found["persona"], found["physical"]
    yield f'{account.device_id}   {columns[1]}, {columns[2]} ({persona["build_version"]})   "{persona["name"]}"'
    yield f"  serial number   {found['serial_number']}"
    yield f"  UDID            {found['udid']}"
    if persona["imei"]:
        yield f"  IMEI            {persona['imei']}"
    yield f"  supervised      {_yes(persona['supervised'])}"
    yield f"  passcode        {'set' if persona['has_passcode'] else 'none'}"
    back = f", back at {condition['back_at']}" if condition["back_at"] else ""
    yield f"  state           {columns[4]}{back}"
    yield f"  next            {account.pending or 'nothing by itself: it waits for a push'}"
    yield from _enrollment_lines(found["enrollment"])
    yield from _list_lines(
        "profiles", [_profile_line(profile) for profile in found["profiles"]], "no profile is installed"
    )
    yield from _list_lines(
        "certificates", [_certificate_line(kept) for kept in found["certificates"]], "the keychain is empty"
    )
    yield from _list_lines(
        "apps",
        [f"{app['identifier']} {app['version']}{', managed' if app['managed'] else ''}" for app in found["apps"]],
        "no apps but the system's",
    )
    for name, voice in found["channels"].items():
        yield f"  channel {name}"
        yield f"    push token {voice['push_token'] or 'none'}   push magic {voice['push_magic'] or 'none'}"
        yield f"    unlock token {voice['unlock_token'] or 'none'}   pushes heard {voice['pushes_heard']}"
        if voice["undelivered"] is not None:
            kept = voice["undelivered"]
            yield f"    undelivered: {kept['request_type']} {kept['status']} ({kept['command_uuid']})"
        if voice["failed_tries"]:
            yield f"    failed tries in a row: {voice['failed_tries']}"


def _enrollment_lines(enrollment: dict[str, Any] | None) -> Iterator[str]:
    if enrollment is None:
        yield "  enrollment      none"
        return
    identity = enrollment["identity"]
    yield f"  enrollment      {enrollment['profile']}, by {enrollment['by']}{'' if enrollment['removable'] else ', not removable'}"
    yield f"    server        {enrollment['server_url']}"
    if enrollment["checkin_url"] not in ("", enrollment["server_url"]):
        yield f"    check-in      {enrollment['checkin_url']}"
    yield f"    topic         {enrollment['topic']}"
    yield f"    identity      {identity['subject']}, from {identity['issuer']}, until {identity['valid_until'][:10]}"
    kept = [f"{subject} (from enroll --trust)" for subject in enrollment["trusted_at_enroll"]]
    yield f"    trusts        {', '.join([*enrollment['roots'], *kept]) or 'the roots of the system'}"
    yield f"    Mdm-Signature {_yes(enrollment['signs_messages'])}   CheckOut {_yes(enrollment['says_goodbye'])}"


def _profile_line(profile: dict[str, Any]) -> str:
    name = f' "{profile["name"]}"' if profile["name"] else ""
    until = f", removes itself at {profile['removes_itself']}" if profile["removes_itself"] else ""
    return f"{profile['identifier']}{name}{', managed' if profile['managed'] else ''}{until}"


def _certificate_line(kept: dict[str, Any]) -> str:
    what = "identity" if kept["identity"] else "certificate"
    return f"{what} {kept['subject']}, from {kept['issuer']}, until {kept['valid_until'][:10]}"


def _list_lines(title: str, entries: list[str], none: str) -> Iterator[str]:
    yield f"  {title:<15} {len(entries) if entries else none}"
    for entry in entries:
        yield f"    {entry}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
