"""What a world and the way to its server can do: a story needs some of it, which is known before anything is sent."""

from __future__ import annotations

from enum import StrEnum


class Ability(StrEnum):
    """One thing that a story may need. The text says what is missing where it is not there."""

    VIRTUAL_TIME = "virtual time"
    OWN_SERVER = "a server with settings of the story's own"
    LIVE = "real processes and sockets"
    SERVER_MACHINE = "a way to stop and start the server"
    SERVER_EVENTS = "the server's own account of what it does"
    APNS = "sight of the APNs that the server pushes to"
    PUSHES = "a courier that brings the server's pushes to devices"
    DEP = "the portal of a fake DEP that the server asks"
    PROFILE = "an enrollment profile of the server"
    PROFILE_CHANGES = "enrollment profiles that are made to order"
    QUEUE = "a way to queue commands"
    RESULTS = "a way to ask what became of a command"
    RECORDS = "a way to ask for the record of an enrollment"
    PUSH = "a way to have the server push"
    REMOVE = "a way to end an enrollment on the server"
    REFUSE = "a way to have the server refuse a device"
    DEP_ACCOUNTS = "a way to the server's accounts at Apple's device enrollment service"


#: What every world of our own has: reference server, fake APNs and fake DEP are seen from inside.
OWN_WORLD = frozenset({Ability.SERVER_MACHINE, Ability.SERVER_EVENTS, Ability.APNS, Ability.PUSHES, Ability.DEP})
IN_PROCESS_WORLD = OWN_WORLD | {Ability.VIRTUAL_TIME, Ability.OWN_SERVER}
LIVE_WORLD = OWN_WORLD | {Ability.LIVE}
