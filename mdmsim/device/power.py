"""Power: on, off, restarting; what a boot changes."""

from __future__ import annotations

from mdmsim.device.device import Work


def restart(work: Work, *, why: str) -> None:
    """Go down and come back by itself after `Behaviour.boot_seconds`."""
    work.state.power = "restarting"
    work.state.boot_ms = work.now_ms + work.behaviour.boot_seconds * 1000
    work.emit("device.power", state="restarting", why=why)


def shut_down(work: Work, *, why: str) -> None:
    """Go down; only a person switches it on again."""
    work.state.power = "off"
    work.state.boot_ms = None
    work.emit("device.power", state="off", why=why)


def switch_on(work: Work) -> None:
    """A person presses the power button. A device that runs already takes no notice."""
    if work.state.power != "off":
        return
    work.state.power = "restarting"
    work.state.boot_ms = work.now_ms
    boot(work)


def boot(work: Work) -> None:
    """Come up: locked where there is a passcode, and not yet unlocked since.

    A device connects after its boot only if something is pending (a report, a NotNow): our choice, Apple documents
    nothing.
    """
    state = work.state
    state.power = "on"
    state.boot_ms = None
    if state.power_nap:
        set_power_nap(work, napping=False)
    if state.passcode:
        state.screen_locked = True
        state.unlocked_since_boot = False
    else:
        state.unlocked_since_boot = True
    if state.setup == "welcome" and goes_on_by_itself(work):
        state.setup_due_ms = work.now_ms
    work.emit("device.power", state="on", why="boot")
    if state.pin_lock is None:
        resume_pending(work)


def goes_on_by_itself(work: Work) -> bool:
    """Whether a device in Setup Assistant reaches for the network without anyone: told to return to service, or wired."""
    return work.state.return_to_service is not None or work.persona.ethernet is not None


def resume_pending(work: Work) -> None:
    """Back after an absence: what failed for want of a network is tried at once, a pending report too."""
    work.state.returns += 1
    if work.state.enrollment is None:
        return
    for voice in work.state.channels.values():
        for reason in voice.wakes:
            voice.wakes[reason] = min(voice.wakes[reason], work.now_ms)
        if voice.undelivered is not None:
            voice.wakes["connect"] = work.now_ms


def set_network(work: Work, *, up: bool) -> None:
    """The network goes or returns; when it returns, everything that waits for a retry is tried at once."""
    if work.state.network == up:
        return
    work.state.network = up
    work.emit("device.network", state="up" if up else "down")
    if up:
        resume_pending(work)


def set_power_nap(work: Work, *, napping: bool) -> None:
    """A Mac goes into dark wake on battery, or wakes in full; a NotNow that waited for that makes it poll."""
    if work.state.power_nap == napping:
        return
    work.state.power_nap = napping
    if not napping:
        poll_after(work, "power-nap")


def poll_after(work: Work, *conditions: str) -> None:
    """The condition ended: a channel whose last word was NotNow because of it polls by itself, once."""
    for voice in work.state.channels.values():
        if voice.not_now in conditions:
            voice.wakes["connect"] = work.now_ms
            if voice.undelivered is None:  # else the NotNow is still to be delivered, and the poll comes after it
                voice.not_now = None
