"""What the calls about Apple's device enrollment service take and give."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from reference_server.api.models import Limit, Model
from reference_server.storage.dep_records import DEFAULT_PROFILE, DepAccount, DepDevice, DepProfile

Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._-]{1,64}$(?!\\n)")]


class DepAccountOrder(Model, frozen=True, kw_only=True):
    """A new account: a key pair is made for it. `name` is of one's own choice."""

    name: Name


class DepAccountList(msgspec.Struct, frozen=True, kw_only=True):
    accounts: list[DepAccount]


class DepCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What to upload to the server's entry in Apple's portal. `pem`: the certificate; its key stays here."""

    file_name: str
    pem: str


class DepPlainToken(Model, frozen=True, kw_only=True):
    """A token that came without envelope, as simulators give it."""

    consumer_key: str
    consumer_secret: str
    access_token: str
    access_secret: str
    access_token_expiry: str


class DepTokenOrder(Model, frozen=True, kw_only=True):
    """A token: the `content` of the file that Apple's portal gives out (.p7m, base64), or in `plain`.

    `force`: take it though it belongs to another server entry than the one before; all that is known of that is forgotten.
    """

    content: bytes | None = None
    plain: DepPlainToken | None = None
    force: bool = False


class DepSyncOrder(Model, frozen=True, kw_only=True):
    """`full`: read the whole list, not what changed only."""

    full: bool = False


class DepRound(msgspec.Struct, frozen=True, kw_only=True):
    """What a round with Apple brought. `defined`: names of profiles sent; `assigned`: devices by Apple's word."""

    added: int
    modified: int
    deleted: int
    defined: list[str]
    assigned: dict[str, int]


class DepDeviceQuery(Model, frozen=True, kw_only=True):
    limit: Limit = 100
    after: Annotated[str, msgspec.Meta(description="`serial_number` of the last device seen")] = ""
    gone: Annotated[bool | None, msgspec.Meta(description="Only devices that Apple took away, or only others")] = None


class DepDevicePage(msgspec.Struct, frozen=True, kw_only=True):
    """Devices by serial number. `next`: what to give as `after` for the following page; null on the last."""

    devices: list[DepDevice]
    next: str | None


class DepProfileList(msgspec.Struct, frozen=True, kw_only=True):
    profiles: list[DepProfile]


class DepProfileOrder(Model, frozen=True, kw_only=True):
    """Keys of a profile at Apple, such as `is_mdm_removable`; the server adds its URL and certificates.

    A key that is null is left out. `keys` null: as the server's settings say.
    """

    keys: dict[str, Any] | None = None


class DepUserOrder(Model, frozen=True, kw_only=True):
    """How a device gets its user at automated enrollment, one of two: `user` is assigned to it now, and nobody signs in;
    or whoever enrols it must sign in (`login`), and is its user. `user`: a short name, without a tenant's domain."""

    user: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    login: bool = False


class DepAssignOrder(Model, frozen=True, kw_only=True):
    """Let devices have a profile, by its name here. `devices`: serial numbers; null: all that the account has."""

    profile: Name = DEFAULT_PROFILE
    devices: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100_000)] | None = None
