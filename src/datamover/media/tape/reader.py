"""Read one chunk from tapes: once, forward, and kept, so that it can be looked at from anywhere.

A chunk file is read from its footer on, which on a tape lies behind all the rest.

Source: docs/spec/media-format.md, "Reading" and "Tapes"; ADR 0027.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import FormatError, StoreError
from datamover.media.tape.records import PartOpening
from datamover.units import MIB, Bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.media.tape.medium import TapeMedium
    from datamover.media.tape.volume import Part, Volume

__all__ = ["TapeReader"]

# What is longer is kept on a disk.
_IN_MEMORY: Final = 256 * MIB


class TapeReader:
    """See ``Reader``; what was not asked for yet is still on the tape."""

    def __init__(self, name: str, parts: Sequence[Part], medium: TapeMedium) -> None:
        self.name = name
        self.size = sum(part.closing.length for part in parts)
        self._medium = medium
        self._parts = list(parts)
        self._at = 0
        self._blocks = 0
        self._done = 0
        self._kept = self._keep()

    def read_into(self, views: Sequence[memoryview], offset: int) -> Bytes:
        """Fill the views; see ``Reader.read_into``."""
        want = min(sum(map(len, views)), max(0, self.size - offset))
        if not want:
            return Bytes(0)
        if self._done < offset + want:
            with self._medium.reading():
                while self._done < offset + want:
                    self._advance()
        return Bytes(min(want, os.preadv(self._kept, views, offset)))

    def close(self) -> None:
        """Let go of what was kept; again is harmless."""
        if self._kept >= 0:
            os.close(self._kept)
            self._kept = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _keep(self) -> int:
        if self.size <= _IN_MEMORY:
            return os.memfd_create("tape", os.MFD_CLOEXEC)
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())

    def _advance(self) -> None:
        """Read one more block of the part that we are in, or of the next that has any."""
        while self._done == _end(self._parts[self._at]):
            self._at, self._blocks = self._at + 1, 0
        part = self._parts[self._at]
        volume = self._medium.volume_of(part.cartridge)
        if (volume.file, volume.blocks) != (part.file, 1 + self._blocks):
            self._find(volume, part)
        block = volume.read()
        left = _end(part) - self._done
        if not block:
            raise StoreError(store=volume.drive.name, reason=f"{self.name} ends too early")
        piece = block[:left]
        if os.pwrite(self._kept, piece, self._done) != len(piece):
            raise StoreError(store=self.name, reason="no room to keep what was read")
        self._done += len(piece)
        self._blocks += 1

    def _find(self, volume: Volume, part: Part) -> None:
        """Go to where we were in a part; it must still be the one that was seen."""
        volume.go_to(part.file)
        first = volume.read()
        try:
            opening = PartOpening.decode(first if first is not None else memoryview(b""))
        except FormatError as error:
            raise StoreError(store=volume.drive.name, reason=str(error)) from error
        if opening != part.opening:
            raise StoreError(store=volume.drive.name, reason="holds something else than before")
        volume.skip_blocks(self._blocks)


def _end(part: Part) -> int:
    return part.opening.offset + part.closing.length
