"""A scenario as typed data: what stands in the file, who plays in it, and the cases that it makes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from mdmsim.device.personas import KINDS, kind_of, kinds_for
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.errors import did_you_mean
from mdmsim.scenario.typed import Arguments, about, fields_of

#: A scenario's id: words that never change, parted by `/`, the first one naming the story.
ID = re.compile(r"[a-z0-9][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)*\Z")

NAME = re.compile(r"[a-z][a-z0-9-]*\Z")

PLATFORMS = ("ios", "ipados", "macos", "tvos")

#: What may stand under `platforms` and `kind`.
KIND_WORDS: tuple[str, ...] = (*PLATFORMS, *KINDS)

Need = Literal["live", "virtual-time"]


def is_of_platform(played: str, word: str) -> bool:
    """Whether a case played on `played` belongs to the platform or kind `word`."""
    return kind_of(played) in kinds_for(word)


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, its typed arguments, and where it stands."""

    name: str
    arguments: Arguments
    file: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


Steps = tuple[Step, ...]


class DeviceSpec(Arguments, frozen=True, kw_only=True):
    """A device of the story, or a group of equal ones. Without `kind` it is what the case's platform says."""

    kind: Annotated[str | None, about("A kind of device or a platform", example="ipad")] = None
    count: Annotated[int, about("How many: more than one makes it a group", minimum=1)] = 1
    os: Annotated[str | None, about("The version of its system, in quotes", example='"18.1"')] = None
    model: Annotated[str | None, about("A product name", example='"iPhone15,4"')] = None
    supervised: Annotated[bool | None, about("Whether it is supervised")] = None
    passcode: Annotated[
        str | bool | None, about("The passcode in quotes; true draws one, false sets none", example='"246810"')
    ] = None
    erasable: Annotated[
        bool, about("Whether a Mac can erase its content and settings; without it, it can only be obliterated")
    ] = True

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KIND_WORDS:
            raise ValueError(f'"kind" cannot be "{self.kind}". {did_you_mean(self.kind, KIND_WORDS)}')
        if self.count > 1000:
            raise ValueError(f'"count" is {self.count}; a scenario plays with at most 1000 devices of a group.')


class ServerSettings(Arguments, frozen=True, kw_only=True):
    """How the world's own server should differ. A case with any of these runs in process."""

    scep_challenge: Annotated[Literal["one-time", "static", "none"] | None, about("What SCEP asks for")] = None
    scep_static_challenge: Annotated[str | None, about("The challenge, where it is static")] = None
    first_commands: Annotated[
        tuple[str, ...], about("Request types queued at each enrollment", example="[SecurityInfo]")
    ] = ()
    login: Annotated[
        Literal["basic", "digest", "web"] | None,
        about("How people sign in before an automated enrollment: by a 401 challenge, or on a web page"),
    ] = None
    users: Annotated[dict[str, str] | None, about("Who may sign in, and with what", example="{anna: s3cret}")] = None
    minimum_os: Annotated[
        dict[str, str] | None,
        about("What devices must run before they enrol, by platform", example='{ios: "18.1"}'),
    ] = None
    device_configured: Annotated[
        Literal["automatic", "manual"] | None, about("Who sends DeviceConfigured to devices that are held")
    ] = None
    identity: Annotated[
        Literal["scep", "pkcs12"] | None, about("How devices get their identity: by SCEP, or in the profile")
    ] = None


