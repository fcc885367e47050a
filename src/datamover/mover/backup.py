"""Back up: files into a new archive of a store.

What is durable comes first: a chunk file, then its rows, then the archive's state.  A run that
dies in between leaves an incomplete archive, which the next run removes.

Source: seed FIG. 7, FIG. 8 (804-812); SPEC E1-E6, F1, F2; docs/ARCHITECTURE.md, "Invariants".
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.errors import SourceError, UsageError
from datamover.monitor.pipe_socket import asked
from datamover.monitor.supervisor import Monitor
from datamover.mover.count import Counts
from datamover.mover.forecast import Forecast
from datamover.mover.job import Job, processors
from datamover.mover.label import Label
from datamover.mover.pipes import BLOCK_SIZE, WRITING_STAGES, writing
from datamover.mover.placing import Placed, place
from datamover.mover.report import Summary
from datamover.pipe.spec import OnDeath, StageSpec
from datamover.placement.decision import Command
from datamover.placement.rule import Rules
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveHeader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from datamover.mover.job import Finished
    from datamover.mover.report import Watch
    from datamover.mover.store import NewArchive, Store
    from datamover.pipe.spec import PipeSpec

__all__ = ["BackupSettings", "backup"]

_KIND: Final = "backup"
_COUNTS: Final = "scan"


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
    forecast: bool = False
    rules: Rules | None = None
    on_death: OnDeath = OnDeath.RETRY


def backup(store: Store, sources: Sequence[str], settings: BackupSettings, watch: Watch) -> Summary:
    """Copy files into a new archive of ``store``; return when it is durable.

    Args:
        store: Where to.
        sources: What; each comes back under its own name.
        settings: How.
        watch: Who looks on.

    Raises:
        UsageError: No source, two of one name, no such codec, or a rule that cannot be followed.
        SourceError: A source is not there.
        StageFailedError: A stage ended abnormally; nothing of the new archive is kept.
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
        with _forecast(roots, settings) as forecast:
            job.forecast = forecast
            if settings.dry_run:
                spec, _ = _pipe(roots, settings, placed, None, StageSpec(use="discard"))
                return _summary(job.run(spec), job, archive=b"", name=settings.name, stored=0)
            store.clean()
            return _backup(store, roots, settings, placed, job)


def _forecast(
    roots: tuple[str, ...], settings: BackupSettings
) -> AbstractContextManager[Forecast | None]:
    if not settings.forecast:
        return nullcontext()
    return Forecast(roots, excludes=settings.excludes, one_file_system=settings.one_file_system)


def _backup(
    store: Store, roots: tuple[str, ...], settings: BackupSettings, placed: Placed, job: Job
) -> Summary:
    label = _label(roots, settings)
    new = store.new_archive(label, placed.cipher)
    _, declared = _pipe(roots, settings, placed, new, StageSpec(use="discard"))
    header = ArchiveHeader(
        archive=new.id,
        created_ns=new.created_ns,
        block_size=Bytes(BLOCK_SIZE),
        cipher=new.cipher,
        wrapped_key=new.wrapped_key,
        label=new.label,
        transforms=declared,
    )
    tail = StageSpec(
        use="store",
        at=store.depot.machine,
        settings={
            "directory": store.depot.directory,
            "store": store.id.hex(),
            "archive": header.encode().hex(),
            "chunk_size": placed.chunk_size,
        },
    )
    spec, _ = _pipe(roots, settings, placed, new, tail)
    with store.depot.writing(new.record()):
        return _run(store, new, spec, job, label)


def _run(store: Store, new: NewArchive, spec: PipeSpec, job: Job, label: Label) -> Summary:
    job.after("chunk", lambda given: store.depot.enter(str(given.get("name"))))
    job.on("page", lambda _: None)
    finished = job.run(spec)
    counts = Counts(
        files=finished.number("scan", "files"),
        directories=finished.number("scan", "directories"),
        others=finished.number("scan", "other"),
        bytes_in=finished.number("scan", "data"),
    )
    facts = store.depot.finish(counts)
    return _summary(finished, job, archive=new.id, name=label.name, stored=facts.bytes_stored)


def _pipe(
    roots: tuple[str, ...],
    settings: BackupSettings,
    placed: Placed,
    new: NewArchive | None,
    tail: StageSpec,
) -> tuple[PipeSpec, tuple[int, ...]]:
    return writing(
        roots=roots,
        excludes=settings.excludes,
        one_file_system=settings.one_file_system,
        codecs=placed.codecs,
        routing=placed.routing,
        cipher=placed.cipher if new else "none",
        key=new.key if new else b"",
        archive=new.id if new else b"",
        jobs=settings.jobs or processors(),
        tail=tail,
        on_death=settings.on_death,
    )


def _roots(sources: Sequence[str]) -> tuple[str, ...]:
    """Return absolute paths; each must be there, under a name of its own."""
    if not sources:
        raise UsageError(reason="nothing to back up: name a file or a folder")
    roots: dict[str, str] = {}
    for source in sources:
        path = os.path.abspath(source)  # noqa: PTH100 - must not follow a link that is the source
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


def _summary(finished: Finished, job: Job, *, archive: bytes, name: str, stored: int) -> Summary:
    return Summary(
        job=_KIND,
        archive=archive.hex(),
        name=name,
        files=finished.number("scan", "files"),
        directories=finished.number("scan", "directories"),
        others=finished.number("scan", "other"),
        bytes_in=finished.number("scan", "data"),
        bytes_out=stored,
        seconds=finished.seconds,
        notices=job.notices,
        stages=finished.stages,
    )
