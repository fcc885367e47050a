"""A drive of which the tape is a file, with the manners of a real one.

The file is in the format that tape simulators share (SIMH, ``.tap``): a block is its length, its
bytes, padded to an even number, and its length again; a filemark is a length of 0.  Lengths are of
32 bits, little-endian.  Behind the last of them the data ends.

Source: SIMH, "Magtape Representation and Handling"; docs/spec/media-format.md, "Tapes"; ADR 0027.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from datamover.errors import MediumFullError, StoreError
from datamover.media.tape.drive import Written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.units import Bytes

__all__ = ["VirtualDrive"]

_LENGTH: Final = struct.Struct("<I")
_FILEMARK: Final = _LENGTH.pack(0)
_SIDES: Final = 2 * _LENGTH.size
# What a real drive would not take either.
_LONGEST: Final = 1 << 24


class VirtualDrive:
    """See ``Drive``; the file is at its beginning."""

    def __init__(
        self, name: str, file: int, *, capacity: Bytes, early: Bytes, block: Bytes, is_fixed: bool
    ) -> None:
        """Take over an open file.

        Args:
            name: For messages.
            file: Open for reading and writing; it is closed with the drive.
            capacity: Bytes of the tape, lengths and filemarks included.
            early: How many bytes before its end the tape warns.
            block: Bytes of a block.
            is_fixed: Whether all blocks have that length.
        """
        self.name = name
        self.block = block
        self.is_fixed = is_fixed
        self._file = file
        self._capacity = capacity
        self._early = early
        self._at = 0
        self._has_warned = False

    def write(self, block: memoryview) -> Written:
        """Write one block; see ``Drive.write``."""
        size = len(block)
        if not 0 < size <= self.block or (self.is_fixed and size != self.block):
            raise StoreError(store=self.name, reason=f"takes no block of {size} bytes")
        end = self._at + _SIDES + size + size % 2
        if end > self._capacity - self._early and not self._has_warned:
            self._has_warned = True
            return Written.WARNED
        if end > self._capacity:
            raise MediumFullError(where=self.name)
        side = _LENGTH.pack(size)
        self._append([side, block, b"\0" * (size % 2), side])
        return Written.TAKEN

    def mark(self, *, durable: bool = True) -> None:
        """Write a filemark; see ``Drive.mark``."""
        if self._at + len(_FILEMARK) > self._capacity:
            raise MediumFullError(where=self.name)
        self._append([_FILEMARK])
        if durable:
            with self._refusals():
                os.fsync(self._file)

    def read(self, into: memoryview) -> int | None:
        """Read the block here; see ``Drive.read``."""
        size = self._length_here()
        if not size:
            self._at += len(_FILEMARK) if size == 0 else 0
            return size
        at, self._at = self._at + _LENGTH.size, self._at + _SIDES + size + size % 2
        if size > len(into):
            raise StoreError(store=self.name, reason=f"a block of {size} bytes is too long")
        with self._refusals():
            done = os.preadv(self._file, [into[:size]], at)
        if done != size:
            raise StoreError(store=self.name, reason="a block cannot be read")
        return size

    def rewind(self) -> None:
        """Go to the beginning; see ``Drive.rewind``."""
        self._at = 0
        self._has_warned = False

    def forward_files(self, count: int) -> int:
        """Pass filemarks; see ``Drive.forward_files``."""
        passed = 0
        while passed < count:
            size = self._length_here()
            if size is None:
                break
            if size == 0:
                passed += 1
                self._at += len(_FILEMARK)
            else:
                self._at += _SIDES + size + size % 2
        return passed

    def close(self) -> None:
        """Let go of the file; again is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _length_here(self) -> int | None:
        """Return the length that stands here; None where the data ends, whole or torn."""
        size = self._length_at(self._at)
        if not size:
            return size
        if size > _LONGEST:
            raise StoreError(store=self.name, reason=f"no block has {size} bytes")
        behind = self._length_at(self._at + _LENGTH.size + size + size % 2)
        # What a writer died over was never behind a filemark; a real drive stops there too.
        return size if behind == size else None

    def _length_at(self, at: int) -> int | None:
        with self._refusals():
            found = os.pread(self._file, _LENGTH.size, at)
        return int(_LENGTH.unpack(found)[0]) if len(found) == _LENGTH.size else None

    def _append(self, views: list[memoryview | bytes]) -> None:
        """Write here, and end the data behind it."""
        want = sum(map(len, views))
        with self._refusals():
            os.ftruncate(self._file, self._at)
            if os.pwritev(self._file, views, self._at) != want:
                os.ftruncate(self._file, self._at)
                raise OSError(errno.ENOSPC, "No space left on device")
        self._at += want

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise MediumFullError(where=self.name) from error
            raise StoreError(store=self.name, reason=error.strerror or "refused") from error
