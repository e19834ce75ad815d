"""What a load test is aimed at, made ready once: the process that begins the run reads files, workers get contents."""

from __future__ import annotations

import base64
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from mdmsim.apple_network import is_apples
from mdmsim.chance import Chance
from mdmsim.http import Request, Response, TransportError, Trust
from mdmsim.load.errors import FAILED, MISTAKE, NOT_CARRIED_OUT, LoadError
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.pki.cms import is_cms, verify
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.payloads import MDM
from mdmsim.protocol.profile import MdmPayload, parse_profile
from mdmsim.target.adapter import Adapter, AdapterError
from mdmsim.target.file import AdapterName, Target, TargetError, open_target, read_target
from mdmsim.transport.blocking import BlockingTransport

T = TypeVar("T")


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """Where to aim, as the options said it; see `locust --help`. `trust`: PEM files."""

    enroll: str | None = None
    target: str | None = None
    courier: str | None = None
    trust: list[str] = []
    allow_http: bool = False
    allow_host: list[str] = []


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """Where to aim, without files. `profile`: what every device installs; `profile_url`: where each asks for its own;
    with neither the server's API mints one for each.

    `server_url`: as the profile says it; devices of the store that are enrolled there are used again. `adapter`, `url`,
    `api_key`: of the administrator's API, absent where there is none. `anchors`: DER.
    """

    server_url: str
    profile: bytes | None = None
    profile_url: str | None = None
    anchors: list[bytes] = []
    allow_http: bool = False
    allow_hosts: list[str] = []
    courier: tuple[str, int] | None = None
    adapter: AdapterName | None = None
    url: str = ""
    api_key: str = ""

    @property
    def trust(self) -> Trust:
        return Trust(anchors=tuple(self.anchors), system=True, allow_http=self.allow_http)

    def dumps(self) -> str:
        """As text, for Locust's master to hand to its workers."""
        return base64.b64encode(msgspec.msgpack.encode(self)).decode("ascii")

    @classmethod
    def loads(cls, text: str) -> Given:
        return msgspec.msgpack.decode(base64.b64decode(text), type=cls)


