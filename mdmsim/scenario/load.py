"""Reading scenario files: from a path to typed scenarios, or one ScenarioError that says where and what."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from mdmsim.chance import Chance
from mdmsim.device.personas import PersonaError, make_persona
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.errors import ScenarioError, WrongKey, did_you_mean, nearest
from mdmsim.scenario.model import Scenario, ScenarioText, Step, is_of_platform, platforms_of, walk
from mdmsim.scenario.registry import steps
from mdmsim.scenario.steps.commands import ExpectCommand, check_response
from mdmsim.scenario.steps.control import OnlyOn
from mdmsim.scenario.typed import Converter, fields_of
from mdmsim.scenario.yaml_tree import Mapping, Node, kind, parse
from mdmsim.scenario.yaml_tree import Sequence as ListNode

SUFFIXES = (".yaml", ".yml")

#: In live worlds a scenario must not make people wait longer than this in one step.
LONGEST_LIVE_WAIT_MS = 120_000


def load(paths: Iterable[Path | str]) -> list[Scenario]:
    """The scenarios of files and folders (searched for *.yaml), in that order. Raises ScenarioError.

    A file holds one scenario, a list of them, or several YAML documents of either kind. Ids are unique over all files.
    """
    found: list[Scenario] = []
    seen: dict[str, Scenario] = {}
    for path in paths:
        for file in _files(Path(path)):
            for scenario in load_file(file):
                other = seen.setdefault(scenario.id, scenario)
                if other is not scenario and (other.file, other.line) != (scenario.file, scenario.line):
                    raise ScenarioError(
                        f"{scenario.file}:{scenario.line}",
                        f'"{scenario.id}" is taken by {other.file}:{other.line}. Give each scenario an id of its own.',
                    )
                if other is scenario:
                    found.append(scenario)
    if not found:
        raise ScenarioError(", ".join(str(path) for path in paths) or "nothing", "no scenarios there.")
    return found


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        if not files:
            raise ScenarioError(str(path), "no *.yaml in this folder.")
        return files
    if not path.exists():
        raise ScenarioError(str(path), "no such file or folder.")
    return [path]


def load_file(path: Path, name: str | None = None) -> list[Scenario]:
    """The scenarios of one file. `name`: how messages call it. Raises ScenarioError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScenarioError(str(path), f"{error.strerror or error}.") from None
    return load_text(data, name or str(path))


def load_text(data: bytes, file: str) -> list[Scenario]:
    """The scenarios in a file's bytes. Raises ScenarioError."""
    scenarios: list[Scenario] = []
    for document in parse(data, file):
        for node in document.items if isinstance(document, ListNode) else (document,):
            scenarios.append(_scenario(node, file))
    if not scenarios:
        raise ScenarioError(f"{file}:1", 'the file is empty. A scenario begins with "scenario: story/name".')
    return scenarios


def _scenario(node: Node, file: str) -> Scenario:
    if not isinstance(node, Mapping):
        raise ScenarioError(
            f"{file}:{node.line}", f'a scenario is a mapping that begins with "scenario: ...", not {kind(node)}.'
        )
    entry = node.get("scenario")
    named = getattr(entry.value, "text", "") if entry else ""
    context = f'scenario "{named}"' if named else "scenario"
    text = converter(file).struct(node, ScenarioText, context)
    _check(text)
    scenario = Scenario(text=text, file=file, line=entry.line if entry else node.line)
    _check_devices(scenario, node)
    return scenario


def _check_devices(scenario: Scenario, node: Mapping) -> None:
    """Whether every device of every case can exist: a system that its kind never had is a typing error."""
    devices = node.get("devices")
    chance = Chance("only to see whether it can be made")
    for case in scenario.cases:
        for name, spec in scenario.text.devices.items():
            try:
                make_persona(
                    spec.kind or case.platform,
                    chance=chance,
                    os_version=spec.os,
                    supervised=bool(spec.supervised),
                    passcode=spec.passcode,
                    model=spec.model,
                )
            except PersonaError as error:
                entry = devices.value.get(name) if devices and isinstance(devices.value, Mapping) else None
                line = entry.line if entry else scenario.line
                raise ScenarioError(f"{scenario.file}:{line}", f'device "{name}": {error}') from None


