"""Provider tokens (JWT) as the clients of others make them: sideshow/apns2 in Go, @parse/node-apn, aioapns.

No MDM server uses them; whoever tests the pushes of an app does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aioapns
import anyio
import pytest
from aioapns import connection

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.embedded.credentials import TokenKey
from mdmsim.fakeapns.embedded.device import SimulatedDevice
from tests.interop.push_clients import context, go_client, node_client, order

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

APP = "com.example.app"

Said = list[dict[str, Any]]


def given(apns: FakeApns, key: TokenKey, topic: str, tokens: list[str], **more: Any) -> str:
    return order(apns, None, tokens, SigningKey=key.file, KeyID=key.key_id, TeamID=key.team_id, Topic=topic, **more)


def by_apns2(apns: FakeApns, key: TokenKey, topic: str, tokens: list[str]) -> Said:
    return go_client(apns, "apns2", given(apns, key, topic, tokens))


def by_node_apn(apns: FakeApns, key: TokenKey, topic: str, tokens: list[str]) -> Said:
    return node_client(apns, "node-apn", given(apns, key, topic, tokens))


def by_aioapns(apns: FakeApns, key: TokenKey, topic: str, tokens: list[str]) -> Said:
    class Fake(connection.APNsProductionClientProtocol):
        APNS_SERVER = "localhost"
        APNS_PORT = apns.port

    said: Said = []

    async def main() -> None:
        client = aioapns.APNs(
            key=key.key, key_id=key.key_id, team_id=key.team_id, topic=topic, ssl_context=context(apns)
        )
        client.pool.protocol_class = Fake
        with anyio.fail_after(30):
            for token in tokens:
                asked = aioapns.NotificationRequest(device_token=token, message={"aps": {"alert": "hello"}})
                result = await client.send_notification(asked)
                said.append({"status": int(result.status), "reason": result.description})
        client.pool.close()

    anyio.run(main)
    return said


CLIENTS = pytest.mark.parametrize("push", [by_apns2, by_node_apn, by_aioapns])

Push = Callable[[FakeApns, TokenKey, str, list[str]], Said]


@pytest.fixture
def phone(apns: FakeApns) -> SimulatedDevice:
    return apns.device("phone", topic=APP)


@CLIENTS
def test_a_token_of_a_known_key_is_accepted(apns: FakeApns, phone: SimulatedDevice, push: Push) -> None:
    """Their `iat` differs (an integer, a float, a string in older ones), so does the case of "bearer"."""
    said = push(apns, apns.signing_key(), APP, [phone.token] * 3)
    assert [one["status"] for one in said] == [200, 200, 200]
    assert len(phone.pushes) == 3


@CLIENTS
def test_a_key_that_nobody_registered_is_refused(apns: FakeApns, phone: SimulatedDevice, push: Push) -> None:
    with FakeApns() as elsewhere:
        (said,) = push(apns, elsewhere.signing_key(), APP, [phone.token])
    assert (said["status"], said["reason"]) == (403, "InvalidProviderToken")


@CLIENTS
def test_a_key_for_another_topic_may_not_push_to_this_one(apns: FakeApns, phone: SimulatedDevice, push: Push) -> None:
    (said,) = push(apns, apns.signing_key(topics=["com.example.other"]), APP, [phone.token])
    assert (said["status"], said["reason"]) == (400, "TopicDisallowed")


@CLIENTS
def test_mdm_topics_take_no_tokens(apns: FakeApns, push: Push) -> None:
    """Apple, "Setting up push notifications for your MDM customers": certificates only. The word is our choice of switch."""
    tablet = apns.device("tablet")
    (said,) = push(apns, apns.signing_key(), apns.topic, [tablet.token])
    assert (said["status"], said["reason"]) == (403, "Forbidden")
    assert tablet.pushes == []
