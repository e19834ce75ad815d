"""Personas: plausible, consistent devices, and what they say about themselves."""

from mdmsim.device.personas.facts import Facts, is_supervised
from mdmsim.device.personas.inventory import answer, device_information
from mdmsim.device.personas.make import KINDS, kind_of, kinds_for, make_persona
from mdmsim.device.personas.persona import LocalUser, Persona, PersonaError, Subscription
from mdmsim.device.personas.queries import QUERY_NAMES, answerable, query_right
from mdmsim.device.personas.security import security_info
from mdmsim.device.personas.user_agents import fetch_headers, mdm_headers, scep_headers

__all__ = [
    "KINDS",
    "QUERY_NAMES",
    "Facts",
    "LocalUser",
    "Persona",
    "PersonaError",
    "Subscription",
    "answer",
    "answerable",
    "device_information",
    "fetch_headers",
    "is_supervised",
    "kind_of",
    "kinds_for",
    "make_persona",
    "mdm_headers",
    "query_right",
    "scep_headers",
    "security_info",
]