class BlockingOutbound:
    """`mdmsim.http.Outbound` over a blocking transport: its coroutines never wait, so `finish` can run them."""

    def __init__(self, transport: BlockingTransport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> Response:
        return self._transport.send(request)


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing; its value. For adapters over a `BlockingOutbound`."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("the coroutine waits for something, and no loop runs here")


def open_api(given: Given, transport: BlockingTransport, chance: Chance) -> Adapter | None:
    """The administrator's API; None where none was named. Raises LoadError."""
    if given.adapter is None:
        return None
    target = Target(
        file="",
        adapter=given.adapter,
        url=given.url,
        api_key=given.api_key,
        profile=given.profile or given.profile_url,
        anchors=tuple(given.anchors),
    )
    try:
        return finish(open_target(target, BlockingOutbound(transport), chance=chance))
    except AdapterError as error:
        raise LoadError(f"{given.url}: {error}", code=NOT_CARRIED_OUT) from None


def make_ready(wishes: Wishes, chance: Chance) -> Given:
    """Read the files, reach the server, look at one profile. Raises LoadError for everything that stands in the way."""
    if wishes.enroll is None and wishes.target is None:
        raise LoadError(
            "no server: name one with --enroll PROFILE_OR_URL or --target FILE, or use mdmsim load, which starts one."
        )
    target = _target(wishes.target)
    anchors = [*(target.anchors if target else ()), *(der for file in wishes.trust for der in _certificates(file))]
    profile: bytes | str | None = target.profile if target else None
    if wishes.enroll is not None:
        profile = wishes.enroll if "://" in wishes.enroll else _contents(wishes.enroll, "--enroll")
    if isinstance(profile, str):
        _check_url(profile, wishes)
    courier = _address(wishes.courier) if wishes.courier is not None else (target.courier if target else None)
    given = Given(
        server_url="",
        profile=profile if isinstance(profile, bytes) else None,
        profile_url=profile if isinstance(profile, str) else None,
        anchors=anchors,
        allow_http=wishes.allow_http or bool(target and target.allow_http),
        allow_hosts=[host.strip().lower() for host in wishes.allow_host],
        courier=courier,
        adapter=target.adapter if target else None,
        url=target.url if target else "",
        api_key=target.api_key if target else "",
    )
    with BlockingTransport(allow_hosts=given.allow_hosts) as transport:
        api = open_api(given, transport, chance)
        if target is not None and target.push_certificate is not None and given.adapter == "nanomdm":
            api = finish(open_target(target, BlockingOutbound(transport), chance=chance))
        data, where = _one_profile(given, transport, api)
    code = MISTAKE if isinstance(profile, bytes) else FAILED
    return msgspec.structs.replace(given, server_url=_server_url(data, wishes.enroll or where, code))


def _target(file: str | None) -> Target | None:
    if file is None:
        return None
    try:
        return read_target(Path(file))
    except TargetError as error:
        raise LoadError(str(error)) from None


def _contents(file: str, option: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        hint = f" If it is a URL, write https://{file}." if "/" in file and "." in file.partition("/")[0] else ""
        raise LoadError(f"{option} {file}: {(error.strerror or str(error)).lower()}.{hint}") from None


def _certificates(file: str) -> tuple[bytes, ...]:
    try:
        found = certificates_from_pem(_contents(file, "--trust"))
    except Malformed as error:
        raise LoadError(f"--trust {file}: {error}. Name a PEM file with the CA's certificate.") from None
    if not found:
        raise LoadError(f"--trust {file}: no certificate in it. Name a PEM file with the CA's certificate.")
    return found


def _check_url(url: str, wishes: Wishes) -> None:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError as error:
        raise LoadError(f"--enroll {url}: {error}. Write a URL such as https://mdm.example.com/enroll.") from None
    if parts.scheme not in ("https", "http") or not host:
        raise LoadError(f"--enroll {url}: cannot be fetched. Write an https:// URL, or name a file.")
    if is_apples(host) and host not in [name.strip().lower() for name in wishes.allow_host]:
        raise LoadError(f"--enroll {url}: {host} is Apple's, and simulated devices have no business there.")
    if parts.scheme == "http" and not wishes.allow_http:
        raise LoadError(f"--enroll {url} is plain http. Write https://, or add --allow-http for this machine.")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = (text.partition("://")[2] or text).rstrip("/").rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise LoadError(f"--courier {text}: not an address. Write HOST:PORT, as mdmsim up prints it.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _one_profile(given: Given, transport: BlockingTransport, api: Adapter | None) -> tuple[bytes, str]:
    """A profile such as each device will get, and where it came from."""
    if given.profile is not None:
        return given.profile, "the enrollment profile"
    url = given.profile_url
    if url is not None:
        request = Request("GET", url, label="profile:fetch", trust=given.trust)
        try:
            response = transport.send(request)
        except TransportError as error:
            raise LoadError(f"{url}: {error}. Is the server running?", code=NOT_CARRIED_OUT) from None
        if not response.is_success:
            raise LoadError(f"{url}: the server answered {response.status} in place of a profile.", code=FAILED)
        return response.body, url
    if api is None:
        raise LoadError("no enrollment profile: name one with --enroll PROFILE_OR_URL.")
    try:
        return finish(api.enrollment_profile()), given.url
    except AdapterError as error:
        raise LoadError(f"{given.url}: {error}", code=NOT_CARRIED_OUT) from None


def _server_url(data: bytes, where: str, code: int) -> str:
    try:
        content = verify(data).content if is_cms(data) else data
        payloads = parse_profile(content).of_type(MDM)
        if not payloads:
            raise LoadError(f"{where}: no MDM payload (com.apple.mdm) in the profile.", code=code)
        return MdmPayload.of(payloads[0]).server_url
    except Malformed as error:
        raise LoadError(f"{where}: no enrollment profile: {error}.", code=code) from None
