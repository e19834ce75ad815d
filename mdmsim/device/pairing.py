"""Pairing with a computer: which computers an iPhone or iPad may be made to trust."""

from __future__ import annotations

from mdmsim.device.device import Noted, Work
from mdmsim.device.facts import supervised
from mdmsim.device.installed_payloads import installed_payloads
from mdmsim.device.personas import Persona
from mdmsim.device.remote_management import RemoteManagement, management_of

RESTRICTIONS = "com.apple.applicationaccess"


class PairingRefused(Noted):
    """The device does not pair with that computer; the text says why. The attempt is an event all the same."""


def pair(work: Work, host_certificate: bytes | None) -> None:
    """Someone connects the device to a computer and lets it trust the computer. Raises PairingRefused.

    `host_certificate`: the certificate (DER) with which the computer supervises devices; None for a computer that does
    not. `allow_pairing` and `supervising_host_certs` of the cloud configuration decide (Apple, "Profile"), and on a
    supervised device the restriction allowHostPairing, which lets in supervising hosts only
    (com.apple.applicationaccess.yaml). That allow_pairing is obeyed though it is deprecated since iOS 13 is our choice.
    """
    if not can_pair(work.persona):
        raise PairingRefused("this platform does not pair with computers")
    management = management_of(work.state, work.store)
    supervising = management is not None and host_certificate in management.supervising_hosts
    host = "supervising" if supervising else "stranger"
    if supervising or not (why := _obstacle(work, management)):
        work.emit("device.pairing", host=host, outcome="trusted")
        return
    work.emit("device.pairing", host=host, outcome="refused")
    raise PairingRefused(f"{why} allows no pairing but with supervising hosts")


def _obstacle(work: Work, management: RemoteManagement | None) -> str:
    """What keeps the device from pairing with a stranger; empty where nothing does."""
    if management is not None and not management.pairing:
        return "the DEP profile"
    restrictions = installed_payloads(work.state, work.store, RESTRICTIONS)
    if supervised(work.state, work.now_ms) and any(p.keys.get("allowHostPairing") is False for p in restrictions):
        return "a restriction"
    return ""


def can_pair(persona: Persona) -> bool:
    """Whether such a device pairs with computers at all: iPhones and iPads do."""
    return persona.platform in ("ios", "ipados")
