"""Descent: open directories on the way down to the one used last.

Files of one directory follow each other, so nearly every question is answered by the directory
that is open already.  Each component is opened relative to its parent's descriptor and never
through a symlink, so no race and no archive leads out of the base.

    enter(b"src/a/b")    base ── src ── a ── b      one descriptor a level
    enter(b"src/a/c")    base ── src ── a ── c      b closed, c opened

Source: DESIGN D14 ("openat-style, descriptor-relative calls"); LIMITS 6 (dir_fd).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["DIRECTORY_FLAGS", "Descent"]

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CLOSED: Final = -1


class Descent:
    """A cursor on a directory tree that moves by path.

    Args:
        base: Descriptor of the directory that paths begin at; this object closes it.
        keep: Levels whose descriptors stay open; those nearer to the base are reopened on the
            way back, so a tree of any depth needs no more than these.
    """

    def __init__(self, base: int, *, keep: int = 64) -> None:
        if keep < 1:
            raise UsageError(reason="a descent keeps at least one directory open")
        self._base = base
        self._keep = keep
        self._path = b""
        self._names: list[bytes] = []
        self._open: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def base(self) -> int:
        """The descriptor that paths begin at."""
        return self._base

    def enter(self, path: bytes) -> int:
        """Return the descriptor of the directory ``path`` below the base; empty is the base.

        The descriptor stays this object's, and is good until the next call.

        Raises:
            OSError: A component is missing, no directory, a symlink, or refuses; the directories
                above it stay usable.
        """
        if path != self._path:
            self._move(path)
            self._path = path
        return self._open[-1] if self._open else self._base

    def close(self) -> None:
        """Close every directory; the object is of no use afterwards."""
        self._truncate(0)
        if self._base != _CLOSED:
            os.close(self._base)
            self._base = _CLOSED

    def make(self, parent: int, name: bytes) -> int:
        """Open the directory ``name`` in ``parent``; a restore makes it when it is missing."""
        return os.open(name, DIRECTORY_FLAGS, dir_fd=parent)

    def _move(self, path: bytes) -> None:
        above, slash, name = path.rpartition(b"/")
        # Up, to a sibling, and down: what walks of a tree ask for needs no look at each component.
        if self._is_below(path):
            self._rise(path)
            return
        if self._is_below(above):
            self._rise(above)
        if self._path == above and bool(slash) == bool(above):
            self._push(name)
            return
        self._search(path.split(b"/") if path else [])

    def _is_below(self, path: bytes) -> bool:
        return path != b"" and self._path.startswith(path + b"/")

    def _rise(self, path: bytes) -> None:
        self._truncate(path.count(b"/") + 1)
        self._path = path
        self._reopen()

    def _search(self, wanted: list[bytes]) -> None:
        """Go up to what both paths have in common, and down from there."""
        common = 0
        for ours, theirs in zip(self._names, wanted, strict=False):
            if ours != theirs:
                break
            common += 1
        self._truncate(common)
        # While components are opened one by one the path is not the cursor's; an error leaves
        # the cursor where it got to.
        self._path = b"/".join(self._names)
        self._reopen()
        for name in wanted[common:]:
            self._push(name)
            self._path = b"/".join((self._path, name)) if len(self._names) > 1 else name

    def _push(self, name: bytes) -> None:
        parent = self._open[-1] if self._open else self._base
        self._open.append(self.make(parent, name))
        self._names.append(name)
        outer = len(self._open) - self._keep - 1
        if outer >= 0 and self._open[outer] != _CLOSED:
            os.close(self._open[outer])
            self._open[outer] = _CLOSED

    def _reopen(self) -> None:
        """Open the innermost directories again that were closed to save descriptors."""
        if not self._open or self._open[-1] != _CLOSED:
            return
        first = max(0, len(self._names) - self._keep)
        at = self._base
        try:
            for depth, name in enumerate(self._names):
                above, at = at, os.open(name, DIRECTORY_FLAGS, dir_fd=at)
                if depth - 1 < first and above != self._base:
                    os.close(above)
                if depth >= first:
                    self._open[depth] = at
        except OSError:
            # Only descriptors that the list does not hold yet are this method's to close.
            if at not in (self._base, *self._open):
                os.close(at)
            self._truncate(0)
            self._path = b""
            raise

    def _truncate(self, depth: int) -> None:
        for descriptor in self._open[depth:]:
            if descriptor != _CLOSED:
                os.close(descriptor)
        del self._open[depth:]
        del self._names[depth:]
