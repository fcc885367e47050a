"""Archiving: the run that makes an archive, from its first block or from where another ended.

What is durable comes first: a chunk file, its rows, the journal, then the archive's state.

Source: seed FIG. 7, FIG. 8 (804-812); SPEC E1-E6, F1, F2, G9; docs/spec/resume.md.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from datamover.catalog.rows import ArchiveFacts, ArchiveRecord
from datamover.errors import DataMoverError, MalformedError, PeerRefusedError
from datamover.ids import ATTEMPT_BLOCKS
from datamover.mover.count import Counts
from datamover.mover.job import Finished, Job
from datamover.mover.journal import Journal
from datamover.mover.pipes import BLOCK_SIZE, writing
from datamover.mover.placing import Placed
from datamover.mover.report import Resumed
from datamover.mover.store import Store
from datamover.mover.takeover import Takeover, take_over
from datamover.pipe.spec import OnDeath, StageSpec
from datamover.units import Bytes
from datamover.wire.archive import ArchiveHeader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from datamover.mover.depot import Attempt
    from datamover.mover.journal import Journaled
    from datamover.mover.label import Label
    from datamover.pipe.spec import PipeSpec

__all__ = ["Archived", "Archiving"]

_STAGE: Final = "backup"
_NOT_THERE: Final = frozenset({"store.archive-missing", "store.damaged", "usage", "peer.protocol"})
_BUSY: Final = "store.archive-busy"
_PATIENCE_S: Final = 60.0
_AGAIN_S: Final = 1.0
_NO_CIPHER: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What came of it.

    Attributes:
        archive: The archive's id.
        finished: What came of the pipe; None when nothing was left to send.
        counts: What the archive holds.
        facts: What the store says of it.
        resumed: Of a run that went on.
    """

    archive: bytes
    finished: Finished | None
    counts: Counts
    facts: ArchiveFacts
    resumed: Resumed | None = None


