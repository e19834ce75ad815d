"""For each command: its effect, seen on the wire alone, through a different later command or request.

`EFFECTS` is the table. A command that is registered without a row here fails, and so does a row without a command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from mdmsim.device.commands.registry import FLOW_HANDLERS, HANDLERS
from mdmsim.device.device import Work
from mdmsim.device.flows.automated import leave_welcome
from mdmsim.device.locking import enter_pin
from mdmsim.http import Response
from mdmsim.pki.mdm_signature import verify_header
from mdmsim.protocol.connect import Status
from tests.device.bench import Authenticate, Bench, TokenUpdate, managed_profile
from tests.device.life import scep_profile

Effect = Callable[[str], None]

#: Command to the platforms on which it is tried and the story that shows its effect.
EFFECTS: dict[str, tuple[tuple[str, ...], Effect]] = {}

EVERYWHERE = ("iphone", "ipad", "mac-intel", "mac-silicon", "appletv")
MOBILE = ("iphone", "ipad")
MACS = ("mac-intel", "mac-silicon")


def effect(request_type: str, *kinds: str) -> Callable[[Effect], Effect]:
    def register(story: Effect) -> Effect:
        EFFECTS[request_type] = (kinds, story)
        return story

    return register


def enrolled(kind: str, **options: Any) -> Bench:
    bench = Bench(kind, state={"supervised": True}, **options)
    bench.enroll()
    return bench


def acknowledged(bench: Bench, request_type: str, **keys: Any) -> dict[str, Any]:
    report = bench.ask(request_type, **keys)
    assert report.status is Status.ACKNOWLEDGED, report
    return report.response


def profiles(bench: Bench) -> list[str]:
    return [entry["PayloadIdentifier"] for entry in acknowledged(bench, "ProfileList")["ProfileList"]]


def identities(bench: Bench) -> list[str]:
    entries = acknowledged(bench, "CertificateList")["CertificateList"]
    return [entry["CommonName"] for entry in entries if entry["IsIdentity"]]


def is_silent(bench: Bench, seconds: float) -> bool:
    """Whether the device sends nothing for that long, although it is pushed to."""
    bench.server.requests.clear()
    bench.push()
    bench.later(seconds)
    return bench.server.requests == []


@effect("InstallProfile", *EVERYWHERE)
def _install_profile(kind: str) -> None:
    bench = enrolled(kind)
    acknowledged(bench, "InstallProfile", Payload=scep_profile("test.identity", "scep"))
    assert profiles(bench) == ["test.enrollment", "test.identity"]
    assert identities(bench) == ["bench device", "test.identity"]


@effect("RemoveProfile", *EVERYWHERE)
def _remove_profile(kind: str) -> None:
    bench = enrolled(kind)
    acknowledged(bench, "InstallProfile", Payload=scep_profile("test.identity", "scep"))
    acknowledged(bench, "RemoveProfile", Identifier="test.identity")
    assert profiles(bench) == ["test.enrollment"]
    assert identities(bench) == ["bench device"]
    acknowledged(bench, "RemoveProfile", Identifier="test.enrollment")
    assert bench.server.labels()[-1] == "checkin:CheckOut"


@effect("ProfileList", *EVERYWHERE)
def _profile_list(kind: str) -> None:
    """A list: what it names can be removed by that name, and what it does not name cannot."""
    bench = enrolled(kind)
    acknowledged(bench, "InstallProfile", Payload=managed_profile())
    assert bench.ask("RemoveProfile", Identifier="test.other").status is Status.ERROR
    for identifier in reversed(profiles(bench)):
        acknowledged(bench, "RemoveProfile", Identifier=identifier)
    assert bench.server.labels()[-1] == "checkin:CheckOut"


@effect("CertificateList", *EVERYWHERE)
def _certificate_list(kind: str) -> None:
    """A list: the identity that it shows is the one that signs the next request."""
    bench = enrolled(kind)
    entries = acknowledged(bench, "CertificateList")["CertificateList"]
    acknowledged(bench, "ProfileList")
    request = bench.server.requests[-1]
    signer = verify_header(request.header("Mdm-Signature") or "", request.body)
    assert [entry["Data"] for entry in entries if entry["IsIdentity"]] == [signer]


@effect("DeviceInformation", *EVERYWHERE)
def _device_information(kind: str) -> None:
    """A query: it says what Authenticate said."""
    bench = enrolled(kind)
    queries = ["UDID", "SerialNumber", "OSVersion", "BuildVersion", "ProductName"]
    answers = acknowledged(bench, "DeviceInformation", Queries=queries)["QueryResponses"]
    [message] = bench.server.of(Authenticate)
    told = [message.ids.udid, message.serial_number, message.os_version, message.build_version, message.product_name]
    assert [answers[name] for name in queries] == told


@effect("SecurityInfo", *MOBILE)
def _security_info(kind: str) -> None:
    """A query: where it says that there is a passcode, DeviceLock locks with a message."""
    for passcode, result in (("123456", "Success"), (False, "NoPasscodeSet")):
        bench = enrolled(kind, passcode=passcode)
        present = acknowledged(bench, "SecurityInfo")["SecurityInfo"]["PasscodePresent"]
        assert present == (result == "Success")
        assert acknowledged(bench, "DeviceLock", Message="Call us") == {"MessageResult": result}


@effect("InstalledApplicationList", *EVERYWHERE)
def _installed_application_list(kind: str) -> None:
    """A list: it is the same for whoever asks by name."""
    bench = enrolled(kind)
    entries = acknowledged(bench, "InstalledApplicationList")["InstalledApplicationList"]
    names = [entry["Identifier"] for entry in entries if "Identifier" in entry]
    again = acknowledged(bench, "InstalledApplicationList", Identifiers=names[:1])["InstalledApplicationList"]
    assert [entry["Identifier"] for entry in again] == names[:1]


@effect("ClearPasscode", *MOBILE)
def _clear_passcode(kind: str) -> None:
    bench = enrolled(kind, passcode="123456")
    told = bench.server.of(TokenUpdate)[-1].unlock_token
    acknowledged(bench, "ClearPasscode", UnlockToken=told)
    assert acknowledged(bench, "SecurityInfo")["SecurityInfo"]["PasscodePresent"] is False
    assert bench.server.of(TokenUpdate)[-1].unlock_token != told


@effect("DeviceLock", *MOBILE, *MACS)
def _device_lock(kind: str) -> None:
    if kind in MOBILE:
        bench = enrolled(kind, passcode="123456")
        acknowledged(bench, "DeviceLock")
        assert bench.ask("SecurityInfo").status is Status.NOT_NOW
        return
    bench = enrolled(kind)
    acknowledged(bench, "DeviceLock", PIN="135790")
    assert is_silent(bench, 86400)
    bench.device.change(lambda work: enter_pin(work, "135790"))
    bench.later(60)
    assert bench.server.labels() == ["connect:Idle"]


@effect("RestartDevice", *EVERYWHERE)
def _restart_device(kind: str) -> None:
    bench = enrolled(kind, passcode=None if kind == "appletv" else False)
    acknowledged(bench, "RestartDevice")
    assert is_silent(bench, 30)
    bench.later(30)
    assert bench.server.labels() == ["connect:Idle"]


@effect("ShutDownDevice", "iphone", "ipad", *MACS)
def _shut_down_device(kind: str) -> None:
    bench = enrolled(kind, passcode=False)
    acknowledged(bench, "ShutDownDevice")
    assert is_silent(bench, 86400)


@effect("EraseDevice", *EVERYWHERE)
def _erase_device(kind: str) -> None:
    bench = enrolled(kind, passcode=None if kind == "appletv" else False)
    acknowledged(bench, "InstallProfile", Payload=managed_profile())
    token = bench.server.of(TokenUpdate)[-1].token
    bench.queue("EraseDevice", PIN="135790")
    bench.push()
    bench.act()
    assert bench.server.labels()[-1] == "connect:Acknowledged", "no CheckOut, nothing else"

    def someone_walks_setup(work: Work) -> None:
        if work.state.pin_lock is not None:
            enter_pin(work, "135790")
        leave_welcome(work, "done", why="someone")

    bench.clock.advance(60_000)
    bench.server.interfere = lambda r: None if r.label.startswith(("scep", "checkin", "connect")) else Response(404)
    bench.act()
    bench.device.change(someone_walks_setup)
    bench.enroll()
    assert bench.server.of(TokenUpdate)[-1].token != token
    assert profiles(bench) == ["test.enrollment"]


@effect("DeviceConfigured", *EVERYWHERE)
def _device_configured(kind: str) -> None:
    bench = enrolled(kind)

    def hold(work: Work) -> None:
        enrollment = work.state.enrollment
        assert enrollment is not None
        work.state.enrollment = msgspec.structs.replace(enrollment, dep=True, awaiting=True)
        work.wake("token-update", work.now_ms)

    bench.device.change(hold)
    bench.act()
    acknowledged(bench, "DeviceConfigured")
    bench.act()
    assert [update.awaiting_configuration for update in bench.server.of(TokenUpdate)] == [False, True, False]


@pytest.mark.parametrize("request_type", sorted({*HANDLERS, *FLOW_HANDLERS}))
def test_every_command_has_a_row(request_type: str) -> None:
    assert request_type in EFFECTS, f"{request_type} is registered: show here how its effect is seen on the wire"


def test_every_row_has_a_command() -> None:
    assert set(EFFECTS) - {*HANDLERS, *FLOW_HANDLERS} == set()


@pytest.mark.parametrize(
    ("request_type", "kind"), [(name, kind) for name, (kinds, _) in sorted(EFFECTS.items()) for kind in kinds]
)
def test_effect_is_seen_on_the_wire(request_type: str, kind: str) -> None:
    EFFECTS[request_type][1](kind)
