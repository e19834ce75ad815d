"""Personas: plausible, consistent devices, and what they say about themselves."""

from mdmsim.device.personas.persona import LocalUser, Persona, PersonaError, Subscription

__all__ = ["LocalUser", "Persona", "PersonaError", "Subscription"]
