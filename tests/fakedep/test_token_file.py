"""The server token file: what each layer of it must look like for the servers that take it apart."""

from __future__ import annotations

import base64
import email
import json
import re

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.fakedep.token_file import token_text
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.envelope import decrypt
from mdmsim.pki.errors import CannotDecrypt
from mdmsim.pki.keys import FreshKeys, SharedKeys
from tests.fakedep.support import NAME, Bench, Client


@pytest.fixture(scope="module")
def owner() -> Identity:
    """An MDM server's key pair; issuer and subject differ, as some servers' do, and the dates are long over."""
    keys = SharedKeys(1, FreshKeys())
    authority = Authority.create("a server", keys=keys, clock=ManualClock(), chance=Chance(1), kind="ec")
    return authority.client_identity("dep-token", not_before_ms=0, not_after_ms=86_400_000)


def _opened(content: bytes, owner: Identity) -> bytes:
    return decrypt(base64.b64decode(content.partition(b"\r\n\r\n")[2]), owner)


@pytest.mark.parametrize("form", ["der", "ber"])
@pytest.mark.parametrize("cipher", ["aes128", "aes256", "3des"])
def test_the_holder_of_the_key_finds_a_token_that_logs_in(owner: Identity, cipher: str, form: str) -> None:
    bench = Bench(token_cipher=cipher, token_form=form)
    bench.portal.upload_certificate(NAME, to_pem(owner.certificate))
    file = bench.portal.token(NAME)
    text = _opened(file.content, owner).decode()
    token = json.loads(text.partition("-----BEGIN MESSAGE-----")[2].partition("-----END MESSAGE-----")[0])
    assert Client(bench, token).login()[0] == 200
    assert file.consumer_key == token["consumer_key"]


def test_nobody_else_can_open_it(bench: Bench, owner: Identity) -> None:
    bench.portal.upload_certificate(NAME, owner.certificate)
    content = bench.portal.token(NAME).content
    stranger = Authority.create("x", keys=FreshKeys(), clock=ManualClock(), chance=Chance(2)).identity
    with pytest.raises(CannotDecrypt):
        _opened(content, stranger)


def test_the_outside_is_mime_with_the_headers_that_servers_look_for(bench: Bench, owner: Identity) -> None:
    bench.portal.upload_certificate(NAME, owner.certificate)
    file = bench.portal.token(NAME)
    message = email.message_from_bytes(file.content)
    assert message.get_content_type() == "application/pkcs7-mime"
    assert (message.get_param("smime-type"), message.get_filename()) == ("enveloped-data", "smime.p7m")
    assert message["Content-Description"] == "S/MIME Encrypted Message"
    assert next(iter(message)) == "Content-Type"
    assert max(map(len, file.content.splitlines()[5:])) == 76
    assert re.fullmatch(rf"{NAME}_Token_\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\dZ_smime\.p7m", file.file_name)


def test_the_inside_suits_every_known_way_to_take_it_apart(bench: Bench, owner: Identity) -> None:
    bench.portal.upload_certificate(NAME, owner.certificate)
    text = _opened(bench.portal.token(NAME).content, owner)
    lines = text.decode().splitlines()
    # The markers stand alone on their lines, and what is between is JSON on one line.
    start, end = lines.index("-----BEGIN MESSAGE-----"), lines.index("-----END MESSAGE-----")
    assert end == start + 2
    token = json.loads(lines[start + 1])
    # Stripping the markers' letters from both ends of each line leaves the JSON whole.
    letters = "".join(sorted(set("-----BEGIN MESSAGE----------END MESSAGE-----")))
    stripped = "".join(line.strip(letters) for line in lines[start : end + 1])
    assert json.loads(stripped) == token
    # A MIME header block comes first.
    assert email.message_from_bytes(text).get_content_type() == "text/plain"
    # Whoever keeps the padding of AES-CBC finds line feeds behind the last marker, which JSON allows.
    assert len(text) % 16 == 6


def test_the_five_keys_have_the_shapes_of_live_ones(bench: Bench) -> None:
    token = bench.portal.plain_token(NAME)
    assert list(token) == [
        "consumer_key",
        "consumer_secret",
        "access_token",
        "access_secret",
        "access_token_expiry",
    ]
    shapes = ("CK_[0-9a-f]{96}", "CS_[0-9a-f]{40}", "AT_O[0-9]+O[0-9a-f]+O[0-9]{13}", "AS_[0-9a-f]{40}")
    assert all(re.fullmatch(shape, value) for shape, value in zip(shapes, token.values(), strict=False))
    assert max(map(len, token.values())) <= 128
    assert token["access_token_expiry"] == "2027-01-01T00:00:00Z"


def test_a_renewal_keeps_the_consumer_key_and_changes_the_rest(bench: Bench) -> None:
    old, new = bench.client.token, bench.portal.plain_token(NAME)
    assert old["consumer_key"] == new["consumer_key"]
    assert old["access_token"] != new["access_token"] and old["access_secret"] != new["access_secret"]


def test_an_odd_server_name_makes_a_plain_file_name(bench: Bench, owner: Identity) -> None:
    bench.portal.add_server('a/b\\c"d', certificate=owner.certificate)
    assert bench.portal.token('a/b\\c"d').file_name.startswith("a_b_c_d_Token_")


def test_secrets_are_not_in_the_tokens_repr(bench: Bench) -> None:
    token = bench.service.servers()[0].tokens[-1]
    assert token.consumer_secret not in repr(token) and token.access_secret not in repr(token)
    assert token.consumer_secret.encode() in token_text(token)
