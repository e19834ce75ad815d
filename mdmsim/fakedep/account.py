"""Endpoints about the account: who it is, what the service offers, beta programs, account-driven enrollment."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from mdmsim.fakedep.core import Call, Core, text
from mdmsim.fakedep.errors import refuse
from mdmsim.fakedep.model import Organisation, stamp

#: What /account says that there is (captured: /account). `limit` is filled in for fetch and sync.
_URLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/session", ("GET",)),
    ("/account", ("GET",)),
    ("/devices", ("POST",)),
    ("/server/devices", ("POST",)),
    ("/devices/sync", ("POST",)),
    ("/profile", ("POST", "GET")),
    ("/profile/devices", ("DELETE", "POST", "PUT")),
    ("/devices/disown", ("POST",)),
    ("/device/activationlock", ("POST",)),
    ("/account-driven-enrollment/profile", ("DELETE", "POST", "GET")),
)

_PAGED = ("/server/devices", "/devices/sync")


class AccountEndpoints:
    """Each method answers one call with a JSON value, or raises Refused."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def account(self, call: Call) -> Any:
        """Apple, "Get Account Detail". Keys of version 3 are left out below it."""
        server, organisation = call.server, self._organisation(call)
        found: dict[str, Any] = {
            "server_name": server.name,
            "server_uuid": server.uuid,
            "admin_id": server.admin,
            "facilitator_id": server.admin,
            "org_name": organisation.name,
            "org_email": organisation.email,
            "org_phone": organisation.phone,
            "org_address": organisation.address,
        }
        if call.version >= 3:
            found |= {
                "org_id": organisation.org_id,
                "org_id_hash": organisation.org_id_hash,
                "org_type": organisation.org_type,
                "org_version": organisation.org_version,
                "urls": self._urls(),
            }
        self._core.emit("dep.account", server=server.name, version=call.version)
        return found

    def beta_tokens(self, call: Call) -> Any:
        """Apple, "Get Beta Enrollment Tokens"."""
        tokens = self._organisation(call).beta_tokens
        if tokens is None:
            raise refuse("APPLE_SEED_FOR_IT_TURNED_OFF", "the organisation does not take part in AppleSeed for IT")
        return {"betaEnrollmentTokens": list(tokens)}

    def set_discovery(self, call: Call) -> Any:
        """Apple, "Assign an Account-Driven Enrollment Service Discovery". The answer is an object: some clients parse it."""
        organisation = self._organisation(call)
        self._supported(organisation)
        url = text(call.body(), "mdm_service_discovery_url")
        if url is None:
            raise refuse("MDM_SERVICE_DISCOVERY_URL_REQUIRED", "no mdm_service_discovery_url")
        try:
            parts = urlsplit(url)
            valid = parts.scheme == "https" and bool(parts.hostname)
        except ValueError:
            valid = False
        if not valid:
            raise refuse("MDM_SERVICE_DISCOVERY_URL_NOT_VALID", "not an https URL")
        organisation.discovery_url = url
        organisation.discovery_set_ms = self._core.clock.now_ms()
        return {}

    def get_discovery(self, call: Call) -> Any:
        organisation = self._organisation(call)
        self._supported(organisation)
        if organisation.discovery_url is None:
            raise refuse("NOT_FOUND", "no service discovery URL is set")
        return {
            "mdm_service_discovery_url": organisation.discovery_url,
            "last_updated_timestamp": stamp(organisation.discovery_set_ms),
        }

    def delete_discovery(self, call: Call) -> Any:
        organisation = self._organisation(call)
        self._supported(organisation)
        organisation.discovery_url = None
        return {}

    # inside

    def _organisation(self, call: Call) -> Organisation:
        return self._core.register.organisations[call.server.organisation]

    def _supported(self, organisation: Organisation) -> None:
        if organisation.org_version == "v1":
            raise refuse("ORG_NOT_SUPPORTED", "an organisation of the old programs")

    def _urls(self) -> list[dict[str, Any]]:
        most = self._core.settings.maximum_limit
        found: list[dict[str, Any]] = []
        for uri, methods in _URLS:
            entry: dict[str, Any] = {"uri": uri, "http_method": list(methods)}
            if uri in _PAGED:
                # Captured in 2025: default and maximum both 1000, though a request without a limit gets fewer.
                entry["limit"] = {"default": most, "maximum": most}
            found.append(entry)
        return found
