"""What authorities issue, as openssl reads it."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mdmsim.chance import Chance
from mdmsim.clock import DAY, HOUR, ManualClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import (
    identity_to_pem,
    load_certificate,
    not_after_ms,
    not_before_ms,
    public_key,
    serial,
    to_pem,
)
from mdmsim.pki.errors import MalformedCertificate, MalformedKey, MalformedName
from mdmsim.pki.keys import FreshKeys, SharedKeys, public_key_of
from mdmsim.pki.push_certificate import (
    PushEnvironment,
    PushRights,
    is_push_certificate,
    new_topic,
    push_rights,
    topic_of,
)

from .conftest import OpenSSL

NOW = ManualClock().now_ms()
TOPIC = "com.apple.mgmt.External.0f6c6d3e-6a3c-4e0e-9d5e-0a4c0e6e3b11"


def printed(openssl: OpenSSL, der: bytes) -> str:
    return openssl("x509", "-in", "pem", "-noout", "-text", pem=to_pem(der)).decode()


@pytest.mark.interop
def test_openssl_reads_a_root(openssl: OpenSSL, authority: Authority) -> None:
    text = printed(openssl, authority.certificate)
    for expected in ("Subject: O = Acme, CN = Acme Lab CA", "CA:TRUE", "Certificate Sign, CRL Sign", "Version: 3"):
        assert expected in text
    openssl("verify", "-attime", str(NOW // 1000), "-x509_strict", "-CAfile", "pem", "pem")


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_openssl_verifies_everything_issued_below_a_subordinate(
    openssl: OpenSSL, authority: Authority, kind: str
) -> None:
    below = authority.subordinate("Sub", kind=kind)  # type: ignore[arg-type]
    files = {"root": to_pem(authority.certificate), "sub": to_pem(below.certificate)}
    issued = {
        "sslserver": below.issue_server(["localhost"]).certificate,
        "sslclient": below.client_identity("x").certificate,
        "any": below.registration_authority("RA").certificate,
    }
    for purpose, certificate in issued.items():
        options = ("-attime", str(NOW // 1000), "-x509_strict", "-purpose", purpose, "-CAfile", "root")
        openssl("verify", *options, "-untrusted", "sub", "leaf", leaf=to_pem(certificate), **files)
    push = below.issue_push(TOPIC).certificate
    options = ("-attime", str(NOW // 1000), "-purpose", "sslclient", "-CAfile", "root", "-untrusted", "sub")
    openssl("verify", *options, "leaf", leaf=to_pem(push))


@pytest.mark.interop
def test_openssl_reads_a_server_certificate(openssl: OpenSSL, authority: Authority) -> None:
    identity = authority.issue_server(["mdm.test", "127.0.0.1"], ["::1"])
    text = printed(openssl, identity.certificate)
    assert "DNS:mdm.test, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in text
    assert "TLS Web Server Authentication" in text
    key = public_key(identity.certificate)
    assert isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


@pytest.mark.interop
def test_openssl_reads_a_push_certificate_like_apples(openssl: OpenSSL, authority: Authority) -> None:
    text = printed(openssl, authority.issue_push(TOPIC).certificate)
    assert f"Subject: UID = {TOPIC}, CN = APSP:0f6c6d3e-6a3c-4e0e-9d5e-0a4c0e6e3b11, C = US" in text
    assert "1.2.840.113635.100.6.3.2: \n" in text
    assert "X509v3 Key Usage: \n" in text  # not critical
    assert "TLS Web Client Authentication" in text


def test_a_push_certificate_is_known_by_its_topic_and_its_mark(authority: Authority, chance: Chance) -> None:
    topic = new_topic(chance)
    push = authority.issue_push(topic).certificate
    assert topic_of(push) == topic and is_push_certificate(push)
    other = authority.issue_push("com.example.app").certificate
    assert topic_of(other) == "com.example.app" and not is_push_certificate(other)
    plain = authority.client_identity("x").certificate
    assert topic_of(plain) is None and not is_push_certificate(plain)


@pytest.mark.parametrize("environments", [("production",), ("sandbox",), ("production", "sandbox")])
def test_a_push_certificate_says_where_it_may_push(
    authority: Authority, environments: tuple[PushEnvironment, ...]
) -> None:
    rights = push_rights(authority.issue_push(TOPIC, environments=environments).certificate)
    assert rights == PushRights(TOPIC, (), "production" in environments, "sandbox" in environments)


def test_a_push_certificate_may_list_several_topics(authority: Authority) -> None:
    push = authority.issue_push("com.example.app", topics=["com.example.app", "com.example.app.voip"]).certificate
    assert push_rights(push).topics == ("com.example.app", "com.example.app.voip")


def test_a_topic_longer_than_a_uid_is_refused(authority: Authority) -> None:
    with pytest.raises(MalformedName):
        authority.issue_push("com.apple.mgmt.External." + "x" * 300)


def test_certificates_are_back_dated_an_hour(authority: Authority) -> None:
    issued = authority.client_identity("x", days=2).certificate
    assert not_before_ms(issued) == NOW - HOUR
    assert not_after_ms(issued) == NOW + 2 * DAY


def test_nothing_outlives_its_authority(keys: SharedKeys, clock: ManualClock, chance: Chance) -> None:
    short = Authority.create("short", keys=keys, clock=clock, chance=chance, days=10)
    assert not_after_ms(short.client_identity("x").certificate) == not_after_ms(short.certificate)
    assert not_after_ms(short.subordinate("sub").certificate) == not_after_ms(short.certificate)


def test_the_same_seed_gives_the_same_serials_and_a_restart_others(keys: SharedKeys) -> None:
    def serials(clock: ManualClock) -> list[int]:
        made = Authority.create("x", keys=keys, clock=clock, chance=Chance(7), kind="ec")
        key = public_key_of(made.identity.key)
        return [serial(made.certificate), *(serial(made.issue_client("y", public_key=key)) for _ in range(3))]

    first = serials(ManualClock())
    assert first == serials(ManualClock())
    assert len({*first, *serials(ManualClock(NOW + 1))}) == 8
    assert all(number.bit_length() == 127 for number in first)


def test_subordinates_have_chance_of_their_own(authority: Authority) -> None:
    one, two = authority.subordinate("a", kind="ec"), authority.subordinate("a", kind="ec")
    assert serial(one.issue_server(["x"]).certificate) != serial(two.issue_server(["x"]).certificate)


def test_identities_carry_the_chain_below_the_root(authority: Authority) -> None:
    below = authority.subordinate("Sub")
    assert authority.client_identity("x").chain == ()
    assert below.issue_server(["x"]).chain == (below.certificate,)
    assert below.chain == (below.certificate, authority.certificate) and below.root == authority.certificate


@pytest.mark.parametrize("names", [[], ["müller.test"]])
def test_a_server_needs_names_that_can_be_written(authority: Authority, names: list[str]) -> None:
    with pytest.raises(MalformedName):
        authority.issue_server(names)


def test_an_address_that_is_none_is_refused(authority: Authority) -> None:
    with pytest.raises(MalformedName, match="'nowhere' is not an IP address"):
        authority.issue_server(["a.test"], ["nowhere"])


def test_an_empty_subject_makes_the_alternative_name_critical(authority: Authority) -> None:
    san = x509.SubjectAlternativeName([x509.DNSName("a.test")])
    key = public_key_of(FreshKeys().take_ec())
    certificate = load_certificate(authority.issue_client(x509.Name([]), public_key=key, san=san))
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


def test_an_authority_survives_its_pem(authority: Authority, keys: SharedKeys, clock: ManualClock) -> None:
    below = authority.subordinate("Sub")
    again = Authority.from_pem(below.to_pem(), keys=keys, clock=clock, chance=Chance(1))
    assert again.identity == below.identity
    assert load_certificate(again.client_identity("x").certificate).issuer == below.name


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["rsa:2048", "ec"])
def test_an_authority_that_openssl_made_issues_what_openssl_verifies(
    openssl: OpenSSL, keys: SharedKeys, chance: Chance, kind: str
) -> None:
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256") if kind == "ec" else ()
    request = ("req", "-x509", "-newkey", kind, *curve, "-nodes", "-keyout", "key", "-days", "30", "-subj", "/CN=Mine")
    root = openssl(*request)
    pem = openssl("pkey", "-in", "key", *(("-traditional",) if kind != "ec" else ())) + root
    start = not_before_ms(openssl("x509", "-in", "root", "-outform", "DER", root=root))
    authority = Authority.from_pem(pem, keys=keys, clock=ManualClock(start + 2 * HOUR), chance=chance)
    leaf = to_pem(authority.issue_server(["a.test"]).certificate)
    openssl("verify", "-attime", str(start // 1000 + 7200), "-CAfile", "root", "leaf", leaf=leaf)


def test_a_leaf_is_no_authority(authority: Authority, keys: SharedKeys, clock: ManualClock, chance: Chance) -> None:
    pem = identity_to_pem(authority.client_identity("x"))
    with pytest.raises(MalformedCertificate, match="not a CA's"):
        Authority.from_pem(pem, keys=keys, clock=clock, chance=chance)


def test_a_key_that_belongs_to_no_certificate_is_refused(
    authority: Authority, keys: SharedKeys, clock: ManualClock, chance: Chance
) -> None:
    other = Authority.create("other", keys=FreshKeys(), clock=clock, chance=chance, kind="ec")
    key = other.to_pem().partition(b"-----BEGIN CERT")[0]
    with pytest.raises(MalformedKey, match="belongs to none of the certificates"):
        Authority.from_pem(key + to_pem(authority.certificate), keys=keys, clock=clock, chance=chance)
