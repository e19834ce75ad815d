"""Installing a profile: certificates, identities, check-in where it holds an MDM payload, then stored as a whole.

Until it is stored nothing of it is in the device's state, so a failure, or a kill, leaves the device as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from mdmsim.device import errors
from mdmsim.device.device import Device, Work
from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.flow import Flow
from mdmsim.device.flows.checkin import authenticate_message, check_in, token_update
from mdmsim.device.flows.scep import ScepFailed, Waiting, over_http_elsewhere, scep_chain, scep_enroll
from mdmsim.device.flows.server import ServerSaidNo
from mdmsim.device.flows.unenroll import finish_leaving
from mdmsim.device.keybag import escrow_keybag
from mdmsim.device.profiles.plan import Plan, read_plan
from mdmsim.device.profiles.store import store_profile
from mdmsim.device.state import Enrollment, IdentityRef, Installation
from mdmsim.device.tokens import has_unlock_token
from mdmsim.http import ConnectFailed, ExchangeCut, TimedOut, TLSFailed, TransportError
from mdmsim.pki.names import issuer_text, subject_text
from mdmsim.protocol.connect import parse_command
from mdmsim.protocol.payloads import PER_USER_CONNECTIONS
from mdmsim.protocol.profile import MdmPayload

#: How a finished installation becomes part of the state: committed by whoever asked for it, report included.
Apply = Callable[[Work], None]


@dataclass(frozen=True, slots=True)
class Automated:
    """What Automated Device Enrollment adds.

    Whether the user may remove the profile, whether the device is held until DeviceConfigured, whether it becomes
    supervised, and whether it is to be a Shared iPad.
    """

    removable: bool = True
    awaits: bool = False
    supervises: bool = True
    multi_user: bool = False


@dataclass(frozen=True, slots=True)
class Postponed:
    """The installation waits for a CA; the device's state says until when."""

    installation: Installation


def install_profile(device: Device, data: bytes) -> Flow[None]:
    """What a person does with a profile: install it. With an MDM payload this is an enrollment by hand.

    Returns once the profile is stored and, for an enrollment, TokenUpdate was tried once (a failure there is tried
    again by the device itself). Raises DeviceError with the chain when nothing was installed; Refused when the
    server disowned the enrollment at TokenUpdate.
    """
    yield from finish_leaving(device)  # an enrollment whose end was decided goes first
    outcome = yield from installation(device, data, managed=False)
    if isinstance(outcome, Postponed):
        device.change(lambda work: postpone(work, outcome.installation))
        return
    device.change(outcome)
    yield from confirm(device)


def confirm(device: Device) -> Flow[None]:
    """Send the TokenUpdate that a new enrollment owes, once; a failure is tried again by the device itself."""
    enrollment = device.state.enrollment
    if enrollment is None or enrollment.confirmed or "token-update" not in device.voice().wakes:
        return
    from mdmsim.device.flows.wake import guarded

    yield from guarded(device, "token-update", token_update(device))


def installation(
    device: Device,
    data: bytes,
    *,
    managed: bool,
    resume: Installation | None = None,
    automated: Automated | None = None,
    command_uuid: str | None = None,
) -> Flow[Apply | Postponed]:
    """Do everything of an installation that needs the network; return what stores it.

    `command_uuid`: of the command that brought the profile, where one did. Raises DeviceError with the chain that the device reports.
    """
    plan = None
    try:
        plan = read_plan(device, data, by_mdm=managed, manual=not managed and automated is None)
        identities = yield from _identities(device, plan, data, managed, resume)
        if isinstance(identities, Postponed):
            if resume is None and device.state.installation is not None:
                raise _another_waits(device, plan)
            return identities
        if plan.mdm is None:
            return _storing(plan, managed, identities, command_uuid=command_uuid)
        return (yield from _enroll(device, plan, plan.mdm, managed, identities, automated, command_uuid))
    except NotSimulated as error:
        what, profile = error.what, error.profile
        device.change(lambda work: _emit_not_simulated(work, what, profile, command_uuid))
        raise
    except DeviceError as error:
        # What cannot be read was an enrollment profile if there is no enrollment yet.
        if device.state.enrollment is None if plan is None else plan.mdm is not None:
            chain = [{"code": i.code, "domain": i.domain, "text": i.localized} for i in error.chain]
            stage = "profile" if plan is None else "installation"
            device.change(lambda work: work.emit("device.enrollment-failed", error_chain=chain, stage=stage))
        raise


