"""Apple's hosts that MDM servers dial: what each is, what stands in for it, and what the proxy says when nothing does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mdmsim.apple_network import is_apples

#: Apple, "Sending notification requests to APNs": 443, and 2197 for networks that let nothing else through on 443.
PORTS = (443, 2197)

#: The Apple Software Lookup Service (Apple's deployment guide: "Use MDM to deploy software updates").
CATALOGUE_HOST = "gdmf.apple.com"
#: Of `contentMetadataLookupUrl` in the answer of Apple's VPPServiceConfigSrv.
METADATA_HOST = "uclient-api.itunes.apple.com"
#: Both generations of Apps and Books answer here: `/mdm/v2/`, and before it `/mdm/` and `/WebObjects/MZFinance.woa/wa/`.
VPP_HOST = "vpp.itunes.apple.com"
#: "Apps and Books for Organizations", the newer lookup of metadata (Apple: `https://api.ent.apple.com/v1/catalog/`).
METADATA_API_HOST = "api.ent.apple.com"

#: Those that the proxy answers for itself (`answers`).
ANSWERED_HOSTS = (CATALOGUE_HOST, METADATA_HOST, VPP_HOST)

_ROUTE = "Lead it to your own with --route {host}=HOST:PORT (mdmsim up, mdmsim proxy)."
_PUSH = "Start the fake APNs with it: mdmsim up --only apns,proxy, or mdmsim proxy --apns HOST:PORT."
_DEP = "Start the fake DEP with it: mdmsim up --only dep,proxy, or mdmsim dep --tls and mdmsim proxy --route {host}=HOST:PORT."
_ANSWERS = "mdmsim up answers for it, and mdmsim proxy does with --data DIR."


@dataclass(frozen=True, slots=True)
class AppleHost:
    """`service`: what Apple answers there, as a person would call it. `do`: how something comes to answer for it here."""

    service: str
    do: str


_VPP = AppleHost("Apps and Books (VPP)", f"{_ANSWERS[:-1]}: with Apple's 503 for an outage. {_ROUTE}")

APPLE_HOSTS: Mapping[str, AppleHost] = {
    "api.push.apple.com": AppleHost("push service, production", _PUSH),
    "api.sandbox.push.apple.com": AppleHost("push service, sandbox", _PUSH),
    "api.development.push.apple.com": AppleHost("push service, sandbox (older name)", _PUSH),
    "api-manage-broadcast.push.apple.com": AppleHost("broadcast channels of the push service", _PUSH),
    "api-manage-broadcast.sandbox.push.apple.com": AppleHost("broadcast channels of the push service, sandbox", _PUSH),
    "mdmenrollment.apple.com": AppleHost("device enrollment service (DEP)", _DEP),
    "deviceservices-external.apple.com": AppleHost("device services (Activation Lock)", _ROUTE),
    "iprofiles.apple.com": AppleHost("activation for devices of the device enrollment service", _DEP),
    VPP_HOST: _VPP,
    METADATA_API_HOST: AppleHost("metadata of apps and books", _ROUTE),
    METADATA_HOST: AppleHost("metadata of apps and books", _ANSWERS),
    CATALOGUE_HOST: AppleHost("catalogue of operating systems", _ANSWERS),
}


def refusal(host: str, port: str, routed: Collection[str], ports: Collection[int] = PORTS) -> str:
    """Why the proxy does not connect to `host:port`, and what to do about it; for the body of a 403."""
    name = host.lower().rstrip(".")
    target = f"{_shown(host)}:{_shown(port)}" if port else _shown(host)
    answers = (
        f"This proxy answers for {', '.join(sorted(routed)) or 'no host'} on ports {' and '.join(map(str, ports))}."
    )
    if name in routed:
        return f"{target} is not simulated here: {_shown(host)} is, on ports {' and '.join(map(str, ports))}."
    known = APPLE_HOSTS.get(name)
    if known is not None:
        return (
            f"{target} is not simulated here: it is Apple's {known.service}, and no fake for it is running behind this "
            f"proxy. {known.do.format(host=name)} {answers}"
        )
    if is_apples(name):
        lead = _ROUTE.format(host=_shown(name))
        return f"{target} is not simulated here: it is Apple's, and nothing of Apple's is touched. {lead} {answers}"
    return f"{target} is not simulated here. {answers} It refuses everything else: for other hosts set NO_PROXY."


def _shown(text: str) -> str:
    """What a client asked for, fit for a log: no user and password before an @, no line breaks, not too long."""
    return "".join(character if character.isprintable() else "?" for character in text.rpartition("@")[2])[:200]
