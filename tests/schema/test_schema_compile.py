from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from mdmsim.schema import facts
from mdmsim.schema.compile import CompileError, compile_tree, main, render

LOCK = """
title: Lock Command
description: Text that is left out.
payload:
  requesttype: Lock
  supportedOS:
    iOS:
      introduced: '4.0'
      accessrights: AllowPasscodeRemovalAndLock
      supervised: false
      requiresdep: false
      sharedipad:
        mode: forbidden
      userenrollment:
        mode: allowed
    macOS:
      introduced: 10.10
      deprecated: '13.1'
      removed: '15.0'
      accessrights: None
      devicechannel: true
      userchannel: false
      userenrollment:
        mode: forbidden
    tvOS:
      introduced: n/a
  content: More text.
payloadkeys:
- key: Message
  type: <string>
"""

HELLO = """
title: Hello
payload:
  requesttype: Hello
  supportedOS:
    iOS: {introduced: '17.0', sharedipad: {mode: allowed, devicechannel: true, userchannel: false}}
payloadkeys:
- key: MessageType
  title: Left out
  type: <string>
  presence: required
  rangelist: [Hello]
- key: Volume
  supportedOS:
    iOS: {introduced: '17.4', accessrights: AllowQueryNetworkInformation}
    macOS: {introduced: n/a}
  type: <real>
  presence: optional
  default: 0.5
  rangelist: [0.5, 1]
- key: Inner
  type: <dictionary>
  subkeys:
  - key: Loud
    type: <boolean>
    presence: required
    default: true
responsekeys:
- key: Answer
  type: <data>
  presence: required
"""

CLIP = """
payload:
  payloadtype: com.example.clip
  supportedOS:
    iOS: {introduced: '4.0', multiple: true, supervised: false, allowmanualinstall: false}
    macOS: {introduced: '10.7', multiple: false, allowmanualinstall: false, userapprovedmdm: true}
    tvOS: {introduced: n/a}
payloadkeys:
- key: URL
  type: <string>
  presence: required
- key: Look
  type: <dictionary>
  presence: required
  supportedOS:
    macOS: {introduced: n/a}
  subkeys:
  - key: Left
    type: <string>
- key: Label
  type: <string>
  presence: optional
"""


