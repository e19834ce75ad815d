"""The catalogue of operating systems and the app metadata: what is built in, and files of the user's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.clock import ManualClock, iso
from mdmsim.device.personas.releases import DEFAULT_VERSIONS, RELEASES
from mdmsim.proxy.catalogue import EXPIRES_AFTER_MS, POSTED, _problems, built_in, read_catalogue, read_metadata
from mdmsim.schema.platforms import version
from mdmsim.startup import ServeError


def made() -> dict[str, Any]:
    catalogue: dict[str, Any] = json.loads(built_in(ManualClock()))
    return catalogue


def test_every_release_that_devices_run_has_a_posting_date() -> None:
    for platform, posted in POSTED.items():
        assert list(posted) == [release.version for release in RELEASES[platform]]
    assert RELEASES["ipados"] is RELEASES["ios"]


def test_later_versions_were_not_posted_earlier() -> None:
    for platform, posted in POSTED.items():
        lines: dict[int, list[str]] = {}
        for text in posted:
            lines.setdefault(version(text)[0], []).append(text)
        for line in lines.values():
            assert [posted[text] for text in line] == sorted(posted[text] for text in line), platform


def test_the_built_in_catalogue_offers_what_personas_run_by_default() -> None:
    every = made()["AssetSets"]
    assert DEFAULT_VERSIONS["ios"] in [asset["ProductVersion"] for asset in every["iOS"]]
    assert DEFAULT_VERSIONS["macos"] in [asset["ProductVersion"] for asset in every["macOS"]]


def test_everybody_is_offered_the_newest_of_each_major_version() -> None:
    macs = [asset["ProductVersion"] for asset in made()["PublicAssetSets"]["macOS"]]
    assert macs[-4:] == ["13.3.1", "14.6.1", "15.5", "26.0"]
    assert "10.12.6" in macs and "10.13.1" in macs


def test_devices_stand_where_they_can_run_a_release() -> None:
    newest = made()["PublicAssetSets"]["iOS"]
    (ios,) = (asset for asset in newest if asset["ProductVersion"] == "18.5")
    assert {"iPhone17,3", "iPad16,1"} <= set(ios["SupportedDevices"])
    assert "iPhone9,1" not in ios["SupportedDevices"]
    (tvos,) = (asset for asset in newest if asset["Build"] == "22K155")
    assert tvos["SupportedDevices"][0].startswith("AppleTV")
    (macos,) = (asset for asset in made()["PublicAssetSets"]["macOS"] if asset["ProductVersion"] == "15.5")
    assert "VMA2MACOSAP" in macos["SupportedDevices"]


def test_nothing_in_it_has_expired() -> None:
    ends = iso(ManualClock().now_ms() + EXPIRES_AFTER_MS)[:10]
    assert {asset["ExpirationDate"] for asset in made()["AssetSets"]["iOS"]} == {ends}


def test_it_is_a_catalogue_by_its_own_rules(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(built_in(ManualClock()))
    assert read_catalogue(tmp_path / "c.json") == built_in(ManualClock())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"AssetSets": {\n  "iOS": [,]}}', ":2: not JSON: Expecting value (column 11)."),
        ("[]", ":1: a JSON object is needed, not a list."),
        ('{"iOS": []}', ": none of PublicAssetSets, AssetSets"),
        ('{"AssetSets": []}', ":1: AssetSets must be an object with a list for each platform, not a list."),
        ('{"AssetSets":\n {"iOS": {}}}', ":2: AssetSets.iOS must be a list, not an object."),
        ('{"AssetSets": {"iOS": [\n{"Build": "22B83"}]}}', ":2: AssetSets.iOS[0] has no ProductVersion."),
        (
            '{"AssetSets": {"iOS": [\n{"ProductVersion": "18.1"},\n{"ProductVersion": 18.1}]}}',
            ':3: AssetSets.iOS[1].ProductVersion must be text such as "18.1", not 18.1.',
        ),
        (
            '{"AssetSets": {"iOS": [{"ProductVersion": "18.1",\n\n"PostingDate": "28.10.2024"}]}}',
            ':3: AssetSets.iOS[0].PostingDate must be text such as "2024-10-28", not "28.10.2024".',
        ),
        (
            '{"AssetSets": {"iOS": [{"ProductVersion": "18.1",\n"SupportedDevices": [1]}]}}',
            ":2: AssetSets.iOS[0].SupportedDevices must be a list of texts.",
        ),
    ],
)
def test_a_bad_catalogue_is_told_by_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(ServeError) as caught:
        read_catalogue(file)
    assert str(caught.value).startswith(f"{file}{says}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n"com.apple.Pages": {}}', ':2: "com.apple.Pages" is no adamId: those are digits.'),
        ('{\n"1": {},\n"2": "Pages"}', ":3: 2 must be an object"),
        ("\xff", ": not JSON: "),
        ("nothing", ":1: not JSON: "),
    ],
)
def test_bad_metadata_is_told_by_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "m.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ServeError) as caught:
        read_metadata(file)
    assert str(caught.value).startswith(f"{file}{says}")


@pytest.mark.parametrize("read", [read_catalogue, read_metadata])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, read: Any) -> None:
    with pytest.raises(ServeError, match="nowhere"):
        read(tmp_path / "nowhere")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["AssetSets", "iOS", "ProductVersion", "SupportedDevices"]), inner, max_size=3
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["AssetSets", "PublicAssetSets", "x"]), _values))
def test_whatever_is_in_a_catalogue_is_judged(catalogue: dict[str, Any]) -> None:
    assert all(where and problem for where, problem in _problems(catalogue))
