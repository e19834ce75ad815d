"""A user updates the operating system: another release, a restart, and where the behaviour says so a new push token."""

from __future__ import annotations

import msgspec

from mdmsim.device.device import Work
from mdmsim.device.personas.releases import RELEASES
from mdmsim.device.power import restart
from mdmsim.device.tokens import renew_push_token
from mdmsim.schema.platforms import version as version_key


class CannotUpdate(ValueError):
    """The model does not run that release, or it runs it or a later one already. The text names what it can run."""


def update_os(work: Work, wanted: str | None = None) -> None:
    """Install a later release of the device's platform, the newest that the model runs unless told otherwise.

    With the probability `Behaviour.push_token_on_update` APNs gives the device a new push token, told in a TokenUpdate
    after the restart. Raises CannotUpdate; nothing is changed then.
    """
    persona = work.persona
    later = [
        release
        for release in RELEASES[persona.platform]
        if persona.catalog_model.runs(release) and version_key(release.version) > version_key(persona.os_version)
    ]
    release = next((r for r in reversed(later) if wanted in (None, r.version)), None)
    if release is None:
        choice = ", ".join(r.version for r in later) or "none"
        asked = f"cannot be updated to {wanted}" if wanted else "cannot be updated"
        raise CannotUpdate(f"{persona.product_name} with {persona.os_version} {asked}; later releases: {choice}")
    updated = msgspec.structs.replace(persona, os_version=release.version, build_version=release.build)
    work.state.persona = updated
    work.emit("device.os-updated", os_version=release.version, build_version=release.build)
    if work.draw().happens(work.behaviour.push_token_on_update):
        renew_push_token(work)
    restart(work, why="update")
