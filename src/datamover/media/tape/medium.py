"""Tapes as a medium: volumes of a store, written one after the other, read wherever they are.

    volume 0 │label│▮│chunk│▮│closing│▮│chunk, part 0│▮│closing│▮│
    volume 1 │label│▮│chunk, part 1│▮│closing│▮│dropped│▮│

Source: docs/spec/media-format.md, "Tapes"; SPEC F9, F13; ADR 0027.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import ChunkMissingError, DataMoverError, MediumFullError, StoreError
from datamover.ids import StoreId
from datamover.media.label import Owner
from datamover.media.medium import Traits
from datamover.media.naming import require_name
from datamover.media.tape.buffer import StreamingBuffer
from datamover.media.tape.directory import TapeDirectory
from datamover.media.tape.drive import Written
from datamover.media.tape.reader import TapeReader
from datamover.media.tape.records import PartClosing, PartOpening, PartsDropped
from datamover.media.tape.volume import Contents, Part, Volume
from datamover.media.tape.writer import TapeWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from datamover.media.label import VolumeLabel
    from datamover.media.tape.drive import Changer
    from datamover.units import Bytes

__all__ = ["TapeMedium"]

# How long a chunk may stand still while another waits for the drive.
_PATIENCE_S: Final = 30.0
_NOBODY: Final = StoreId(bytes(16))


class TapeMedium:
    """Chunks as files of tapes; use it as a context manager, or ``close`` it.

    The drive is ours from the first use until ``close``.
    """

    def __init__(
        self, changer: Changer, *, buffer: Bytes, high: Bytes, low: Bytes, owner: Owner | None
    ) -> None:
        """Take a changer; nothing is loaded before it is needed.

        Args:
            changer: It is closed with the medium.
            buffer: Bytes that a chunk gathers in memory at most.
            high: How many are worth starting the drive.
            low: At how few it is let stop.
            owner: Whose chunks these are; None: everybody's are read, and nobody's written.
        """
        self._changer = changer
        self._sizes = (buffer, high, low)
        self._reads = owner
        self._owner = owner or Owner(store=_NOBODY)
        self._directory: TapeDirectory | None = None
        self._volume: Volume | None = None
        self._drive_lock = threading.RLock()
        self._turn = threading.Condition()
        self._busy: TapeWriter | None = None
        # Chunks that are not finished, in the order in which they were begun.
        self._writers: list[TapeWriter] = []
        # Where the chunk that has the drive lies so far: volume and file of each part.
        self._trail: list[tuple[Contents, int]] = []

    @property
    def traits(self) -> Traits:
        """A tape: forward only, and room comes back with the whole cartridge alone."""
        return Traits(sequential=True, rewritable=False, block=self._changer.block)

    def create(self, name: str) -> TapeWriter:
        """Start a chunk; see ``Medium.create``."""
        require_name(name)
        if self._listed().writing(name) is not None:
            raise self._taken(name)
        block = self._changer.block
        buffer, high, low = (max(size, block) for size in self._sizes)
        writer = TapeWriter(
            name, self, StreamingBuffer(block=block, capacity=buffer, high=high, low=low)
        )
        with self._turn:
            self._writers.append(writer)
        return writer

    def open(self, name: str) -> TapeReader:
        """Open a whole chunk; see ``Medium.open``."""
        require_name(name)
        parts = self._listed().parts(name)
        if not parts:
            raise ChunkMissingError(chunk=name)
        return TapeReader(name, parts, self)

    def names(self) -> Iterator[str]:
        """Yield the names of whole chunks, sorted; see ``Medium.names``."""
        yield from self._listed().names()

    def forget(self, name: str) -> None:
        """Drop a chunk; see ``Medium.forget``.  Its bytes stay where they are."""
        require_name(name)
        writing = self._listed().writing(name)
        if writing is None:
            return
        with self.reading():
            self._note(PartsDropped(writing=writing, name=name))
        self._listed().drop(name, writing)

    def clean(self) -> list[str]:
        """Write over what dead writers left; see ``Medium.clean``.

        Whoever has the drive is the only one who writes: what is torn has no writer.
        """
        directory = self._listed()
        with self._turn:
            if self._busy is not None:
                return []
        removed = []
        with self.reading():
            for contents in directory.of(self._owner.store):
                if contents.torn is None:
                    continue
                torn = contents.torn
                volume = self._at_end(contents)
                self._write_note(volume, PartsDropped(writing=torn.writing, name=torn.name))
                contents.end, contents.torn = volume.file, None
                directory.drop(torn.name, torn.writing)
                removed.append(torn.name)
        return sorted(removed)

    def labels(self) -> list[VolumeLabel]:
        """Return the labels of the volumes that can be had, by store and number."""
        found = [volume.label for volume in self._listed().volumes]
        labels = [label for label in found if label is not None]
        return sorted(labels, key=lambda label: (label.store, label.volume, label.created_ns))

    def close(self) -> None:
        """Let go of the drive; again is harmless.  A chunk that is not about to end is dropped."""
        with self._turn:
            begun = [writer for writer in self._writers if not writer.is_ending]
        for writer in begun:
            writer.abandon()
        with self._drive_lock:
            self._volume = self._directory = None
            self._changer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def enter(self, writer: TapeWriter) -> None:
        """Wait for the drive, and have it for this chunk, which is at its end; for ``TapeWriter``.

        Raises:
            StoreError: Another chunk has it, and nothing becomes of that.
        """
        with self._turn:
            self._wait_until(lambda: self._busy is None)
            self._have(writer)

    def try_enter(self, writer: TapeWriter, *, needs_it: bool) -> bool:
        """Have the drive for this chunk, if it may, or when it must; for ``TapeWriter``.

        What was begun before goes first: whoever makes chunks durable does so in their order, and
        would wait for this one.

        Raises:
            StoreError: It is needed, another chunk goes first, and nothing becomes of that.
        """
        with self._turn:
            if needs_it:
                self._wait_until(lambda: self._may_stream(writer))
            elif not self._may_stream(writer):
                return False
            self._have(writer)
            return True

    def leave(self, writer: TapeWriter) -> None:
        """Let another chunk have the drive: this one is finished; for ``TapeWriter``."""
        with self._turn:
            self._writers.remove(writer)
            if self._busy is writer:
                self._busy = None
            self._turn.notify_all()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have the drive for a ``with`` block, between chunks; for ``TapeReader``.

        Raises:
            StoreError: A chunk has it that is not about to end.
        """
        with self._turn:
            self._wait_until(lambda: self._busy is None)
            with self._drive_lock, self._guarded():
                yield

    def volume_of(self, cartridge: str) -> Volume:
        """Return a cartridge, in our drive; for ``TapeReader``, while it is ``reading``."""
        if self._volume is None or self._volume.cartridge != cartridge:
            self._volume = None
            self._volume = Volume(cartridge, self._changer.load(cartridge))
        return self._volume

    def pump(self, name: str, buffer: StreamingBuffer, began: Callable[[bytes], None]) -> bytes:
        """Move a chunk from its buffer to the tapes, until its end; for ``TapeWriter``.

        Args:
            name: The chunk's.
            buffer: Where its bytes come from.
            began: Told the writing's id before anything is on a tape.

        Raises:
            MediumFullError: No room, and no empty cartridge.
            StoreError: The drive refuses, or there is a chunk of that name by now.
        """
        writing = os.urandom(16)
        began(writing)
        with self._drive_lock, self._guarded():
            contents = self._last()
            part = offset = 0
            block = buffer.take()
            while True:
                volume = self._at_end(contents)
                opening = PartOpening(writing=writing, part=part, offset=offset, name=name)
                if volume.write(memoryview(opening.encode())) is Written.WARNED:
                    contents = self._next(contents)
                    continue
                self._trail.append((contents, contents.end))
                length, is_full = 0, False
                while block is not None and not is_full:
                    is_full = volume.write(block) is Written.WARNED
                    if not is_full:
                        length += len(block)
                        buffer.taken()
                        block = buffer.take()
                if buffer.is_broken:
                    break
                if not is_full and self._listed().writing(name) is not None:
                    raise self._taken(name)
                closing = PartClosing(writing=writing, part=part, length=length, goes_on=is_full)
                self._end_part(volume, contents, opening, closing)
                if not is_full:
                    break
                contents = self._next(contents)
                part, offset = part + 1, offset + length
        return writing

    def finish(self, writer: TapeWriter, writing: bytes) -> None:
        """Let a chunk be seen of which all parts are on tapes; for ``TapeWriter``."""
        if self._directory is not None:
            self._directory.settle_one(writer.name, writing)

    def drop(self, writer: TapeWriter, writing: bytes) -> None:
        """Take back what is on the tapes of a chunk that has the drive; for ``TapeWriter``.

        Raises:
            StoreError: The drive refuses; what is left is torn, and no chunk.
            MediumFullError: Likewise.
        """
        with self._turn:
            if self._busy is not writer or not self._trail:
                return
        self._listed().drop(writer.name, writing)
        with self._drive_lock, self._guarded():
            for contents, _ in reversed(self._trail[1:]):
                # Nothing else is on them.
                number = contents.label.volume if contents.label is not None else 0
                self._relabel(contents, number)
            contents, file = self._trail[0]
            volume = self.volume_of(contents.cartridge)
            volume.go_to(file)
            self._write_note(volume, PartsDropped(writing=writing, name=writer.name))
            contents.end = volume.file

    def _listed(self) -> TapeDirectory:
        """Return the directory; go over all cartridges once."""
        if self._directory is None:
            with self._drive_lock, self._guarded():
                directory = TapeDirectory(self._changer.where, self._reads)
                for cartridge in self._changer.cartridges():
                    directory.add(self.volume_of(cartridge).look())
                directory.settle()
                self._directory = directory
        return self._directory

    def _last(self) -> Contents:
        """Return the volume that is written to: the last that has chunks, or a first one."""
        used = [one for one in self._mine() if one.end > 1 or one.fault]
        if used and not used[-1].fault:
            return used[-1]
        return self._next(used[-1] if used else None)

    def _next(self, after: Contents | None) -> Contents:
        """Return the volume behind another; an empty cartridge becomes it.

        Raises:
            MediumFullError: There is none.
        """
        mine = self._mine()
        behind = mine[mine.index(after) + 1 :] if after is not None else mine
        if behind:
            return behind[0]
        directory = self._listed()
        if not directory.blank:
            raise MediumFullError(where=f"{self._changer.where}: no empty cartridge")
        contents = Contents(cartridge=directory.blank[0])
        labels = [one.label.volume for one in mine if one.label is not None]
        self._relabel(contents, max(labels, default=-1) + 1)
        directory.blank.pop(0)
        directory.volumes.append(contents)
        return contents

    def _mine(self) -> list[Contents]:
        return self._listed().of(self._owner.store)

    def _relabel(self, contents: Contents, number: int) -> None:
        """Make an empty volume of a cartridge."""
        self._volume = None
        label = self._owner.label(contents.cartridge, number)
        drive = self._changer.load(contents.cartridge)
        self._volume = Volume.label(contents.cartridge, drive, label)
        contents.label, contents.end, contents.torn = label, self._volume.file, None
        contents.parts.clear()

    def _at_end(self, contents: Contents) -> Volume:
        volume = self.volume_of(contents.cartridge)
        volume.go_to(contents.end)
        return volume

    def _end_part(
        self, volume: Volume, contents: Contents, opening: PartOpening, closing: PartClosing
    ) -> None:
        volume.mark(durable=False)
        self._write_record(volume, closing.encode())
        part = Part(
            cartridge=contents.cartridge, file=contents.end, opening=opening, closing=closing
        )
        contents.end, contents.torn = volume.file, None
        contents.parts.append(part)
        self._listed().enter(part)

    def _note(self, note: PartsDropped) -> None:
        """Append a note, on the next volume where this one has no room left at all."""
        contents = self._last()
        try:
            volume = self._at_end(contents)
            self._write_note(volume, note)
        except MediumFullError:
            contents = self._next(contents)
            volume = self._at_end(contents)
            self._write_note(volume, note)
        contents.end, contents.torn = volume.file, None

    def _write_note(self, volume: Volume, note: PartsDropped) -> None:
        self._write_record(volume, note.encode())

    def _write_record(self, volume: Volume, record: bytes) -> None:
        """Make a file of one record, durably."""
        if volume.write(memoryview(record)) is Written.WARNED:
            # It warns once, and there is room for this much.
            volume.write(memoryview(record))
        volume.mark()

    def _may_stream(self, writer: TapeWriter) -> bool:
        return self._busy is None and self._writers[0] is writer

    def _have(self, writer: TapeWriter) -> None:
        self._busy = writer
        self._trail = []

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait while the chunks that go first get on; the turn is held.

        Raises:
            StoreError: They do not: somebody writes two at once, and each waits for the other.
        """
        seen: tuple[TapeWriter, int] | None = None
        while not condition():
            first = self._busy or self._writers[0]
            now = (first, first.length)
            if not self._turn.wait(_PATIENCE_S) and now == seen and not first.is_ending:
                raise StoreError(
                    store=self._changer.where,
                    reason=f"a tape takes one chunk after the other: {first.name} is not finished",
                )
            seen = (first, first.length)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """After an error nobody knows where the tape stands: it is loaded anew."""
        try:
            yield
        except DataMoverError:
            self._volume = None
            raise

    def _taken(self, name: str) -> StoreError:
        return StoreError(store=self._changer.where, reason=f"chunk {name} is already there")
