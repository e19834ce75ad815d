"""Secrets hidden, certificates under aliases."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.report.redact import Long, Redactor, hidden, is_secret_key


@pytest.mark.parametrize(
    "key",
    [
        "PushMagic",
        "Token",
        "UnlockToken",
        "BootstrapToken",
        "Challenge",
        "Password",
        "NewPassword",
        "PIN",
        "Authorization",
        "X-Api-Key",
        "client_secret",
        "push_token",
        "ExistingFirmwarePassword",
        "FileVaultPersonalRecoveryKey",
        "mdm",
    ],
)
def test_these_keys_hold_secrets(key: str) -> None:
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "Topic",
        "UDID",
        "ServerToken",
        "DeclarationsToken",
        "PasscodePresent",
        "PasscodeCompliant",
        "TokenUpdate",
        "challenge_type",
        "MessageType",
    ],
)
def test_these_keys_do_not(key: str) -> None:
    assert not is_secret_key(key)


def test_a_secret_is_hidden_wherever_it_turns_up() -> None:
    redactor = Redactor()
    redactor.learn("0A3F-PUSH-MAGIC")
    assert (
        redactor.text("sent {0A3F-PUSH-MAGIC} twice: 0A3F-PUSH-MAGIC") == f"sent {{{hidden(15)}}} twice: {hidden(15)}"
    )


def test_a_secret_of_bytes_is_hidden_as_base64_and_hex() -> None:
    redactor, token = Redactor(), bytes(range(200, 232))
    redactor.learn(token)
    for spelling in (
        token.hex(),
        token.hex().upper(),
        base64.b64encode(token).decode(),
        base64.urlsafe_b64encode(token).decode(),
    ):
        assert redactor.text(f"<{spelling}>").startswith("<••••")


def test_a_short_secret_does_not_blot_out_ordinary_text() -> None:
    redactor = Redactor()
    redactor.learn(b"apple")
    assert redactor.text("com.apple.mdm") == "com.apple.mdm"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    redactor = Redactor()
    redactor.learn("secret-one")
    redactor.learn("secret-one-and-more")
    assert redactor.text("secret-one-and-more") == hidden(19)


def test_a_long_text_is_cut_only_when_it_is_clean() -> None:
    redactor = Redactor()
    shown = Long.of("the magic is ABCDEFGHIJKLMNOP and more text follows", 18)
    redactor.learn("ABCDEFGHIJKLMNOP")
    assert "ABCD" not in redactor.clean([shown])[0]


def test_certificates_are_called_by_number_in_the_order_of_first_sight() -> None:
    redactor = Redactor()
    assert [redactor.certificate(b"first"), redactor.certificate(b"second"), redactor.certificate(b"first")] == [
        "certificate-1",
        "certificate-2",
        "certificate-1",
    ]


def test_a_thumbprint_is_shown_as_its_certificate() -> None:
    redactor = Redactor()
    thumbprint = "ab" * 32
    alias = redactor.thumbprint(thumbprint)
    assert redactor.text(f"bound to {thumbprint.upper()}") == f"bound to {alias}"


def test_a_private_key_in_a_text_is_not_shown() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
    assert "MIIE" not in Redactor().text(f"log: {text}")


def test_the_beginning_of_a_private_key_is_not_shown_either() -> None:
    assert "MIIE" not in Redactor().text("log: -----BEGIN RSA PRIVATE KEY-----\nMIIE and then nothing")


def test_keys_of_dictionaries_are_left_alone() -> None:
    redactor = Redactor()
    redactor.learn("PushMagic")
    assert redactor.clean({"PushMagic": "PushMagic"}) == {"PushMagic": hidden(9)}


@given(st.lists(st.text(min_size=8, max_size=24), min_size=1, max_size=12), st.text(max_size=40))
@settings(max_examples=80, deadline=None)
def test_no_learned_secret_survives(secrets: list[str], around: str) -> None:
    redactor = Redactor()
    for secret in secrets:
        redactor.learn(secret)
    cleaned = redactor.clean({"a": [f"{around}{secret}{around}" for secret in secrets], "b": "\n".join(secrets)})
    masks = {hidden(len(secret)) for secret in secrets}
    for text in [*cleaned["a"], cleaned["b"]]:
        for mask in masks:
            text = text.replace(mask, "\0")
        for secret in secrets:
            # Two secrets may overlap, so that hiding one breaks the other: what must not be left is a whole one.
            assert secret not in text or any(secret in mask for mask in masks)
