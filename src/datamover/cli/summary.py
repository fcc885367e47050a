"""A finished job as an answer: what was moved, how fast, and which stage took the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.cli.answer import Column, Kind, Record, Rows
from datamover.cli.render import show
from datamover.cli.status import of_notices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.cli.answer import Value
    from datamover.cli.everywhere import Everywhere
    from datamover.mover.report import Copied, Resumed, StageShare, Summary

__all__ = ["finish", "record", "stage_rows"]

_STAGES: Final = (
    Column(key="stage", heading="stage", width=8),
    Column(key="instances", heading="tasks", kind=Kind.COUNT),
    Column(key="busy", heading="busy", kind=Kind.SHARE),
    Column(key="wait_input", heading="wait: input", kind=Kind.PERCENT),
    Column(key="wait_buffer", heading="buffer", kind=Kind.PERCENT),
    Column(key="wait_output", heading="output", kind=Kind.PERCENT),
    Column(key="buffers", heading="buffers", kind=Kind.COUNT),
    Column(key="bytes", heading="bytes", kind=Kind.BYTES),
)
_OUT: Final = {
    "backup": "bytes stored",
    "restore": "bytes restored",
    "verify": "bytes checked",
    "copy": "bytes copied",
}
_NOT_OF_A_COPY: Final = frozenset({"archive", "name", "bytes_in", "ratio"})
_IN: Final = {"backup": "bytes in"}


def finish(summary: Summary, everywhere: Everywhere) -> int:
    """Show a summary and return the exit status that it means.

    Raises:
        OutputClosedError: The reader of standard output has gone.
    """
    if everywhere.json or not everywhere.quiet:
        show(record(summary), everywhere)
    return of_notices(summary.notices)


def record(summary: Summary) -> Record:
    """Return the summary as values; what does not apply to the job is left out for people."""
    lines: list[tuple[Column, Value]] = [
        (Column(key="job", heading="job"), summary.job),
        (Column(key="archive", heading="archive", kind=Kind.ID), summary.archive),
        (Column(key="name", heading="name"), summary.name),
        (Column(key="files", heading="files", kind=Kind.COUNT), summary.files),
        (Column(key="directories", heading="folders", kind=Kind.COUNT), summary.directories),
        (Column(key="others", heading="links and others", kind=Kind.COUNT), summary.others),
        (
            Column(
                key="bytes_in",
                heading=_IN.get(summary.job, "bytes read"),
                kind=Kind.BYTES,
            ),
            summary.bytes_in,
        ),
        (
            Column(key="bytes_out", heading=_OUT.get(summary.job, "bytes out"), kind=Kind.BYTES),
            summary.bytes_out,
        ),
        (Column(key="ratio", heading="ratio", kind=Kind.RATIO), _ratio(summary)),
        (Column(key="seconds", heading="time", kind=Kind.SECONDS), summary.seconds),
        (Column(key="rate", heading="rate", kind=Kind.RATE), summary.rate),
    ]
    if summary.copied is not None:
        lines = [line for line in lines if line[0].key not in _NOT_OF_A_COPY]
        lines[-2:-2] = _copied(summary.copied)
    if summary.resumed is not None:
        lines[-2:-2] = _resumed(summary.resumed)
    lines += [
        (Column(key=f"notices_{kind}", heading=f"notices: {kind}", kind=Kind.COUNT), count)
        for kind, count in sorted(summary.notices.items())
    ]
    return Record(
        event="summary",
        title=f"{summary.job} finished",
        columns=tuple(column for column, _ in lines),
        values=tuple(value for _, value in lines),
        parts={"stages": stage_rows(summary.stages)},
    )


def _copied(copied: Copied) -> list[tuple[Column, Value]]:
    """Return what is said of a copy alone."""
    return [
        (Column(key="equal", heading="equal already", kind=Kind.COUNT), copied.equal),
        (Column(key="touched", heading="metadata set", kind=Kind.COUNT), copied.touched),
        (Column(key="removed", heading="removed", kind=Kind.COUNT), copied.removed),
        (Column(key="extra", heading="extra there", kind=Kind.COUNT), copied.extra),
        (Column(key="resumed", heading="bytes resumed", kind=Kind.BYTES), copied.resumed),
        (Column(key="reused", heading="bytes reused", kind=Kind.BYTES), copied.reused),
    ]


def _resumed(resumed: Resumed) -> list[tuple[Column, Value]]:
    """Return what is said of a backup that went on."""
    return [
        (Column(key="attempt", heading="attempt", kind=Kind.COUNT), resumed.attempt),
        (
            Column(key="bytes_taken_over", heading="bytes taken over", kind=Kind.BYTES),
            resumed.taken,
        ),
        (Column(key="bytes_again", heading="bytes sent again", kind=Kind.BYTES), resumed.again),
    ]


def stage_rows(shares: Sequence[StageShare]) -> Rows:
    """Return how each stage spent its time, head first."""
    rows = [
        (
            share.stage,
            share.instances,
            share.busy,
            share.wait_input,
            share.wait_buffer,
            share.wait_output,
            share.buffers,
            share.bytes,
        )
        for share in shares
    ]
    return Rows(event="stage", columns=_STAGES, rows=rows)


def _ratio(summary: Summary) -> float:
    """Return bytes of contents for one stored byte, whichever way they went."""
    if summary.job == "backup" or not summary.bytes_in:
        return summary.ratio
    return summary.bytes_out / summary.bytes_in
