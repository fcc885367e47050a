"""Cut a pipe where its stages change machine, and put network stages at the borders.

    scan  compress  store@vault
    ── part 0, here ──────────────    ── part 1, vault ────
    scan > compress > net_send    ═▶    net_receive > store

    load@a  restore@b
    ── part 0, a ─────    ── part 1, here (a relay) ────    ── part 2, b ───────
    load > net_send   ═▶   net_receive > net_send     ═▶   net_receive > restore

Pure: tokens and secrets are drawn by the caller's function.

Source: seed FIG. 2A, 2B, 3B, 7; SPEC C4, N1, N9; docs/decisions/0014-two-machines.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import SpecError
from datamover.pipe.spec import PipeSpec, StageSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["HERE", "Border", "Part", "split"]

HERE: Final = ""
"""The machine of whoever starts the pipe."""

_SEND: Final = "net_send"
_RECEIVE: Final = "net_receive"
_TOKEN: Final = 16
_SECRET: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """Where data goes from one machine to another.

    Attributes:
        number: From 0, in the order of the stages.
        before: Number of the part that sends.
        after: Number of the part that receives.
        token: Names it on the wire; public.
        secret: What both sides prove to know.
    """

    number: int
    before: int
    after: int
    token: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one machine runs of a pipe: a run of its stages, and the network stages beside them.

    Attributes:
        number: From 0, in the order of the stages.
        machine: Where; ``HERE``, or a name as the specification has it.
        spec: The stages, none of them with a machine of its own any more.
        receives: The border that its head is at; None for the first part.
        sends: The border that its tail is at; None for the last part.
    """

    number: int
    machine: str
    spec: PipeSpec
    receives: Border | None = None
    sends: Border | None = None

    def connected(self, settings: Callable[[Border], dict[str, object]]) -> PipeSpec:
        """Return the specification with the settings of its network stages.

        Args:
            settings: Gives a border's, as this side needs them.
        """
        stages = list(self.spec.stages)
        for place, border in ((0, self.receives), (-1, self.sends)):
            if border is not None:
                stages[place] = msgspec.structs.replace(stages[place], settings=settings(border))
        return msgspec.structs.replace(self.spec, stages=tuple(stages))


def split(spec: PipeSpec, draw: Callable[[int], bytes], *, window: int = 0) -> tuple[Part, ...]:
    """Cut a pipe into parts, at least one of two neighbors being here.

    Args:
        spec: The whole pipe; stages say with ``at`` where they run.
        draw: Returns that many random bytes.
        window: Buffers that each receiving side may have under way; 0: an equal part of its pool.

    Raises:
        SpecError: A stage is joined to one on another machine.
    """
    runs = [(machine, list(run)) for machine, run in groupby(spec.stages, lambda one: one.at)]
    for _, run in runs[1:]:
        if run[0].joined:
            raise SpecError(
                reason=f"stage {run[0].name or run[0].use} is joined to one on another machine"
            )
    relayed: list[tuple[str, list[StageSpec]]] = []
    for machine, run in runs:
        if relayed and HERE not in {machine, relayed[-1][0]}:
            relayed.append((HERE, []))
        relayed.append((machine, run))
    borders = [
        Border(
            number=number, before=number, after=number + 1, token=draw(_TOKEN), secret=draw(_SECRET)
        )
        for number in range(len(relayed) - 1)
    ]
    return tuple(
        _part(spec, number, machine, run, borders, window)
        for number, (machine, run) in enumerate(relayed)
    )


def _part(
    spec: PipeSpec,
    number: int,
    machine: str,
    run: Sequence[StageSpec],
    borders: Sequence[Border],
    window: int,
) -> Part:
    receives = borders[number - 1] if number else None
    sends = borders[number] if number < len(borders) else None
    stages = [msgspec.structs.replace(one, at=HERE) for one in run]
    if receives is not None:
        name = _numbered(_RECEIVE, receives)
        stages.insert(0, StageSpec(use=_RECEIVE, name=name, share=window))
    if sends is not None:
        stages.append(StageSpec(use=_SEND, name=_numbered(_SEND, sends)))
    # A pool of a given size was meant for the pipe; a part has what its own shares need.
    whole = len(borders) == 0
    part = msgspec.structs.replace(
        spec, stages=tuple(stages), buffers=spec.buffers if whole else _pool(stages)
    )
    return Part(number=number, machine=machine, spec=part, receives=receives, sends=sends)


def _pool(stages: Sequence[StageSpec]) -> int:
    """The sum of the shares, where the first stage, which always allocates, has one; else 0."""
    return sum(one.share * one.instances for one in stages) if stages[0].share else 0


def _numbered(name: str, border: Border) -> str:
    return name if border.number == 0 else f"{name}-{border.number + 1}"
