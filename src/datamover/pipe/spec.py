"""What a pipe is to be: data only, from Python or from a TOML file.

Source: seed FIG. 3A (Initiate_Pipe); SPEC A1-A6, A24, C3; docs/reference/pipe-file.md.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import SpecError
from datamover.units import MIB

if TYPE_CHECKING:
    from datamover.pipe.definition import Definition

__all__ = ["Mode", "OnDeath", "OnQuota", "PipeSpec", "StageSpec", "load_spec", "parse_size"]

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?\Z")
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_MAX_FILE: Final = 1 << 20
_LONGEST_SIZE: Final = 40


class Mode(StrEnum):
    """What a task is."""

    PROCESS = "process"
    THREAD = "thread"
    INLINE = "inline"


class OnQuota(StrEnum):
    """What happens to an instance that asks for more buffers than its share."""

    WAIT = "wait"
    TERMINATE = "terminate"


class OnDeath(StrEnum):
    """What happens when a task ends abnormally, killed for example."""

    STOP = "stop"
    """The pipe ends."""

    RETRY = "retry"
    """Another takes its place and is given the inputs that it had, where a stage allows it."""


class StageSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage of a pipe.

    Attributes:
        use: Which stage: a name ("compress"), or "package.module:function".
        name: What it is called in this pipe; by default the stage's own name.
        instances: How many run at once.
        settings: The stage's settings.
        share: Buffers each instance may have in use; 0: an equal part of the pool.
        on_quota: What happens when an instance asks for more.
        on_death: What happens when an instance is killed; by default what the pipe says, as far as
            the stage and those joined with it are replayable.
        mode: Process or thread; by default the pipe's.
        joined: It runs in the tasks of the stage before it: instance i there feeds instance i here.
        at: The machine that it runs on, as a person names it; empty: this one.
    """

    use: str
    name: str = ""
    instances: int = 1
    settings: Mapping[str, object] = {}
    share: int = 0
    on_quota: OnQuota = OnQuota.WAIT
    on_death: OnDeath | None = None
    mode: Mode | None = None
    joined: bool = False
    at: str = ""
    definition: object = None

    def resolved(self) -> Definition | None:
        """The definition this stage was made from, where it was made in this process."""
        return self.definition  # type: ignore[return-value]


class PipeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pipe: stages in order, and one pool of buffers.

    Attributes:
        name: What a person calls it.
        stages: Head first, tail last.
        buffers: Slots of the pool; 0: sized to the stages and the processor's cache.
        buffer_size: Bytes a head fills of each.
        mode: What its tasks are.
        on_death: What happens when an instance of a replayable stage is killed.
        silence_s: Seconds after which a task that neither waits in a verb nor calls one is killed;
            0: it may be at work for as long as it takes.
    """

    name: str
    stages: Sequence[StageSpec]
    buffers: int = 0
    buffer_size: int = MIB
    mode: Mode = Mode.PROCESS
    on_death: OnDeath = OnDeath.STOP
    silence_s: float = 0.0


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    stage: list[_FileStage]
    buffers: int = 0
    buffer_size: int | str = MIB
    mode: Mode = Mode.PROCESS
    on_death: OnDeath = OnDeath.STOP
    silence_s: float = 0.0


class _FileStage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    use: str
    name: str = ""
    instances: int = 1
    settings: dict[str, object] = {}
    share: int = 0
    on_quota: OnQuota = OnQuota.WAIT
    on_death: OnDeath | None = None
    mode: Mode | None = None
    joined: bool = False
    at: str = ""


def parse_size(text: str) -> int:
    """Read "1MiB", "64 kB" or "4096" as bytes.

    Raises:
        SpecError: It is no size.
    """
    match = _SIZE.match(text.strip()) if len(text) <= _LONGEST_SIZE else None
    if match is None:
        raise SpecError(
            reason=f"no size: {text[:_LONGEST_SIZE]!r}; write for example 1MiB, 64KiB or 4096"
        )
    number, power, binary = match.groups()
    base = 1024 if binary else 1000
    return int(Fraction(number) * base ** _POWERS[power.lower()])


def load_spec(path: str) -> PipeSpec:
    """Read a pipe from a TOML file.

    Raises:
        SpecError: The file cannot be read, is no TOML, or a field is wrong; the text names it.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(reason=f"{path}: {reason}") from None
    if len(text) > _MAX_FILE:
        raise SpecError(reason=f"{path}: larger than {_MAX_FILE} bytes")
    try:
        given = tomllib.loads(text.decode())
        found = msgspec.convert(given, _File)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        # Text that is no TOML, no UTF-8, has endless digits, or brackets in brackets for ever.
        raise SpecError(reason=f"{path}: {error}") from None
    size = found.buffer_size
    return PipeSpec(
        name=found.name,
        stages=tuple(
            StageSpec(**{f: getattr(stage, f) for f in stage.__struct_fields__})
            for stage in found.stage
        ),
        buffers=found.buffers,
        buffer_size=parse_size(size) if isinstance(size, str) else size,
        mode=found.mode,
        on_death=found.on_death,
        silence_s=found.silence_s,
    )
