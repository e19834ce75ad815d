"""The adapter for the reference server's API, at what is none."""

from __future__ import annotations

import pytest
import trio

from mdmsim.http import Request, Response, Trust
from mdmsim.target.adapter import AdapterError
from mdmsim.target.reference import ReferenceAdapter


class Answers:
    """An `Outbound` whose other end answers everything alike."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def send(self, request: Request) -> Response:
        return self._response


@pytest.mark.parametrize("body", [b"not found", b"", b"[]", b'{"error":"unknown-path"}', b"\xff"])
def test_another_server_at_the_url_is_told_before_any_case_is_played(body: bytes) -> None:
    adapter = ReferenceAdapter(Answers(Response(404, (), body)), "https://mdm.test", "k", Trust())
    with pytest.raises(AdapterError, match=r"this is no reference server\. Check url"):
        trio.run(adapter.check)


def test_a_device_that_the_server_does_not_know_shows_that_url_and_key_are_right() -> None:
    answer = Response(404, (), b'{"error":"unknown-device"}')
    trio.run(ReferenceAdapter(Answers(answer), "https://mdm.test", "k", Trust()).check)