@dataclass(kw_only=True)
class Archiving:
    """One backup into one store.

    Attributes:
        store: Where to.
        roots: Absolute paths of the sources.
        excludes: See ``BackupSettings``; likewise the others.
        job: Runs the pipe, and tells.
        journal: Of this command; None when it cannot be resumed.
    """

    store: Store
    roots: tuple[str, ...]
    excludes: tuple[str, ...]
    one_file_system: bool
    placed: Placed
    jobs: int
    on_death: OnDeath
    job: Job
    journal: Journal | None = None
    _before: int = field(init=False, default=0)

    def begin(self, label: Label) -> Archived:
        """Make a new archive; return when it is complete and durable.

        Raises:
            StageFailedError: A stage ended abnormally.
            StoreError: The store refuses.
        """
        new = self.store.new_archive(label, self.placed.cipher)
        header = ArchiveHeader(
            archive=new.id,
            created_ns=new.created_ns,
            block_size=Bytes(BLOCK_SIZE),
            cipher=new.cipher,
            wrapped_key=new.wrapped_key,
            label=new.label,
            transforms=self._declared(),
        )
        if self.journal is not None:
            try:
                self.journal.begin(header, attempt=0)
            except OSError as error:
                self._tell("not resumable", reason=f"the journal: {error.strerror}")
                self.journal = None
        with self.store.depot.writing(new.record(), resumable=self.journal is not None):
            return self._run(header, new.key, Takeover(), attempt=0)

    def go_on(self, earlier: Journaled) -> Archived | None:
        """Go on with the archive of an interrupted run; None when that cannot be.

        Raises:
            StageFailedError: A stage ended abnormally.
            StoreError: The store refuses, or the archive is being written.

        Blocking: up to a minute while a dead writer is not yet missed where the store is.
        """
        assert self.journal is not None  # noqa: S101 - ``earlier`` is from it
        try:
            header = earlier.header
            if header.transforms != self._declared() or header.block_size != BLOCK_SIZE:
                raise MalformedError(what="journal", reason="its archive was begun otherwise")
            record = _record(header)
            key = self.store.archive_key(record)
        except DataMoverError as error:
            self._not_resumed(str(error))
            return None
        is_held = False
        try:
            with self._resuming(record, earlier.attempt + 1) as attempt:
                is_held = True
                found = self._taken_over(header, record, key, attempt)
                if found.chunks < earlier.chunks:
                    lost = f"the store has {found.chunks} of {earlier.chunks} acknowledged chunks"
                    self._tell("note", reason=lost)
                self._tell(
                    "resumed",
                    reason="going on where an interrupted run of this command ended",
                    archive=record.id.hex(),
                    chunks=found.chunks,
                    bytes=found.stored,
                )
                if attempt.is_whole:
                    return self._complete(header, found, None, found.counts, attempt.number)
                return self._run(header, key, found, attempt=attempt.number)
        except _CannotError as error:
            self._not_resumed(str(error))
            return None
        except DataMoverError as error:
            if is_held or _code(error) not in _NOT_THERE:
                raise
            self._not_resumed(str(error))
            return None

    def _taken_over(
        self, header: ArchiveHeader, record: ArchiveRecord, key: bytes, attempt: Attempt
    ) -> Takeover:
        """Derive what the stages need, and write down that this attempt begins."""
        assert self.journal is not None  # noqa: S101 - ``go_on`` has it
        try:
            found = take_over(self.store.depot, record, key, self.journal.held)
            if attempt.number <= found.last_block // ATTEMPT_BLOCKS:
                raise MalformedError(what="attempt", reason="its number was used before")
            found.index.write(self.journal.index)
            self.journal.begin(
                header, attempt=attempt.number, chunks=found.chunks, stored=found.stored
            )
        except (DataMoverError, OSError) as error:
            raise _CannotError(str(error)) from error
        self._before = self.journal.sent()
        return found

    def discard(self, earlier: Journaled) -> None:
        """Discard what an interrupted run left, where the store is and here.

        Raises:
            StoreError: It is being written.
        """
        with suppress(DataMoverError):
            record = _record(earlier.header)
            self.store.depot.drop(record)
        if self.journal is not None:
            self.journal.remove()

    def dry_run(self) -> Finished:
        """Read and count, and keep nothing."""
        spec, _ = self._pipe(b"", b"", StageSpec(use="discard"), cipher=_NO_CIPHER)
        return self.job.run(spec)

    @contextmanager
    def _resuming(self, record: ArchiveRecord, least: int) -> Iterator[Attempt]:
        """Hold the archive, once a dead writer of it is missed where the store is."""
        with ExitStack() as stack:
            yield self._enter(stack, record, least)

    def _enter(self, stack: ExitStack, record: ArchiveRecord, least: int) -> Attempt:
        deadline = time.monotonic() + _PATIENCE_S
        has_told = False
        while True:
            try:
                return stack.enter_context(self.store.depot.resuming(record, least))
            except DataMoverError as error:
                # No other run of this command lives here: the journal is ours.
                if _code(error) != _BUSY or time.monotonic() > deadline:
                    raise
            if not has_told:
                has_told = True
                self._tell("note", reason="waiting for the interrupted run to be missed")
            time.sleep(_AGAIN_S)

    def _run(self, header: ArchiveHeader, key: bytes, found: Takeover, *, attempt: int) -> Archived:
        tail = StageSpec(
            use="store",
            at=self.store.depot.machine,
            settings={
                "directory": self.store.depot.directory,
                "store": self.store.id.hex(),
                "archive": header.encode().hex(),
                "chunk_size": self.placed.chunk_size,
                "chunks": found.chunks,
                "blocks": found.blocks,
                "plain": found.index.offset,
                "first_block": attempt * ATTEMPT_BLOCKS,
            },
        )
        spec, _ = self._pipe(header.archive, key, tail, attempt=attempt)
        self.job.after("chunk", self._acknowledged)
        self.job.on("page", lambda _: None)
        self.job.on_sent = self.journal.note if self.journal else None
        try:
            finished = self.job.run(spec)
        except BaseException:
            if self.journal is not None and self.journal.chunks:
                self._tell(
                    "kept",
                    reason="the same command goes on from here, within 7 days",
                    chunks=self.journal.chunks,
                    bytes=self.journal.stored,
                )
            raise
        sent = found.counts
        counts = Counts(
            files=sent.files + finished.number("scan", "files"),
            directories=sent.directories + finished.number("scan", "directories"),
            others=sent.others + finished.number("scan", "other"),
            bytes_in=sent.bytes_in + finished.number("scan", "data"),
        )
        return self._complete(header, found, finished, counts, attempt)

    def _complete(
        self,
        header: ArchiveHeader,
        found: Takeover,
        finished: Finished | None,
        counts: Counts,
        attempt: int,
    ) -> Archived:
        facts = self.store.depot.finish(counts)
        again = max(0, self._before - found.stored)
        resumed = Resumed(attempt=attempt, taken=found.stored, again=again) if attempt else None
        return Archived(
            archive=header.archive, finished=finished, counts=counts, facts=facts, resumed=resumed
        )

    def settle(self) -> None:
        """Take away what a complete archive makes useless: journals, and other runs' remains."""
        if self.journal is None:
            return
        self.journal.remove()
        for found, _ in self.journal.others():
            with suppress(DataMoverError):
                self.store.depot.drop(_record(found.header))

    def _acknowledged(self, given: Mapping[str, object]) -> None:
        """Enter a chunk that is durable, and write it down."""
        self.store.depot.enter(str(given.get("name")))
        length = given.get("length")
        if self.journal is not None and isinstance(length, int):
            self.journal.acknowledge(length)

    def _declared(self) -> tuple[int, ...]:
        return self._pipe(b"", b"", StageSpec(use="discard"))[1]

    def _pipe(
        self, archive: bytes, key: bytes, tail: StageSpec, *, attempt: int = 0, cipher: str = ""
    ) -> tuple[PipeSpec, tuple[int, ...]]:
        return writing(
            roots=self.roots,
            excludes=self.excludes,
            one_file_system=self.one_file_system,
            codecs=self.placed.codecs,
            routing=self.placed.routing,
            cipher=cipher or self.placed.cipher,
            key=key,
            archive=archive,
            jobs=self.jobs,
            tail=tail,
            on_death=self.on_death,
            first_block=attempt * ATTEMPT_BLOCKS,
            held=str(self.journal.held) if attempt and self.journal else "",
            state=str(self.journal.index) if attempt and self.journal else "",
        )

    def _not_resumed(self, reason: str) -> None:
        self._tell("not resumed", reason=f"beginning anew: {reason}")

    def _tell(self, kind: str, **given: object) -> None:
        self.job.tell(_STAGE, kind, given)


class _CannotError(Exception):
    """What there is cannot be gone on with."""


def _record(header: ArchiveHeader) -> ArchiveRecord:
    return ArchiveRecord(
        id=header.archive,
        created_ns=header.created_ns,
        label=header.label,
        wrapped_key=header.wrapped_key,
    )


def _code(error: DataMoverError) -> str:
    """Return an error's code, whichever machine raised it."""
    return error.cause_code if isinstance(error, PeerRefusedError) else error.code
