"""What is told is safe before it is told: on every way in, with a storage that takes its time, and with one that fails."""

from __future__ import annotations

from functools import partial

import httpx
import pytest
import trio
import trio.testing

from mdmsim.asgi import serve_asgi
from mdmsim.chance import Chance
from mdmsim.clock import SECOND
from mdmsim.fakeapns.admin.app import create_app
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.errors import NotDurable
from mdmsim.fakeapns.front.context import SERVER_NAMES
from mdmsim.fakeapns.front.server import Front
from mdmsim.fakeapns.inprocess import HOSTS, InProcessApns
from mdmsim.fakeapns.storage import MemoryStorage
from mdmsim.fakeapns.sweep import sweep
from mdmsim.http import Identity, Request, Response
from mdmsim.pki.authority import Authority
from mdmsim.startup import LOOPBACK_ADDRESSES
from tests.fakeapns.support import OTHER_TOPIC, PAYLOAD, TOPIC, Bench, client_context, serving

pytestmark = pytest.mark.anyio


class Patient(MemoryStorage):
    """Nothing is durable before `committed` is set; then it is, or fails if there is trouble."""

    def __init__(self) -> None:
        super().__init__()
        self.committed = trio.Event()
        self.asked = 0

    async def durable(self) -> None:
        self.asked += 1
        await self.committed.wait()
        if self.trouble is not None:
            raise NotDurable(self.trouble)

    def fail(self) -> None:
        self.trouble = "the disk is full"
        self.committed.set()


@pytest.fixture
def patient(bench: Bench) -> Patient:
    bench.storage = patient = Patient()
    bench.build()
    return patient


async def post(bench: Bench, token: bytes) -> Response:
    request = Request("POST", f"https://{HOSTS[0]}/3/device/{token.hex()}", body=PAYLOAD, identity=bench.provider)
    return await InProcessApns(bench.service).handle(request)


# providers


async def test_a_200_waits_until_its_push_is_durable(bench: Bench, patient: Patient) -> None:
    token = bench.service.register("mac-1", TOPIC)
    answers: list[int] = []
    async with trio.open_nursery() as nursery:

        async def push() -> None:
            answers.append((await post(bench, token)).status)

        nursery.start_soon(push)
        await trio.testing.wait_all_tasks_blocked()
        early = list(answers)
        patient.committed.set()
    assert (early, answers) == ([], [200])


async def test_a_push_that_could_not_be_made_durable_gets_500(bench: Bench, patient: Patient) -> None:
    token = bench.service.register("mac-1", TOPIC)
    patient.fail()
    answer = await post(bench, token)
    assert (answer.status, answer.body) == (500, b'{"reason":"InternalServerError"}')
    assert len(answer.header("apns-id") or "") == 36


async def test_a_refusal_promises_nothing_and_stays_what_it_is(bench: Bench, patient: Patient) -> None:
    patient.fail()
    assert (await post(bench, bytes(32))).status == 400


async def test_over_http2_the_connection_goes_on_after_a_500(
    bench: Bench, patient: Patient, authority: Authority, provider: Identity
) -> None:
    token = bench.service.register("mac-1", TOPIC)
    patient.fail()
    front = Front(bench.service, authority.issue_server(SERVER_NAMES, LOOPBACK_ADDRESSES))
    context = client_context(authority.certificate, provider)
    async with serving(front.serve) as port, httpx.AsyncClient(http2=True, verify=context) as client:
        url = f"https://127.0.0.1:{port}/3/device/{token.hex()}"
        first = await client.post(url, content=PAYLOAD)
        patient.trouble = None
        second = await client.post(url, content=PAYLOAD)
    assert (first.status_code, first.json(), second.status_code) == (500, {"reason": "InternalServerError"}, 200)
    assert front.counters["accepted"] == 1


# devices


async def test_a_courier_is_told_of_tokens_when_they_are_durable(bench: Bench, patient: Patient) -> None:
    answered: list[str] = []
    async with (
        serving(CourierServer(bench.service).serve) as port,
        CourierClient("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)) as courier,
    ):

        async def ask(what: str) -> None:
            if what == "register":
                await courier.register("mac-1", TOPIC)
            elif what == "subscribe":
                await courier.subscribe([(TOPIC, bytes(32))])
            else:
                await courier.retire(TOPIC, token)
            answered.append(what)

        token = bench.service.register("mac-2", TOPIC)
        for count, what in enumerate(("register", "subscribe", "retire"), 1):
            patient.asked, patient.committed = 0, trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, what)
                with trio.fail_after(15):
                    while not patient.asked:
                        await trio.testing.wait_all_tasks_blocked(0.001)
                assert len(answered) == count - 1
                patient.committed.set()
    assert answered == ["register", "subscribe", "retire"]


