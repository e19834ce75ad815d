"""What people do in Apple Business Manager: order devices, set up MDM servers, hand out tokens, assign devices to servers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import structs

from mdmsim.chance import Chance
from mdmsim.fakedep.core import Core
from mdmsim.fakedep.errors import PortalError
from mdmsim.fakedep.model import Device, Organisation, ServerToken
from mdmsim.fakedep.server import MdmServer
from mdmsim.fakedep.token_file import TokenFile, token_file
from mdmsim.pki.certificate import certificates_from_pem, load_certificate
from mdmsim.pki.errors import CannotEncrypt, MalformedCertificate
from mdmsim.protocol.errors import Malformed

#: Device families, what their systems are called, and a model to have where an order names none.
FAMILIES: dict[str, tuple[str, str, str]] = {
    "iPhone": ("iOS", "iPhone 15", "IPHONE 15 BLACK 128GB-USA"),
    "iPad": ("iPadOS", "iPad (10th generation)", "IPAD WI-FI 64GB SILVER-USA"),
    "iPod": ("iOS", "iPod touch", "IPOD TOUCH 32GB SPACE GRAY-USA"),
    "Mac": ("OSX", "MacBook Air", "MBA 13.6 MIDNIGHT/8C CPU/10C GPU/16GB/256GB-USA"),
    "AppleTV": ("tvOS", "Apple TV 4K", "APPLE TV 4K WI-FI 64GB-USA"),
    "Vision": ("visionOS", "Apple Vision Pro", "VISION PRO 256GB-USA"),
}

#: Who assigns devices where nobody is named.
ADMIN = "admin@example.org"


class DeviceOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device to order. Everything but serial number and family has a value that fits the family."""

    serial_number: str
    device_family: str = "iPhone"
    model: str | None = None
    description: str | None = None
    color: str | None = None
    asset_tag: str | None = None
    imei: tuple[str, ...] = ()
    meid: tuple[str, ...] = ()
    eid: str | None = None
    wifi_mac_address: str | None = None
    bluetooth_mac_address: str | None = None
    ethernet_mac_address: tuple[str, ...] = ()


