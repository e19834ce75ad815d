"""Pairing with a computer: which computers an iPhone or iPad may be made to trust."""

from __future__ import annotations

from mdmsim.device.device import Noted, Work
from mdmsim.device.personas import Persona
from mdmsim.device.remote_management import management_of


class PairingRefused(Noted):
    """The device does not pair with that computer; the text says why. The attempt is an event all the same."""


def pair(work: Work, host_certificate: bytes | None) -> None:
    """Someone connects the device to a computer and lets it trust the computer. Raises PairingRefused.

    `host_certificate`: the certificate (DER) with which the computer supervises devices; None for a computer that does
    not. `allow_pairing` and `supervising_host_certs` of the cloud configuration decide (Apple, "Profile"); the restriction
    allowHostPairing is not looked at.
    """
    if not can_pair(work.persona):
        raise PairingRefused("this platform does not pair with computers")
    management = management_of(work.state, work.store)
    supervising = management is not None and host_certificate in management.supervising_hosts
    host = "supervising" if supervising else "stranger"
    if management is None or management.pairing or supervising:
        work.emit("device.pairing", host=host, outcome="trusted")
        return
    work.emit("device.pairing", host=host, outcome="refused")
    raise PairingRefused("the profile allows no pairing but with its supervising hosts")


def can_pair(persona: Persona) -> bool:
    """Whether such a device pairs with computers at all: iPhones and iPads do."""
    return persona.platform in ("ios", "ipados")