async def test_a_push_does_not_wait_on_its_way_to_the_device(bench: Bench, patient: Patient) -> None:
    heard = trio.Event()
    patient.committed.set()
    async with (
        serving(CourierServer(bench.service).serve) as port,
        CourierClient("127.0.0.1", port, on_push=lambda *push: heard.set(), chance=Chance(1)) as courier,
    ):
        token = await courier.register("mac-1", TOPIC)
        await courier.subscribe([(TOPIC, token)])
        patient.committed = trio.Event()
        bench.push(token)
        with trio.fail_after(15):
            await heard.wait()


async def test_a_courier_asks_again_until_its_token_is_durable(bench: Bench, patient: Patient) -> None:
    patient.fail()
    async with (
        serving(CourierServer(bench.service).serve) as port,
        CourierClient("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)) as courier,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(courier.register, "mac-1", TOPIC)
            await bench.until(lambda: "the disk is full" in [e.data.get("why") for e in bench.log.events])
            patient.trouble = None
        assert [one.device for one in bench.service.registrations()] == ["mac-1"]


# people


async def test_the_admin_api_tells_of_trouble_and_promises_nothing(
    bench: Bench, patient: Patient, authority: Authority
) -> None:
    app = create_app(bench.service, key="secret")

    async def serve(listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await serve_asgi(app, listeners, task_status=task_status)

    patient.fail()
    headers = {"authorization": "Bearer secret"}
    async with (
        serving(serve) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client,
    ):
        health = await client.get("/healthz")
        asked = [
            await client.post("/tokens", json={"device": "mac-1", "topic": TOPIC}),
            await client.post("/certificates", content=authority.issue_push(OTHER_TOPIC).certificate),
            await client.delete(f"/tokens/{TOPIC}/{bench.service.register('mac-1', TOPIC).hex()}"),
        ]
    assert (health.status_code, health.json()) == (503, {"status": "failing", "store": "the disk is full"})
    assert [(answer.status_code, answer.json()) for answer in asked] == [(500, {"error": "the disk is full"})] * 3


async def test_a_certificate_that_was_registered_is_known_after_a_restart(bench: Bench, authority: Authority) -> None:
    other = authority.issue_push(OTHER_TOPIC)
    bench.service.register_certificate(other.certificate)
    bench.build()
    assert OTHER_TOPIC in [one.topic for one in bench.service.certificates.registered()]


async def test_a_certificate_that_was_revoked_is_unknown_after_a_restart(bench: Bench, authority: Authority) -> None:
    other = authority.issue_push(OTHER_TOPIC)
    bench.service.register_certificate(other.certificate)
    bench.service.revoke_certificate(other.certificate)
    bench.build()
    assert [one.topic for one in bench.service.certificates.registered()] == [TOPIC]


# expiry


def test_what_expired_meanwhile_is_dropped_at_the_start(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND + 5))
    bench.clock.advance(5 * SECOND)
    bench.build()
    assert (bench.service.counts.expired, list(bench.storage.load("").pushes)) == (1, [])


def test_what_has_a_second_left_is_there_after_a_restart(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND + 5))
    bench.clock.advance(4 * SECOND)
    bench.build()
    assert len(bench.service.pending()) == 1


async def test_the_sweep_lets_go_of_what_expired_and_of_nothing_else(bench: Bench) -> None:
    tokens = [bench.service.register(f"mac-{number}", TOPIC) for number in range(2_500)]
    for number, token in enumerate(tokens):
        bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND + (30 if number % 2 else 600)))
    async with trio.open_nursery() as nursery:
        bench.clock.advance(60 * SECOND)
        nursery.start_soon(partial(sweep, bench.service, every=0.001))
        await bench.until(lambda: bench.service.counts.expired == 1_250)
        nursery.cancel_scope.cancel()
    assert len(list(bench.storage.load("").pushes)) == 1_250


def test_the_sweep_leaves_what_is_on_its_way(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND + 5))
    (push,) = device.take()
    bench.clock.advance(60 * SECOND)
    bench.service.deliveries.sweep(bench.service.slots())
    assert device.session.acknowledge(push.number)
    assert (bench.service.counts.acknowledged, bench.service.counts.expired) == (1, 0)


def test_what_is_swept_from_a_waiting_connection_counts_once(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND + 5))
    bench.clock.advance(60 * SECOND)
    bench.service.deliveries.sweep(bench.service.slots())
    assert (device.take(), bench.service.counts.expired) == ([], 1)


def test_ids_do_not_repeat_after_a_restart_with_the_same_seed(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    ids = []
    for _ in range(3):
        ids.append(dict(bench.push(token).headers)["apns-id"])
        bench.clock.advance(SECOND)
        bench.build()
    assert len(set(ids)) == 3


def test_numbers_grow_across_a_restart_though_the_clock_was_set_back(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    (first,) = device.take()
    device.session.acknowledge(first.number)
    bench.clock.advance(-3_600 * SECOND)
    bench.build()
    bench.push(token)
    (second,) = bench.service.pending()
    assert second.number > first.number
