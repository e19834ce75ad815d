"""Setup Assistant and Automated Device Enrollment: activation, fetching the enrollment profile, being held and released."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from mdmsim.clock import MINUTE
from mdmsim.device.backup import UnreadableBackup, check_backup, cloud_configuration_in, restore_backup
from mdmsim.device.device import Device, Work
from mdmsim.device.errors import DeviceError
from mdmsim.device.flow import Flow, exchange
from mdmsim.device.flows.http_login import authorization
from mdmsim.device.flows.install import Automated, Postponed, confirm, installation
from mdmsim.device.flows.server import error_code
from mdmsim.device.flows.web_view import WebViewFailed, browse
from mdmsim.device.locking import set_passcode
from mdmsim.device.machine_info import NoFactoryIdentity, signed_machine_info
from mdmsim.device.personas import fetch_headers
from mdmsim.device.remote_management import management_of, remote_management
from mdmsim.http import Request, Response, TransportError, Trust
from mdmsim.protocol.cloud_configuration import CloudConfiguration, from_json
from mdmsim.protocol.errors import Malformed

#: 403 codes that a device in Setup Assistant understands (mdm/errors/softwareupdate.required.yaml).
SOFTWARE_UPDATE_REQUIRED = "com.apple.softwareupdate.required"


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who walks Setup Assistant: their account at the server, the passcode they set, a backup they restore.

    `skip_management`: they leave the Remote Management pane by its button to skip it, where it has one.
    """

    user: str = ""
    password: str = ""
    passcode: str = ""
    backup: bytes | None = None
    skip_management: bool = False


class SetupStopped(Exception):
    """Setup Assistant shows an error pane; a person may try again. `code`: of the server's 403, where it had one."""

    def __init__(self, why: str, *, code: str | None = None) -> None:
        super().__init__(why)
        self.code = code


def walk_setup_assistant(device: Device, person: Person | None = None) -> Flow[None]:
    """A person goes through Setup Assistant: network, activation, remote management where assigned, restore, passcode.

    Returns with the device at its home screen, or held until DeviceConfigured. Raises SetupStopped for an error pane, or
    where the cloud configuration leaves no way to do what the person wants; then the device stands where it stood.
    """
    person = person or Person()
    try:
        if person.backup is not None:
            check_backup(person.backup)  # before anything is installed
        configuration = yield from activate(device)
        if configuration is not None:
            configuration = _obeyed(device, configuration, person)
        if configuration is not None:
            data = yield from fetch_profile(device, configuration, person)
            yield from _install(device, configuration, data)
    except (TransportError, WebViewFailed, NoFactoryIdentity, Malformed, UnreadableBackup) as error:
        raise SetupStopped(f"{type(error).__name__}: {error}") from error
    except DeviceError as error:
        raise SetupStopped(f"the enrollment profile could not be installed: {error}") from error
    device.change(lambda work: _finish(work, person, enrolled=configuration is not None))
    if configuration is not None:
        yield from confirm(device)


def _obeyed(device: Device, configuration: CloudConfiguration, person: Person) -> CloudConfiguration | None:
    """The configuration that the device goes by: Apple's, the backup's, or none where the person skips it.

    On iOS 26 a device that is restored goes by the profile in the backup, unless `do_not_use_profile_from_backup` has it
    read the current one (Apple, "Profile"). That the current profile's key decides, and that only a backup of the same
    device counts, is our choice. Raises SetupStopped, Malformed.
    """
    management = remote_management(device.persona, configuration)
    if person.skip_management:
        if management.mandatory:
            raise SetupStopped("Remote Management cannot be skipped: enrollment is mandatory")
        device.change(_skip)
        return None
    if person.backup is None:
        return configuration
    if "Restore" in management.skipped:
        raise SetupStopped("no backup can be restored: the profile skips the pane Restore")
    if management.profile_from_backup and (body := cloud_configuration_in(person.backup, device)) is not None:
        backed_up = from_json(body)
        device.change(lambda work: _take(work, body, backed_up, origin="backup"))
        return backed_up
    return configuration


def _skip(work: Work) -> None:
    """Nothing of the configuration counts any more; the device asks for it again after an erase only."""
    work.state.cloud_configuration = ""
    work.emit("device.remote-management-skipped")


def _finish(work: Work, person: Person, *, enrolled: bool) -> None:
    management = management_of(work.state, work.store)
    if person.backup is not None:
        # Enrolled anew by its cloud configuration, the device keeps that enrollment and takes the data only.
        profiles = management is None or management.profiles_from_backup
        restore_backup(work, person.backup, with_management=not enrolled, with_profiles=profiles)
    skipped = management.skipped if management is not None and work.persona.can_have_passcode else ()
    if person.passcode and "Passcode" not in skipped:
        set_passcode(work, person.passcode)
    held = work.state.enrollment is not None and work.state.enrollment.awaiting
    leave_welcome(work, "awaiting" if held else "done", why="someone walked Setup Assistant")


def leave_welcome(work: Work, setup: str, *, why: str) -> None:
    """Setup Assistant goes on: nothing is due by itself any more."""
    work.state.setup = setup
    work.state.setup_due_ms = None
    work.state.setup_attempts = 0
    work.state.return_to_service = None
    work.emit("device.setup", state=setup, why=why)


def activate(device: Device) -> Flow[CloudConfiguration | None]:
    """Ask whether this serial has a profile assigned. Without a service to ask there is none.

    The request is the fake's own (docs/fake-dep.md): Apple's is private. Raises a TransportError, Malformed, SetupStopped.
    """
    url = device.behaviour.activation_url
    if url is None:
        return None
    persona = device.persona
    body = json.dumps({"serial_number": persona.serial, "udid": persona.udid, "product": persona.product_name}).encode()
    headers = (("Content-Type", "application/json"),)
    request = Request("POST", url, headers, body, label="dep:activation", trust=device.trust([]))
    response = yield from exchange(request)
    if response.status == 204:
        device.change(_unassigned)
        return None
    if response.status != 200:
        raise SetupStopped(f"activation answered {response.status}")
    configuration = from_json(response.body)
    device.change(lambda work: _assigned(work, response.body, configuration))
    return configuration


