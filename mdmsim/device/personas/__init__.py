"""Personas: plausible, consistent devices, and what they say about themselves."""

from mdmsim.device.personas.make import KINDS, kind_of, kinds_for, make_persona
from mdmsim.device.personas.persona import LocalUser, Persona, PersonaError, Subscription
from mdmsim.device.personas.user_agents import fetch_headers, mdm_headers, scep_headers

__all__ = [
    "KINDS",
    "LocalUser",
    "Persona",
    "PersonaError",
    "Subscription",
    "fetch_headers",
    "kind_of",
    "kinds_for",
    "make_persona",
    "mdm_headers",
    "scep_headers",
]