DECLARATION = """
payload:
  declarationtype: com.example.asset.note
  supportedOS:
    iOS: {introduced: '15.0', allowed-scopes: [system]}
    macOS: {introduced: n/a}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "mdm/commands").mkdir(parents=True)
    (tmp_path / "mdm/checkin").mkdir()
    (tmp_path / "mdm/profiles").mkdir()
    (tmp_path / "mdm/profiles/TopLevel.yaml").write_text(CLIP.replace("com.example.clip", "TopLevel"))
    (tmp_path / "mdm/profiles/clip.yaml").write_text(CLIP)
    (tmp_path / "mdm/commands/lock.yaml").write_text(LOCK)
    (tmp_path / "mdm/checkin/hello.yaml").write_text(HELLO)
    for folder in ("declarations/assets/credentials", "status"):
        (tmp_path / "declarative" / folder).mkdir(parents=True)
    (tmp_path / "declarative/declarations/declarationbase.yaml").write_text("payload: {declarationtype: any}")
    (tmp_path / "declarative/declarations/assets/note.yaml").write_text(DECLARATION)
    (tmp_path / "declarative/declarations/assets/credentials/key.yaml").write_text("payload: {credentialtype: key}")
    (tmp_path / "declarative/status/mood.yaml").write_text("payload: {statusitemtype: device.mood}")
    return tmp_path


def test_declarations_and_status_items_are_compiled_by_name(tree: Path) -> None:
    compiled = compile_tree(tree)
    assert compiled.declarations == {
        "com.example.asset.note": facts.DeclarativeFacts(
            source="declarative/declarations/assets/note.yaml",
            platforms={"iOS": facts.Availability(introduced="15.0"), "macOS": facts.Availability(available=False)},
        )
    }
    assert compiled.status == {"device.mood": facts.DeclarativeFacts("declarative/status/mood.yaml", {})}


def test_two_files_for_one_declaration_stop_the_compilation(tree: Path) -> None:
    (tree / "declarative/declarations/again.yaml").write_text(DECLARATION)
    with pytest.raises(
        CompileError, match=r"com\.example\.asset\.note is in declarative/declarations/again\.yaml already"
    ):
        compile_tree(tree)


def test_a_command_is_compiled_to_its_facts(tree: Path) -> None:
    assert compile_tree(tree).commands == {
        "Lock": facts.CommandFacts(
            source="mdm/commands/lock.yaml",
            platforms={
                "iOS": facts.Availability(
                    introduced="4.0",
                    right=4,
                    supervised=False,
                    dep=False,
                    user_enrollment="allowed",
                    shared_ipad=facts.SharedIPad(mode="forbidden"),
                ),
                "macOS": facts.Availability(
                    introduced="10.10",
                    deprecated="13.1",
                    removed="15.0",
                    right=0,
                    device=True,
                    user=False,
                    user_enrollment="forbidden",
                ),
                "tvOS": facts.Availability(available=False),
            },
        )
    }


def test_a_message_is_compiled_to_its_shape(tree: Path) -> None:
    assert compile_tree(tree).checkin == {
        "Hello": facts.CheckinFacts(
            source="mdm/checkin/hello.yaml",
            platforms={
                "iOS": facts.Availability(introduced="17.0", shared_ipad=facts.SharedIPad(device=True, user=False))
            },
            keys=(
                facts.Key(name="MessageType", type="string", required=True, values=("Hello",)),
                facts.Key(
                    name="Volume",
                    type="real",
                    values=(0.5, 1.0),
                    default=0.5,
                    platforms={
                        "iOS": facts.Availability(introduced="17.4", right=32),
                        "macOS": facts.Availability(available=False),
                    },
                ),
                facts.Key(
                    name="Inner",
                    type="dictionary",
                    subkeys=(facts.Key(name="Loud", type="boolean", required=True, default=True),),
                ),
            ),
            response_keys=(facts.Key(name="Answer", type="data", required=True),),
        )
    }


def test_a_payload_type_is_compiled_to_where_it_is_and_what_it_must_have(tree: Path) -> None:
    assert compile_tree(tree).payloads == {
        "com.example.clip": facts.PayloadFacts(
            source="mdm/profiles/clip.yaml",
            platforms={
                "iOS": facts.Availability(introduced="4.0", supervised=False, multiple=True, manual=False),
                "macOS": facts.Availability(introduced="10.7", multiple=False, manual=False, user_approved=True),
                "tvOS": facts.Availability(available=False),
            },
            required=(
                facts.Key(name="URL", type="string", required=True),
                facts.Key(
                    name="Look",
                    type="dictionary",
                    required=True,
                    platforms={"macOS": facts.Availability(available=False)},
                ),
            ),
        )
    }


def test_a_payload_type_in_two_files_has_what_both_say(tree: Path) -> None:
    other = CLIP.replace("key: URL", "key: Else").replace("multiple: false", "multiple: true")
    (tree / "mdm/profiles/other.yaml").write_text(other)
    [entry] = compile_tree(tree).payloads.values()
    assert [key.name for key in entry.required] == ["Look"]
    assert (entry.platforms["macOS"].multiple, entry.platforms["macOS"].manual) == (True, False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("payloadtype: com.example.clip", "payloadkind: x", "payload has no payloadtype"),
        ("payloadkeys:", "payloadkeys: 7\nx:", "payloadkeys is no list of keys"),
    ],
)
def test_a_payload_type_that_cannot_be_read_stops_it(tree: Path, old: str, new: str, said: str) -> None:
    (tree / "mdm/profiles/clip.yaml").write_text(CLIP.replace(old, new, 1))
    with pytest.raises(CompileError, match=said):
        compile_tree(tree)


def test_the_release_is_told_by_the_newest_versions_of_all_files(tree: Path) -> None:
    (tree / "mdm/new.yaml").write_text("payload:\n  supportedOS:\n    iOS:\n      introduced: '18.1'\n")
    assert compile_tree(tree).source.newest == {"iOS": "18.1", "macOS": "10.10"}


def test_what_was_rendered_is_read_back(tree: Path) -> None:
    compiled = compile_tree(tree)
    assert facts.decode(render(compiled)) == compiled


def test_the_same_tree_gives_the_same_bytes(tree: Path) -> None:
    assert render(compile_tree(tree)) == render(compile_tree(tree))


def test_each_command_has_a_line_of_its_own(tree: Path) -> None:
    lines = render(compile_tree(tree)).decode().splitlines()
    assert [line[:7] for line in lines if line.startswith(('"Lock"', '"Hello'))] == ['"Lock":', '"Hello"']


def test_the_committed_file_is_what_its_facts_render_to() -> None:
    committed = resources.files("mdmsim.schema").joinpath("facts.json").read_bytes()
    assert render(facts.decode(committed)) == committed


def test_the_committed_facts_name_their_release_and_license() -> None:
    source = facts.load().source
    assert (source.repository, source.newest["iOS"], source.newest["macOS"]) == (
        "apple/device-management",
        "18.1",
        "15.1",
    )
    assert "MIT" in resources.files("mdmsim.schema").joinpath("NOTICE").read_text(encoding="utf-8")


def test_a_fact_file_of_another_format_is_refused(tree: Path) -> None:
    with pytest.raises(ValueError, match="format 99"):
        facts.decode(render(compile_tree(tree)).replace(b'"format": 3', b'"format": 99'))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("accessrights: AllowPass", "accessrights: AllowNothingAtAll", "accessrights 'AllowNothingAtAllcodeRemovalAndLock' is not known"),
        ("supervised: false", "supervised: perhaps", "iOS: Expected `bool | null`, got `str`"),
        ("      sharedipad:\n        mode: forbidden", "      sharedipad: forbidden", "iOS: sharedipad is no mapping"),
        ("supervised: false", "colour: red", r"iOS: \['colour'\] is not known to this compiler"),
        ("mode: forbidden\n      userenrollment", "mode: sometimes\n      userenrollment", "iOS: Invalid enum value 'sometimes'"),
        ("introduced: '4.0'", "introduced: soon", "iOS: introduced: OS version: 'soon'"),
        ("    tvOS:", "    carOS:", r"supportedOS has \['carOS'\]; known are iOS"),
        ("requesttype: Lock", "declarationtype: Lock", "payload has no requesttype"),
        ("payload:\n", "payloads:\n", "no mapping with a payload"),
        ("payload:\n", "payload: [\n", "mdm/commands/lock.yaml: "),
        ("  supportedOS:\n    iOS:", "  supportedOS: 7\n  x:\n    iOS:", "supportedOS is no mapping"),
    ],
)  # fmt: skip
def test_what_the_compiler_does_not_know_stops_it(tree: Path, old: str, new: str, said: str) -> None:
    assert old in LOCK
    (tree / "mdm/commands/lock.yaml").write_text(LOCK.replace(old, new, 1))
    with pytest.raises(CompileError, match=said) as caught:
        compile_tree(tree)
    assert "mdm/commands/lock.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("type: <real>", "type: <number>", "payloadkeys: Volume: Invalid enum value 'number'"),
        ("type: <boolean>", "shape: round\n    type: <boolean>", r"payloadkeys: Inner: Loud: \['shape'\] is not known"),
        ("payloadkeys:", "payloadkeys: [1]\nx:", "payloadkeys: no list of keys"),
        ("default: 0.5", "default: loud", "Volume: 'loud' is no number"),
    ],
)
def test_keys_that_the_compiler_does_not_know_stop_it(tree: Path, old: str, new: str, said: str) -> None:
    assert old in HELLO
    (tree / "mdm/checkin/hello.yaml").write_text(HELLO.replace(old, new, 1))
    with pytest.raises(CompileError, match=said):
        compile_tree(tree)


def test_one_request_type_in_two_files_stops_it(tree: Path) -> None:
    (tree / "mdm/commands/other.yaml").write_text(LOCK)
    with pytest.raises(CompileError, match=r"request type Lock is in mdm/commands/lock\.yaml already"):
        compile_tree(tree)


def test_the_command_writes_the_file_and_says_what_is_in_it(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tree / "facts.json"
    assert main([str(tree), "--out", str(out)]) == 0
    assert (
        capsys.readouterr().out
        == f"{out}: 1 commands, 1 check-in messages, 1 payload types, 1 declarations, 1 status items\n"
    )
    assert facts.decode(out.read_bytes()) == compile_tree(tree)


def test_the_names_of_an_answers_keys_are_kept_as_deep_as_the_schema_goes() -> None:
    profile_list = facts.load().commands["ProfileList"].answer["ProfileList"]
    assert {"PayloadIdentifier", "PayloadUUID", "IsManaged"} <= profile_list.keys()
    assert "PayloadType" in profile_list["PayloadContent"]
    assert facts.load().commands["ManagedApplicationList"].answer["ManagedApplicationList"] is None  # by app identifier
    assert facts.load().commands["DeviceLock"].answer != {}


def test_a_wrong_directory_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--out", str(tmp_path / "facts.json")]) == 2
    assert "no mdm/commands/*.yaml. Name a working copy of apple/device-management." in capsys.readouterr().err
    assert not (tmp_path / "facts.json").exists()


def test_a_place_that_cannot_be_written_is_said(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tree), "--out", str(tree / "nowhere/facts.json")]) == 2
    assert "nowhere/facts.json" in capsys.readouterr().err
