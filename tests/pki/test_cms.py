"""CMS signing and verifying, each against openssl: what we sign it verifies, what it signs we verify."""

from __future__ import annotations

import hashlib

import pytest
from asn1crypto import cms as asn1_cms
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.http import Identity
from mdmsim.pki import asn1, cms
from mdmsim.pki.algorithms import Digest, sign_raw
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, public_key_der, to_pem
from mdmsim.pki.cms import Form, SignedContent, is_cms, sign, verify
from mdmsim.pki.degenerate import certificates_only
from mdmsim.pki.errors import BadSignature, CMSError, MalformedCMS
from mdmsim.pki.keys import SharedKeys, load_key

from .conftest import OpenSSL
from .mangling import mangled

BODY = b"<plist>\n" + b"a line of the body\n" * 120 + b"</plist>\n"
NOW = ManualClock().now_ms()

DIGESTS: tuple[Digest, ...] = ("sha1", "sha256", "sha384", "sha512")
FORMS: tuple[Form, ...] = ("ber", "der")


@pytest.mark.interop
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attributes", [False, True])
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_openssl_verifies_every_form_that_we_sign(
    openssl: OpenSSL,
    identity: Identity,
    ec_identity: Identity,
    kind: str,
    detached: bool,
    attributes: bool,
    form: Form,
) -> None:
    signer = identity if kind == "rsa" else ec_identity
    for digest in DIGESTS:
        message = sign(
            BODY, signer, detached=detached, attributes=attributes, signed_at_ms=NOW, digest=digest, form=form
        )
        content = ("-content", "body") if detached else ()
        arguments = ("-verify", "-binary", "-noverify", "-inform", "DER", "-in", "message", *content)
        assert openssl("cms", *arguments, message=message, body=BODY) == BODY
        assert openssl("smime", *arguments) == BODY
        openssl("asn1parse", "-inform", "DER", "-in", "message")
        assert verify(message, content=BODY if detached else None).signer == signer.certificate


@pytest.mark.interop
def test_openssl_refuses_our_signature_over_another_body(openssl: OpenSSL, identity: Identity) -> None:
    message = sign(BODY, identity, detached=True)
    arguments = ("-verify", "-binary", "-noverify", "-inform", "DER", "-in", "message", "-content", "body")
    openssl("cms", *arguments, fails=True, message=message, body=BODY + b"\n")


@pytest.mark.interop
@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize(
    "how",
    [(), ("-noattr",), ("-nodetach",), ("-nodetach", "-noattr"), ("-stream",), ("-nodetach", "-stream"), ("-keyid",)],
)
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_we_verify_what_openssl_signs(
    openssl: OpenSSL, identity: Identity, ec_identity: Identity, kind: str, how: tuple[str, ...], digest: str
) -> None:
    signer = identity if kind == "rsa" else ec_identity
    files = {"signer": identity_to_pem(signer), "body": BODY}
    arguments = ("-sign", "-binary", "-outform", "DER", "-in", "body", "-signer", "signer", "-md", digest, *how)
    message = openssl("cms", *arguments, **files)
    found = verify(message, content=None if "-nodetach" in how else BODY)
    assert (found.content, found.signer, found.digest) == (BODY, signer.certificate, digest)
    assert (found.signing_time is None) == ("-noattr" in how)


