"""Client certificates in proxies' headers."""

from __future__ import annotations

import base64
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.errors import MalformedHeader
from mdmsim.pki.proxy_header import parse, parse_chain, to_nginx, to_rfc9440, to_rfc9440_chain

from .conftest import OpenSSL


def forms(leaf: bytes, ca: bytes) -> dict[str, tuple[str, tuple[bytes, ...]]]:
    """Every form with what it must be read as."""
    pem, chain = quote(to_pem(leaf), safe=""), quote(to_pem(leaf, ca), safe="")
    bare = base64.b64encode(leaf).decode()
    return {
        "rfc9440": (f":{bare}:", (leaf,)),
        "nginx": (pem, (leaf,)),
        "nginx, chain": (chain, (leaf, ca)),
        "alb": (quote(to_pem(leaf), safe="+=/"), (leaf,)),
        "alb, blanks kept": (quote(to_pem(leaf), safe="+=/ -"), (leaf,)),
        "traefik": (f"{bare},{base64.b64encode(ca).decode()}", (leaf, ca)),
        "traefik, escaped": (quote(bare, safe=""), (leaf,)),
        "haproxy, no padding": (bare.rstrip("="), (leaf,)),
        "envoy": (f'By=spiffe://x;Hash=0a1b;Cert="{pem}";Subject="CN=a\\"b,O=c;d";URI=', (leaf,)),
        "envoy, chain": (f'Hash=0a;Cert="{pem}";Chain="{chain}"', (leaf, ca)),
        "envoy, two hops": (f'Hash=0a;Cert="{quote(to_pem(ca), safe="")}",Hash=0b;Cert="{pem}"', (leaf,)),
    }


@pytest.mark.parametrize("form", list(forms(b"", b"")))
def test_every_form_is_read(authority: Authority, identity: Identity, form: str) -> None:
    value, expected = forms(identity.certificate, authority.certificate)[form]
    assert parse(value) == expected
    assert parse(f"  {value} ") == expected


@pytest.mark.interop
def test_openssl_reads_the_nginx_form(openssl: OpenSSL, identity: Identity) -> None:
    value = to_nginx(identity.certificate)
    assert not set(value) & set("+/= \n-----") - {"-"}
    pem = unquote(value).encode()
    assert openssl("x509", "-in", "pem", "-outform", "DER", pem=pem) == identity.certificate


def test_what_we_write_we_read(authority: Authority, identity: Identity) -> None:
    assert parse(to_nginx(identity.certificate)) == parse(to_rfc9440(identity.certificate)) == (identity.certificate,)
    chain = (authority.certificate, identity.certificate)
    assert parse_chain(to_rfc9440_chain(chain)) == chain


@pytest.mark.parametrize(
    "value",
    ["", " ", ":", "::", ":AAAA:", ":AAAA", "AAAA", "-----BEGIN", "%2D%2D-BEGIN CERTIFICATE", "Hash=0a", 'Cert="', "é"],
)
def test_garbage_is_malformed(value: str) -> None:
    with pytest.raises(MalformedHeader):
        parse(value)


def test_seventeen_certificates_are_too_many(identity: Identity) -> None:
    value = ",".join([base64.b64encode(identity.certificate).decode()] * 17)
    with pytest.raises(MalformedHeader, match="more than 16"):
        parse(value)


@given(st.sampled_from(list(forms(b"", b""))), st.integers(0, 2500), st.text(max_size=8), st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_a_mangled_header_raises_nothing_else(
    authority: Authority, identity: Identity, form: str, at: int, text: str, gap: int
) -> None:
    value, _ = forms(identity.certificate, authority.certificate)[form]
    try:
        parse(value[:at] + text + value[at + gap :])
    except MalformedHeader:
        pass
    try:
        parse_chain(value[:at] + text + value[at + gap :])
    except MalformedHeader:
        pass
