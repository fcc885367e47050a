"""Patch: build a new file beside an old one, from its pieces and from data.

Source: docs/spec/copy-pipes.md, "Differences"; ADR 0016.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from datamover.files.leftover import RESUMABLE
from datamover.units import MIB

if TYPE_CHECKING:
    from datamover.files.delta import Delta
    from datamover.files.entry import Entry
    from datamover.files.replacement import Replacement

__all__ = ["Patch"]

_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NONE: Final = -1
_STEP: Final = MIB


class Patch:
    """One file that is being built; ``close`` it whatever happens.

    Attributes:
        entry: The file's, with the path where it is built.
        name: Its archived name.
        kept: Bytes of the leftover that stayed.
        reused: Bytes taken from the old file.
        data: Bytes that came.
        is_sound: What came so far could be used.
        file: Descriptor of what is built.
        beside: Its name.
    """

    def __init__(self, target: Replacement, entry: Entry, name: bytes, kept: int) -> None:
        """Begin a file.

        Args:
            target: Where it is built.
            entry: The file's, with the path where it is built.
            name: Its archived name.
            kept: Bytes of the leftover that are its beginning.

        Raises:
            OSError: The system refuses.
        """
        from blake3 import blake3  # noqa: PLC0415 - only those who patch pay for it

        self.entry = entry
        self.name = name
        self.kept = kept
        self.reused = 0
        self.data = 0
        self._target = target
        self._hasher = blake3()
        self._buffer = memoryview(bytearray(_STEP))
        self._old = _NONE
        self.file, self.beside, there = target.begin(entry.path, max(entry.size, RESUMABLE))
        self.is_sound = there >= kept
        if there:
            os.ftruncate(self.file, min(kept, there))
        above, _, last = entry.path.rpartition(b"/")
        with suppress(OSError):
            self._old = os.open(last, _OLD, dir_fd=target.enter(above))
            if not stat.S_ISREG(os.fstat(self._old).st_mode):
                self._forget()

    def apply(self, delta: Delta) -> None:
        """Do the steps of one block.

        Raises:
            OSError: The system refuses.
        """
        at = 0
        for offset, length, source in delta.steps:
            if not self.is_sound:
                return
            if source + 1 >> 64:
                self._write(delta.data[at : at + length], offset)
                self.data += length
                at += length
            else:
                self._copy(source, length, offset)

    def verify(self, digest: bytes) -> bool:
        """Say whether everything that was written is what the source read."""
        return self.is_sound and self._hasher.digest(32) == digest

    def close(self, *, keep: bool = False) -> None:
        """Let go of the descriptors; of a file that was not committed, and of its name too."""
        self._forget()
        if self.file != _NONE:
            os.close(self.file)
            self.file = _NONE
            if not keep:
                self._target.drop(self.entry.path, self.beside)

    def _forget(self) -> None:
        if self._old != _NONE:
            os.close(self._old)
            self._old = _NONE

    def _copy(self, source: int, length: int, offset: int) -> None:
        end = source + length
        while source < end:
            got = 0
            if self._old != _NONE:
                got = os.preadv(self._old, [self._buffer[: min(_STEP, end - source)]], source)
            if not got:
                self.is_sound = False
                return
            self._write(self._buffer[:got], offset)
            source += got
            offset += got
            self.reused += got

    def _write(self, data: memoryview, offset: int) -> None:
        self._hasher.update(data)
        done = 0
        while done < len(data):
            done += os.pwrite(self.file, data[done:], offset + done)
