"""Who may speak for an enrollment, and with which status everybody else is turned away."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import DAY
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.mdm_signature import LEGACY, SignatureStyle, sign_body
from mdmsim.protocol.connect import Ids, Report, Status, build_report
from mdmsim.protocol.content_type import CONNECT
from tests.reference_server.kit import DEVICE_CA, KEYS, Answer, Device, Server, fresh_identity

pytestmark = pytest.mark.anyio

FOREIGN = "Somebody Else's CA"


async def _idle(
    server: Server, udid: str, *, certificate: Identity | None, signer: Identity | None, spoil: bool = False
) -> Answer:
    body = build_report(Report(Ids(udid=udid), Status.IDLE))
    headers: tuple[tuple[str, str], ...] = (("Content-Type", CONNECT),)
    if signer is not None:
        headers += (("Mdm-Signature", sign_body(body + b" " if spoil else body, signer)),)
    der = certificate.certificate if certificate is not None else None
    return await server.request("PUT", "/mdm/connect", body, headers=headers, certificate=der)


@pytest.mark.parametrize(
    ("certificate", "signer", "status"),
    [
        ("own", None, 200),
        (None, "own", 200),
        ("own", "own", 200),
        (None, None, 400),
        ("own", "other", 403),
        ("other", "own", 403),
        ("other", None, 403),
        (None, "other", 403),
        ("other", "other", 403),
        ("unbound", None, 403),
        (None, "unbound", 403),
        ("foreign", None, 403),
        (None, "foreign", 403),
        ("own", "foreign", 403),
        ("removed", None, 401),
        (None, "removed", 401),
        ("removed", "removed", 401),
    ],
)
async def test_the_identity_matrix(server: Server, certificate: str | None, signer: str | None, status: int) -> None:
    own, other, removed = (
        await server.enrolled("UDID-1"),
        await server.enrolled("UDID-2"),
        await server.enrolled("UDID-3"),
    )
    await server.api("POST", "/devices/UDID-3/remove")
    identities = {
        "own": own.identity,
        "other": other.identity,
        "removed": removed.identity,
        "unbound": fresh_identity(),
        "foreign": fresh_identity(ca=FOREIGN),
    }
    answer = await _idle(
        server,
        "UDID-3" if "removed" in (certificate, signer) else "UDID-1",
        certificate=identities[certificate] if certificate else None,
        signer=identities[signer] if signer else None,
    )
    assert answer.status == status
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("by", ["certificate", "signature", "both"])
async def test_a_device_enrols_with_either_proof(server: Server, by: str) -> None:
    device = await server.enrolled("UDID-1", by=by)
    assert (await device.idle()).status == 200


@pytest.mark.parametrize("with_certificate", [False, True])
async def test_a_signature_over_another_body_is_400(server: Server, with_certificate: bool) -> None:
    device = await server.enrolled()
    certificate = device.identity if with_certificate else None
    answer = await _idle(server, device.udid, certificate=certificate, signer=device.identity, spoil=True)
    assert answer.status == 400


@pytest.mark.parametrize("header", ["", "?", "AAAA", base64.b64encode(b"0" * 3000).decode(), "é"])
async def test_a_signature_that_is_none_is_400_even_beside_a_certificate(server: Server, header: str) -> None:
    device = await server.enrolled()
    body = build_report(Report(device.ids, Status.IDLE))
    headers = (("Content-Type", CONNECT), ("Mdm-Signature", header))
    answer = await server.request("PUT", "/mdm/connect", body, headers=headers, certificate=device.identity.certificate)
    assert answer.status == 400


@pytest.mark.parametrize("others", [True, False])
async def test_two_signatures_are_400_also_when_both_are_good(server: Server, others: bool) -> None:
    # RFC 9110 section 5.3: a field that is no list comes once. Which one counts must not depend on who reads it.
    device, other = await server.enrolled("UDID-1"), await server.enrolled("UDID-2")
    body = build_report(Report(device.ids, Status.IDLE))
    second = other.identity if others else device.identity
    headers = (
        ("Content-Type", CONNECT),
        ("Mdm-Signature", sign_body(body, device.identity)),
        ("Mdm-Signature", sign_body(body, second)),
    )
    assert (await server.request("PUT", "/mdm/connect", body, headers=headers)).status == 400


@pytest.mark.parametrize(
    "style", [LEGACY, SignatureStyle(attributes=True), SignatureStyle(digest="sha512"), SignatureStyle(chain=True)]
)
async def test_every_form_of_signature_in_the_field_is_accepted(server: Server, style: SignatureStyle) -> None:
    device = await server.enrolled()
    body = build_report(Report(device.ids, Status.IDLE))
    headers = (("Content-Type", CONNECT), ("Mdm-Signature", sign_body(body, device.identity, style=style)))
    assert (await server.request("PUT", "/mdm/connect", body, headers=headers)).status == 200


async def test_an_expired_identity_is_403(server: Server) -> None:
    device = await server.enrolled(identity=fresh_identity(days=30))
    assert (await device.idle()).status == 200
    server.manual.advance(31 * DAY)
    assert (await device.idle()).status == 403


async def test_a_removed_identity_is_401_even_after_it_expired(server: Server) -> None:
    device = await server.enrolled(identity=fresh_identity(days=30))
    await server.api("POST", f"/devices/{device.udid}/remove")
    server.manual.advance(31 * DAY)
    assert (await device.idle()).status == 401


async def test_an_identity_of_another_device_may_not_open_an_enrollment(server: Server) -> None:
    one = await server.enrolled("UDID-1")
    assert (await Device(server, "UDID-2", identity=one.identity).authenticate()).status == 403


async def test_another_devices_identity_is_refused_on_every_message(server: Server) -> None:
    await server.enrolled("UDID-1")
    thief = Device(server, "UDID-1", identity=(await server.enrolled("UDID-2")).identity)
    answers = [await thief.token_update(), await thief.check_out(), await thief.idle(), await thief.acknowledge("X")]
    assert [answer.status for answer in answers] == [403] * 4
    assert (await server.device("UDID-1"))["status"] == "enrolled"


@pytest.mark.parametrize("by", ["certificate", "signature", "both"])
async def test_nobody_enrols_with_an_identity_of_another_ca(server: Server, by: str) -> None:
    stranger = Device(server, "UDID-9", identity=fresh_identity(ca=FOREIGN), by=by)
    assert (await stranger.authenticate()).status == 403


async def test_a_message_from_a_device_that_never_authenticated_is_403(server: Server) -> None:
    stranger = Device(server, "UDID-9")
    assert [(await stranger.token_update()).status, (await stranger.idle()).status] == [403, 403]


@pytest.mark.parametrize("form", ["nginx", "rfc9440"])
@pytest.mark.parametrize(("client", "status"), [("10.0.0.5", 200), ("192.0.2.7", 400)])
async def test_a_proxys_header_counts_from_named_proxies_only(form: str, client: str, status: int) -> None:
    server = Server(trusted_proxies=("10.0.0.0/8",), proxy_header="X-Client-Cert")
    device = await server.enrolled(by="signature")
    der = device.identity.certificate
    value = quote(to_pem(der).decode(), safe="") if form == "nginx" else f":{base64.b64encode(der).decode()}:"
    body = build_report(Report(device.ids, Status.IDLE))
    headers = (("Content-Type", CONNECT), ("X-Client-Cert", value))
    answer = await server.request("PUT", "/mdm/connect", body, headers=headers, client=client)
    assert answer.status == status


@pytest.mark.parametrize(
    ("proxies", "client", "trusted"),
    [
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.0/104", "10.9.8.7", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("2001:db8::/32", "2001:db8::5", True),
        ("::/0", "10.0.0.5", False),
        ("10.0.0.0/8", "2001:db8::5", False),
    ],
)
async def test_an_ipv4_proxy_is_the_same_in_ipv6s_form(proxies: str, client: str, trusted: bool) -> None:
    # RFC 4291 section 2.5.5.2: ::ffff:10.0.0.5 is how a socket of IPv6 shows 10.0.0.5.
    server = Server(trusted_proxies=(proxies,), proxy_header="X-Client-Cert")
    device = await server.enrolled(by="signature")
    value = f":{base64.b64encode(device.identity.certificate).decode()}:"
    headers = (("Content-Type", CONNECT), ("X-Client-Cert", value))
    body = build_report(Report(device.ids, Status.IDLE))
    answer = await server.request("PUT", "/mdm/connect", body, headers=headers, client=client)
    assert answer.status == (200 if trusted else 400)


async def test_two_certificate_headers_of_a_named_proxy_are_400() -> None:
    server = Server(trusted_proxies=("10.0.0.5",), proxy_header="X-Client-Cert")
    device = await server.enrolled(by="signature")
    value = f":{base64.b64encode(device.identity.certificate).decode()}:"
    headers = (("Content-Type", CONNECT), ("X-Client-Cert", value), ("X-Client-Cert", value))
    body = build_report(Report(device.ids, Status.IDLE))
    assert (await server.request("PUT", "/mdm/connect", body, headers=headers, client="10.0.0.5")).status == 400


async def test_a_named_proxys_own_certificate_is_not_the_devices() -> None:
    server = Server(trusted_proxies=("10.0.0.5",), proxy_header="X-Client-Cert")
    device = await server.enrolled(by="signature")
    body = build_report(Report(device.ids, Status.IDLE))
    answer = await server.request(
        "PUT",
        "/mdm/connect",
        body,
        headers=(("Content-Type", CONNECT),),
        certificate=device.identity.certificate,
        client="10.0.0.5",
    )
    assert answer.status == 400


async def test_a_header_of_a_named_proxy_that_is_no_certificate_is_400() -> None:
    server = Server(trusted_proxies=("10.0.0.5",), proxy_header="X-Client-Cert")
    device = await server.enrolled(by="signature")
    body = build_report(Report(device.ids, Status.IDLE))
    headers = (("Content-Type", CONNECT), ("X-Client-Cert", "garbage"))
    assert (await server.request("PUT", "/mdm/connect", body, headers=headers, client="10.0.0.5")).status == 400


async def test_a_certificate_with_the_right_issuer_name_and_the_wrong_key_is_403(server: Server) -> None:
    device = await server.enrolled()
    forger = Authority.create(DEVICE_CA, keys=KEYS, clock=server.manual, chance=Chance("forger"))
    answer = await _idle(server, device.udid, certificate=forger.client_identity("device"), signer=None)
    assert answer.status == 403