def _unassigned(work: Work) -> None:
    work.state.cloud_configuration = ""
    work.emit("device.activated", assigned=False)


def _assigned(work: Work, body: bytes, configuration: CloudConfiguration) -> None:
    work.emit("device.activated", assigned=True)
    _take(work, body, configuration, origin="apple")


def _take(work: Work, body: bytes, configuration: CloudConfiguration, *, origin: str) -> None:
    """Go by that configuration from now on. `origin`: apple or backup."""
    work.state.cloud_configuration = work.store.put(body)
    management = remote_management(work.persona, configuration)
    work.emit("device.remote-management", origin=origin, **management.event_data())
    for what in management.not_simulated:
        work.emit("device.not-simulated", what=what, profile=management.profile_name)


def fetch_profile(device: Device, configuration: CloudConfiguration, person: Person) -> Flow[bytes]:
    """The enrollment profile, from the web view where the configuration names one, else by a signed POST.

    Raises SetupStopped for a refusal, WebViewFailed, or a TransportError.
    """
    anchors, usual = configuration.anchor_certs, device.trust([])
    # anchor_certs replace the built-in roots (Apple, "Profile").
    trust = Trust(anchors=anchors or usual.anchors, system=usual.system and not anchors, allow_http=usual.allow_http)
    signed = signed_machine_info(device)
    if configuration.configuration_web_url:
        return (
            yield from browse(
                device, configuration.configuration_web_url, trust, signed, user=person.user, password=person.password
            )
        )
    headers = fetch_headers(device.persona, post=True)
    request = Request("POST", configuration.url, headers, signed, label="enroll:profile", trust=trust, timeout=45.0)
    response = yield from exchange(request)
    if response.status == 401:
        response = yield from _log_in(device, request, response, person)
    if response.is_success:
        return response.body
    code = error_code(response)
    if code == SOFTWARE_UPDATE_REQUIRED:
        raise SetupStopped("the server demands a newer system first", code=SOFTWARE_UPDATE_REQUIRED)
    raise SetupStopped(f"the enrollment URL answered {response.status}", code=code if isinstance(code, str) else None)


def _log_in(device: Device, request: Request, response: Response, person: Person) -> Flow[Response]:
    if not person.user:
        raise SetupStopped("the server asks for a user and password, and nobody is there to give them")
    header = authorization(request, response, person.user, person.password, device.draw())
    if header is None:
        raise SetupStopped("the server asks for a login that the device does not know")
    again = with_authorization(request, header)
    response = yield from exchange(again)
    if response.status == 401:
        raise SetupStopped("the server refused the user or the password")
    return response


def with_authorization(request: Request, authorization_header: str) -> Request:
    """The same request with an Authorization header."""
    return replace(request, headers=(*request.headers, ("Authorization", authorization_header)))


def _install(device: Device, configuration: CloudConfiguration | None, data: bytes) -> Flow[None]:
    """Install the enrollment profile. What the cloud configuration says counts in any case."""
    automated = None
    if configuration is not None:
        management = remote_management(device.persona, configuration)
        automated = Automated(
            removable=management.removable,
            awaits=management.awaits,
            supervises=management.supervised,
            multi_user=management.multi_user,
        )
    outcome = yield from installation(device, data, managed=False, automated=automated)
    if isinstance(outcome, Postponed):
        raise SetupStopped("the CA has not decided yet")

    def apply(work: Work) -> None:
        outcome(work)
        work.state.supervised = work.state.supervised or (automated is not None and automated.supervises)

    device.change(apply)


def unattended_setup(device: Device) -> Flow[None]:
    """A device in Setup Assistant tries to go on without anyone: return to service, or auto advance on a wired network.

    Where it cannot, it waits for a person; where the network failed, it tries again later.
    """
    service = device.state.return_to_service
    try:
        configuration = yield from activate(device)
        if service is not None and service.mdm_profile:
            yield from _install(device, configuration, device.store.get(service.mdm_profile))
        elif configuration is not None and (
            service is not None or remote_management(device.persona, configuration).auto_advance
        ):
            data = yield from fetch_profile(device, configuration, Person())
            yield from _install(device, configuration, data)
        else:
            device.change(_wait_for_someone)
            return
    except TransportError:
        device.change(_try_later)
        return
    except DeviceError as error:
        device.change(_try_later if _by_network(error) else _wait_for_someone)
        return
    except (SetupStopped, WebViewFailed, NoFactoryIdentity, Malformed):
        device.change(_wait_for_someone)
        return
    device.change(_went_on)
    yield from confirm(device)


def _by_network(error: BaseException) -> bool:
    """Whether a failed installation goes back to an exchange that the network ended, SCEP's or a check-in."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TransportError):
        cause = cause.__cause__
    return cause is not None


def _went_on(work: Work) -> None:
    held = work.state.enrollment is not None and work.state.enrollment.awaiting
    leave_welcome(work, "awaiting" if held else "done", why="by itself")


def _wait_for_someone(work: Work) -> None:
    work.state.setup_due_ms = None
    work.emit("device.setup", state=work.state.setup, why="waits for someone")


def _try_later(work: Work) -> None:
    work.state.setup_attempts += 1
    wait = min(MINUTE << min(work.state.setup_attempts - 1, 10), 60 * MINUTE)
    work.state.setup_due_ms = work.now_ms + wait
