"""The table of calls about Apple's device enrollment service."""

from __future__ import annotations

from reference_server.api.dep_handlers import DepHandlers
from reference_server.api.dep_models import (
    DepAccountList,
    DepAccountOrder,
    DepAssignOrder,
    DepCertificate,
    DepDevicePage,
    DepDeviceQuery,
    DepProfileList,
    DepProfileOrder,
    DepRound,
    DepSyncOrder,
    DepTokenOrder,
)
from reference_server.api.endpoints import Endpoint
from reference_server.storage.dep_records import DepAccount, DepDevice, DepProfile


def dep_endpoints(handlers: DepHandlers) -> tuple[Endpoint, ...]:
    """All calls, in the order in which they are described."""
    account, profile = "/dep/{name}", "/dep/{name}/profiles/{profile}"
    h = handlers
    return (
        Endpoint("GET", "/dep", "listDepAccounts", "Accounts at Apple, by name", h.list_accounts, DepAccountList),
        Endpoint(
            "POST",
            "/dep",
            "addDepAccount",
            "Add an account, with a key pair of its own",
            h.add_account,
            DepAccount,
            status=201,
            body=DepAccountOrder,
            problems=(409,),
        ),
        Endpoint("GET", account, "getDepAccount", "One account", h.get_account, DepAccount, problems=(404,)),
        Endpoint(
            "DELETE",
            account,
            "removeDepAccount",
            "Forget an account and its devices; nothing changes at Apple",
            h.remove_account,
            None,
            status=204,
            problems=(404,),
        ),
        Endpoint(
            "GET",
            f"{account}/certificate",
            "getDepCertificate",
            "The certificate to upload to Apple's portal",
            h.get_certificate,
            DepCertificate,
            problems=(404,),
        ),
        Endpoint(
            "POST",
            f"{account}/token",
            "setDepToken",
            "Take the token that Apple's portal gave out",
            h.set_token,
            DepAccount,
            body=DepTokenOrder,
            problems=(404, 409),
        ),
        Endpoint(
            "POST",
            f"{account}/sync",
            "syncDep",
            "Ask Apple now, and assign profiles where they are missing",
            h.sync,
            DepRound,
            body=DepSyncOrder,
            body_optional=True,
            problems=(404, 409, 502),
        ),
        Endpoint(
            "GET",
            f"{account}/devices",
            "listDepDevices",
            "Devices of an account, by serial number",
            h.list_devices,
            DepDevicePage,
            query=DepDeviceQuery,
            problems=(404,),
        ),
        Endpoint(
            "GET",
            f"{account}/devices/{{serial}}",
            "getDepDevice",
            "One device of an account",
            h.get_device,
            DepDevice,
            problems=(404,),
        ),
        Endpoint(
            "GET",
            f"{account}/profiles",
            "listDepProfiles",
            "Profiles of an account, by name",
            h.list_profiles,
            DepProfileList,
            problems=(404,),
        ),
        Endpoint(
            "GET",
            profile,
            "getDepProfile",
            "One profile of an account",
            h.get_profile,
            DepProfile,
            problems=(404,),
        ),
        Endpoint(
            "PUT",
            profile,
            "setDepProfile",
            "Define a profile at Apple; its devices are assigned anew if it changed",
            h.set_profile,
            DepProfile,
            body=DepProfileOrder,
            problems=(404, 409, 502),
        ),
        Endpoint(
            "POST",
            f"{account}/assign",
            "assignDepProfile",
            "Let devices have a profile",
            h.assign,
            DepRound,
            body=DepAssignOrder,
            problems=(404, 409, 502),
        ),
    )
