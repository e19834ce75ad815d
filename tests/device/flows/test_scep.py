"""SCEP as the payload says: polling, waiting across restarts, variables in the subject, methods and digests."""

from __future__ import annotations

import pytest
from cryptography import x509

from mdmsim.clock import MINUTE
from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.flows.install import install_profile
from mdmsim.http import Request, Response
from mdmsim.pki.authority import key_usage
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.degenerate import certificates_only
from mdmsim.pki.keys import public_key_of
from mdmsim.pki.names import common_name, name
from mdmsim.pki.scep.server import ScepService
from mdmsim.protocol.connect import Status
from mdmsim.protocol.payloads import ScepPayload
from mdmsim.protocol.profile import build_profile
from tests.device.bench import KEYS, SERVER, Bench


class Undecided:
    """A CA that leaves requests pending until it is told to decide, and counts the questions."""

    def __init__(self, bench: Bench) -> None:
        self.service = ScepService(
            bench.authority, clock=bench.clock, chance=bench.chance.stream("pending"), pending=True
        )
        self.transactions: list[str] = []
        self.asked_ms: list[int] = []
        self.bench = bench

    def __call__(self, request: Request) -> Response | None:
        if request.label != "scep:PKIOperation":
            return None
        self.asked_ms.append(self.bench.clock.now_ms())
        answer = self.service.handle(request.body)
        self.transactions.append(answer.request.transaction_id)
        return Response(200, body=answer.body)

    def decide(self) -> None:
        self.service.approve(self.transactions[-1])


def test_a_pending_ca_is_asked_again_at_once_and_then_after_the_delay() -> None:
    bench = Bench()
    ca = Undecided(bench)
    bench.server.interfere = ca
    with pytest.raises(DeviceError):
        bench.run(install_profile(bench.device, bench.profile(scep={"retries": 3, "retry_delay": 10})))
    waits = [b - a for a, b in zip(ca.asked_ms, ca.asked_ms[1:], strict=False)]
    assert waits == [0, 10_000, 10_000]


def test_a_ca_that_decides_between_two_questions_completes_the_enrollment() -> None:
    bench = Bench()
    ca = Undecided(bench)

    def decide_after_the_second(request: Request) -> Response | None:
        if len(ca.asked_ms) == 2:
            ca.decide()
        return ca(request)

    bench.server.interfere = decide_after_the_second
    bench.run(install_profile(bench.device, bench.profile()))
    assert bench.device.enrolled


def test_a_wait_longer_than_a_minute_ends_the_flow_and_survives_a_restart() -> None:
    bench = Bench()
    ca = Undecided(bench)
    bench.server.interfere = ca
    bench.run(install_profile(bench.device, bench.profile(scep={"retry_delay": 600})))
    assert not bench.device.enrolled
    assert bench.device.next_wake_ms() == bench.clock.now_ms() + 10 * MINUTE
    bench.restart()
    ca.decide()
    bench.later(601)
    assert bench.device.enrolled
    assert len(set(ca.transactions)) == 1


def test_an_install_profile_that_waits_for_its_ca_reports_once_the_ca_decided() -> None:
    bench = Bench("mac-silicon")
    bench.enroll()
    ca = Undecided(bench)
    bench.server.interfere = ca
    scep = ScepPayload(url=f"{SERVER}/scep", subject=((("CN", "late"),),), key_size=2048, retry_delay=300)
    profile = build_profile(
        identifier="test.late", uuid="LATE", payloads=(scep.to_payload(identifier="test.late.scep", uuid="S"),)
    )
    uuid = bench.queue("InstallProfile", Payload=profile)
    bench.push()
    bench.act()
    assert [r.command_uuid for r in bench.server.reports] == [None]
    ca.decide()
    bench.later(301)
    assert [(r.status, r.command_uuid) for r in bench.server.reports[1:]] == [(Status.ACKNOWLEDGED, uuid)]
    assert [p.identifier for p in bench.device.state.profiles] == ["test.enrollment", "test.late"]


def test_a_mac_fills_its_variables_into_the_subject() -> None:
    bench = Bench("mac-intel")
    bench.enroll(scep={"subject": ((("CN", "%SerialNumber%/%HardwareUUID%"),),)})
    enrollment = bench.device.state.enrollment
    assert enrollment is not None
    persona = bench.device.persona
    assert common_name(bench.store.get(enrollment.identity.certificate)) == f"{persona.serial}/{persona.udid}"


def test_a_mac_without_a_subject_takes_the_payload_identifier_as_its_name() -> None:
    bench = Bench("mac-intel")
    bench.enroll(scep={"subject": ()})
    enrollment = bench.device.state.enrollment
    assert enrollment is not None
    assert common_name(bench.store.get(enrollment.identity.certificate)) == "test.enrollment.scep"


def test_a_ca_without_post_gets_the_request_by_get() -> None:
    bench = Bench()
    methods: list[str] = []

    def old_ca(request: Request) -> Response | None:
        if "GetCACaps" in request.url:
            return Response(200, body=b"SHA-1\nDES3\n")
        if request.label == "scep:PKIOperation":
            methods.append(request.method)
            return Response(500)
        return None

    bench.server.interfere = old_ca
    with pytest.raises(DeviceError):
        bench.run(install_profile(bench.device, bench.profile()))
    assert methods == ["GET"]


