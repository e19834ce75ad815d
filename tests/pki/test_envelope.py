"""Envelopes, each against openssl in both directions."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, to_pem
from mdmsim.pki.cms import Form
from mdmsim.pki.degenerate import certificates_only, parse_certificates_only
from mdmsim.pki.envelope import CipherName, Transport, decrypt, envelope, parse_enveloped_data
from mdmsim.pki.errors import CannotDecrypt, CannotEncrypt, CMSError, MalformedCMS
from mdmsim.pki.keys import load_key

from .conftest import OpenSSL
from .mangling import mangled

CIPHERS: tuple[CipherName, ...] = ("aes128", "aes192", "aes256", "3des", "des")
TRANSPORTS: tuple[Transport, ...] = ("pkcs1", "oaep")
FORMS: tuple[Form, ...] = ("ber", "der")
BODY = b"line\n" * 700
# Single DES lives in OpenSSL's legacy provider.
LEGACY = ("-provider", "legacy", "-provider", "default")


@pytest.mark.interop
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cipher", CIPHERS)
def test_openssl_opens_what_we_envelope(
    openssl: OpenSSL, authority: Authority, identity: Identity, chance: Chance, cipher: CipherName, form: Form
) -> None:
    for transport in TRANSPORTS:
        for body in (b"", b"x" * 15, b"x" * 16, BODY):
            recipients = [authority.certificate, identity.certificate]
            message = envelope(body, recipients, chance=chance, cipher=cipher, transport=transport, form=form)
            arguments = ("-decrypt", "-binary", "-inform", "DER", "-in", "message", "-inkey", "key", "-recip", "cert")
            files = {"message": message, "key": identity_to_pem(identity), "cert": to_pem(identity.certificate)}
            assert openssl("cms", *arguments, *LEGACY, **files) == body
            assert decrypt(message, identity) == decrypt(message, authority.identity) == body


@pytest.mark.interop
@pytest.mark.parametrize("cipher", ["-aes128", "-aes192", "-aes256", "-des3", "-des"])
@pytest.mark.parametrize(
    "how",
    [
        (),
        ("-stream",),
        ("-keyid",),
        ("-keyopt", "rsa_padding_mode:oaep"),
        ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"),
        ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_mgf1_md:sha512"),
    ],
)
def test_we_open_what_openssl_envelopes(
    openssl: OpenSSL, identity: Identity, cipher: str, how: tuple[str, ...]
) -> None:
    options, recipient = ((), how) if "-keyopt" in how else (how, ())
    arguments = ("-encrypt", "-binary", "-outform", "DER", "-in", "body", cipher, *options, *LEGACY)
    files = {"body": BODY, "cert": to_pem(identity.certificate)}
    message = openssl("cms", *arguments, "-recip", "cert", *recipient, **files)
    assert decrypt(message, identity) == BODY


@pytest.mark.interop
def test_openssl_lists_a_certs_only_message(openssl: OpenSSL, authority: Authority, identity: Identity) -> None:
    message = certificates_only([identity.certificate, authority.certificate])
    listed = openssl("pkcs7", "-inform", "DER", "-in", "message", "-print_certs", message=message)
    assert listed.count(b"BEGIN CERTIFICATE") == 2
    assert listed.index(b"iphone-01") < listed.index(b"subject=O = Acme")
    assert parse_certificates_only(message) == (identity.certificate, authority.certificate)


@pytest.mark.interop
def test_we_read_a_certs_only_message_of_openssl(openssl: OpenSSL, authority: Authority, identity: Identity) -> None:
    pem = to_pem(identity.certificate, authority.certificate)
    message = openssl("crl2pkcs7", "-nocrl", "-certfile", "pem", "-outform", "DER", pem=pem)
    assert set(parse_certificates_only(message)) == {identity.certificate, authority.certificate}


def test_the_cipher_can_be_read_without_the_key(identity: Identity, chance: Chance) -> None:
    message = envelope(BODY, [identity.certificate], chance=chance, cipher="3des")
    assert parse_enveloped_data(message).cipher == "3des"


def test_the_same_chance_gives_the_same_key_and_iv(identity: Identity) -> None:
    one, other = (envelope(BODY, [identity.certificate], chance=Chance(1)) for _ in range(2))
    assert parse_enveloped_data(one).encrypted == parse_enveloped_data(other).encrypted


def test_an_elliptic_curve_recipient_is_refused(ec_identity: Identity, chance: Chance) -> None:
    with pytest.raises(CannotEncrypt, match="no RSA key"):
        envelope(BODY, [ec_identity.certificate], chance=chance)


def test_no_recipient_is_refused(chance: Chance) -> None:
    with pytest.raises(CannotEncrypt, match="at least one"):
        envelope(BODY, [], chance=chance)


def test_an_envelope_for_someone_else_is_refused(authority: Authority, identity: Identity, chance: Chance) -> None:
    with pytest.raises(CannotDecrypt, match="not addressed"):
        decrypt(envelope(BODY, [authority.certificate], chance=chance), identity)


def test_an_identity_without_an_rsa_key_cannot_open_anything(
    identity: Identity, ec_identity: Identity, chance: Chance
) -> None:
    message = envelope(BODY, [identity.certificate], chance=chance)
    with pytest.raises(CannotDecrypt):
        decrypt(message, Identity(identity.certificate, ec_identity.key))


def test_a_wrong_key_and_a_wrong_content_are_refused_in_the_same_words(
    authority: Authority, identity: Identity, chance: Chance
) -> None:
    """No oracle: whether RSA's or the cipher's padding was wrong must not show (Bleichenbacher, Vaudenay)."""
    message = envelope(BODY, [identity.certificate], chance=chance)
    encrypted_key = parse_enveloped_data(message).recipients[0].encrypted_key
    public = load_key(identity.key).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    numbers = public.public_numbers()
    # Every plaintext without v1.5 padding: the RSA function of small numbers.
    forged_keys = [pow(n, numbers.e, numbers.n).to_bytes(256, "big") for n in range(2, 12)]
    reasons = set()
    for forged in forged_keys:
        try:
            # One wrong key in 256 leaves a legal padding behind, as it would with any cipher in CBC.
            assert decrypt(message.replace(encrypted_key, forged), identity) != BODY
        except CannotDecrypt as error:
            reasons.add(str(error))
    with pytest.raises(CannotDecrypt) as refused:
        decrypt(message[:-1] + bytes((message[-1] ^ 1,)), identity)
    assert reasons == {str(refused.value)}


@pytest.mark.parametrize("form", FORMS)
def test_an_envelope_cut_anywhere_is_malformed(identity: Identity, chance: Chance, form: Form) -> None:
    message = envelope(b"body", [identity.certificate], chance=chance, form=form)
    for length in range(0, len(message), 5):
        with pytest.raises(MalformedCMS):
            decrypt(message[:length], identity)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_mangled_envelope_raises_nothing_else(identity: Identity, data: st.DataObject) -> None:
    form, transport = data.draw(st.sampled_from(FORMS)), data.draw(st.sampled_from(TRANSPORTS))
    message = envelope(BODY, [identity.certificate], chance=Chance(1), form=form, transport=transport)
    try:
        decrypt(data.draw(mangled(message)), identity)
    except CMSError:
        pass


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_mangled_certs_only_message_raises_nothing_else(identity: Identity, data: st.DataObject) -> None:
    try:
        parse_certificates_only(data.draw(mangled(certificates_only([identity.certificate]))))
    except MalformedCMS:
        pass
