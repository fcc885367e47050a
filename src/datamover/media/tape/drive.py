"""What a tape drive does, and what puts cartridges into it.

    │ label │▮│ block block block │▮│ block block │▮│            ▮ a filemark
                                                    └─ end of data

A tape goes forward, or back to its beginning: what is written ends what was behind it.  Blocks come
back as they were written, one by one; between two filemarks lies a *file*, and files are counted
from 0.

Near its end a tape warns once, and the block that it warned about is not on it; there is room for
a few more, to say where it goes on.

Source: SCSI SSC-3; st(4); docs/spec/media-format.md, "Tapes"; SPEC F13; ADR 0027.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.units import Bytes

__all__ = ["Changer", "Drive", "Written"]


class Written(Enum):
    """What became of a block."""

    TAKEN = "taken"
    """It is on its way to the tape; durable after the next filemark."""

    WARNED = "warned"
    """The tape is nearly full, and the block is not on it; what follows may be, if it is short."""


class Drive(Protocol):
    """One drive with a cartridge in it; nobody else has it."""

    @property
    def name(self) -> str:
        """The drive and what is in it, for messages."""
        ...

    @property
    def block(self) -> Bytes:
        """Bytes of a block: of each where ``is_fixed``, else of the longest."""
        ...

    @property
    def is_fixed(self) -> bool:
        """Whether all blocks have one length."""
        ...

    def write(self, block: memoryview) -> Written:
        """Write one block here; what was behind it is gone.

        Raises:
            MediumFullError: The tape has ended; the block is not on it.
            StoreError: The drive refuses, or the block has no length that it takes.

        Blocking: until the drive took it.
        """
        ...

    def mark(self, *, durable: bool = True) -> None:
        """Write a filemark; all that was written is durable then, if that is asked for.

        Raises:
            MediumFullError: The tape has ended.
            StoreError: The drive refuses.

        Blocking: until it is on the tape.
        """
        ...

    def read(self, into: memoryview) -> int | None:
        """Read the block here.

        Args:
            into: At least ``block`` bytes.

        Returns:
            Its bytes; 0 for a filemark, which is passed; None at the end of the data.

        Raises:
            StoreError: It cannot be read, or is longer.

        Blocking: until the drive gave it.
        """
        ...

    def rewind(self) -> None:
        """Go to the beginning.

        Raises:
            StoreError: The drive refuses.
        """
        ...

    def forward_files(self, count: int) -> int:
        """Pass so many filemarks.

        Returns:
            How many were passed; fewer where the data ended, and the tape is there then.

        Raises:
            StoreError: The drive refuses.
        """
        ...

    def close(self) -> None:
        """Let go of the drive; the cartridge stays in it."""
        ...


class Changer(Protocol):
    """What puts cartridges into a drive; a context manager by its ``close``."""

    @property
    def where(self) -> str:
        """Its place, for messages."""
        ...

    @property
    def block(self) -> Bytes:
        """Bytes of a block, as its drives write them.

        Raises:
            StoreError: It cannot be found out.
        """
        ...

    def cartridges(self) -> Sequence[str]:
        """Return what is written on each cartridge that can be had, sorted.

        Raises:
            StoreError: They cannot be counted.
        """
        ...

    def load(self, cartridge: str) -> Drive:
        """Put a cartridge into our drive, taking out what is in it; the tape is at its beginning.

        A drive that was given before is dead then.

        Raises:
            StoreError: It is not here, in another's drive, or every drive is in use.

        Blocking: until it is in.
        """
        ...

    def close(self) -> None:
        """Let go of the drive; again is harmless."""
        ...
