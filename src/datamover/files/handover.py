"""Handover: a name passes from what it had to what was written for it when that is durable.

    sync is not asked for                        at once
    nothing has the name, no hole in the file    at once: what a power cut leaves of it is shorter
    any other long file                          fsync, then the name
    any other                                    waits for others: one sync, then the names of all

So after a power cut each name has what it had, or all of what it was to get; or it is new, and what
a later copy finds under it is of another size, and is written again.

Source: docs/spec/copy-pipes.md, "Durability"; rename(2), fsync(2), syncfs(2); ADR 0029.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from datamover.files.leftover import RESUMABLE
from datamover.files.replacement import Replacement
from datamover.units import MIB

__all__ = ["Handover"]

_MOST: Final = 1024
_MOST_BYTES: Final = 32 * MIB
"""What waits is written again by the next copy when this one is killed: not too much of it."""


class _File(NamedTuple):
    path: bytes
    beside: bytes
    is_own: bool


@dataclass(slots=True)
class Handover:
    """The names that a copy gives, in the order in which it gives them.

    Attributes:
        target: Where they are.
        failed: Told the name that a file that had waited could not get, why, and whether it is
            a file of its own.
        sync: Waits until everything that was written is durable; None: nobody asks for that.
        replaces: Names may be there already; without it nobody looks.
    """

    target: Replacement
    failed: Callable[[bytes, OSError, bool], None]
    sync: Callable[[], None] | None = None
    replaces: bool = True
    _waiting: list[_File | Callable[[], None]] = field(default_factory=list)
    _places: dict[bytes, bytes] = field(default_factory=dict)
    _bytes: int = 0
    _is_dirty: bool = False

    def give(
        self, path: bytes, beside: bytes, *, file: int = -1, size: int = 0, has_holes: bool = False
    ) -> None:
        """Give a complete file its name, now or with others later.

        Args:
            path: The name.
            beside: What it is called meanwhile, in the same folder, and by no other file's name.
            file: Its descriptor, if it is a file of its own and not another name of one.
            size: Its bytes.
            has_holes: It may have its size before it has its data.

        Raises:
            FileExistsError: A directory that is not empty has the name.
            OSError: The system refuses; this file or, as ``sync`` says it, those that waited.

        Blocking: until the disk has it, or until it has all that waited.
        """
        if self.sync is None:
            self.target.commit(path, beside)
            return
        self._is_dirty = True
        if not has_holes and not (self.replaces and self.target.has(path)):
            self.target.commit(path, beside)
        elif file >= 0 and size >= RESUMABLE:
            os.fsync(file)
            self.target.commit(path, beside)
        else:
            self._waiting.append(_File(path, beside, file >= 0))
            above, slash, _ = path.rpartition(b"/")
            self._places[path] = above + slash + beside
            self._bytes += size
            self._bound()

    def then(self, call: Callable[[], None]) -> None:
        """Do what must come after the names that were given: now, or when they are."""
        if not self._waiting:
            call()
            return
        self._waiting.append(call)
        self._bound()

    def place_of(self, path: bytes) -> bytes:
        """Return where the file is now that was given this name."""
        return self._places.get(path, path)

    def is_waiting(self, path: bytes) -> bool:
        """Whether a file that was given this name does not have it yet."""
        return path in self._places

    def settle(self) -> None:
        """Make durable what was written so far, and give all names: something is to be removed.

        Raises:
            OSError: As ``sync`` says it.

        Blocking: until the disk has it.
        """
        if self._is_dirty:
            self._flush()

    def finish(self) -> None:
        """Give all names that were waiting.

        Raises:
            OSError: As ``sync`` says it; what had waited is dropped.

        Blocking: until the disk has what is under them.
        """
        if self._waiting:
            self._flush()

    def _bound(self) -> None:
        if len(self._waiting) >= _MOST or self._bytes >= _MOST_BYTES:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._places, self._bytes, self._is_dirty = {}, 0, False
        try:
            if self.sync is not None:
                self.sync()
        except BaseException:
            for one in waiting:
                if isinstance(one, _File):
                    self.target.drop(one.path, one.beside)
            raise
        for one in waiting:
            if isinstance(one, _File):
                self._commit(one)
            else:
                one()

    def _commit(self, one: _File) -> None:
        try:
            self.target.commit(one.path, one.beside)
        except OSError as error:
            self.target.drop(one.path, one.beside)
            self.failed(one.path, error, one.is_own)
