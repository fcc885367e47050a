"""A pipe of one's own, as progress and as an answer: what the monitor counts, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.cli.answer import Column, Kind, Record
from datamover.cli.summary import stage_rows
from datamover.mover.report import Progress, StageShare

if TYPE_CHECKING:
    from datamover.monitor.live import Outcome
    from datamover.monitor.statistics import PipeStatistics, StageStatistics

__all__ = ["progress_of", "record_of"]


def progress_of(statistics: PipeStatistics) -> Progress:
    """Return how far a pipe is; nobody knows its total."""
    head, tail = statistics.stages[0], statistics.stages[-1]
    limiting = statistics.limiting
    return Progress(
        job="pipe",
        elapsed_s=statistics.elapsed_s,
        files=sum(i.buffers_out for i in head.instances),
        bytes_in=sum(i.bytes_out for i in head.instances),
        bytes_out=sum(i.bytes_in for i in tail.instances),
        total_files=None,
        total_bytes=None,
        limiting=limiting.stage,
        limiting_busy=limiting.busy,
    )


def record_of(outcome: Outcome) -> Record:
    """Return what came of a pipe: time, stages, and what the stages left as results."""
    found = [
        (f"{stage}.{instance}.{key}", value)
        for stage, instances in outcome.results.items()
        for instance, values in enumerate(instances)
        for key, value in values.items()
    ]
    columns = [
        Column(key="job", heading="job"),
        Column(key="pipe", heading="pipe"),
        Column(key="seconds", heading="time", kind=Kind.SECONDS),
        *(Column(key=key, heading=key) for key, _ in found),
    ]
    shares = [_share(stage, outcome.statistics.elapsed_s) for stage in outcome.statistics.stages]
    return Record(
        event="summary",
        title="pipe finished",
        columns=tuple(columns),
        values=("pipe", outcome.pipe, outcome.seconds, *(_value(value) for _, value in found)),
        parts={"stages": stage_rows(shares)},
    )


def _share(stage: StageStatistics, elapsed: float) -> StageShare:
    count = len(stage.instances)
    whole = sum(i.elapsed_s for i in stage.instances) or elapsed * count or 1.0
    return StageShare(
        stage=stage.stage,
        instances=count,
        busy=sum(i.busy_s for i in stage.instances) / whole,
        wait_input=sum(i.wait_input_s for i in stage.instances) / whole,
        wait_buffer=sum(i.wait_buffer_s for i in stage.instances) / whole,
        wait_output=sum(i.wait_output_s for i in stage.instances) / whole,
        buffers=sum(i.buffers_in or i.buffers_out for i in stage.instances),
        bytes=sum(i.bytes_in or i.bytes_out for i in stage.instances),
    )


def _value(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