class Portal:
    """The portal of all organisations. Servers are named by name or UUID. Every method raises PortalError."""

    def __init__(self, core: Core, chance: Chance) -> None:
        self._core = core
        self._register = core.register
        self._chance = chance
        self._organisations = chance.stream("organisations")
        self._servers = chance.stream("servers")
        self._tokens = chance.stream("tokens")
        self._envelopes = chance.stream("envelopes")

    # organisations

    def add_organisation(
        self,
        name: str,
        *,
        org_type: str = "org",
        org_version: str = "v2",
        email: str = "it@example.org",
        phone: str = "555-0100",
        address: str = "1 Example Street",
    ) -> Organisation:
        """A new customer. Names are unique."""
        if name in self._register.organisations:
            raise PortalError(f'organisation "{name}": there is one of that name. Choose another name.')
        chance = self._organisations.stream(name)
        organisation = Organisation(
            name=name,
            org_id=str(chance.randint(10_000_000, 99_999_999)),
            org_id_hash=chance.hex(32),
            email=email,
            phone=phone,
            address=address,
            org_type=org_type,
            org_version=org_version,
        )
        self._register.organisations[name] = organisation
        return organisation

    def organisation(self, name: str | None = None) -> Organisation:
        """The organisation of that name; without a name the first one, which is made when there is none."""
        organisations = self._register.organisations
        if name is None:
            return next(iter(organisations.values()), None) or self.add_organisation("Example Organisation")
        if name not in organisations:
            raise PortalError(
                f'organisation "{name[:60]}": there is none. There are: {", ".join(organisations) or "none"}.'
            )
        return organisations[name]

    def new_terms(self, organisation: str | None = None) -> None:
        """Apple has new terms: until someone accepts them, MDM servers get T_C_NOT_SIGNED."""
        self._terms(organisation, True)

    def accept_terms(self, organisation: str | None = None) -> None:
        self._terms(organisation, False)

    def _terms(self, organisation: str | None, pending: bool) -> None:
        found = self.organisation(organisation)
        found.terms_pending = pending
        self._tell("terms-changed" if pending else "terms-accepted", organisation=found.name)

    def default_server(self, family: str, server: str | None) -> None:
        """New devices of that family go to that server by themselves; None ends it."""
        self._family(family)
        if server is None:
            for organisation in self._register.organisations.values():
                organisation.default_servers.pop(family, None)
            self._tell("default-server", family=family, server=None)
            return
        found = self._register.server(server)
        self._register.organisations[found.organisation].default_servers[family] = found.uuid
        self._tell("default-server", family=family, server=found.name)

    # MDM servers

    def add_server(
        self, name: str, *, certificate: bytes | None = None, organisation: str | None = None, admin: str = ADMIN
    ) -> MdmServer:
        """A new MDM server. `certificate`: PEM or DER with the server's RSA public key, for its token file."""
        if not name.strip():
            raise PortalError('an MDM server needs a name: give one in "name"')
        if any(server.name == name for server in self._register.servers()):
            raise PortalError(f'MDM server "{name}": there is one of that name. Choose another name.')
        der = _certificate(certificate) if certificate is not None else None
        server = MdmServer(self._servers.uuid().hex.upper(), name, self.organisation(organisation).name, admin, der)
        self._register.keep_server(server)
        self._tell("server-added", server=name)
        return server

    def upload_certificate(self, server: str, certificate: bytes) -> None:
        """Replace the server's public key; token files made from now on are for the new one. PEM or DER."""
        self._register.server(server).certificate = _certificate(certificate)

    def remove_server(self, server: str) -> None:
        """Delete an MDM server: its devices are assigned to none, its credentials are denied."""
        found = self._register.server(server)
        for device in found:
            self._register.unassign(device)
        for organisation in self._register.organisations.values():
            organisation.default_servers = {
                family: uuid for family, uuid in organisation.default_servers.items() if uuid != found.uuid
            }
        found.removed = True
        self._tell("server-removed", server=found.name)

    def token(self, server: str) -> TokenFile:
        """Make and download the server's token file. Doing it again renews the token: the one before is over.

        The consumer key stays the same, as servers expect of a renewal. Where the key of the uploaded certificate
        cannot be encrypted for, nothing changes.
        """
        found = self._register.server(server)
        if found.certificate is None:
            raise PortalError(f'MDM server "{found.name}": no public key. Upload the server\'s certificate first.')
        token = self._new_token(found)
        now_ms = self._core.clock.now_ms()
        try:
            file = token_file(found.name, token, found.certificate, now_ms, self._envelopes, self._core.settings)
        except CannotEncrypt as error:
            raise PortalError(f'MDM server "{found.name}": {error}. Upload a certificate with an RSA key.') from None
        self._keep_token(found, token)
        return file

    def plain_token(self, server: str) -> dict[str, str]:
        """The same as five keys, for servers that take a token without its envelope. Also renews."""
        found = self._register.server(server)
        token = self._new_token(found)
        self._keep_token(found, token)
        return token.keys()

    def _new_token(self, server: MdmServer) -> ServerToken:
        # Shapes as in live tokens and in documentation; some servers keep no more than 128 characters of each.
        chance, now_ms = self._tokens, self._core.clock.now_ms()
        old = server.tokens[-1] if server.tokens else None
        return ServerToken(
            consumer_key=old.consumer_key if old else f"CK_{chance.hex(48)}",
            consumer_secret=old.consumer_secret if old else f"CS_{chance.hex(20)}",
            access_token=f"AT_O{chance.randint(10**9, 10**10 - 1)}O{chance.hex(20)}O{now_ms}",
            access_secret=f"AS_{chance.hex(20)}",
            expires_ms=now_ms + self._core.settings.token_life_ms,
        )

    def _keep_token(self, server: MdmServer, token: ServerToken) -> None:
        renewed = bool(server.tokens)
        self._register.keep_token(server, token)
        self._tell("token-renewed" if renewed else "token-made", server=server.name, consumer_key=token.consumer_key)

    # devices

    def order(
        self,
        devices: Iterable[DeviceOrder | str],
        *,
        server: str | None = None,
        organisation: str | None = None,
        order_number: str | None = None,
        by: str = ADMIN,
    ) -> list[Device]:
        """Buy devices. They go to `server`, else to the default server of their family, else to none.

        A serial number that somebody owns already, or that comes twice, is refused, and then nothing is ordered.
        """
        target = self._register.server(server) if server is not None else None
        owner = self.organisation(organisation if target is None else target.organisation)
        if organisation is not None and owner.name != organisation:
            raise PortalError(f'MDM server "{server}" belongs to "{owner.name}", not to "{organisation}"')
        now_ms = self._core.clock.now_ms()
        fresh: dict[str, Device] = {}
        for each in devices:
            order = each if isinstance(each, DeviceOrder) else DeviceOrder(serial_number=each)
            serial = order.serial_number
            if not serial or not serial.isascii() or not serial.isalnum():
                raise PortalError(f'serial number "{serial[:40]}": letters and digits only, at least one')
            if serial in fresh or self._register.find_device(serial) is not None:
                raise PortalError(f"device {serial}: ordered already. A device belongs to one organisation, once.")
            fresh[serial] = self._device(order, owner.name, order_number, now_ms)
        kept = []
        for device in fresh.values():
            self._register.keep_device(device)
            to, uuid = target, owner.default_servers.get(device.device_family)
            if to is None and uuid is not None:
                to = self._register.server(uuid)
            kept.append(self._register.assign_to_server(device, to, by) if to is not None else device)
        self._tell("ordered", serials=list(fresh), server=target.name if target is not None else None)
        return kept

    def _device(self, order: DeviceOrder, owner: str, order_number: str | None, now_ms: int) -> Device:
        system, model, description = self._family(order.device_family)
        return Device(
            serial_number=order.serial_number,
            organisation=owner,
            model=order.model or model,
            description=order.description or description,
            device_family=order.device_family,
            os=system,
            color=order.color,
            asset_tag=order.asset_tag,
            order_number=order_number,
            order_date_ms=now_ms,
            imei=order.imei,
            meid=order.meid,
            eid=order.eid,
            wifi_mac_address=order.wifi_mac_address,
            bluetooth_mac_address=order.bluetooth_mac_address,
            ethernet_mac_address=order.ethernet_mac_address,
        )

    def assign(self, serials: Iterable[str], server: str, *, by: str = ADMIN) -> None:
        """Assign devices to an MDM server; the one they had hears `deleted`. Those that are there already stay as they are."""
        target = self._register.server(server)
        found = [self._register.device(serial) for serial in dict.fromkeys(serials)]
        for device in found:
            if device.organisation != target.organisation:
                raise PortalError(f'device {device.serial_number} is not of "{target.organisation}"')
        for device in found:
            if device.server != target.uuid:
                self._register.assign_to_server(device, target, by)
        self._tell("assigned", serials=[device.serial_number for device in found], server=target.name)

    def unassign(self, serials: Iterable[str]) -> None:
        """Devices belong to no MDM server any more, but still to the organisation."""
        found = [self._register.device(serial) for serial in dict.fromkeys(serials)]
        for device in found:
            self._register.unassign(device)
        self._tell("unassigned", serials=[device.serial_number for device in found])

    def release(self, serials: Iterable[str]) -> None:
        """Devices do not belong to the organisation any more."""
        found = [self._register.device(serial) for serial in dict.fromkeys(serials)]
        for device in found:
            self._register.release(device)
        self._tell("released", serials=[device.serial_number for device in found])

    def replace(self, serial: str, by: DeviceOrder | str) -> Device:
        """Apple replaced a broken device: the new one takes its place at the MDM server, the old one is released."""
        old = self._register.device(serial)
        order = by if isinstance(by, DeviceOrder) else DeviceOrder(serial_number=by, device_family=old.device_family)
        (new,) = self.order([order], organisation=old.organisation)
        new = structs.replace(
            new,
            is_replacement_device=True,
            original_serial_number=serial,
            replaced_ms=self._core.clock.now_ms(),
        )
        self._register.keep_device(new)
        if old.server is not None:
            new = self._register.assign_to_server(new, self._register.server(old.server), ADMIN)
        self._register.release(structs.replace(old, released_by_replacement=True))
        self._tell("replaced", serials=[serial, new.serial_number])
        return new

    def set_asset_tag(self, serial: str, asset_tag: str | None) -> None:
        self._register.change(structs.replace(self._register.device(serial), asset_tag=asset_tag))

    def set_migration_deadline(self, serial: str, at_ms: int | None) -> None:
        """Until when the device must have moved to its new MDM server."""
        self._register.change(structs.replace(self._register.device(serial), mdm_migration_deadline_ms=at_ms))

    # inside

    def _family(self, family: str) -> tuple[str, str, str]:
        known = FAMILIES.get(family)
        if known is None:
            raise PortalError(f'device family "{family[:40]}": there is none. There are: {", ".join(FAMILIES)}.')
        return known

    def _tell(self, action: str, **data: object) -> None:
        self._core.emit("dep.portal", action=action, **data)


def _certificate(data: bytes) -> bytes:
    """The DER certificate in what was uploaded; PEM or DER, the first where there are several."""
    try:
        ders = certificates_from_pem(data) if b"-----BEGIN" in data else (data,)
        if not ders:
            raise PortalError(
                "the uploaded file holds no certificate: give the server's public key certificate as PEM or DER"
            )
        load_certificate(ders[0])
    except (MalformedCertificate, Malformed) as error:
        raise PortalError(
            f"the uploaded file: {error}. Give the server's public key certificate as PEM or DER."
        ) from None
    return ders[0]