def _identities(
    device: Device, plan: Plan, data: bytes, managed: bool, resume: Installation | None
) -> Flow[dict[str, IdentityRef] | Postponed]:
    done = dict(resume.identities) if resume else {}
    for payload, identity in plan.embedded:
        certificate, key = device.store.put(identity.certificate), device.store.put(identity.key)
        done[payload.uuid] = IdentityRef(certificate=certificate, key=key)
    # Roots that came with an enrollment or by MDM count everywhere (Apple, "Trust manually installed certificates").
    roots = [kept.certificate for kept in device.state.keychain if kept.key is None]
    trust = device.trust(list(dict.fromkeys((*roots, *(device.store.put(der) for _, der in plan.certificates)))))
    for payload, settings in plan.identities:
        if payload.uuid in done:
            continue
        if over_http_elsewhere(settings.url):
            raise NotSimulated(what="SCEP over http:// to another machine", profile=plan.profile.identifier)
        waiting = resume.pending if resume and resume.pending.payload_uuid == payload.uuid else None
        try:
            outcome = yield from scep_enroll(device, payload, settings, trust, resume=waiting)
        except ScepFailed as failure:
            raise scep_chain(device, plan.profile.display_name or plan.profile.identifier, failure) from failure
        if isinstance(outcome, Waiting):
            return Postponed(_waiting(device, data, managed, outcome, done))
        done[payload.uuid] = outcome
    return done


def _another_waits(device: Device, plan: Plan) -> DeviceError:
    """One profile at a time waits for its CA (our choice; 4003 of Apple's table: the profile cannot be queued)."""
    cause = errors.item(device.persona, errors.INSTALLATION, 4003, "Another profile is waiting to be installed.")
    return errors.install_failed(device.persona, plan.profile.display_name or plan.profile.identifier, cause)


def _waiting(
    device: Device, data: bytes, managed: bool, waiting: Waiting, done: dict[str, IdentityRef]
) -> Installation:
    return Installation(
        content=device.store.put(data),  # as it came, so that its signature is still there when it goes on
        managed=managed,
        due_ms=device.clock.now_ms() + round(waiting.seconds * 1000),
        pending=waiting.pending,
        identities=done,
    )


def _enroll(
    device: Device,
    plan: Plan,
    mdm: MdmPayload,
    managed: bool,
    identities: dict[str, IdentityRef],
    automated: Automated | None,
    command_uuid: str | None,
) -> Flow[Apply]:
    """Authenticate with the new identity; return what stores profile and enrollment together.

    A replacement keeps how the device was enrolled: by hand or automatically, removable or not, held or released.
    """
    before = device.state.enrollment
    anchors = [device.store.put(certificate) for _, certificate in plan.certificates]
    by_uuid = {payload.uuid: digest for (payload, _), digest in zip(plan.certificates, anchors, strict=True)}
    enrollment = Enrollment(
        profile=plan.profile.identifier,
        server_url=mdm.server_url,
        checkin_url=mdm.check_in_url or "",
        topic=mdm.topic,
        access_rights=mdm.access_rights or 0,
        identity=identities[mdm.identity_certificate_uuid],
        sign_message=mdm.sign_message,
        checkout_when_removed=mdm.check_out_when_removed,
        anchors=anchors,
        server_pins=[by_uuid[uuid] for uuid in mdm.server_url_pinning_certificate_uuids],
        checkin_pins=[by_uuid[uuid] for uuid in mdm.check_in_url_pinning_certificate_uuids],
        dep=automated is not None or (before is not None and before.dep),
        removable=automated.removable if automated else before is None or before.removable,
        awaiting=automated.awaits if automated else before is not None and before.awaiting,
        supervises=automated.supervises if automated else before is None or before.supervises,
        multi_user=_is_shared(mdm, automated) if automated else before is not None and before.multi_user,
    )
    try:
        yield from check_in(device, enrollment, authenticate_message(device, enrollment))
    except (ServerSaidNo, TransportError) as error:
        raise _checkin_failed(device, plan, error) from error
    return _storing(plan, managed, identities, enrollment, command_uuid=command_uuid)


def _is_shared(mdm: MdmPayload, automated: Automated) -> bool:
    """Whether the iPad becomes a Shared iPad: the server has to offer user channels too (com.apple.mdm.yaml).

    What an iPad does where the server does not is documented nowhere; here it stays an iPad of one user, and enrols.
    """
    return automated.multi_user and PER_USER_CONNECTIONS in mdm.server_capabilities


