"""One attempt of a job, in the process that the daemon started for it.

Source: docs/spec/jobs.md; SPEC G9; ADR 0023.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import DataMoverError, SpecError, StopRequestedError, UsageError
from datamover.monitor.ending import refused
from datamover.monitor.forkserver import end_with_parent
from datamover.mover.copy import CopySettings, copy
from datamover.mover.travel import Travel
from datamover.pipe.plain import unpacked
from datamover.wire.message import Answer, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datamover.monitor.line import Line
    from datamover.mover.report import Notice, Progress, Summary
    from datamover.wire.message import Call

__all__ = ["CopyJob", "run_job", "travel_of"]

_TELL_EVERY_S: Final = 1.0


class CopyJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A copy, as the daemon keeps it.

    Attributes:
        folder: What paths of this machine are relative to.
        sources: As a person names them.
        target: Likewise.
        settings: How.
        travel: How other machines are reached.
        what: The same in words, for a person.
    """

    folder: str
    sources: list[str]
    target: str
    settings: CopySettings = CopySettings()
    travel: Travel = Travel()
    what: str = ""


def run_job(line: Line, asked: Call) -> None:
    """Do one attempt, and say what came of it.

    Args:
        line: To the daemon; when that is gone, the attempt ends.
        asked: What to do.

    Blocking: until it is done, or has failed.
    """
    end_with_parent()
    try:
        if asked.method != "job.copy":
            raise UsageError(reason=f"no kind of job: {asked.method:.100}")
        job = copy_job(asked.given)
        os.chdir(job.folder)
        summary = copy(job.sources, job.target, job.settings, _Telling(line), job.travel)
    except (DataMoverError, OSError) as error:
        line.say(refused(asked.request, error))
        return
    line.say(Answer(request=asked.request, values=_values(summary)))


def copy_job(given: Mapping[str, object]) -> CopyJob:
    """Read what a job is to do.

    Raises:
        SpecError: It is none; the text names the field.
    """
    try:
        return msgspec.convert(unpacked(given), CopyJob)
    except msgspec.ValidationError as error:
        raise SpecError(reason=f"job: {error}") from None


def travel_of(given: Mapping[str, object]) -> Travel:
    """Return the way to other machines, as a message has it.

    Raises:
        SpecError: It is none.
    """
    try:
        return msgspec.convert(given, Travel)
    except msgspec.ValidationError as error:
        raise SpecError(reason=f"travel: {error}") from None


class _Telling:
    """Tells the daemon how far an attempt is; see ``report.Watch``."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._due = 0.0

    def progress(self, progress: Progress) -> None:
        self._line.look()
        if self._line.is_gone:
            raise StopRequestedError(reason="the monitor is gone")
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _TELL_EVERY_S
            text = f"{progress.files} files, {progress.bytes_in} bytes"
            self._line.say(Part(request=1, values={"progress": text}))

    def notice(self, notice: Notice) -> None:
        """Notices are counted in the summary."""


def _values(summary: Summary) -> dict[str, object]:
    plain = msgspec.to_builtins(summary)
    return {name: value for name, value in plain.items() if name != "stages"}
