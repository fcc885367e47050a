"""A place where chunks rest: what every medium promises.

Durable: when ``commit`` returns, the chunk survives a crash of this machine.
Atomic: a chunk is there whole or not at all; a torn one is never listed.

Source: seed FIG. 10 (1030), FIG. 11; SPEC F9, F13; DESIGN D13; docs/spec/media-format.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from datamover.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Medium", "Reader", "Traits", "Writer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a medium can do.  Callers ask here; they never test for a class.

    Attributes:
        sequential: Reads and writes go forward only; ``read_into`` far away is slow.
        rewritable: ``forget`` gives room back.
        block: Writes are padded to a multiple of this many bytes.
    """

    sequential: bool
    rewritable: bool
    block: Bytes


class Writer(Protocol):
    """One chunk on its way to a medium; after an error only ``abandon`` is left."""

    name: str
    length: int

    def write(self, views: Sequence[memoryview | bytes]) -> None:
        """Append all views, in order; keep no reference to them after returning.

        Raises:
            MediumFullError: No room; abandon the chunk.
            StoreError: The medium refuses; abandon the chunk.

        Blocking: until the medium took the bytes.
        """
        ...

    def commit(self) -> None:
        """Make the chunk durable and visible under its name; the writer is closed.

        Raises:
            MediumFullError: No room; nothing was kept.
            StoreError: The medium refuses; nothing was kept.

        Blocking: until the chunk is durable.
        """
        ...

    def abandon(self) -> None:
        """Drop what was written; a chunk that is committed or abandoned stays as it is."""
        ...


class Reader(Protocol):
    """One whole chunk, open for reading; a context manager."""

    name: str
    size: int

    def read_into(self, views: Sequence[memoryview], offset: int) -> Bytes:
        """Fill the views, in order, from ``offset``.

        Returns:
            Bytes read; fewer than asked for only at the chunk's end.

        Raises:
            StoreError: The medium cannot read there.

        Blocking: until the medium gave the bytes.
        """
        ...

    def close(self) -> None:
        """Let go of the chunk."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class Medium(Protocol):
    """A place where chunks rest; a context manager."""

    @property
    def traits(self) -> Traits:
        """Fixed for the life of the object."""
        ...

    def create(self, name: str) -> Writer:
        """Start a chunk; nobody sees it before it is committed.

        Raises:
            UsageError: The name is not one of a chunk.
            StoreError: There is a chunk of that name, or the medium refuses.
            MediumFullError: No room.
        """
        ...

    def open(self, name: str) -> Reader:
        """Open a whole chunk.

        Raises:
            UsageError: The name is not one of a chunk.
            ChunkMissingError: It is not here.
            StoreError: It cannot be opened.
        """
        ...

    def names(self) -> Iterator[str]:
        """Yield the name of every whole chunk, sorted."""
        ...

    def forget(self, name: str) -> None:
        """Drop the chunk, durably; a chunk that is not here is already forgotten."""
        ...

    def clean(self) -> list[str]:
        """Remove what writers left that are dead; return what was removed."""
        ...

    def close(self) -> None:
        """Let go of the medium; again is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...