def converter(file: str) -> Converter:
    """A converter that knows steps."""
    known = steps()

    def read(node: Node, context: str) -> Step:
        if not isinstance(node, Mapping) or len(node.entries) != 1:
            if isinstance(node, Mapping) and node.entries:
                keys = " and ".join(f'"{entry.key}"' for entry in node.entries[:3])
                raise ScenarioError(
                    f"{file}:{node.entries[1].line}",
                    f'a step has one key, its name; here stand {keys}. Indent what belongs to "{node.entries[0].key}" '
                    "below it, or begin a new step with a dash.",
                )
            word = getattr(node, "text", "")
            hint = f' Write "{word}: {{...}}".' if word in known else ""
            raise ScenarioError(f"{file}:{node.line}", f"a step is a mapping of its name, not {kind(node)}.{hint}")
        entry = node.entries[0]
        step_type = known.get(entry.key)
        if step_type is None:
            raise ScenarioError(
                f"{file}:{entry.line}", f'there is no step "{entry.key}". {did_you_mean(entry.key, sorted(known))}'
            )
        arguments = converting.struct(_at(entry.value, entry.line), step_type.arguments, f'step "{entry.key}"')
        return Step(entry.key, arguments, file, entry.line)

    converting = Converter(file, {Step: read})
    return converting


def _at(node: Node, line: int) -> Node:
    """A step's mapping, told from the line of its name: that is where people look for what is missing."""
    if isinstance(node, Mapping):
        return Mapping(line, node.entries)
    return node


def _check(text: ScenarioText) -> None:
    """What one step alone cannot know: names of devices and commands, waits that no live run would sit through."""
    commands: dict[str, str] = {}
    for step in walk(text.steps):
        _check_references(step, text, commands)
        if isinstance(step.arguments, OnlyOn):
            _check_platforms(step, step.arguments, text)
        if isinstance(step.arguments, ExpectCommand):
            try:
                check_response(commands[step.arguments.command], step.arguments.response)
            except WrongKey as error:
                raise ScenarioError(step.where, f'step "{step.name}": {error}') from None
        if (request_type := getattr(step.arguments, "queues", None)) is not None:
            commands[getattr(step.arguments, "as_", None) or request_type] = request_type
        if "virtual-time" not in text.needs and text.server is None and text.behaviour is None:
            _check_waits(step)
    _check_played(text)


def _check_references(step: Step, text: ScenarioText, commands: Collection[str]) -> None:
    for field in fields_of(type(step.arguments)):
        value = getattr(step.arguments, field.name)
        if not isinstance(value, str):
            continue
        if field.hint.refers_to == "device" and value not in text.devices:
            raise ScenarioError(
                step.where,
                f'step "{step.name}" names the device "{value}", which "devices" has not. '
                f"{did_you_mean(value, text.devices, say='It has')}",
            )
        if field.hint.refers_to == "command" and value not in commands:
            meant = nearest(value, commands)
            there = f'Did you mean "{meant}"?' if meant else f"Queued so far: {', '.join(commands) or 'nothing'}."
            raise ScenarioError(
                step.where, f'step "{step.name}" looks at the command "{value}", which no earlier step queued. {there}'
            )


def _check_platforms(step: Step, arguments: OnlyOn, text: ScenarioText) -> None:
    """Raises ScenarioError where the steps of an `only_on` are played in no case."""
    played = platforms_of(text)
    for word in arguments.platforms:
        if not any(is_of_platform(platform, word) for platform in played):
            raise ScenarioError(
                step.where, f'step "only_on" is for {word}, which is never played: "platforms" has {", ".join(played)}.'
            )


def _check_played(text: ScenarioText) -> None:
    """Raises ScenarioError for a platform on which no step is played: its case would pass whatever a server does."""
    for platform in platforms_of(text):
        if not any(
            not isinstance(step.arguments, OnlyOn)
            or any(is_of_platform(platform, word) for word in step.arguments.platforms)
            for step in text.steps
        ):
            raise ScenarioError(
                text.steps[0].where, f'no step is played on {platform}. Leave {platform} out of "platforms".'
            )


def _check_waits(step: Step) -> None:
    for field in fields_of(type(step.arguments)):
        value = getattr(step.arguments, field.name)
        if field.key == "for" and isinstance(value, Duration) and value.ms > LONGEST_LIVE_WAIT_MS:
            raise ScenarioError(
                step.where,
                f'step "{step.name}" lasts {value}: nobody waits for that live. '
                'Add "needs: [virtual-time]" to the scenario.',
            )