class BehaviourSettings(Arguments, frozen=True, kw_only=True):
    """How all devices of the case should differ. A case with any of these runs in process."""

    boot: Annotated[Duration | None, about("How long a restart takes", example="45s")] = None
    push_token_on_update: Annotated[
        float | None,
        about(
            "How probable it is, 0 to 1, that a device has a new push token after an update of its system", example="1"
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.push_token_on_update is not None and not 0 <= self.push_token_on_update <= 1:
            raise ValueError(
                f'"push_token_on_update" is {self.push_token_on_update}; a probability lies between 0 and 1.'
            )


class ScenarioText(Arguments, frozen=True, kw_only=True):
    """What one scenario holds, as its author writes it."""

    scenario: Annotated[str, about("Give it an id of lower-case words, the story first", example="lock/pin")]
    title: Annotated[str, about("Say in one sentence what happens", example="A Mac is locked behind a PIN")]
    story: Annotated[str, about("What is going on here, for someone who sees it for the first time")] = ""
    platforms: Annotated[
        tuple[str, ...], about("Where it is played: one case for each", example="[ios, macos, tvos]")
    ] = ()
    needs: Annotated[tuple[Need, ...], about("What the case cannot do without", example="[virtual-time]")] = ()
    seed: Annotated[int | str | None, about("Always play with this seed", example="7")] = None
    demo: Annotated[bool, about("Whether `mdmsim demo` shows it")] = False
    devices: Annotated[dict[str, DeviceSpec], about("Name the devices of the story", example="{phone: {}}")]
    server: Annotated[ServerSettings | None, about("How the world's own server should differ")] = None
    behaviour: Annotated[BehaviourSettings | None, about("How all devices should differ")] = None
    steps: Annotated[Steps, about("Tell what happens", example="[{enroll: {device: phone}}]")]

    def __post_init__(self) -> None:
        if not ID.match(self.scenario):
            raise ValueError(
                f'the id "{self.scenario}" is not lower-case words parted by "/", with "-" inside a word: lock/pin-typed-wrong'
            )
        if not self.title.strip():
            raise ValueError('"title" is empty. Say in one sentence what happens.')
        if not self.devices:
            raise ValueError('"devices" is empty. Name at least one: devices: {phone: {kind: iphone}}.')
        for name in self.devices:
            if not NAME.match(name):
                raise ValueError(
                    f'the device name "{name}" is not a lower-case word. Letters, digits and "-" make one.'
                )
        if not self.steps:
            raise ValueError('"steps" is empty. Begin with one: steps: [{enroll: {device: phone}}].')
        for word in self.platforms:
            if word not in KIND_WORDS:
                raise ValueError(f'"platforms" has "{word}". {did_you_mean(word, KIND_WORDS)}')
        if len(set(self.platforms)) != len(self.platforms):
            raise ValueError('"platforms" names one of them twice.')
        open_kinds = [name for name, device in self.devices.items() if device.kind is None]
        if open_kinds and not self.platforms:
            raise ValueError(
                f'"{open_kinds[0]}" has no "kind", and there are no "platforms". Give one of the two, e.g. platforms: [ios, macos].'
            )
        if set(self.needs) == {"live", "virtual-time"}:
            raise ValueError('"needs" cannot be both live and virtual-time: no world is both.')


def platforms_of(text: ScenarioText) -> tuple[str, ...]:
    """The platforms and kinds on which a scenario is played: those it names, else the kind of its first device."""
    return text.platforms or (next(device.kind for device in text.devices.values() if device.kind),)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario and where it came from. `line` is where it begins in `file`."""

    text: ScenarioText
    file: str
    line: int

    @property
    def id(self) -> str:
        return self.text.scenario

    @property
    def story(self) -> str:
        """The first word of the id: what reports group by."""
        return self.id.partition("/")[0]

    @property
    def cases(self) -> tuple[Case, ...]:
        """One case per platform, in the order in which the file names them."""
        return tuple(Case(self, platform) for platform in platforms_of(self.text))

    @property
    def in_process_only(self) -> bool:
        """Whether no live world will do: it needs virtual time or a server of its own making."""
        return "virtual-time" in self.text.needs or self.text.server is not None or self.text.behaviour is not None


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario on one platform: what is run, graded and reported."""

    scenario: Scenario
    platform: str

    @property
    def id(self) -> str:
        return f"{self.scenario.id}[{self.platform}]"

    @property
    def where(self) -> str:
        return f"{self.scenario.file}:{self.scenario.line}"

    def replay(self, seed: int | str, *, live: bool) -> str:
        """The command that plays it again."""
        return (
            f"mdmsim run {shlex.quote(self.scenario.file)} --seed {shlex.quote(str(seed))}{' --live' if live else ''}"
        )


def walk(steps: Steps) -> Iterator[Step]:
    """Every step, nested ones after the step that holds them."""
    for step in steps:
        yield step
        for nested in inner(step.arguments):
            yield from walk(nested)


def inner(arguments: Arguments) -> Iterator[Steps]:
    """The lists of steps inside a step's arguments."""
    for field in fields_of(type(arguments)):
        if field.type == Steps:
            yield getattr(arguments, field.name)
