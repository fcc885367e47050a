"""One labelled cartridge in a drive: what is on it, and where the tape stands.

Nothing but the tape says what is on it: the directory of a volume is made by going over it, from
filemark to filemark, with a look at the first block of each file.

Source: docs/spec/media-format.md, "Tapes"; ADR 0027; SPEC X10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import FormatError, MediumFullError, StoreError
from datamover.media.label import LABEL_MAX, VolumeLabel
from datamover.media.tape.drive import Written
from datamover.media.tape.records import PartClosing, PartOpening, PartsDropped

if TYPE_CHECKING:
    from datamover.media.tape.drive import Drive

__all__ = ["Contents", "Part", "Volume"]

_LABEL_FILE: Final = 0
# One file holds a chunk: so many fit no tape, and a damaged one must not keep us for ever.
_MOST_FILES: Final = 10_000_000
_UNKNOWN: Final = -1
# Some drives take no block that is shorter than a few bytes, or odd.
_UNIT: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a chunk that was finished.

    Attributes:
        cartridge: Which one it lies on.
        file: Which file of it.
        opening: What it says of itself at its beginning.
        closing: And at its end.
    """

    cartridge: str
    file: int
    opening: PartOpening
    closing: PartClosing


@dataclass(slots=True, kw_only=True)
class Contents:
    """What is on one cartridge.

    Attributes:
        cartridge: What is written on it.
        label: Its label; None where there is none, or one that is damaged.
        is_blank: There is nothing on it at all.
        parts: The parts of chunks that are whole, in order.
        dropped: The writings that count no more.
        end: The file that the next one becomes.
        torn: The last file where its writer died over it: what it was to be.
        fault: Why what lies behind ``end`` cannot be read; nothing is written there then.
    """

    cartridge: str
    label: VolumeLabel | None = None
    is_blank: bool = False
    parts: list[Part] = field(default_factory=list)
    dropped: list[bytes] = field(default_factory=list)
    end: int = 0
    torn: PartOpening | None = None
    fault: str = ""


class Volume:
    """A cartridge in a drive.

    Attributes:
        cartridge: What is written on it.
        file: The file that the tape stands in.
        blocks: How many blocks of it are passed.
    """

    def __init__(self, cartridge: str, drive: Drive) -> None:
        """Take a drive with its tape at the beginning."""
        self.cartridge = cartridge
        self.file = 0
        self.blocks = 0
        self.drive = drive
        self._scratch = memoryview(bytearray(max(drive.block, LABEL_MAX)))

    @classmethod
    def label(cls, cartridge: str, drive: Drive, label: VolumeLabel) -> Self:
        """Label an empty cartridge.

        Raises:
            MediumFullError: It is too short for that.
            StoreError: The drive refuses.
            MalformedError: The label does not fit.
        """
        volume = cls(cartridge, drive)
        volume.start_over()
        record = label.encode()
        for at in range(0, len(record), drive.block):
            if volume.write(memoryview(record)[at : at + drive.block]) is Written.WARNED:
                raise MediumFullError(where=drive.name)
        volume.mark()
        return volume

    def start_over(self) -> None:
        """Go to the beginning of the tape."""
        self.drive.rewind()
        self.file = self.blocks = 0

    def go_to(self, file: int) -> None:
        """Go to the beginning of a file.

        Raises:
            StoreError: The tape ends before it, or the drive refuses.
        """
        if (file, 0) == (self.file, self.blocks):
            return
        if file <= self.file:
            # Counted from the beginning, a place is where it was whatever the drive: a file that is
            # written one too early ends what is behind it.
            self.start_over()
        passed = self.drive.forward_files(file - self.file)
        self.file, self.blocks = self.file + passed, 0
        if self.file != file:
            self.blocks = _UNKNOWN
            raise StoreError(store=self.drive.name, reason=f"the tape ends before file {file}")

    def write(self, block: memoryview) -> Written:
        """Write a block here, padded with zeros to a length that every drive takes."""
        unit = self.drive.block if self.drive.is_fixed else _UNIT
        if len(block) % unit:
            padded = bytearray(-(-len(block) // unit) * unit)
            padded[: len(block)] = block
            block = memoryview(padded)
        written = self.drive.write(block)
        if written is Written.TAKEN:
            self.blocks += 1
        return written

    def mark(self, *, durable: bool = True) -> None:
        """End the file; see ``Drive.mark``."""
        self.drive.mark(durable=durable)
        self.file, self.blocks = self.file + 1, 0

    def read(self) -> memoryview | None:
        """Return the block here, until the next read; empty for a filemark, None for the end."""
        size = self.drive.read(self._scratch)
        if size is None:
            # Not every drive stays where the data ends.
            self.blocks = _UNKNOWN
            return None
        self.file, self.blocks = (self.file, self.blocks + 1) if size else (self.file + 1, 0)
        return self._scratch[:size]

    def skip_blocks(self, count: int) -> None:
        """Pass so many blocks of this file.

        Raises:
            StoreError: The file ends before that.
        """
        for _ in range(count):
            if not self.read():
                raise StoreError(store=self.drive.name, reason="a file is shorter than it was")

    def look(self) -> Contents:
        """Go over the whole tape, and say what is on it, as far as it can be read."""
        found = Contents(cartridge=self.cartridge)
        try:
            self._look_at_label(found)
            if found.label is not None:
                found.end = 1
                while found.end < _MOST_FILES and self._look_at(found.end, found):
                    found.end = self.file
        except StoreError as error:
            found.fault = str(error)
        return found

    def _look_at_label(self, found: Contents) -> None:
        self.start_over()
        first = self.read()
        if not first:
            found.is_blank = first is None
            return
        record = bytearray(first)
        while (more := self.read()) and len(record) < LABEL_MAX:
            record += more
        try:
            found.label = VolumeLabel.decode(memoryview(record))
        except FormatError:
            return
        if more is None:
            # The label's own filemark is missing: nothing was ever written behind it.
            found.label, found.is_blank = None, True

    def _look_at(self, file: int, found: Contents) -> bool:
        """Take up what begins with this file; say whether there may be more."""
        self.go_to(file)
        first = self.read()
        if not first:
            return first is not None
        try:
            if bytes(first[:4]) == PartsDropped.MAGIC:
                dropped = PartsDropped.decode(first).writing
                if not self._pass_mark(file):
                    return False
                found.dropped.append(dropped)
                return True
            opening = PartOpening.decode(first)
        except FormatError:
            # A file of whatever kind: it is passed over.
            return self._pass_mark(file)
        return self._look_at_closing(file, opening, found)

    def _look_at_closing(self, file: int, opening: PartOpening, found: Contents) -> bool:
        """Take up a part of a chunk, if the file behind it closes it."""
        last = self.read() if self._pass_mark(file) else None
        if last is None:
            found.torn = opening
            return False
        try:
            closing = PartClosing.decode(last)
        except FormatError:
            # It is a file of its own, and the one before was given up.
            self.go_to(file + 1)
            return True
        if not self._pass_mark(file + 1):
            found.torn = opening
            return False
        if (closing.writing, closing.part) == (opening.writing, opening.part):
            part = Part(cartridge=self.cartridge, file=file, opening=opening, closing=closing)
            found.parts.append(part)
        return True

    def _pass_mark(self, file: int) -> bool:
        """Go over the filemark that ends this file; say whether there is one."""
        if self.drive.forward_files(1):
            self.file, self.blocks = file + 1, 0
            return True
        self.file, self.blocks = file, _UNKNOWN
        return False
