"""Origin: the files of the sources, opened by number of the source and archived name.

Source: DESIGN D14 (descriptor-relative, never through a symlink); LIMITS 6.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import MalformedError
from datamover.files.descent import Descent
from datamover.files.walk import archived_root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["Origin"]

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""NONBLOCK: a FIFO that took the place of a file must not hang the copy."""


class Origin:
    """Opens source files; those of one directory need it open once.

    Args:
        roots: The absolute paths of the sources, as ``Walk`` takes them.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        self._parents = [archived_root(root)[0] for root in roots]
        self._descents: dict[int, Descent] = {}
        self._root = -1
        self._path = b""
        self._directory = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for descent in self._descents.values():
            descent.close()
        self._descents.clear()
        self._root = -1

    def open(self, root: int, path: bytes) -> int:
        """Open a file for reading; the descriptor is the caller's.

        Raises:
            OSError: It is gone, or the system refuses.
            MalformedError: There is no such source.
        """
        above, _, name = path.rpartition(b"/")
        if above != self._path or root != self._root:
            self._enter(root, above)
        return os.open(name, _FLAGS, dir_fd=self._directory)

    def name(self, root: int, path: bytes) -> bytes:
        """Return the whole path, as a notice says it."""
        return b"%b/%b" % (self._parents[root].rstrip(b"/"), path)

    def _enter(self, root: int, above: bytes) -> None:
        self._root = -1
        descent = self._descents.get(root)
        if descent is None:
            if root >= len(self._parents):
                raise MalformedError(what="entry table", reason=f"there is no source {root}")
            base = os.open(self._parents[root], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            descent = self._descents[root] = Descent(base)
        self._directory = descent.enter(above)
        self._path, self._root = above, root
