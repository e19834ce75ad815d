"""The fake inside other people's test suites: what they would write, with a client that nobody here wrote."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from h2.connection import H2Connection
from h2.events import RemoteSettingsChanged
from h2.settings import SettingCodes

from mdmsim.clock import DAY, ManualClock
from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.embedded.credentials import Certificate
from mdmsim.fakeapns.errors import BadSigningKey, UnknownToken
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.pki.certificate import not_after_ms
from mdmsim.pki.push_certificate import push_rights
from mdmsim.startup import ServeError

MAGIC = b'{"mdm":"magic"}'


def context(apns: FakeApns, certificate: Certificate | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=apns.ca_file)
    if certificate is not None:
        made.load_cert_chain(certificate.file)
    return made


class Provider:
    """A push provider's program, with a connection of its own."""

    def __init__(self, apns: FakeApns, certificate: Certificate | None) -> None:
        self.apns = apns
        self.client = httpx.Client(http2=True, verify=context(apns, certificate), trust_env=False)

    def push(self, token: str, payload: bytes = MAGIC, **headers: str) -> tuple[int, str]:
        """Status and reason."""
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.client.post(f"{self.apns.url}/3/device/{token}", content=payload, headers=spelled)
        return answer.status_code, answer.json()["reason"] if answer.content else ""


@pytest.fixture
def apns() -> Iterator[FakeApns]:
    with FakeApns() as running:
        yield running


@pytest.fixture
def provider(apns: FakeApns) -> Iterator[Provider]:
    made = Provider(apns, apns.certificate())
    yield made
    made.client.close()


