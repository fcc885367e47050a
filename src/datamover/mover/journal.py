"""The journal of a backup: what its source must know to go on after it was interrupted.

    STATE/journal/<key>.json     which archive, which attempt, and what was acknowledged as durable
    STATE/journal/<key>.lock     held while a run of that command lives
    STATE/journal/<key>.sent     how much was sent in all, when it was last noted
    STATE/journal/<key>.held     what a resumed run derives for its stages; gone with the run
    STATE/journal/<key>.index    likewise

Source: docs/spec/resume.md, section 3; SPEC G9.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, Self

import msgspec

from datamover.errors import DataMoverError, MalformedError, UnsafeFileError
from datamover.ids import ArchiveId
from datamover.link.durable import PRIVATE, make_folder, read_file, remove_file, replace_file
from datamover.link.places import state_folder
from datamover.mover.mark import ATTEMPTS_MAX, KEPT_S
from datamover.mover.reservation import Reservation
from datamover.units import Nanoseconds
from datamover.wire.archive import ArchiveHeader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["CommandKey", "Journal", "Journaled"]

_LONGEST: Final = 64 << 10
_MOST: Final = 1000
"""Journals that are looked at, however many there are."""

_NOTE_S: Final = 0.05
_DIGITS: Final = 20
_KEY: Final = 32
_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class Journaled(msgspec.Struct, kw_only=True):
    """What is in a journal.

    Attributes:
        key: Of the command.
        lineage: Of the store and the sources alone.
        archive: The encoded archive header, in hexadecimal.
        attempt: Of the run that wrote it.
        noted_ns: When.
        chunks: That were durable and entered.
        stored: Bytes of them.
    """

    version: int = 1
    key: _Hex
    lineage: _Hex
    archive: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})+$", max_length=16384)]
    attempt: Annotated[int, msgspec.Meta(ge=0, lt=ATTEMPTS_MAX)] = 0
    noted_ns: _Count = 0
    chunks: _Count = 0
    stored: _Count = 0

    @property
    def header(self) -> ArchiveHeader:
        """The archive header.

        Raises:
            FormatError: It is none.
        """
        return ArchiveHeader.decode(memoryview(bytes.fromhex(self.archive)))


class CommandKey:
    """What makes two runs the same backup.

    Attributes:
        key: Names the command.
        lineage: Names its store and sources alone.
    """

    def __init__(self, store: bytes, sources: Iterable[str], options: Iterable[str]) -> None:
        """Name a command.

        Args:
            store: The store's id.
            sources: Absolute paths.
            options: What else the archive depends on.
        """
        parts = [store, *map(os.fsencode, sources)]
        self.lineage = _digest([b"lineage", *parts])
        self.key = _digest([b"key", *parts, b"options", *map(os.fsencode, options)])


class Journal:
    """The journal of one command, held by this run; a context manager."""

    def __init__(self, folder: Path, command: CommandKey, lock: Reservation) -> None:
        self._folder = folder
        self._command = command
        self._lock = lock
        self._path = folder / f"{command.key}.json"
        self._sent = folder / f"{command.key}.sent"
        self._before = 0
        self._now: Journaled | None = None
        self._noted = time.monotonic()

    @classmethod
    def take(cls, command: CommandKey) -> Self | None:
        """Hold the journal of a command; None when another run of it lives.

        Raises:
            DataMoverError: No journal can be kept here.
        """
        try:
            folder = state_folder() / "journal"
            make_folder(folder)
            lock = Reservation.take(folder, ArchiveId(bytes.fromhex(command.key)))
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UnsafeFileError(path="the folder of journals", reason=reason) from error
        return None if lock is None else cls(folder, command, lock)

    @property
    def chunks(self) -> int:
        """How many chunks were acknowledged as durable, of all runs."""
        return 0 if self._now is None else self._now.chunks

    @property
    def stored(self) -> int:
        """Bytes of them."""
        return 0 if self._now is None else self._now.stored

    @property
    def held(self) -> Path:
        """Where to keep what an archive has under each name."""
        return self._folder / f"{self._command.key}.held"

    @property
    def index(self) -> Path:
        """Where to keep where the index stands."""
        return self._folder / f"{self._command.key}.index"

    def read(self) -> Journaled | None:
        """Return what an earlier run wrote; None when there is nothing.

        Raises:
            DataMoverError: What is there is no journal of this command.
            OSError: It cannot be read.
        """
        try:
            found = _read(self._path)
        except FileNotFoundError:
            return None
        if found.key != self._command.key:
            raise MalformedError(what="journal", reason="it is of another command")
        return found

    def begin(
        self, header: ArchiveHeader, *, attempt: int, chunks: int = 0, stored: int = 0
    ) -> None:
        """Write that this run goes on with, or begins, an archive; durable on return.

        Raises:
            OSError: The system refuses.
        """
        self._now = Journaled(
            key=self._command.key,
            lineage=self._command.lineage,
            archive=header.encode().hex(),
            attempt=attempt,
            chunks=chunks,
            stored=stored,
        )
        self._before = stored
        self._write(self._now)

    def acknowledge(self, length: int) -> None:
        """Write that one more chunk is durable and entered; durable on return.

        A journal that cannot be written any more is left as it is: the store knows the chunks.
        """
        if self._now is not None:
            self._now.chunks += 1
            self._now.stored += length
            with suppress(OSError):
                self._write(self._now)

    def note(self, sent: int) -> None:
        """Note how much this run has sent; not durable, and not at every call."""
        now = time.monotonic()
        if self._now is None or now - self._noted < _NOTE_S:
            return
        self._noted = now
        with suppress(OSError):
            self._sent.write_bytes(b"%d" % (self._before + sent))

    def sent(self) -> int:
        """Return how much the run before had sent, by its last note."""
        with suppress(OSError, ValueError), self._sent.open("rb") as file:
            return int(file.read(_DIGITS))
        return 0

    def remove(self) -> None:
        """Remove it, durably: its archive is complete, or gone."""
        self._now = None
        with suppress(OSError):
            remove_file(self._path)
            self._sent.unlink(missing_ok=True)

    def others(self) -> Iterator[tuple[Journaled, Journal]]:
        """Yield journals of the same sources and store, each held while it is looked at.

        Those that are too old to be of use are removed on the way.
        """
        with suppress(OSError):
            paths = sorted(self._folder.glob("*.json"))[:_MOST]
            for path in paths:
                if path == self._path or len(path.stem) != _KEY:
                    continue
                with suppress(OSError, ValueError, DataMoverError):
                    found = _read(path)
                    is_old = time.time() - path.lstat().st_mtime > KEPT_S
                    if found.lineage != self._command.lineage and not is_old:
                        continue
                    lock = Reservation.take(self._folder, ArchiveId(bytes.fromhex(path.stem)))
                    if lock is None:
                        continue
                    with Journal(self._folder, _Known(found), lock) as other:
                        if found.lineage == self._command.lineage:
                            yield found, other
                        other.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for path in (self.held, self.index):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self._lock.release()

    def _write(self, given: Journaled) -> None:
        given.noted_ns = Nanoseconds(time.time_ns())
        self._noted = time.monotonic()
        replace_file(self._path, msgspec.json.encode(given), mode=PRIVATE)


class _Known(CommandKey):
    def __init__(self, found: Journaled) -> None:
        self.key, self.lineage = found.key, found.lineage


def _read(path: Path) -> Journaled:
    data = read_file(path, most=_LONGEST, secret=True)
    try:
        found = msgspec.json.decode(data, type=Journaled)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedError(what="journal", reason=str(error)) from None
    if found.version != 1:
        raise MalformedError(what="journal", reason=f"version {found.version}")
    return found


def _digest(parts: Iterable[bytes]) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.hexdigest()[:_KEY]
