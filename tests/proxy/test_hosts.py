"""Apple's hosts as the proxy knows them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.fakeapns.front.context import APPLE_HOSTS as PUSH_HOSTS
from mdmsim.fakedep.inprocess import ACTIVATION_HOST, HOSTS
from mdmsim.proxy.hosts import APPLE_HOSTS, refusal


def test_every_name_that_a_fake_answers_under_is_known() -> None:
    assert {*PUSH_HOSTS, *HOSTS, ACTIVATION_HOST} <= set(APPLE_HOSTS)


@pytest.mark.parametrize("host", APPLE_HOSTS)
def test_what_to_do_names_a_command(host: str) -> None:
    said = refusal(host, "443", [])
    assert re.search(r"mdmsim (up|proxy)\b", said)
    assert "{" not in said


@given(st.text(), st.text())
def test_whatever_is_asked_for_makes_one_printable_line(host: str, port: str) -> None:
    assert refusal(host, port, ["api.push.apple.com"]).isprintable()
