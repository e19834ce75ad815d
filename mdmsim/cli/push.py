"""`mdmsim apns` and its subcommands: the fake APNs, and the push certificates that servers need for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mdmsim.cli import apns_due, fakes
from mdmsim.cli.exits import PASSED, Mistake
from mdmsim.cli.options import option
from mdmsim.cli.words import contents

#: What the fake APNs takes as a topic, and Apple's bundle identifiers keep to.
LONGEST_TOPIC = 255

app = typer.Typer(rich_markup_mode=None, context_settings={"max_content_width": 110})
app.callback(invoke_without_command=True)(fakes.apns)
app.command("due", short_help="Due but missing: which devices should have been pushed to, and were not.")(apns_due.due)


@app.command("certificate", short_help="Make a throw-away push certificate that servers and this fake accept.")
def certificate(
    out: Annotated[Path, option("Where to write certificate and key, PEM.", "FILE")],
    topic: Annotated[str, option('The topic; "new": a new one, as Apple\'s portal makes them.', "TOPIC")] = "new",
    days: Annotated[
        int,
        option("How long it is valid; a negative number: it ended so long ago.", "N", min=-3650, max=3650),
    ] = 365,
    environment: Annotated[
        Literal["production", "sandbox", "both"], option("Where it may push: Apple's marks in it.")
    ] = "production",
    key: Annotated[Literal["pkcs8", "pkcs1"], option("Form of the private key.")] = "pkcs8",
    also: Annotated[
        list[str] | None,
        option("One more topic: makes a certificate for several, as apps have; not for MDM. Repeatable.", "TOPIC"),
    ] = None,
    as_json: Annotated[bool, option("One line of JSON, and nothing else on stdout.", None, "--json")] = False,
) -> int:
    """Make a push certificate as Apple's portal makes them, from an authority that is thrown away.

    Servers take it for one of Apple's, and the fake APNs once it knows it (apns --certificate, up --push-certificate).
    Apple itself refuses it.
    """
    from mdmsim.chance import Chance
    from mdmsim.cli.output import json_line, line
    from mdmsim.clock import WallClock, iso
    from mdmsim.pki.authority import Authority
    from mdmsim.pki.certificate import identity_to_pem, not_after_ms
    from mdmsim.pki.errors import MalformedName
    from mdmsim.pki.keys import FreshKeys
    from mdmsim.pki.push_certificate import PushEnvironment, new_topic
    from mdmsim.startup import writable_files

    if out.exists():
        raise Mistake(f"--out {out}: is there already, and may hold a key that is in use. Name another file.")
    writable_files({"--out": out})
    chance = Chance.of_machine()
    named = new_topic(chance) if topic == "new" else topic
    for option_, one in (("--topic", named), *(("--also", each) for each in also or ())):
        if not one.isprintable() or not one.strip() or len(one) > LONGEST_TOPIC:
            shown = one if len(one) <= LONGEST_TOPIC else f"{one[:30]}…"
            raise Mistake(
                f'{option_} "{shown}": not a topic. Write 1 to {LONGEST_TOPIC} characters, such as com.apple.mgmt.External.UUID'
                + (', or "new".' if option_ == "--topic" else ".")
            )
    if days == 0:
        raise Mistake("--days 0: it would have ended when it is made. Write 1 or more, or -1 for one that has ended.")
    environments: tuple[PushEnvironment, ...] = ("production", "sandbox") if environment == "both" else (environment,)
    authority = Authority.create("mdmsim push CA", keys=FreshKeys(), clock=WallClock(), chance=chance)
    try:
        made = authority.issue_push(named, days=days, environments=environments, topics=(named, *also) if also else ())
    except MalformedName as error:
        raise Mistake(f"--topic: {error}. What follows com.apple.mgmt.External. is a UUID.") from None
    _write("--out", out, identity_to_pem(made, key))
    ends = iso(not_after_ms(made.certificate))
    if as_json:
        json_line({"file": str(out), "topic": named, "environments": list(environments), "not_after": ends})
        return PASSED
    line(f"  push certificate   {out}   (certificate and key, PEM, mode 0600)")
    line(f"  topic              {named}")
    line(f"  may push to        {' and '.join(environments)}, until {ends}")
    if not named.startswith("com.apple.mgmt."):
        line("  MDM servers refuse a topic that does not begin with com.apple.mgmt.")
    line("  make a fake know it:")
    line(f"    mdmsim up --push-certificate {out}")
    line(f"    mdmsim apns --certificate {out}")
    line("  or, while one runs (URL and key of its admin API are in what it printed):")
    line(f'    openssl x509 -in {out} | curl -H "Authorization: Bearer KEY" --data-binary @- ADMIN_URL/certificates')
    return PASSED


@app.command("vendor-request", short_help="Sign a request for the push certificate portal, as an MDM vendor does.")
def vendor_request(
    out: Annotated[Path, option("Where to write the request: what the portal takes.", "FILE")],
    csr: Annotated[
        Path | None, option("The certificate request to sign, PEM or DER (default: one with a new key).", "FILE")
    ] = None,
    key_out: Annotated[
        Path | None, option("Without --csr: where to write the new private key, PEM, mode 0600.", "FILE")
    ] = None,
    vendor: Annotated[
        Path | None, option("The vendor's certificate, key and chain, PEM (default: a throw-away one).", "FILE")
    ] = None,
    digest: Annotated[Literal["sha256", "sha1"], option("Of the signature.")] = "sha256",
) -> int:
    """Make a vendor-signed request, to try the portal with: create, renew, and what it refuses.

    Apple's own portal refuses it unless --vendor is a real MDM vendor's.
    """
    from mdmsim.chance import Chance
    from mdmsim.cli.output import line
    from mdmsim.clock import WallClock
    from mdmsim.pki.authority import Authority
    from mdmsim.pki.certificate import identity_from_pem
    from mdmsim.pki.keys import FreshKeys
    from mdmsim.pki.push_request import build_push_request
    from mdmsim.protocol.errors import Malformed
    from mdmsim.startup import writable_files

    if (csr is None) == (key_out is None):
        raise Mistake("mdmsim apns vendor-request: either --csr FILE, or --key-out FILE for a request with a new key.")
    for option_, file in (("--out", out), ("--key-out", key_out)):
        if file is not None and file.exists():
            raise Mistake(f"{option_} {file}: is there already. Name another file.")
    writable_files({"--key-out": key_out, "--out": out})
    try:
        if vendor is not None:
            signer = identity_from_pem(contents(vendor, "--vendor"))
        else:
            name, chance = "mdmsim MDM vendor", Chance.of_machine()
            keys = FreshKeys()
            signer = Authority.create(name, organization=name, keys=keys, clock=WallClock(), chance=chance).identity
    except Malformed as error:
        raise Mistake(f"--vendor {vendor}: {error}. Name a PEM file with the vendor's certificate and key.") from None
    wanted, key = (_csr(csr), None) if csr is not None else _new_csr()
    try:
        request = build_push_request(wanted, signer, digest=digest)
    except Malformed as error:
        raise Mistake(f"--vendor {vendor}: {error}.") from None
    if key_out is not None and key is not None:
        # First the key: without it the request is worth nothing.
        _write("--key-out", key_out, key)
    _write("--out", out, request, private=False)
    if key_out is not None:
        line(f"  private key   {key_out}   (mode 0600): it belongs to the certificate that the portal will issue")
    line(f"  request       {out}")
    line("  create:  upload it on the portal's page, or")
    line(f'    curl -H "Authorization: Bearer KEY" --data-binary @{out} ADMIN_URL/portal/certificates')
    line("  renew:")
    line(f'    curl -H "Authorization: Bearer KEY" --data-binary @{out} ADMIN_URL/portal/certificates/ID/renew')
    return PASSED


def _write(option_: str, file: Path, content: bytes, *, private: bool = True) -> None:
    from mdmsim.startup import write_private

    try:
        if private:
            write_private(file, content)
        else:
            file.write_bytes(content)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise Mistake(f"{option_} {file}: cannot be written ({said}). Name another file.") from None


def _csr(file: Path) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from mdmsim.pki.csr import parse_csr
    from mdmsim.protocol.errors import Malformed

    data = contents(file, "--csr")
    what = "Name a PKCS #10 request, as openssl req -new makes it."
    if b"-----BEGIN" in data and b"CERTIFICATE REQUEST-----" not in data:
        held = "a certificate" if b"-----BEGIN CERTIFICATE-----" in data else "something else"
        raise Mistake(f"--csr {file}: it holds {held}, and no certificate request. {what}")
    try:
        if b"-----BEGIN" in data:
            data = x509.load_pem_x509_csr(data).public_bytes(Encoding.DER)
        return parse_csr(data).der
    except Malformed as error:
        raise Mistake(f"--csr {file}: {error.reason}. {what}") from None
    except ValueError:
        raise Mistake(f"--csr {file}: its certificate request cannot be read. {what}") from None


def _new_csr() -> tuple[bytes, bytes]:
    """A request with a new key, and the key as PEM."""
    from mdmsim.pki.certificate import key_to_pem
    from mdmsim.pki.csr import build_csr
    from mdmsim.pki.keys import FreshKeys
    from mdmsim.pki.names import name

    key = FreshKeys().take(bits=2048)
    return build_csr(key, name("MDM push")), key_to_pem(key)
