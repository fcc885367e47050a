"""What a program asks for with InitiatePipe, as a pipe that can be built: each field is judged.

    name, stages, buffers, buffer_size, on_death    the specification
    allocates                                       must be what the module declares
    direction                                       must be where the machines lie
    invoker                                         "head", "tail": a gate for it is put there

Source: docs/spec/control-protocol.md, section 8; seed FIG. 3A; SPEC C3; ADR 0023.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from datamover.errors import SpecError
from datamover.monitor.plan import plain_of
from datamover.pipe.definition import find
from datamover.pipe.spec import OnDeath, OnQuota, PipeSpec, StageSpec
from datamover.units import MIB
from datamover.wire.attach import GuestPlace
from datamover.wire.message import InitiatePipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from datamover.wire.message import Plain

__all__ = ["Ask", "Initiation", "asking", "initiation"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z")
_MOST_STAGES: Final = 64
_LARGEST_BUFFER: Final = 1 << 30
_TOKEN: Final = 16
_GATE: Final = 6
_NETWORK: Final = frozenset({"net_receive", "net_send"})
_STANDARD: Final = "-"
_GATES: Final = {"head": "from_guest", "tail": "to_guest"}
_PLACES: Final = {"head": GuestPlace.HEAD, "tail": GuestPlace.TAIL}

Invoker = Literal["command", "head", "tail"]
Direction = Literal["", "send", "receive", "relay"]


class _Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    module: str
    name: str = ""
    instances: int = 1
    allocates: bool | None = None
    settings: dict[str, object] = {}
    share: int = 0
    on_quota: OnQuota = OnQuota.WAIT
    on_death: OnDeath | None = None
    joined: bool = False
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is said beside the stages.

    Attributes:
        invoker: See ``wire.message.InitiatePipe``.
        direction: Likewise.
        travel: Likewise.
    """

    invoker: Invoker = "command"
    direction: Direction = ""
    travel: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiation:
    """A pipe that was asked for.

    Attributes:
        spec: What to build; stages say with ``at`` where they run.
        gate: What the invoker's gate is called; empty: it is no end of the pipe.
        place: Which end it is, with a gate.
        token: What it identifies itself with, with a gate.
    """

    spec: PipeSpec
    gate: str = ""
    place: GuestPlace = GuestPlace.HEAD
    token: bytes = b""


def asking(spec: PipeSpec, ask: Ask) -> InitiatePipe:
    """Return the message that asks for a pipe.

    Raises:
        SpecError: A stage exists in this program alone, or is no process.
    """
    if spec.mode.value != "process" or any(
        one.mode not in {None, spec.mode} for one in spec.stages
    ):
        raise SpecError(reason="a pipe that is initiated runs in processes")
    stages = plain_of(spec)["stages"]
    assert isinstance(stages, list)  # noqa: S101 - plain_of makes it
    return InitiatePipe(
        request=0,
        name=spec.name,
        stages=[_worded(stage) for stage in stages],
        buffers=spec.buffers,
        buffer_size=spec.buffer_size,
        on_death=spec.on_death.value,
        silence_s=spec.silence_s,
        direction=ask.direction,
        invoker=ask.invoker,
        travel=dict(ask.travel or {}),
    )


def initiation(message: InitiatePipe, draw: Callable[[int], bytes]) -> Initiation:
    """Return the pipe that a message asks for.

    Args:
        message: What was asked.
        draw: Returns that many random bytes.

    Raises:
        SpecError: A field is wrong; the text names it.
    """
    if not _NAME.match(message.name):
        raise SpecError(
            reason=f"name: {message.name!r:.60}: letters, digits, . _ - only, 40 at most"
        )
    least = 2 if message.invoker == "command" else 1
    if not least <= len(message.stages) <= _MOST_STAGES:
        raise SpecError(reason=f"stages: {len(message.stages)}, {least} to {_MOST_STAGES} may be")
    if message.buffer_size > _LARGEST_BUFFER:
        raise SpecError(reason=f"buffer_size: {message.buffer_size}, at most {_LARGEST_BUFFER}")
    stages = [_stage(number, given) for number, given in enumerate(message.stages)]
    gate, token = "", b""
    if message.invoker != "command":
        token = draw(_TOKEN)
        gate = f"{message.name}.{draw(_GATE).hex()}"
        settings = {"pipe": gate, "token": token.hex()}
        end = StageSpec(use=_GATES[message.invoker], settings=settings)
        stages = [end, *stages] if message.invoker == "head" else [*stages, end]
    _check_direction(message.direction, stages)
    spec = PipeSpec(
        name=message.name,
        stages=tuple(stages),
        buffers=message.buffers,
        buffer_size=message.buffer_size or MIB,
        on_death=OnDeath(message.on_death),
        silence_s=message.silence_s,
    )
    place = _PLACES.get(message.invoker, GuestPlace.HEAD)
    return Initiation(spec=spec, gate=gate, place=place, token=token)


def _worded(stage: Plain) -> Plain:
    """Return a stage of ``plain_of`` with the words of InitiatePipe."""
    found = {name: value for name, value in stage.items() if name not in {"use", "at"}}
    found["module"] = stage["use"]
    if "at" in stage:
        found["machine"] = stage["at"]
    return found


def _stage(number: int, given: Plain) -> StageSpec:
    try:
        found = msgspec.convert(given, _Stage)
    except (msgspec.ValidationError, RecursionError) as error:
        raise SpecError(reason=f"stage {number}: {error}") from None
    if not found.module.isidentifier():
        raise SpecError(
            reason=f"stage {number}: {found.module!r:.100}: a module is named by a word"
        )
    if found.module in _NETWORK:
        raise SpecError(
            reason=f"stage {number}: {found.module} is put in where a pipe changes machine"
        )
    if found.settings.get("path") == _STANDARD and not found.machine:
        raise SpecError(
            reason=f"stage {number}: the monitor's standard input and output are no part of a "
            "pipe; be its head or tail instead"
        )
    info = find(found.module).info
    if found.allocates is not None and found.allocates is not info.allocates:
        does = "does" if info.allocates else "does not"
        raise SpecError(reason=f"stage {number}: allocates: {found.module} {does} allocate buffers")
    return StageSpec(
        use=found.module,
        name=found.name,
        instances=found.instances,
        settings=found.settings,
        share=found.share,
        on_quota=found.on_quota,
        on_death=found.on_death,
        joined=found.joined,
        at=found.machine,
    )


def _check_direction(direction: str, stages: list[StageSpec]) -> None:
    """Refuse what would move data another way than was said."""
    begins, ends = not stages[0].at, not stages[-1].at
    fits = {
        "": True,
        "send": begins,
        "receive": ends,
        "relay": not begins and not ends,
    }
    if not fits[direction]:
        first, last = stages[0].at or "this machine", stages[-1].at or "this machine"
        raise SpecError(reason=f"direction: {direction}, and the data goes from {first} to {last}")