#: What Apple's network code says of a connection that failed (NSURLErrorDomain, US English).
_NETWORK_TEXTS: dict[type[Exception], str] = {
    ConnectFailed: "Could not connect to the server.",
    ExchangeCut: "The network connection was lost.",
    TimedOut: "The request timed out.",
}


def _checkin_failed(device: Device, plan: Plan, error: ServerSaidNo | TransportError) -> DeviceError:
    """The chain of a failed check-in: installation, check-in (or not authorized), HTTP (Apple's table of codes).

    Words of the innermost: for a bad certificate from project-imas/mdm-server issue 47, for a connection Apple's own,
    for a refusal formed like those for a SCEP server (mosen/SCEPy issue 1). `error` has the details, as its cause.
    """
    persona = device.persona
    refused = isinstance(error, ServerSaidNo) and error.response.status == 401
    code, text = (
        (12020, "The server says that the device is not authorized.") if refused else (12002, "Check-in failed.")
    )
    middle = errors.item(persona, errors.mdm_domain(persona), code, text)
    http_code, http_text = 23001, _NETWORK_TEXTS.get(type(error), "The server returned an invalid response.")
    if isinstance(error, TLSFailed) and plan.mdm is not None:
        http_code, http_text = 23002, f"The server certificate for “{plan.mdm.effective_check_in_url}” is invalid."
    cause = errors.item(persona, errors.HTTP, http_code, http_text)
    return errors.install_failed(persona, plan.profile.display_name or plan.profile.identifier, middle, cause)


def _storing(
    plan: Plan,
    managed: bool,
    identities: dict[str, IdentityRef],
    enrollment: Enrollment | None = None,
    *,
    command_uuid: str | None = None,
) -> Apply:
    def apply(work: Work) -> None:
        draw = work.draw()
        voice = work.state.channel()
        # Same device, same topic: the push token stays; the push magic is new with every enrollment.
        same_topic = work.state.enrollment is not None and enrollment is not None
        push_token = voice.push_token if same_topic and voice.push_token else draw.bytes(32)
        push_magic = str(draw.uuid()).upper()
        unlock_token = escrow_keybag(draw) if has_unlock_token(work, enrollment) else b""
        store_profile(
            work,
            plan,
            managed=managed,
            identities=identities,
            enrollment=enrollment,
            push_token=push_token,
            push_magic=push_magic,
            unlock_token=unlock_token,
        )
        for payload in plan.not_simulated:
            what = f"{payload.type} ({payload.identifier})"
            _emit_not_simulated(work, what, plan.profile.identifier, command_uuid)
        by_scep = {payload.uuid for payload, _ in plan.identities}
        for uuid, ref in identities.items():
            certificate = work.store.get(ref.certificate)
            work.emit(
                "device.identity-enrolled",
                by="scep" if uuid in by_scep else "pkcs12",
                fingerprint=ref.certificate,
                subject=subject_text(certificate),
                issuer=issuer_text(certificate),
            )

    return apply


def _emit_not_simulated(work: Work, what: str, profile: str, command_uuid: str | None) -> None:
    brought_by = {} if command_uuid is None else {"command_uuid": command_uuid}
    work.emit("device.not-simulated", what=what, profile=profile, **brought_by)


def postpone(work: Work, installation: Installation) -> None:
    """Put an installation aside until its CA is asked again."""
    work.state.installation = installation


def _finished(outcome: Apply) -> Apply:
    """The same, with nothing waiting any more."""

    def apply(work: Work) -> None:
        work.state.installation = None
        outcome(work)

    return apply


def resume_installation(device: Device) -> Flow[None]:
    """Go on with an installation that waited for a CA; the report of a command that asked for it follows."""
    from mdmsim.device.commands.execute import finish_postponed

    waiting = device.state.installation
    if waiting is None:
        return
    try:
        outcome = yield from installation(
            device,
            device.store.get(waiting.content),
            managed=waiting.managed,
            resume=waiting,
            command_uuid=parse_command(waiting.command).command_uuid if waiting.command is not None else None,
        )
    except DeviceError as error:
        if waiting.command is not None:
            finish_postponed(device, waiting, error)
        else:
            device.change(_give_up)
        return
    if isinstance(outcome, Postponed):
        again = msgspec.structs.replace(outcome.installation, command=waiting.command)
        device.change(lambda work: postpone(work, again))
        return
    if waiting.command is not None:
        finish_postponed(device, waiting, _finished(outcome))
        return
    device.change(_finished(outcome))
    yield from confirm(device)


def _give_up(work: Work) -> None:
    work.state.installation = None
