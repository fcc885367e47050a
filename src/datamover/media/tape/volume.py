"""One labelled cartridge in a drive: what is on it, and where the tape stands.

Nothing but the tape says what is on it: the directory of a volume is made by going over it, from
filemark to filemark, with a look at the first and the last block of each file.

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
        if file > self.file:
            passed = self.drive.forward_files(file - self.file)
            self.file, self.blocks = self.file + passed, 0
            if self.file != file:
                self.blocks = -1
                raise StoreError(store=self.drive.name, reason=f"the tape ends before file {file}")
        elif file == 0:
            self.start_over()
        else:
            # In front of the mark that ends the file before, and over it.
            self.drive.backward_files(self.file - file + 1)
            self.drive.forward_files(1)
            self.file, self.blocks = file, 0

    def write(self, block: memoryview) -> Written:
        """Write a block here, padded with zeros where the drive wants that."""
        if self.drive.is_fixed and len(block) < self.drive.block:
            padded = bytearray(self.drive.block)
            padded[: len(block)] = block
            block = memoryview(padded)
        written = self.drive.write(block)
        if written is Written.TAKEN:
            self.blocks += 1
        return written

    def mark(self) -> None:
        """End the file, durably."""
        self.drive.mark()
        self.file, self.blocks = self.file + 1, 0

    def read(self) -> memoryview | None:
        """Return the block here, until the next read; empty for a filemark, None for the end."""
        size = self.drive.read(self._scratch)
        if size is None:
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
                for file in range(1, _MOST_FILES):
                    found.end = file
                    if not self._look_at(file, found):
                        break
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
        """Take up one file; say whether there may be another."""
        self.go_to(file)
        first = self.read()
        if not first:
            return first is not None
        try:
            if bytes(first[:4]) == PartsDropped.MAGIC:
                dropped = PartsDropped.decode(first).writing
                opening = None
            else:
                dropped, opening = b"", PartOpening.decode(first)
        except FormatError:
            # A file of whatever kind: it is passed over.
            return self._pass_mark(file)
        if not self._pass_mark(file):
            found.torn = opening
            return False
        if dropped:
            found.dropped.append(dropped)
        if opening is not None and (closing := self._closing(file, opening)):
            part = Part(cartridge=self.cartridge, file=file, opening=opening, closing=closing)
            found.parts.append(part)
        return True

    def _pass_mark(self, file: int) -> bool:
        """Go over the filemark that ends this file; say whether there is one."""
        if self.drive.forward_files(1):
            self.file, self.blocks = file + 1, 0
            return True
        self.blocks = -1
        return False

    def _closing(self, file: int, opening: PartOpening) -> PartClosing | None:
        """Read the last block of the file that was just passed."""
        self.drive.backward_files(1)
        self.drive.backward_block()
        self.file, self.blocks = file, -1
        last = self.read()
        self.blocks = -1
        try:
            closing = PartClosing.decode(last if last is not None else memoryview(b""))
        except FormatError:
            return None
        fits = (closing.writing, closing.part) == (opening.writing, opening.part)
        return closing if fits else None
