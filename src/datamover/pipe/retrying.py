"""Which stages of a pipe are replaced when they die: those whose whole task can begin anew.

A task is the unit that dies, so joined stages are replaced together or not at all.

    policy of pipe   of the stage   every stage of the task replayable   then
    stop             -              -                                    the pipe stops
    retry            -              yes                                  another takes its place
    retry            -              no                                   the pipe stops
    any              stop           -                                    the pipe stops
    any              retry          no                                   the pipe is refused

Threads and inline stages cannot be killed by themselves, so for them there is nothing to do.

Source: SPEC X2; DESIGN D3, D7; docs/decisions/0017-the-dead-are-replaced.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import SpecError
from datamover.pipe.spec import Mode, OnDeath
from datamover.pipe.stage import FanOut, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.pipe.definition import Definition
    from datamover.pipe.spec import PipeSpec, StageSpec

__all__ = ["find_retried"]


def find_retried(
    spec: PipeSpec, stages: Sequence[tuple[StageSpec, Definition]]
) -> tuple[bool, ...]:
    """Return for each stage whether a dead instance of it is replaced.

    Raises:
        SpecError: A stage asks for it and cannot have it; the text says why.
    """
    found: list[bool] = []
    for crew in _crews(stages):
        found += [_is_retried(spec, crew)] * len(crew)
    threads = [its.info.name for stage, its in stages if _mode(spec, stage) is not Mode.PROCESS]
    if any(found) and threads:
        name = next(its.info.name for (_, its), one in zip(stages, found, strict=True) if one)
        raise SpecError(
            reason=f"stage {name}: on_death is retry, which needs every stage to be a process, "
            f"and {threads[0]} is a thread"
        )
    return tuple(found)


def _crews(
    stages: Sequence[tuple[StageSpec, Definition]],
) -> list[list[tuple[StageSpec, Definition]]]:
    crews: list[list[tuple[StageSpec, Definition]]] = []
    for stage in stages:
        if stage[0].joined:
            crews[-1].append(stage)
        else:
            crews.append([stage])
    return crews


def _is_retried(spec: PipeSpec, crew: Sequence[tuple[StageSpec, Definition]]) -> bool:
    if any(_mode(spec, stage) is not Mode.PROCESS for stage, _ in crew):
        return False
    hindrance = next((text for one in crew if (text := _hindrance(*one))), "")
    asking = [its.info.name for stage, its in crew if stage.on_death is OnDeath.RETRY]
    if hindrance and asking:
        raise SpecError(reason=f"stage {asking[0]}: on_death cannot be retry, for {hindrance}")
    return not hindrance and all(
        (stage.on_death or spec.on_death) is OnDeath.RETRY for stage, _ in crew
    )


def _hindrance(stage: StageSpec, found: Definition) -> str:
    info = found.info
    if info.role is not Role.MIDDLE:
        return f"{info.name} is a {info.role}"
    if not info.replayable:
        return f"{info.name} is not replayable"
    if info.fan_out is FanOut.MANY:
        return f"{info.name} sends many buffers for one"
    if stage.on_death is OnDeath.STOP:
        return f"{info.name}, in the same task, has stop"
    return ""


def _mode(spec: PipeSpec, stage: StageSpec) -> Mode:
    return Mode.INLINE if spec.mode is Mode.INLINE else stage.mode or spec.mode
