"""Names of a directory, in byte order, with no more than so many in memory.

    usual       one listing
    very large  the first names of all, then those behind them, and so on: a listing for each part

A directory tells by its own size that it is large; where a file system says nothing of the kind
it is listed at once.

Source: SPEC U4, E1 (memory does not grow with the number of files); docs/PERFORMANCE.md.
"""

from __future__ import annotations

import os
from typing import Final, Self

__all__ = ["Names"]

_LARGE: Final = 2 << 20
"""Bytes of a directory: some 70,000 names on ext4."""

_PART: Final = 1 << 16
"""Names of a part; twice as many are in memory while it is read."""


class Names:
    """What is left of a directory's names.

    Attributes:
        left: Names that were read and not used, in falling order: use up the end.
    """

    def __init__(self, left: list[bytes]) -> None:
        self.left = left
        self._last: bytes | None = None

    @classmethod
    def of(cls, directory: int, size: int) -> Self:
        """Read the first names of an open directory.

        Args:
            directory: Its descriptor.
            size: What the system says of its size, in bytes.

        Raises:
            OSError: The system refuses.
        """
        names = cls([])
        if size >= _LARGE:
            names._last = b""
            names.read_on(directory)
        else:
            names.left = [os.fsencode(one) for one in os.listdir(directory)]
            names.left.sort(reverse=True)
        return names

    def read_on(self, directory: int) -> bool:
        """Read the names behind those that were used up; return whether there are any.

        Raises:
            OSError: The system refuses.
        """
        last = self._last
        if last is None:
            return False
        names, highest = [], None
        with os.scandir(directory) as found:
            for one in found:
                name = os.fsencode(one.name)
                if name > last and (highest is None or name < highest):
                    names.append(name)
                    if len(names) >= 2 * _PART:
                        names.sort()
                        del names[_PART:]
                        highest = names[-1]
        names.sort(reverse=True)
        # Names above ``highest`` were left for the next part; without one this is the end.
        self._last = None if highest is None else names[0]
        self.left = names
        return bool(names)
