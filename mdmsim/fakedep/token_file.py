"""The server token file that the portal hands out: S/MIME around CMS around text around JSON."""

from __future__ import annotations

import base64
import json
import textwrap

import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import iso
from mdmsim.fakedep.model import ServerToken
from mdmsim.fakedep.settings import DepSettings
from mdmsim.pki.envelope import envelope


class TokenFile(msgspec.Struct, frozen=True):
    """A file to download. `content`: the `.p7m`, for the key of the uploaded certificate only."""

    file_name: str
    content: bytes
    consumer_key: str


def token_text(token: ServerToken) -> bytes:
    """What the envelope holds: MIME headers and, between two markers, the token as JSON on one line.

    Servers cut it apart in different ways: some want the markers alone on their lines, some strip the markers' letters
    from both ends of every line.
    """
    lines = (
        "Content-Type: text/plain;charset=UTF-8",
        "Content-Transfer-Encoding: 7bit",
        "",
        "-----BEGIN MESSAGE-----",
        json.dumps(token.keys(), separators=(",", ":")),
        "-----END MESSAGE-----",
        "",
    )
    text = "\r\n".join(lines).encode("ascii")
    # Some servers keep the padding of AES-CBC and parse what they have as JSON: ten bytes of padding are line feeds.
    return text + b"\n" * ((6 - len(text)) % 16)


def token_file(
    name: str, token: ServerToken, certificate: bytes, at_ms: int, chance: Chance, settings: DepSettings
) -> TokenFile:
    """The file for the holder of that certificate's key (DER). Raises CannotEncrypt."""
    enveloped = envelope(
        token_text(token), [certificate], chance=chance, cipher=settings.token_cipher, form=settings.token_form
    )
    body = "\r\n".join(textwrap.wrap(base64.b64encode(enveloped).decode("ascii"), 76))
    content = (
        'Content-Type: application/pkcs7-mime; name="smime.p7m"; smime-type=enveloped-data\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="smime.p7m"\r\n'
        "Content-Description: S/MIME Encrypted Message\r\n"
        "\r\n"
        f"{body}\r\n"
    )
    when = iso(at_ms)[:19].replace(":", "-") + "Z"
    safe = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name)
    return TokenFile(f"{safe}_Token_{when}_smime.p7m", content.encode("ascii"), token.consumer_key)
