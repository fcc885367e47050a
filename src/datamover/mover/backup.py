"""Back up: files into a new archive of a store.

A run that dies leaves an incomplete archive, and a journal with which the same command goes on.

Source: seed FIG. 7, FIG. 8 (804-812); SPEC E1-E6, F1, F2, G9; docs/spec/resume.md.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.errors import DataMoverError, SourceError, UsageError
from datamover.monitor.pipe_socket import asked
from datamover.monitor.supervisor import Monitor
from datamover.mover.archiving import Archiving
from datamover.mover.forecast import Forecast
from datamover.mover.job import Job, processors
from datamover.mover.journal import CommandKey, Journal
from datamover.mover.label import Label
from datamover.mover.pipes import WRITING_STAGES
from datamover.mover.placing import place
from datamover.mover.report import Summary
from datamover.pipe.spec import OnDeath
from datamover.placement.decision import Command
from datamover.placement.rule import Rules
from datamover.units import Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from datamover.mover.archiving import Archived
    from datamover.mover.job import Finished
    from datamover.mover.report import Watch
    from datamover.mover.store import Store

__all__ = ["BackupSettings", "backup"]

_KIND: Final = "backup"
_COUNTS: Final = "scan"
_STREAM: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """How to back up.

    Attributes:
        name: What to call the archive; it is found by its id and its time without.
        excludes: Patterns of what to leave out, as ``datamover.files.exclude`` reads them.
        one_file_system: Stay on the file system of each source.
        codec: "zstd-1" to "zstd-19", "lz4-1" to "lz4-12", "gzip-1" to "gzip-3", or "none"; empty:
            as the rules say, else zstd-1.
        jobs: Instances that read, and that compress; 0: one for each processor.
        chunk_size: Bytes after which a chunk file is closed; 0: as the rules say, else 64 MiB.
        dry_run: Read and count, and keep nothing.
        fresh: Discard what an interrupted run of the same command left, and begin anew.
        forecast: Count the sources in the background, so that progress knows the totals.
        rules: What decides where the command says nothing; None: the store's rules.
        on_death: What happens when a worker is killed.
    """

    name: str = ""
    excludes: tuple[str, ...] = ()
    one_file_system: bool = False
    codec: str = ""
    jobs: int = 0
    chunk_size: int = 0
    dry_run: bool = False
    fresh: bool = False
    forecast: bool = False
    rules: Rules | None = None
    on_death: OnDeath = OnDeath.RETRY


def backup(store: Store, sources: Sequence[str], settings: BackupSettings, watch: Watch) -> Summary:
    """Copy files into an archive of ``store``; return when it is durable.

    It is a new one, or that of an interrupted run with the same store, sources and settings.

    Args:
        store: Where to.
        sources: What; each comes back under its own name.
        settings: How.
        watch: Who looks on.

    Raises:
        UsageError: No source, two of one name, no such codec, or a rule that cannot be followed.
        SourceError: A source is not there.
        StageFailedError: A stage ended abnormally; what is durable is kept for the same command.
        StoreError: The store refuses; likewise.

    Blocking: until the archive is complete and durable.
    """
    roots = _roots(sources)
    placed = place(
        store.depot,
        rules=settings.rules,
        command=Command(codec=settings.codec or None, chunk_size=settings.chunk_size or None),
        archive=settings.name,
    )
    with Monitor(preload=list(WRITING_STAGES)) as monitor, asked(monitor):
        monitor.warm_up()
        if not settings.dry_run:
            store.unlock_soon()
        job = Job(_KIND, watch, monitor=monitor, counts=_COUNTS, places=store.depot.places)
        archiving = Archiving(
            store=store,
            roots=roots,
            excludes=settings.excludes,
            one_file_system=settings.one_file_system,
            placed=placed,
            jobs=settings.jobs or processors(),
            on_death=settings.on_death,
            job=job,
        )
        with _forecast(roots, settings) as forecast:
            job.forecast = forecast
            if settings.dry_run:
                return _of_dry_run(archiving.dry_run(), job, settings.name)
            with _journal(store, roots, settings, job) as archiving.journal:
                done = _archived(archiving, settings, _label(roots, settings))
        return _summary(done, job, settings.name)


def _archived(archiving: Archiving, settings: BackupSettings, label: Label) -> Archived:
    """Go on with what an interrupted run left, or begin."""
    journal, done = archiving.journal, None
    if journal is not None:
        try:
            earlier = journal.read()
        except (DataMoverError, OSError) as error:
            archiving.job.tell(_KIND, "not resumed", {"reason": f"beginning anew: {error}"})
            earlier = None
        if earlier is not None and settings.fresh:
            archiving.discard(earlier)
        elif earlier is not None:
            done = archiving.go_on(earlier)
    # Behind a run that goes on, which completes its archive itself.
    archiving.store.clean()
    if done is None:
        done = archiving.begin(label)
    archiving.settle()
    return done


@contextmanager
def _journal(
    store: Store, roots: tuple[str, ...], settings: BackupSettings, job: Job
) -> Iterator[Journal | None]:
    """Hold the journal of this command for a ``with`` block; None where there cannot be one."""
    command = CommandKey(
        store.id,
        roots,
        [
            settings.name,
            settings.codec,
            "one file system" if settings.one_file_system else "",
            *settings.excludes,
        ],
    )
    try:
        journal = Journal.take(command)
        reason = "another run of this command is under way"
    except DataMoverError as error:
        journal, reason = None, str(error)
    if journal is None:
        job.tell(_KIND, "not resumable", {"reason": reason})
        yield None
        return
    with journal:
        yield journal


def _forecast(
    roots: tuple[str, ...], settings: BackupSettings
) -> AbstractContextManager[Forecast | None]:
    if not settings.forecast:
        return nullcontext()
    return Forecast(roots, excludes=settings.excludes, one_file_system=settings.one_file_system)


def _roots(sources: Sequence[str]) -> tuple[str, ...]:
    """Return absolute paths; each must be there, under a name of its own."""
    if not sources:
        raise UsageError(reason="nothing to back up: name a file or a folder")
    roots: dict[str, str] = {}
    for source in sources:
        path = os.path.abspath(source)  # noqa: PTH100 - must not follow a link that is the source
        if source == _STREAM and not os.path.lexists(path):
            raise UsageError(
                reason="backup takes files and folders: a stream cannot be read twice, "
                "so write it to a file, or attach the program to a pipe"
            )
        if not os.path.lexists(path):
            raise SourceError(path=source, reason="no such file or folder")
        name = Path(path).name
        if name in roots and roots[name] != path:
            raise UsageError(
                reason=f"{roots[name]} and {path} would both come back as {name}; "
                "back them up in two runs, or name the folder above them"
            )
        roots[name] = path
    return tuple(roots.values())


def _label(roots: tuple[str, ...], settings: BackupSettings) -> Label:
    return Label(
        name=settings.name,
        host=socket.gethostname(),
        user=_user(),
        sources=roots,
        started_ns=Nanoseconds(time.time_ns()),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _of_dry_run(finished: Finished, job: Job, name: str) -> Summary:
    return Summary(
        job=_KIND,
        archive="",
        name=name,
        files=finished.number("scan", "files"),
        directories=finished.number("scan", "directories"),
        others=finished.number("scan", "other"),
        bytes_in=finished.number("scan", "data"),
        bytes_out=0,
        seconds=finished.seconds,
        notices=job.notices,
        stages=finished.stages,
    )


def _summary(done: Archived, job: Job, name: str) -> Summary:
    return Summary(
        job=_KIND,
        archive=done.archive.hex(),
        name=name,
        files=done.counts.files,
        directories=done.counts.directories,
        others=done.counts.others,
        bytes_in=done.counts.bytes_in,
        bytes_out=done.facts.bytes_stored,
        seconds=done.finished.seconds if done.finished else 0.0,
        notices=job.notices,
        stages=done.finished.stages if done.finished else (),
        resumed=done.resumed,
    )
