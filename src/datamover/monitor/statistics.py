"""What a pipe does, read from the segment: no messages, no locks, at any time.

Source: SPEC X5 (the measuring half), C17, A10; docs/spec/shm-layout.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datamover.monitor.wiring import Wiring
    from datamover.wire.account import PartAccount

__all__ = [
    "InstanceStatistics",
    "PipeStatistics",
    "StageStatistics",
    "read_statistics",
    "stage_statistics",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatistics:
    """One instance, so far.

    Attributes:
        elapsed_s: Since it attached.
        busy_s: ``elapsed_s`` less the three waits.
        wait_input_s: Waited for the stage before (a head: for its source).
        wait_buffer_s: Waited for a free buffer of its share.
        wait_output_s: Waited for the outside where data leaves.
        cpu_s: Processor time, at its last wait.
        copied: Bytes that went on in another buffer than they came in.
        held: Buffers it owns now; 0 after its end.
        items: What it counted (files).
    """

    stage: str
    instance: int
    buffers_in: int
    bytes_in: int
    buffers_out: int
    bytes_out: int
    elapsed_s: float
    busy_s: float
    wait_input_s: float
    wait_buffer_s: float
    wait_output_s: float
    cpu_s: float
    copied: int
    held: int
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatistics:
    """One stage, so far; ``queue`` is how many buffers wait in front of it."""

    stage: str
    queue: int
    instances: tuple[InstanceStatistics, ...]

    @property
    def busy(self) -> float:
        """Mean busy share of its instances, 0 to 1."""
        elapsed = sum(i.elapsed_s for i in self.instances)
        return sum(i.busy_s for i in self.instances) / elapsed if elapsed else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PipeStatistics:
    """A whole pipe, so far."""

    pipe: str
    elapsed_s: float
    stages: tuple[StageStatistics, ...]

    @property
    def limiting(self) -> StageStatistics:
        """The stage whose instances are the busiest: the one that limits the rate."""
        return max(self.stages, key=lambda stage: stage.busy)


def read_statistics(wiring: Wiring, pipe: str, started: float) -> PipeStatistics:
    """Read every record of a pipe.

    Blocking: never.
    """
    now = time.monotonic_ns()
    held = wiring.held()
    stages = []
    for place, stage in enumerate(wiring.layout.stages):
        tasks = [task for task in wiring.layout.tasks if task.stage == place]
        instances = tuple(
            _instance(
                wiring.segment.record(task.id),
                stage.name,
                task.instance,
                now=now,
                held=held[task.id],
            )
            for task in tasks
        )
        queue = wiring.depth(place)
        stages.append(StageStatistics(stage=stage.name, queue=queue, instances=instances))
    return PipeStatistics(pipe=pipe, elapsed_s=time.monotonic() - started, stages=tuple(stages))


def stage_statistics(account: PartAccount) -> tuple[StageStatistics, ...]:
    """Return what another machine says of a part's stages."""
    return tuple(
        StageStatistics(
            stage=stage.stage,
            queue=stage.queue,
            instances=tuple(
                InstanceStatistics(
                    stage=stage.stage,
                    instance=one.instance,
                    **{name: getattr(one, name) for name in _MEASURED},
                )
                for one in stage.instances
            ),
        )
        for stage in account.stages
    )


_MEASURED: Final = frozenset(InstanceStatistics.__slots__) - {"stage", "instance"}


def _instance(
    record: memoryview, stage: str, instance: int, *, now: int, held: int
) -> InstanceStatistics:
    values = record.tolist()
    record.release()
    started, ended, waits, since = values[7:11]
    elapsed = (ended or now) - started if started else 0
    waited = values[4:7]
    if 0 < waits <= len(waited) and started:
        waited[waits - 1] += max(0, now - since)
    return InstanceStatistics(
        stage=stage,
        instance=instance,
        buffers_in=values[0],
        bytes_in=values[1],
        buffers_out=values[2],
        bytes_out=values[3],
        elapsed_s=elapsed / 1e9,
        busy_s=max(0, elapsed - sum(waited)) / 1e9,
        wait_input_s=waited[0] / 1e9,
        wait_buffer_s=waited[1] / 1e9,
        wait_output_s=waited[2] / 1e9,
        cpu_s=values[14] / 1e9,
        copied=values[11],
        held=held,
        items=values[15],
    )