@pytest.mark.interop
def test_openssl_checks_the_chain_that_we_send_along(openssl: OpenSSL, authority: Authority, chance: Chance) -> None:
    identity = authority.subordinate("Acme Issuing CA").client_identity("profile signer")
    message = sign(BODY, identity, attributes=True, form="der", certificates=identity.chain)
    arguments = ("-verify", "-binary", "-inform", "DER", "-in", "message", "-CAfile", "root", "-purpose", "any")
    at = ("-attime", str(NOW // 1000))
    assert openssl("cms", *arguments, *at, message=message, root=to_pem(authority.certificate)) == BODY


def test_the_device_form_is_ber_with_the_leaf_alone_and_no_attributes(identity: Identity) -> None:
    message = sign(BODY, identity, detached=True)
    found = verify(message, content=BODY)
    assert message.startswith(b"\x30\x80\x06\x09") and message.endswith(bytes(6))
    assert found == SignedContent(BODY, identity.certificate, (identity.certificate,), "sha256", None, {})


def test_a_signing_time_is_read_back(identity: Identity) -> None:
    message = sign(BODY, identity, attributes=True, signed_at_ms=NOW + 999)
    assert verify(message).signing_time == NOW


def test_an_unknown_digest_is_the_callers_mistake(identity: Identity) -> None:
    with pytest.raises(ValueError, match="allowed are sha1, sha256"):
        sign(BODY, identity, digest="md5")  # type: ignore[arg-type]


def resigned(identity: Identity, attributes: dict[str, bytes], *, body: bytes = BODY, detached: bool = True) -> bytes:
    """A message whose signed attributes are exactly these, correctly signed."""
    signed = asn1.set_of(*(asn1.sequence(asn1.oid(k), asn1.set_of(v)) for k, v in attributes.items()))
    frame = cms._frame(identity, "sha256", "der", ())
    signature = sign_raw(load_key(identity.key), signed, "sha256")
    return cms._assemble(frame, cms.DATA, None if detached else body, b"\xa0" + signed[1:], signature)


DIGEST_OF_BODY = asn1.octets(hashlib.sha256(BODY).digest())


def test_attributes_signed_for_one_body_do_not_vouch_for_another(identity: Identity) -> None:
    message = sign(BODY, identity, detached=True, attributes=True)
    with pytest.raises(BadSignature, match="digest"):
        verify(message, content=BODY + b" ")


def test_attributes_without_a_message_digest_are_refused(identity: Identity) -> None:
    message = resigned(identity, {cms.CONTENT_TYPE: asn1.oid(cms.DATA)})
    with pytest.raises(BadSignature, match="lack the message digest"):
        verify(message, content=BODY)


def test_attributes_without_a_content_type_are_refused(identity: Identity) -> None:
    message = resigned(identity, {cms.MESSAGE_DIGEST: DIGEST_OF_BODY})
    with pytest.raises(BadSignature, match="content type is missing"):
        verify(message, content=BODY)


def test_a_signed_content_type_other_than_the_contents_is_refused(identity: Identity) -> None:
    message = resigned(identity, {cms.CONTENT_TYPE: asn1.oid(cms.SIGNED_DATA), cms.MESSAGE_DIGEST: DIGEST_OF_BODY})
    with pytest.raises(BadSignature, match="content type"):
        verify(message, content=BODY)


def test_a_signature_over_the_attributes_as_tagged_in_the_message_is_refused(identity: Identity) -> None:
    """RFC 5652 section 5.4: the set is signed with its own tag, not with [0]."""
    values = {cms.CONTENT_TYPE: asn1.oid(cms.DATA), cms.MESSAGE_DIGEST: DIGEST_OF_BODY}
    signed = b"\xa0" + asn1.set_of(*(asn1.sequence(asn1.oid(k), asn1.set_of(v)) for k, v in values.items()))[1:]
    frame = cms._frame(identity, "sha256", "der", ())
    message = cms._assemble(frame, cms.DATA, None, signed, sign_raw(load_key(identity.key), signed, "sha256"))
    with pytest.raises(BadSignature):
        verify(message, content=BODY)


def test_another_body_is_refused(identity: Identity) -> None:
    with pytest.raises(BadSignature):
        verify(sign(BODY, identity, detached=True), content=BODY.replace(b"\n", b"\r\n"))


def test_content_inside_must_equal_the_content_given(identity: Identity) -> None:
    with pytest.raises(BadSignature, match="differs"):
        verify(sign(BODY, identity), content=BODY + b" ")


def test_a_detached_signature_needs_content(identity: Identity) -> None:
    with pytest.raises(MalformedCMS, match="detached"):
        verify(sign(BODY, identity, detached=True))


def test_a_signature_by_another_key_is_refused(authority: Authority, identity: Identity, keys: SharedKeys) -> None:
    other = Identity(identity.certificate, authority.identity.key)
    with pytest.raises(BadSignature):
        verify(sign(BODY, other))


def test_a_message_without_signers_is_refused(identity: Identity) -> None:
    with pytest.raises(MalformedCMS, match="0 signers"):
        verify(certificates_only([identity.certificate]), content=BODY)


@pytest.mark.parametrize("detached", [False, True])
def test_a_message_of_several_signers_is_refused_although_every_signature_holds(
    identity: Identity, ec_identity: Identity, detached: bool
) -> None:
    # Whom would it speak for? nanomdm, too, wants a single signer (s/pkcs7, GetOnlySigner).
    for second in (ec_identity, identity):
        both = signed_by_two(identity, second, detached=detached)
        with pytest.raises(MalformedCMS, match="2 signers, expected exactly one"):
            verify(both, content=BODY if detached else None)


def signed_by_two(first: Identity, second: Identity, *, detached: bool) -> bytes:
    """One message with the signatures of both over BODY."""
    messages = [asn1_cms.ContentInfo.load(sign(BODY, each, form="der", detached=detached)) for each in (first, second)]
    data = messages[0]["content"]
    data["signer_infos"].append(messages[1]["content"]["signer_infos"][0])
    data["certificates"].append(messages[1]["content"]["certificates"][0])
    merged: bytes = messages[0].dump(force=True)
    return merged


def test_a_signer_who_sent_no_certificate_may_be_known(identity: Identity) -> None:
    message = cms.sign_with(BODY, identity, {}, include_signer=False)
    with pytest.raises(MalformedCMS, match="neither in the message nor known"):
        verify(message)
    assert verify(message, known=[identity.certificate]).signer == identity.certificate


@pytest.mark.parametrize("form", FORMS)
def test_messages_are_told_from_plists(identity: Identity, form: Form) -> None:
    assert is_cms(sign(BODY, identity, form=form))
    assert not is_cms(b"<?xml version")
    assert not is_cms(b"bplist00")
    assert not is_cms(b"")
    assert not is_cms(identity.certificate)


@pytest.mark.parametrize("attributes", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_message_cut_anywhere_is_malformed(identity: Identity, form: Form, attributes: bool) -> None:
    message = sign(b"body", identity, form=form, attributes=attributes, signed_at_ms=NOW)
    for length in range(0, len(message), 7):
        with pytest.raises(MalformedCMS):
            verify(message[:length])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_mangled_message_is_refused_or_says_what_was_signed(identity: Identity, data: st.DataObject) -> None:
    attributes, form = data.draw(st.booleans()), data.draw(st.sampled_from(FORMS))
    message = data.draw(mangled(sign(BODY, identity, form=form, attributes=attributes, signed_at_ms=NOW)))
    try:
        found = verify(message, known=[identity.certificate])
    except CMSError:
        return
    # What the signature does not cover may change (a version, the certificate but for its key, which a chain check
    # would notice); the content and the key may not.
    assert (found.content, public_key_der(found.signer)) == (BODY, public_key_der(identity.certificate))
