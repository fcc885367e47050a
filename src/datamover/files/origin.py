"""Origin: the files of the sources, opened by number of the source and archived name.

Source: DESIGN D14 (descriptor-relative, never through a symlink); LIMITS 6.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from datamover.disk.straight import open_folder, shown
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
        self._roots = [archived_root(root) for root in roots]
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
            MalformedError: There is no such source, or the file is not below it.
        """
        above, _, name = path.rpartition(b"/")
        if above != self._path or root != self._root or not above:
            self._enter(root, path, above)
        return os.open(name, _FLAGS, dir_fd=self._directory)

    def name(self, root: int, path: bytes) -> bytes:
        """Return the whole path, as a notice says it."""
        return b"%b/%b" % (shown(self._roots[root][0]).rstrip(b"/"), path)

    def path(self, root: int, path: bytes) -> bytes:
        """Return the whole path, to be walked; it is straight when the source's is.

        Raises:
            MalformedError: There is no such source, or the file is not below it.
        """
        return b"%b/%b" % (self._parent(root, path).rstrip(b"/"), path)

    def _enter(self, root: int, path: bytes, above: bytes) -> None:
        self._root = -1
        parent = self._parent(root, path)
        descent = self._descents.get(root)
        if descent is None:
            descent = self._descents[root] = Descent(open_folder(parent))
        self._directory = descent.enter(above)
        self._path, self._root = above, root

    def _parent(self, root: int, path: bytes) -> bytes:
        """Return the folder that a source is in; what lies beside the source is not part of it."""
        if root >= len(self._roots):
            raise MalformedError(what="entry table", reason=f"there is no source {root}")
        parent, name = self._roots[root]
        if name and path.partition(b"/")[0] != name:
            raise MalformedError(what="entry table", reason="a file is not below its source")
        return parent