def test_a_push_reaches_the_device(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    assert provider.push(phone.token) == (200, "")
    assert phone.wait_for_push().json == {"mdm": "magic"}


def test_a_listening_device_has_heard_the_push_before_the_provider_has_its_answer(
    apns: FakeApns, provider: Provider
) -> None:
    phone = apns.device()
    provider.push(phone.token)
    assert [push.payload for push in phone.pushes] == [MAGIC]


def test_waiting_returns_each_push_once(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    provider.push(phone.token, b"1")
    provider.push(phone.token, b"2")
    assert (phone.wait_for_push().payload, phone.wait_for_push().payload) == (b"1", b"2")


def test_waiting_in_vain_says_what_apns_answered(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    apns.fail_next("TooManyRequests")
    provider.push(phone.token)
    with pytest.raises(TimeoutError, match="APNs was sent 1, answered 429 TooManyRequests"):
        phone.wait_for_push(timeout=0.01)


def test_waiting_in_vain_for_a_push_that_went_elsewhere_says_so(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    provider.push(apns.token("another"))
    with pytest.raises(TimeoutError, match="APNs was sent nothing, and 1 to other tokens"):
        phone.wait_for_push(timeout=0.01)


def test_accepted_and_refused_pushes_are_listed_with_their_verdicts(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device("phone")
    provider.push(phone.token)
    provider.push("ab")
    assert [(push.status, push.reason, push.device) for push in apns.pushes] == [
        (200, "", "phone"),
        (400, "BadDeviceToken", ""),
    ]
    assert (apns.pushes[0].payload, apns.pushes[0].token, apns.pushes[0].topic) == (MAGIC, phone.token, apns.topic)


def test_a_request_is_kept_with_its_headers_and_what_was_wrong_with_it(apns: FakeApns, provider: Provider) -> None:
    provider.push(apns.token("phone"), apns_priority="7")
    (push,) = apns.pushes
    assert (push.method, push.header("Apns-Priority"), push.reason) == ("POST", "7", "BadPriority")
    assert "7" in push.why
    assert (push.environment, push.connection, push.path) == ("production", 1, f"/3/device/{apns.token('phone')}")


def test_somebody_waits_for_a_push_that_is_still_to_come(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    later = threading.Thread(target=provider.push, args=(phone.token,))
    later.start()
    assert apns.wait_for(lambda push: push.accepted).token == phone.token
    later.join()


def test_nothing_that_matches_is_a_timeout(apns: FakeApns) -> None:
    with pytest.raises(TimeoutError, match=r"no such push within 0\.01 s; APNs was sent nothing"):
        apns.wait_for(timeout=0.01)


def test_an_offline_device_hears_the_newest_push_when_it_comes_back(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    phone.go_offline()
    provider.push(phone.token, b"older")
    provider.push(phone.token, b"newer")
    assert phone.pushes == []
    phone.go_online()
    phone.go_online()
    assert [push.payload for push in phone.pushes] == [b"newer"]


def test_a_device_that_was_never_online_is_pushed_to_all_the_same(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device(online=False)
    assert provider.push(phone.token) == (200, "")
    phone.go_online()
    assert len(phone.pushes) == 1


def test_a_retired_token_is_unregistered(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    apns.retire(phone)
    token = apns.token("tablet")
    apns.retire(token)
    assert (provider.push(phone.token), provider.push(token)) == ((410, "Unregistered"), (410, "Unregistered"))


def test_an_erased_device_comes_back_with_another_token(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    before = phone.token
    after = phone.erase()
    assert before != after
    assert (provider.push(before), provider.push(after)) == ((410, "Unregistered"), (200, ""))
    assert len(phone.pushes) == 1


def test_retiring_what_is_no_token_is_a_mistake(apns: FakeApns) -> None:
    with pytest.raises(UnknownToken, match="token abcd: not registered"):
        apns.retire("abcd")
    with pytest.raises(ValueError, match="a token is written in hex"):
        apns.retire("phone")


def test_faults_come_as_often_as_they_were_asked_for(apns: FakeApns, provider: Provider) -> None:
    phone, tablet = apns.device(), apns.device()
    apns.fail_next("ServiceUnavailable", times=2, token=phone)
    answers = [provider.push(tablet.token), *(provider.push(phone.token) for _ in range(3))]
    assert [status for status, _ in answers] == [200, 503, 503, 200]


def test_a_fault_is_counted_and_ends_when_it_is_removed(apns: FakeApns, provider: Provider) -> None:
    phone = apns.device()
    lost = apns.faults.add("push.lost")
    provider.push(phone.token)
    apns.faults.remove(lost)
    provider.push(phone.token, b"found")
    assert (lost.injected, [push.payload for push in phone.pushes]) == (1, [b"found"])


def test_a_fault_that_does_not_exist_is_a_mistake(apns: FakeApns) -> None:
    with pytest.raises(ValueError, match=r"Did you mean push.lost"):
        apns.faults.add("push.loost")
    with pytest.raises(ValueError, match='reason "Nonsense" is not one of Apple'):
        apns.fail_next("Nonsense")


@pytest.mark.parametrize(("key_format", "begin"), [("pkcs8", "BEGIN PRIVATE KEY"), ("pkcs1", "BEGIN RSA PRIVATE KEY")])
def test_certificates_come_in_both_forms_of_key(apns: FakeApns, key_format: str, begin: str) -> None:
    made = apns.certificate(key_format=key_format)  # type: ignore[arg-type]
    assert begin in made.key
    assert Path(made.file).read_text() == made.certificate + made.key
    assert Path(made.key_file).stat().st_mode & 0o077 == 0
    assert made.key not in repr(made)
    assert Provider(apns, made).push(apns.token("phone")) == (200, "")


def test_a_certificate_carries_the_marks_that_it_is_asked_for(apns: FakeApns) -> None:
    made = [apns.certificate(environment=name) for name in ("production", "sandbox", "both")]  # type: ignore[arg-type]
    rights = [push_rights(one.der) for one in made]
    assert [(right.production, right.sandbox) for right in rights] == [(True, False), (False, True), (True, True)]
    with pytest.raises(ValueError, match='environment="mars": allowed are production, sandbox, both'):
        apns.certificate(environment="mars")  # type: ignore[arg-type]


def test_a_signing_key_looks_as_apples_do(apns: FakeApns) -> None:
    made = apns.signing_key(key_id="ABCDE12345")
    assert Path(made.file).name == "AuthKey_ABCDE12345.p8"
    assert Path(made.file).read_text() == made.key
    assert len(made.team_id) == 10
    assert made.key not in repr(made)
    with pytest.raises(BadSigningKey, match='key_id="short"'):
        apns.signing_key(key_id="short")


def test_a_certificate_for_another_topic_pushes_to_its_own_devices_only(apns: FakeApns) -> None:
    other = apns.certificate("com.apple.mgmt.External.other")
    phone, tablet = apns.device(), apns.device(topic=other.topic)
    provider = Provider(apns, other)
    assert provider.push(phone.token) == (400, "DeviceTokenNotForTopic")
    assert provider.push(tablet.token) == (200, "")


def test_without_a_certificate_the_provider_is_nobody(apns: FakeApns) -> None:
    assert Provider(apns, None).push(apns.token("phone")) == (403, "MissingProviderToken")


def test_the_switches_of_the_service_can_be_set() -> None:
    with FakeApns(settings=ApnsSettings(default_storage_ms=0)) as apns:
        phone = apns.device(online=False)
        Provider(apns, apns.certificate()).push(phone.token)
        phone.go_online()
        assert phone.pushes == []


def test_time_can_be_the_tests_own() -> None:
    clock = ManualClock()
    with FakeApns(clock=clock) as apns:
        phone = apns.device(online=False)
        made = ssl.create_default_context(cafile=apns.ca_file)
        made.verify_flags |= ssl.VerifyFlags(0x200000)  # the fake's own certificate lives at that clock's date
        made.load_cert_chain(apns.certificate().file)
        with httpx.Client(http2=True, verify=made) as client:
            client.post(f"{apns.url}/3/device/{phone.token}", content=MAGIC)
            clock.advance(2 * DAY)
        phone.go_online()
        assert phone.pushes == []


def test_the_same_seed_gives_the_same_tokens() -> None:
    tokens = []
    for _ in range(2):
        with FakeApns(seed="7") as apns:
            tokens.append((apns.topic, apns.token("phone")))
    assert tokens[0] == tokens[1]


def test_the_sandbox_has_an_address_and_tokens_of_its_own(apns: FakeApns) -> None:
    certificate = apns.certificate(environment="both")
    phone, tablet = apns.device(environment="sandbox"), apns.device()
    with httpx.Client(http2=True, verify=context(apns, certificate), base_url=apns.sandbox_url) as client:
        answers = [client.post(f"/3/device/{one.token}", content=MAGIC).status_code for one in (phone, tablet)]
    assert (answers, len(phone.pushes), len(tablet.pushes)) == ([200, 400], 1, 0)
    assert [push.environment for push in apns.pushes] == ["sandbox", "sandbox"]


@pytest.mark.parametrize("named", [Path, str])
def test_a_store_outlives_the_block(tmp_path: Path, named: type[Path] | type[str]) -> None:
    store = named(tmp_path / "apns.sqlite")
    with FakeApns(store=store, seed="7") as apns:
        Provider(apns, apns.certificate()).push(apns.token("phone"))
    with FakeApns(store=store, seed="7") as apns:
        assert [push.payload for push in apns.device("phone").pushes] == [MAGIC]


def test_the_switches_of_its_connections_can_be_set() -> None:
    with FakeApns(front=FrontSettings(stream_limit=7)) as apns:
        tls = context(apns, apns.certificate())
        tls.set_alpn_protocols(["h2"])
        client, seen = H2Connection(), None
        with tls.wrap_socket(socket.create_connection((apns.host, apns.port)), server_hostname=apns.host) as stream:
            client.initiate_connection()
            stream.sendall(client.data_to_send())
            while seen is None:
                told = [e for e in client.receive_data(stream.recv(4096)) if isinstance(e, RemoteSettingsChanged)]
                seen = told[0].changed_settings[SettingCodes.MAX_CONCURRENT_STREAMS].new_value if told else None
        assert seen == 7


def test_two_fakes_in_one_process_know_nothing_of_each_other() -> None:
    with FakeApns() as one, FakeApns() as other:
        assert one.port != other.port
        Provider(one, one.certificate()).push(one.token("phone"))
        assert (len(one.pushes), other.pushes) == (1, [])


def test_it_leaves_no_thread_no_port_and_no_file_behind() -> None:
    before = set(threading.enumerate())
    with FakeApns() as apns:
        folder = Path(apns.ca_file).parent
        ports = (apns.port, apns.courier_port)
        provider = Provider(apns, apns.certificate())
        provider.push(apns.token("phone"))
    # Those of other tests may end meanwhile: trio keeps idle ones for ten seconds.
    assert (set(threading.enumerate()) - before, folder.exists()) == (set(), False)
    for port in ports:
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux shows the open files of a process")
def test_one_after_the_other_they_leave_no_file_open() -> None:
    def once() -> int:
        with FakeApns() as apns:
            Provider(apns, apns.certificate()).client.close()
        return len(os.listdir("/proc/self/fd"))

    before = once()
    assert [once() for _ in range(10)] == [before] * 10


def test_a_request_that_is_never_answered_does_not_hold_up_the_end() -> None:
    with FakeApns() as apns:
        apns.faults.add("answer.stalled")
        provider = Provider(apns, apns.certificate())
        failed: list[httpx.HTTPError] = []

        def push() -> None:
            try:
                provider.push(token)
            except httpx.HTTPError as error:
                failed.append(error)

        token = apns.token("phone")
        stalled = threading.Thread(target=push)
        stalled.start()
        apns.wait_for()
    stalled.join(20)
    assert [type(error) for error in failed] == [httpx.RemoteProtocolError]


def test_a_port_that_is_taken_is_said_at_once_and_nothing_is_left() -> None:
    before = threading.active_count()
    with FakeApns() as first, pytest.raises(ServeError, match=f"port={first.port} on 127.0.0.1: .*Choose another"):
        FakeApns(port=first.port).start()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"port": 99999}, ValueError, "port=99999: .*1 to 65535"),
        ({"port": -1}, ValueError, "port=-1"),
        ({"topic": ""}, ValueError, 'topic=""'),
        ({"store": ""}, ValueError, 'store=""'),
        ({"store": 7}, TypeError, "store=7: .*Path"),
        ({"settings": {"journal_size": 1}}, TypeError, r"settings=ApnsSettings\("),
        ({"front": {"x": 1}}, TypeError, r"front=FrontSettings\("),
    ],
)
def test_an_argument_that_cannot_be_is_named(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        FakeApns(**arguments)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda apns: apns.token("x", environment="zz"), 'environment="zz": allowed are production, sandbox'),
        (lambda apns: apns.device("x", environment="both"), 'environment="both": allowed are production, sandbox'),
        (lambda apns: apns.token("x", ""), 'topic=""'),
        (lambda apns: apns.device("x", topic=""), 'topic=""'),
        (lambda apns: apns.certificate(""), 'topic=""'),
        (lambda apns: apns.certificate(days=10**9), "days=1000000000: at most 3650"),
        (lambda apns: apns.certificate(days=-(10**9)), "days=-1000000000"),
        (lambda apns: apns.signing_key(environments="production"), "environments='production': a list"),
        (lambda apns: apns.signing_key(environments=["prod"]), 'environment="prod"'),
    ],
)
def test_what_cannot_be_asked_for_is_a_mistake_and_registers_nothing(
    apns: FakeApns, ask: Callable[[FakeApns], object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ask(apns)

    async def known(service: ApnsService) -> int:
        return len(service.tokens) + len(service.certificates.registered()) + len(service.signing_keys.registered())

    assert apns.call(known) == 0


def test_a_certificate_is_good_for_as_long_as_was_asked_however_old_the_fake_is() -> None:
    clock = ManualClock()
    with FakeApns(clock=clock) as apns:
        apns.certificate()
        for _ in range(3):
            clock.advance(3650 * DAY)
            assert abs(not_after_ms(apns.certificate(days=3650).der) - clock.now_ms() - 3650 * DAY) < 1000


def test_a_certificate_can_have_expired(apns: FakeApns) -> None:
    assert Provider(apns, apns.certificate(days=-1)).push(apns.token("x")) == (403, "BadCertificate")


def test_before_and_after_the_block_it_says_how_it_is_used() -> None:
    apns = FakeApns()
    with pytest.raises(RuntimeError, match='use it inside "with FakeApns'):
        apns.device()
    with apns:
        assert apns.url.endswith(str(apns.port))
    apns.close()
    with pytest.raises(RuntimeError, match="is closed"):
        apns.token("phone")
    with pytest.raises(RuntimeError, match="make another one"):
        apns.start()


async def _push_from_a_loop(apns: FakeApns) -> int:
    phone = apns.device()
    async with httpx.AsyncClient(http2=True, verify=context(apns, apns.certificate())) as client:
        answer = await client.post(f"{apns.url}/3/device/{phone.token}", content=MAGIC)
    assert phone.wait_for_push().payload == MAGIC
    return answer.status_code


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_it_can_be_used_inside_a_loop_of_any_kind(apns: FakeApns, kind: str) -> None:
    assert anyio.run(_push_from_a_loop, apns, backend=kind) == 200


def test_the_courier_and_the_admin_api_answer_too(apns: FakeApns) -> None:
    socket.create_connection(("127.0.0.1", apns.courier_port), timeout=5).close()
    key = {"Authorization": f"Bearer {apns.admin_key}"}
    assert httpx.get(f"{apns.admin_url}/stats", headers=key, trust_env=False).json()["pushes"]["accepted"] == 0


def test_naming_the_package_does_not_import_trio() -> None:
    """Where Locust runs, trio must not be (mdmsim.load imports the courier's blocking client from this package)."""
    code = "import sys, mdmsim.fakeapns, mdmsim.fakeapns.courier.blocking; sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
