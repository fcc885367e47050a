"""What a running job says, and what a finished one has done: values, no text.

The command line shows them as a progress line and tables, ``--json`` as they are.

Source: SPEC X5, U18, U20; docs/reference/cli.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from datamover.errors import Fact

__all__ = ["Copied", "Notice", "Progress", "Resumed", "Silent", "StageShare", "Summary", "Watch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageShare:
    """How one stage spent its time; shares of the elapsed time, 0 to 1, mean of its instances.

    Attributes:
        buffers: Buffers it received (a head: sent).
        bytes: Payload bytes in them.
    """

    stage: str
    instances: int
    busy: float
    wait_input: float
    wait_buffer: float
    wait_output: float
    buffers: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A job under way.

    Attributes:
        job: "backup", "restore", "verify" or "copy".
        files: Files done so far.
        bytes_in: Bytes read from the source (restore: from the store).
        bytes_out: Bytes that arrived.
        total_files: All there will be; None while that is not known.
        total_bytes: All there will be; None while that is not known.
        limiting: The stage that limits the rate.
        limiting_busy: Its busy share, 0 to 1.
    """

    job: str
    elapsed_s: float
    files: int
    bytes_in: int
    bytes_out: int
    total_files: int | None
    total_bytes: int | None
    limiting: str
    limiting_busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something a person should know; the job went on.

    Attributes:
        kind: "unreadable", "vanished", "changed", "shrunk", "skipped", "exists", "damaged",
            "missing", ...
        stage: Who says it.
        given: Facts: usually ``path`` and ``reason``; chunk, block and offset for damage.
    """

    kind: str
    stage: str
    given: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What is said of a copy alone.

    Attributes:
        equal: Files, folders and others that were there and equal.
        touched: Those of which only the metadata were set.
        removed: Names removed at the destination.
        extra: Names there that no source has, and that were left alone.
        resumed: Bytes that an earlier, interrupted copy had left.
        reused: Bytes taken from the files that were replaced.
    """

    equal: int
    touched: int
    removed: int
    extra: int
    resumed: int
    reused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What is said of a backup that went on where an earlier run was interrupted.

    Attributes:
        attempt: Which run of the archive this was, from 0.
        taken: Bytes of chunk files that were there.
        again: Bytes that the run before had sent, by its last note, and that were not durable.
    """

    attempt: int
    taken: int
    again: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A finished job.

    Attributes:
        job: "backup", "restore", "verify" or "copy".
        archive: Hex id of the archive; "" when several were read.
        name: The archive's name.
        bytes_in: Bytes of file contents (backup), or stored bytes read (restore, verify).
        bytes_out: Bytes stored (backup), restored or checked.
        notices: How many notices of each kind there were.
        stages: Per stage, head first.
        copied: Of a copy, what was not written and why.
        resumed: Of a backup that went on with what an earlier run left.
    """

    job: str
    archive: str
    name: str
    files: int
    directories: int
    others: int
    bytes_in: int
    bytes_out: int
    seconds: float
    notices: Mapping[str, int]
    stages: tuple[StageShare, ...]
    copied: Copied | None = None
    resumed: Resumed | None = None

    @property
    def ratio(self) -> float:
        """``bytes_in`` / ``bytes_out``; 0 when nothing came out."""
        return self.bytes_in / self.bytes_out if self.bytes_out else 0.0

    @property
    def rate(self) -> float:
        """Bytes of the larger side per second."""
        return max(self.bytes_in, self.bytes_out) / self.seconds if self.seconds > 0 else 0.0


class Watch(Protocol):
    """Who looks at a job while it runs."""

    def progress(self, progress: Progress) -> None:
        """Called about ten times a second."""
        ...

    def notice(self, notice: Notice) -> None:
        """Called once for each notice, as it happens."""
        ...


class Silent:
    """A watch that looks at nothing."""

    def progress(self, progress: Progress) -> None:
        """Look away."""

    def notice(self, notice: Notice) -> None:
        """Look away."""
