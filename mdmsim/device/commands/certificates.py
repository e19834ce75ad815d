"""CertificateList (mdm/commands/certificate.list.yaml)."""

from __future__ import annotations

from typing import Any

from mdmsim.device.commands.keys import optional
from mdmsim.device.commands.registry import handles
from mdmsim.device.device import Work
from mdmsim.pki.names import common_name
from mdmsim.protocol.connect import Command

#: What macOS shows for a certificate without a common name (captured: macOS 13).
NO_COMMON_NAME_ON_MAC = "?Error_-26276?"


@handles("CertificateList")
def certificate_list(work: Work, command: Command) -> dict[str, Any]:
    """Every certificate in the keychain; with ManagedOnly those that came with the MDM server's profiles."""
    managed_only = optional(command, "ManagedOnly", bool) or False
    managed = {p.identifier for p in work.state.profiles if p.managed}
    if work.state.enrollment is not None:
        managed.add(work.state.enrollment.profile)
    entries: list[dict[str, Any]] = []
    for kept in work.state.keychain:
        if managed_only and kept.profile not in managed:
            continue
        der = work.store.get(kept.certificate)
        name = common_name(der) or (NO_COMMON_NAME_ON_MAC if work.persona.is_mac else "")
        entries.append({"CommonName": name, "Data": der, "IsIdentity": kept.key is not None})
    return {"CertificateList": entries}