def test_the_payload_name_goes_with_the_first_two_questions() -> None:
    bench = Bench()
    bench.run(install_profile(bench.device, bench.profile(scep={"name": "Device Identity"})))
    urls = [request.url for request in bench.server.requests[:2]]
    assert urls == [
        f"{SERVER}/scep?operation=GetCACaps&message=Device%20Identity",
        f"{SERVER}/scep?operation=GetCACert&message=Device%20Identity",
    ]


def issued_names(bench: Bench) -> list[object]:
    """The alternative names in the identity that the device enrolled with."""
    enrollment = bench.device.state.enrollment
    assert enrollment is not None
    certificate = load_certificate(bench.store.get(enrollment.identity.certificate))
    return [each.value for each in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


@pytest.mark.parametrize("kind", ["iphone", "mac-silicon"])
def test_the_alternative_names_of_the_payload_are_asked_for(kind: str) -> None:
    bench = Bench(kind)
    bench.enroll(scep={"subject_alt_name": {"dNSName": ("a.test",), "RFC822Name": ("a@b.test", "c@d.test")}})
    assert issued_names(bench) == ["a@b.test", "c@d.test", "a.test"]


def test_an_install_profile_asks_for_alternative_names_too() -> None:
    bench = Bench("iphone")
    bench.enroll()
    scep = ScepPayload(
        url=f"{SERVER}/scep", subject=((("CN", "wifi"),),), key_size=2048, subject_alt_name={"dNSName": ("a.test",)}
    )
    payloads = (scep.to_payload(identifier="test.wifi.scep", uuid="S"),)
    answer = bench.ask("InstallProfile", Payload=build_profile(identifier="test.wifi", uuid="W", payloads=payloads))
    assert answer.status is Status.ACKNOWLEDGED


def test_a_mac_fills_its_variables_into_alternative_names() -> None:
    bench = Bench("mac-intel")
    bench.enroll(scep={"subject_alt_name": {"ntPrincipalName": ("%SerialNumber%@acme.test",)}})
    expected = f"{bench.device.persona.serial}@acme.test".encode()
    assert issued_names(bench) == [bytes((0x0C, len(expected))) + expected]


@pytest.mark.parametrize("kind", ["iphone", "mac-silicon"])
def test_a_subject_value_of_any_characters_is_asked_for(kind: str) -> None:
    bench = Bench(kind)
    bench.enroll(scep={"subject": ((("CN", "Lab"),), (("2.5.4.5", "ASSET_0001"),), (("2.5.4.46", "Zürich"),))})
    enrollment = bench.device.state.enrollment
    assert enrollment is not None
    found = load_certificate(bench.store.get(enrollment.identity.certificate)).subject
    assert [attribute.value for attribute in found] == ["Lab", "ASSET_0001", "Zürich"]


@pytest.mark.parametrize(
    ("kind", "innermost"),
    [
        ("iphone", ("MCSCEPErrorDomain", 22003, "The Registration Authority’s response is invalid.")),
        ("mac-silicon", ("NSOSStatusErrorDomain", -67731, " <NSOSStatusErrorDomain:-67731>")),
    ],
)
def test_a_promise_of_registration_authorities_without_any_ends_before_the_request(
    kind: str, innermost: tuple[str, int, str]
) -> None:
    bench = Bench(kind)
    plain = bench.authority.issue(
        public_key_of(KEYS.take()),
        name("Issuing CA"),
        extensions=[(x509.BasicConstraints(ca=True, path_length=None), True), (key_usage(certificates=True), True)],
    )

    def answer(request: Request) -> Response | None:
        if request.label != "scep:GetCACert":
            return None
        return Response(200, (("Content-Type", "application/x-x509-ca-ra-cert"),), certificates_only([plain]))

    bench.server.interfere = answer
    with pytest.raises(DeviceError) as error:
        bench.run(install_profile(bench.device, bench.profile()))
    last = error.value.chain[-1]
    assert (last.domain, last.code, last.localized) == innermost
    assert bench.server.labels()[-1] == "scep:GetCACert"


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080"])
def test_scep_may_be_plain_http_whatever_the_other_urls_must_be(host: str) -> None:
    # The rule of https is ServerURL's and CheckInURL's (com.apple.mdm.yaml), not the SCEP payload's.
    bench = Bench()
    bench.run(install_profile(bench.device, bench.profile(scep={"url": f"http://{host}/scep"})))
    allowed = {request.label.partition(":")[0]: request.trust.allow_http for request in bench.server.requests}
    assert allowed == {"scep": True, "checkin": False}


def test_plain_http_to_another_machine_is_not_simulated() -> None:
    bench = Bench()
    with pytest.raises(NotSimulated, match="SCEP over http:// to another machine is not simulated"):
        bench.run(install_profile(bench.device, bench.profile(scep={"url": "http://scep.example.com/scep"})))
    assert bench.server.requests == []
    assert [event.data["what"] for event in bench.log.of("device.not-simulated")] == [
        "SCEP over http:// to another machine"
    ]
