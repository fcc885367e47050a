"""One attempt of a job, in the process that the daemon started for it.

Source: docs/spec/jobs.md; SPEC G9; ADR 0023.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from datamover.errors import DataMoverError, SpecError, StopRequestedError, UsageError
from datamover.monitor.ending import refused
from datamover.monitor.forkserver import end_with_parent
from datamover.mover.backup import BackupSettings, backup
from datamover.mover.copy import CopySettings, copy
from datamover.mover.elsewhere import opened_store
from datamover.mover.travel import Travel
from datamover.pipe.plain import unpacked
from datamover.wire.message import Answer, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datamover.monitor.line import Line
    from datamover.mover.report import Notice, Progress, Summary
    from datamover.wire.message import Call

__all__ = ["BackupJob", "CopyJob", "PassphraseOf", "run_job", "travel_of"]

PassphraseOf = Callable[[str | None], Callable[[], bytes]]
"""Given a file, or None, it returns what reads the passphrase."""
Read = TypeVar("Read")

_TELL_EVERY_S: Final = 1.0


class BackupJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backup, as the daemon keeps it.

    Attributes:
        folder: What paths of this machine are relative to.
        sources: As a person names them.
        store: Likewise.
        passphrase_file: Whose first line opens the store; empty: it is not needed.
        settings: How.
        travel: How other machines are reached.
        what: The same in words, for a person.
    """

    folder: str
    sources: list[str]
    store: str
    passphrase_file: str = ""
    settings: BackupSettings = BackupSettings()
    travel: Travel = Travel()
    what: str = ""


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


def run_job(line: Line, asked: Call, passphrase: PassphraseOf) -> None:
    """Do one attempt, and say what came of it.

    Args:
        line: To the daemon; when that is gone, the attempt ends.
        asked: What to do.
        passphrase: Reads one from a file, when it is called for.

    Blocking: until it is done, or has failed.
    """
    end_with_parent()
    try:
        summary = _done(asked, _Telling(line), passphrase)
    except (DataMoverError, OSError) as error:
        line.say(refused(asked.request, error))
        return
    line.say(Answer(request=asked.request, values=_values(summary)))


def _done(asked: Call, watch: _Telling, passphrase: PassphraseOf) -> Summary:
    match asked.method:
        case "job.copy":
            copying = _read(asked.given, CopyJob)
            os.chdir(copying.folder)
            return copy(copying.sources, copying.target, copying.settings, watch, copying.travel)
        case "job.backup":
            job = _read(asked.given, BackupJob)
            os.chdir(job.folder)
            opens = passphrase(job.passphrase_file or None)
            with opened_store(job.store, opens, job.travel) as store:
                return backup(store, job.sources, job.settings, watch)
        case _:
            raise UsageError(reason=f"no kind of job: {asked.method:.100}")


def _read(given: Mapping[str, object], kind: type[Read]) -> Read:
    """Read what a job is to do.

    Raises:
        SpecError: It is none; the text names the field.
    """
    try:
        return msgspec.convert(unpacked(given), kind)
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
