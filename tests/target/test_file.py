"""Target files: what they say, and how an author is told what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.keys import FreshKeys
from mdmsim.target.file import Target, TargetError, parse_target, read_target

ROOT = Authority.create("Acme Lab CA", keys=FreshKeys(), clock=ManualClock(), chance=Chance(1), kind="ec").certificate

NANOMDM = """\
target:
  adapter: nanomdm                 # as in the manual
  url: http://127.0.0.1:9000/
  api_key: ${NANOMDM_API_KEY}
  enroll: {profile: enroll.mobileconfig}
  trust: ca.pem
"""
REFERENCE = "target: {adapter: reference, url: 'https://mdm.example.com', api_key: secret}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(to_pem(ROOT))
    (tmp_path / "enroll.mobileconfig").write_bytes(b"profile")
    (tmp_path / "push.pem").write_bytes(b"push")
    return tmp_path


def parse(folder: Path, text: str, **environment: str) -> Target:
    return parse_target(text.encode(), folder / "target.yaml", environment=environment)


def mistake(folder: Path, text: str, **environment: str) -> str:
    with pytest.raises(TargetError) as raised:
        parse(folder, text, **environment)
    return str(raised.value).removeprefix(f"{folder / 'target.yaml'}:").strip()


def test_the_example_of_the_manual_is_a_target(folder: Path) -> None:
    target = parse(folder, NANOMDM, NANOMDM_API_KEY="k")
    assert (target.adapter, target.url, target.api_key) == ("nanomdm", "http://127.0.0.1:9000", "k")
    assert target.profile == b"profile"
    assert target.anchors == (ROOT,)


def test_the_reference_server_needs_no_profile(folder: Path) -> None:
    target = parse(folder, REFERENCE)
    assert (target.profile, target.anchors, target.allow_http, target.courier) == (None, (), False, None)


def test_a_file_is_read_with_paths_relative_to_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "target.yaml").write_text(NANOMDM)
    monkeypatch.setenv("NANOMDM_API_KEY", "from the environment")
    monkeypatch.chdir("/")
    assert read_target(folder / "target.yaml").api_key == "from the environment"


def test_everything_else_can_be_said_too(folder: Path) -> None:
    target = parse(
        folder,
        NANOMDM.replace("ca.pem", "[ca.pem, ca.pem]").replace("enroll.mobileconfig", "https://mdm.example.com/enroll")
        + "  allow_http: true\n  courier: tcp://127.0.0.1:5223\n  push_certificate: push.pem\n",
        NANOMDM_API_KEY="k",
    )
    assert target.profile == "https://mdm.example.com/enroll"
    assert target.allow_http is True
    assert target.courier == ("127.0.0.1", 5223)
    assert target.push_certificate == b"push"
    assert target.anchors == (ROOT, ROOT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", 'no "target" in it'),
        ("- a", 'no "target" in it'),
        ("target:", "target: takes keys such as adapter, url, api_key, not nothing"),
        ("target: x", "target: takes keys such as adapter, url, api_key, not text"),
        ("target: {}\nother: 1", "other: is unknown"),
        ("target: [", "not YAML"),
        ("target: {adapter: reference}", 'url: is missing. Write e.g. "url: http'),
        ("target: {url: 'https://x'}", 'adapter: is missing. Write e.g. "adapter: nanomdm"'),
        (REFERENCE.replace("reference", "jamf"), 'adapter: "jamf" is none. Allowed: reference, nanomdm.'),
        (REFERENCE.replace("api_key", "apikey"), 'apikey: is unknown. Did you mean "api_key"?'),
        (REFERENCE.replace("api_key", "zzz"), "zzz: is unknown. Allowed: adapter, url, api_key"),
        (REFERENCE.replace("api_key: secret", "api_key: ''"), "api_key: is missing"),
        (REFERENCE.replace("secret", '"é"'), "api_key: holds characters that no HTTP header takes"),
        (REFERENCE.replace("secret", '"a\\nb"'), "api_key: holds characters that no HTTP header takes"),
        (REFERENCE.replace("secret", "12"), "api_key: expected `str | null`, got `int`"),
        (REFERENCE.replace("secret", "'${NOT_SET}'"), "api_key: the environment has no NOT_SET. Set it"),
        (REFERENCE.replace("secret", "'${not a name}'"), "names no variable"),
        (REFERENCE.replace("https://mdm.example.com", "mdm.example.com"), 'url: "mdm.example.com" is none'),
        (REFERENCE.replace("https://mdm.example.com", "https://[x"), 'url: "https://[x" is none'),
        (REFERENCE.replace("https://mdm.example.com", "http://mdm.example.com"), "in the clear"),
        (REFERENCE.replace("secret", "k, trust: nothing.pem"), "trust: nothing.pem: no such file"),
        (
            REFERENCE.replace("secret", "k, trust: enroll.mobileconfig"),
            "trust: enroll.mobileconfig: PEM: no",
        ),
        (REFERENCE.replace("secret", "k, courier: here"), 'courier: "here" is no address'),
        (REFERENCE.replace("secret", "k, allow_http: maybe"), "allow_http: expected `bool`"),
        (REFERENCE.replace("secret", "k, push_certificate: push.pem"), "the adapter reference takes none"),
        (REFERENCE.replace("secret", "k, enroll: {ade: true}"), "enroll.ade: is not simulated yet"),
        (REFERENCE.replace("secret", "k, enroll: {file: x}"), "enroll.file: is unknown. Allowed: profile."),
        (REFERENCE.replace("secret", "k, enroll: {profile: 3}"), "enroll.profile: takes a file or a URL, not a number"),
        (REFERENCE.replace("secret", "k, enroll: {profile: x}"), "enroll.profile: x: no such file"),
        (REFERENCE.replace("reference", "nanomdm"), "enroll: is missing: NanoMDM hands out no profile"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_is_allowed(folder: Path, text: str, says: str) -> None:
    assert says in mistake(folder, text)


def test_a_mistake_in_the_yaml_is_told_with_its_line(folder: Path) -> None:
    with pytest.raises(TargetError, match=r"target\.yaml:2: not YAML"):
        parse(folder, "target:\n\tadapter: reference\n")


def test_a_secret_is_not_repeated_in_a_message(folder: Path) -> None:
    assert "hunter2" not in mistake(folder, REFERENCE.replace("secret", "hunter2").replace("url", "uri"))


def test_a_file_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"target\.yaml: no such file"):
        read_target(tmp_path / "target.yaml")


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)))
@settings(max_examples=120, deadline=None)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(TargetError):
        parse_target(data, Path("target.yaml"), environment={})


@given(
    st.dictionaries(
        st.sampled_from(["adapter", "url", "api_key", "enroll", "trust", "courier", "allow_http", "push_certificate"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.lists(st.text(max_size=4))),
    )
)
@settings(max_examples=120, deadline=None)
def test_no_values_raise_anything_else(values: dict[str, object]) -> None:
    import yaml

    try:
        parse_target(yaml.safe_dump({"target": values}).encode(), Path("target.yaml"), environment={})
    except TargetError:
        pass
