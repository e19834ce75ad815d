"""Which chains are trusted, and whether `openssl verify` says the same."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import DAY, HOUR, ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority, key_usage
from mdmsim.pki.certificate import not_after_ms, not_before_ms, to_pem
from mdmsim.pki.chain import names_host, verify_chain
from mdmsim.pki.errors import Distrust, UntrustedCertificate
from mdmsim.pki.keys import FreshKeys, SharedKeys, public_key_of
from mdmsim.pki.names import name

from .conftest import OpenSSL
from .mangling import mangled

NOW = ManualClock().now_ms()
LEAF_KEY = public_key_of(FreshKeys().take_ec())


@pytest.fixture(scope="module")
def subordinate(authority: Authority) -> Authority:
    return authority.subordinate("Acme Issuing CA")


@pytest.fixture(scope="module")
def leaf(subordinate: Authority) -> bytes:
    return subordinate.client_identity("iphone-01").certificate


@pytest.fixture(scope="module")
def server(subordinate: Authority) -> Identity:
    return subordinate.issue_server(["mdm.acme.test", "*.lab.acme.test", "10.0.0.7"], ["::1"])


def refused(leaf: bytes, anchors: list[bytes], *intermediates: bytes, **rules: object) -> UntrustedCertificate:
    rules.setdefault("at_ms", NOW)
    with pytest.raises(UntrustedCertificate) as error:
        verify_chain(leaf, intermediates, anchors, **rules)  # type: ignore[arg-type]
    return error.value


def test_a_path_leads_from_the_leaf_to_the_anchor(authority: Authority, subordinate: Authority, leaf: bytes) -> None:
    path = verify_chain(leaf, [subordinate.certificate], [authority.certificate], at_ms=NOW, purpose="client")
    assert path == (leaf, subordinate.certificate, authority.certificate)


def test_intermediates_may_come_in_any_order_with_strangers_among_them(
    authority: Authority, keys: SharedKeys, clock: ManualClock, chance: Chance
) -> None:
    first = authority.subordinate("One")
    second = first.subordinate("Two")
    stranger = Authority.create("Stranger", keys=keys, clock=clock, chance=chance)
    leaf = second.client_identity("x").certificate
    pool = [stranger.certificate, b"garbage", first.certificate, second.certificate]
    assert len(verify_chain(leaf, pool, [authority.certificate], at_ms=NOW)) == 4


def test_an_intermediate_may_be_the_anchor(subordinate: Authority, leaf: bytes) -> None:
    assert verify_chain(leaf, [], [subordinate.certificate], at_ms=NOW) == (leaf, subordinate.certificate)


def test_the_leaf_may_be_the_anchor(leaf: bytes) -> None:
    assert verify_chain(leaf, [], [leaf], at_ms=NOW) == (leaf,)


def test_a_missing_intermediate_is_named(authority: Authority, leaf: bytes) -> None:
    error = refused(leaf, [authority.certificate])
    assert (error.reason, error.issuer) == (Distrust.UNKNOWN_ISSUER, "CN=Acme Issuing CA")
    assert "CN=iphone-01 is signed by CN=Acme Issuing CA, which is neither sent along nor among the trusted" in str(
        error
    )


def test_a_missing_root_is_named(subordinate: Authority, leaf: bytes) -> None:
    error = refused(leaf, [], subordinate.certificate)
    assert (error.reason, error.subject, error.issuer) == (
        Distrust.UNKNOWN_ISSUER,
        "CN=Acme Issuing CA",
        "CN=Acme Lab CA, O=Acme",
    )


def test_an_untrusted_self_signed_certificate_is_called_that(
    keys: SharedKeys, clock: ManualClock, chance: Chance
) -> None:
    stranger = Authority.create("Stranger", keys=keys, clock=clock, chance=chance)
    assert "signed itself and is not among the trusted" in str(refused(stranger.certificate, []))


def test_a_ca_of_the_same_name_with_another_key_is_refused(
    keys: SharedKeys, clock: ManualClock, chance: Chance, authority: Authority, leaf: bytes
) -> None:
    impostor = Authority.create("Acme Issuing CA", keys=FreshKeys(), clock=clock, chance=chance)
    assert refused(leaf, [impostor.certificate]).reason is Distrust.BAD_SIGNATURE


def test_a_second_ca_of_the_same_name_is_tried(
    clock: ManualClock, chance: Chance, authority: Authority, subordinate: Authority, leaf: bytes
) -> None:
    impostor = Authority.create("Acme Issuing CA", keys=FreshKeys(), clock=clock, chance=chance)
    pool = [impostor.certificate, subordinate.certificate]
    assert verify_chain(leaf, pool, [authority.certificate], at_ms=NOW)[1] == subordinate.certificate


def test_dates_are_judged_at_the_moment_given_to_the_second(subordinate: Authority, leaf: bytes) -> None:
    anchors, first, last = [subordinate.certificate], not_before_ms(leaf), not_after_ms(leaf)
    verify_chain(leaf, [], anchors, at_ms=first)
    verify_chain(leaf, [], anchors, at_ms=last + 999)
    assert refused(leaf, anchors, at_ms=first - 1).reason is Distrust.NOT_YET_VALID
    assert refused(leaf, anchors, at_ms=last + 1000).reason is Distrust.EXPIRED


def test_an_expired_anchor_is_refused(authority: Authority, subordinate: Authority) -> None:
    leaf = subordinate.issue(
        public_key_of(FreshKeys().take_ec()), name("x"), not_before_ms=NOW, not_after_ms=NOW + 9000 * DAY
    )
    error = refused(leaf, [subordinate.certificate], at_ms=NOW + 2000 * DAY)
    assert (error.reason, error.subject) == (Distrust.EXPIRED, "CN=Acme Issuing CA")


def test_a_leaf_cannot_issue(authority: Authority) -> None:
    identity = authority.client_identity("not a CA")
    rogue = Authority(identity, keys=FreshKeys(), clock=ManualClock(), chance=Chance(1))
    leaf = rogue.issue(public_key_of(FreshKeys().take_ec()), name("x"))
    assert refused(leaf, [authority.certificate], identity.certificate).reason is Distrust.NOT_A_CA


def test_a_ca_without_cert_sign_cannot_issue(authority: Authority, keys: SharedKeys) -> None:
    key = keys.take()
    extensions = (
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (key_usage(signature=True), True),
    )
    certificate = authority.issue(public_key_of(key), name("half a CA"), extensions=extensions)
    rogue = Authority(Identity(certificate, key), keys=keys, clock=ManualClock(), chance=Chance(1))
    leaf = rogue.issue(public_key_of(FreshKeys().take_ec()), name("x"))
    assert refused(leaf, [authority.certificate], certificate).reason is Distrust.NOT_A_CA


def test_a_path_length_is_kept(authority: Authority, keys: SharedKeys) -> None:
    key = keys.take()
    extensions = (
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (key_usage(certificates=True), True),
    )
    certificate = authority.issue(public_key_of(key), name("short CA"), extensions=extensions)
    short = Authority(Identity(certificate, key, authority.chain), keys=keys, clock=ManualClock(), chance=Chance(1))
    verify_chain(short.client_identity("x").certificate, [certificate], [authority.certificate], at_ms=NOW)
    below = short.subordinate("too deep")
    leaf = below.client_identity("x").certificate
    assert refused(leaf, [authority.certificate], certificate, below.certificate).reason is Distrust.TOO_LONG


def test_a_chain_of_eleven_is_too_long(authority: Authority) -> None:
    chain = [authority]
    for number in range(10):
        chain.append(chain[-1].subordinate(f"level {number}", kind="ec"))
    leaf = chain[-1].issue(public_key_of(FreshKeys().take_ec()), name("x"))
    pool = [each.certificate for each in chain[1:]]
    assert refused(leaf, [authority.certificate], *pool).reason is Distrust.TOO_LONG


def test_purposes_are_judged_where_there_are_usages(
    authority: Authority, subordinate: Authority, leaf: bytes, server: Identity
) -> None:
    anchors = [subordinate.certificate]
    assert refused(leaf, anchors, purpose="server").reason is Distrust.PURPOSE
    assert refused(server.certificate, anchors, purpose="client").reason is Distrust.PURPOSE
    without = subordinate.issue(public_key_of(FreshKeys().take_ec()), name("x"))
    verify_chain(without, [], anchors, at_ms=NOW, purpose="server")
    any_usage = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)
    verify_chain(
        subordinate.issue(public_key_of(FreshKeys().take_ec()), name("x"), extensions=[any_usage]),
        [],
        anchors,
        at_ms=NOW,
        purpose="server",
    )


def test_an_unknown_critical_extension_is_refused(subordinate: Authority) -> None:
    extension = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    key = public_key_of(FreshKeys().take_ec())
    error = refused(subordinate.issue(key, name("x"), extensions=[(extension, True)]), [subordinate.certificate])
    assert error.reason is Distrust.CRITICAL_EXTENSION and "1.2.3.4" in str(error)
    verify_chain(
        subordinate.issue(key, name("x"), extensions=[(extension, False)]), [], [subordinate.certificate], at_ms=NOW
    )


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("mdm.acme.test", True),
        ("MDM.Acme.Test.", True),
        ("10.0.0.7", True),
        ("::1", True),
        ("[::1]", True),
        ("a.lab.acme.test", True),
        ("lab.acme.test", False),
        ("a.b.lab.acme.test", False),
        (".lab.acme.test", False),
        ("acme.test", False),
        ("10.0.0.8", False),
        ("mdm.acme.test.evil.test", False),
        ("", False),
    ],
)
def test_host_names_match_the_alternative_names_alone(
    subordinate: Authority, server: Identity, host: str, named: bool
) -> None:
    assert names_host(server.certificate, host) is named
    if named:
        verify_chain(server.certificate, [], [subordinate.certificate], at_ms=NOW, purpose="server", hostname=host)
    else:
        error = refused(server.certificate, [subordinate.certificate], hostname=host)
        assert error.reason is Distrust.HOSTNAME and "mdm.acme.test, *.lab.acme.test" in str(error)


@pytest.mark.parametrize(
    ("offered", "host"),
    [
        ("*.com", "acme.com"),  # nobody owns all of a top-level domain
        ("*.com.", "acme.com"),
        ("*", "localhost"),
        ("*.*", "acme.com"),
        ("*.*.test", "mdm.acme.test"),
        ("mdm.*.test", "mdm.acme.test"),
        ("mdm.acme.*", "mdm.acme.test"),
        ("m*.acme.test", "mdm.acme.test"),
        ("*m.acme.test", "mdm.acme.test"),
        ("m*m.acme.test", "mdm.acme.test"),
        ("xn--*.acme.test", "xn--mnchen-3ya.acme.test"),
        ("10.0.0.7", "10.0.0.7"),  # an address as a DNS name is no address (RFC 6125 section 6.4, RFC 2818 section 3.1)
        ("*.0.0.7", "10.0.0.7"),
        ("::1", "::1"),
    ],
)
@pytest.mark.interop
def test_a_wildcard_is_a_whole_leftmost_label_above_two_others_and_no_address(
    openssl: OpenSSL, subordinate: Authority, offered: str, host: str
) -> None:
    san = x509.SubjectAlternativeName([x509.DNSName(offered)])
    leaf = subordinate.issue(LEAF_KEY, name("mdm"), extensions=[(san, False)])
    assert not names_host(leaf, host)
    kind = "-checkip" if ":" in host or host[0].isdigit() else "-checkhost"
    told = openssl("x509", "-in", "leaf", "-noout", kind, host, leaf=to_pem(leaf)).decode()
    # Partial wildcards alone are taken by openssl where nobody forbids them, as Python's ssl does.
    assert ("does NOT match" in told) or offered in ("m*.acme.test", "*m.acme.test", "m*m.acme.test")


def test_a_common_name_is_no_host_name(subordinate: Authority) -> None:
    leaf = subordinate.issue(public_key_of(FreshKeys().take_ec()), name("mdm.acme.test"))
    error = refused(leaf, [subordinate.certificate], hostname="mdm.acme.test")
    assert error.reason is Distrust.HOSTNAME and "no host name at all" in str(error)


def test_the_refusal_of_a_path_that_reached_an_anchor_is_the_one_told(
    authority: Authority, subordinate: Authority, leaf: bytes
) -> None:
    error = refused(leaf, [authority.certificate], subordinate.certificate, at_ms=NOW + 366 * DAY)
    assert error.reason is Distrust.EXPIRED


def test_garbage_is_malformed(authority: Authority) -> None:
    assert refused(b"garbage", [authority.certificate]).reason is Distrust.MALFORMED


@pytest.mark.interop
@pytest.mark.parametrize(
    ("case", "options", "fails"),
    [
        ("good", (), False),
        ("good", ("-purpose", "sslserver"), True),
        ("good", ("-purpose", "sslclient"), False),
        ("no intermediate", (), True),
        ("late", (), True),
        ("early", (), True),
    ],
)
def test_openssl_verify_agrees(
    openssl: OpenSSL,
    authority: Authority,
    subordinate: Authority,
    leaf: bytes,
    case: str,
    options: tuple[str, ...],
    fails: bool,
) -> None:
    at_ms = {"late": not_after_ms(leaf) + HOUR, "early": not_before_ms(leaf) - HOUR}.get(case, NOW)
    pool = [] if case == "no intermediate" else [subordinate.certificate]
    files = {"leaf": to_pem(leaf), "root": to_pem(authority.certificate), "pool": to_pem(*pool) or b"\n"}
    untrusted = ("-untrusted", "pool") if pool else ()
    openssl(
        "verify", "-attime", str(at_ms // 1000), "-CAfile", "root", *untrusted, *options, "leaf", fails=fails, **files
    )
    purpose = {"sslserver": "server", "sslclient": "client"}.get(options[-1] if options else "")
    if fails:
        refused(leaf, [authority.certificate], *pool, at_ms=at_ms, purpose=purpose)
    else:
        verify_chain(leaf, pool, [authority.certificate], at_ms=at_ms, purpose=purpose)  # type: ignore[arg-type]


@pytest.mark.interop
def test_chains_that_openssl_made_are_trusted(openssl: OpenSSL) -> None:
    """SHA-1 and PSS included where openssl signs with them: old CAs are still around."""
    request = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-subj", "/CN=Root", "-days", "30")
    root = openssl(*request, "-outform", "DER", "-sha256")
    leaf = openssl(
        *("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", "leafkey", "-subj", "/CN=Leaf", "-sha1"),
        *("-CA", "ca", "-CAkey", "key", "-days", "10", "-outform", "DER", "-addext", "basicConstraints=CA:FALSE"),
        ca=to_pem(root),
    )
    assert verify_chain(leaf, [], [root], at_ms=not_before_ms(leaf) + HOUR) == (leaf, root)


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_a_mangled_chain_is_refused_or_left_as_it_was(
    authority: Authority, subordinate: Authority, leaf: bytes, data: st.DataObject
) -> None:
    wrong_leaf, wrong_pool = data.draw(mangled(leaf)), data.draw(mangled(subordinate.certificate))
    for subject, pool in ((wrong_leaf, subordinate.certificate), (leaf, wrong_pool)):
        try:
            path = verify_chain(subject, [pool], [authority.certificate], at_ms=NOW, hostname=None)
        except UntrustedCertificate:
            continue
        assert path == (leaf, subordinate.certificate, authority.certificate)
