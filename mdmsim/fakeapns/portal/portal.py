"""What people do at the portal: create a push certificate, renew it, revoke it, download it.

Renewing keeps the topic, and with it every enrolled device; creating makes a new topic, which no enrolled device listens
to. Both take a new request each time, whose key may be a new one. Certificates that were renewed stay good until they
expire or are revoked (Apple's word for that is not documented).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import DAY, Clock, iso
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import not_after_ms, serial, to_pem
from mdmsim.pki.keys import FreshKeys, KeySource
from mdmsim.pki.push_certificate import new_topic
from mdmsim.pki.push_request import SignedRequest, VendorRule, read_push_request
from mdmsim.protocol.errors import Malformed
from mdmsim.startup import ServeError, write_private

#: The name of the authority that issues push certificates; Apple's is "Apple Application Integration 2 ...".
ISSUER = "mdmsim push certificate CA"

#: Who is signed in where nobody says who.
ACCOUNT = "admin@example.com"

#: An MDM push certificate lasts a year.
DAYS = 365

_ACCOUNT = re.compile(r"[!-~]{1,120}")


class PortalError(Exception):
    """What the portal answers to a wish that cannot be: an HTTP status, and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Issued(msgspec.Struct):
    """One certificate of an entry."""

    serial: str
    der: bytes
    issued_ms: int
    expires_ms: int
    revoked_ms: int | None = None


class Entry(msgspec.Struct):
    """One line in somebody's list: a topic, and the certificates that were issued for it, the newest last."""

    id: str
    account: str
    topic: str
    vendor: str
    note: str
    issued: list[Issued]

    @property
    def newest(self) -> Issued:
        return self.issued[-1]


class Kept(msgspec.Struct):
    """Everything, as it is kept in a file. `authority`: PEM with its key."""

    authority: str
    entries: list[Entry]
    v: int = 1


class Portal:
    """`register` and `revoke` tell the push service about certificates. `rule`: which vendors are believed.

    `file`: where everything is kept between runs, with the authority's key; None: nowhere. What is kept there is made
    known to the push service at once. Raises ServeError for a file that is none.
    """

    def __init__(
        self,
        clock: Clock,
        chance: Chance,
        *,
        register: Callable[[bytes], object],
        revoke: Callable[[bytes], object],
        rule: VendorRule | None = None,
        keys: KeySource | None = None,
        file: Path | None = None,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._register = register
        self._revoke = revoke
        self._rule = rule or VendorRule()
        self._keys = keys or FreshKeys()
        self._file = file
        self._entries: dict[str, Entry] = {}
        self._read: Authority | None = None
        if file is not None and file.exists():
            self._restore(file)

    @cached_property
    def _authority(self) -> Authority:
        # Made when it is first needed: an RSA key costs more than everything else at the start.
        chance = self._chance.stream("authority")
        return self._read or Authority.create(ISSUER, keys=self._keys, clock=self._clock, chance=chance)

    def create(self, account: str, request: bytes, note: str = "") -> Entry:
        """A certificate with a new topic: devices that are enrolled with another will not hear it. Raises PortalError."""
        _signed_in(account)
        signed = self._judge(request)
        entry = Entry(str(self._chance.uuid()), account, new_topic(self._chance), signed.vendor, note[:500], [])
        self._issue(entry, signed)
        self._entries[entry.id] = entry
        self._keep()
        return entry

    def renew(self, account: str, number: str, request: bytes) -> Entry:
        """One more certificate with the same topic. Raises PortalError, also where the entry is another account's."""
        entry = self.entry(account, number)
        if entry.newest.revoked_ms is not None:
            raise PortalError(
                409, f"{entry.topic} was revoked at {iso(entry.newest.revoked_ms)}: create a new certificate."
            )
        signed = self._judge(request)
        entry.vendor = signed.vendor
        self._issue(entry, signed)
        self._keep()
        return entry

    def revoke(self, account: str, number: str) -> Entry:
        """Take back all certificates of an entry; again is no mistake. Raises PortalError."""
        entry = self.entry(account, number)
        for issued in entry.issued:
            if issued.revoked_ms is None:
                issued.revoked_ms = self._clock.now_ms()
                self._revoke(issued.der)
        self._keep()
        return entry

    def download(self, account: str, number: str) -> tuple[str, bytes]:
        """The newest certificate: a file name as Apple's portal gives it, and PEM. Raises PortalError."""
        entry = self.entry(account, number)
        vendor = re.sub(r"[^\w .,&()-]", "", entry.vendor, flags=re.ASCII).strip() or "vendor"
        return f"MDM_ {vendor}_Certificate.pem", to_pem(entry.newest.der)

    def entry(self, account: str, number: str) -> Entry:
        """One entry of that account. Raises PortalError."""
        found = self._entries.get(number)
        if found is None or found.account != account:
            raise PortalError(
                404,
                f"{account} has no certificate {number[:60]}. A certificate is renewed in the account that created it: sign "
                "in as that one. Creating another instead makes a new topic, and enrolled devices do not hear it.",
            )
        return found

    def entries(self, account: str) -> tuple[Entry, ...]:
        """The account's, in the order in which they were created."""
        return tuple(entry for entry in self._entries.values() if entry.account == account)

    def status(self, entry: Entry) -> str:
        """`active`, `expired` or `revoked`."""
        if entry.newest.revoked_ms is not None:
            return "revoked"
        return "expired" if entry.newest.expires_ms < self._clock.now_ms() else "active"

    def _judge(self, request: bytes) -> SignedRequest:
        try:
            return read_push_request(request, now_ms=self._clock.now_ms(), rule=self._rule)
        except Malformed as error:
            raise PortalError(400, f"{error}.") from None

    def _issue(self, entry: Entry, signed: SignedRequest) -> None:
        der = self._authority.push_certificate(entry.topic, public_key=signed.csr.public_key, days=DAYS)
        self._register(der)
        entry.issued.append(Issued(f"{serial(der):032x}", der, self._clock.now_ms(), not_after_ms(der)))

    def _keep(self) -> None:
        if self._file is not None:
            kept = Kept(self._authority.to_pem().decode("ascii"), list(self._entries.values()))
            write_private(self._file, msgspec.json.encode(kept))

    def _restore(self, file: Path) -> None:
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=Kept)
            self._read = Authority.from_pem(
                kept.authority, keys=self._keys, clock=self._clock, chance=self._chance.stream("authority")
            )
            if any(not entry.issued for entry in kept.entries):
                raise msgspec.ValidationError("an entry without a certificate")
        except OSError as error:
            raise ServeError(f"{file}: cannot be read ({error.strerror}). Name the portal's own file.") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, Malformed) as error:
            raise ServeError(f"{file}: not what the portal keeps ({error}). Delete it to start with none.") from None
        for entry in kept.entries:
            self._entries[entry.id] = entry
            for issued in entry.issued:
                self._register(issued.der)
                if issued.revoked_ms is not None:
                    self._revoke(issued.der)


def _signed_in(account: str) -> None:
    if not _ACCOUNT.fullmatch(account):
        raise PortalError(400, "account: the name of an account, such as an e-mail address, without blanks.")


#: How long before its end a certificate is worth a warning.
SOON_MS = 30 * DAY
