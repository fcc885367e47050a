"""Naming: what the sources of a copy are called at their destination.

Blocks carry archived names, which begin with the source's own name; the destination may call it
otherwise (``copy f g``), and what lies below keeps its names.  The source ``/`` has no name.

Source: docs/spec/copy-pipes.md, "Names".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Key", "Naming", "require_plain"]

Key = tuple[int, bytes]
"""Source's number, and the path below it with NUL, the lowest byte, before each component."""


def require_plain(path: bytes) -> None:
    """Refuse a name that could lead out of the folder that it is relative to.

    Raises:
        MalformedError: It has a component that is empty, ``.`` or ``..``, or a NUL.
    """
    if b"\0" in path or {b"", b".", b".."} & set(path.split(b"/")):
        raise MalformedError(what="name", reason=f"{path[:80]!r} is not a plain relative path")


class Naming:
    """Pairs of a source's name and the name of its target, by source's number.

    Args:
        pairs: Names, of one component each; a source's is empty for ``/``.

    Raises:
        MalformedError: A target's name is not one that a file can have.
    """

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._pairs = tuple(pairs)
        for _, target in self._pairs:
            require_plain(target)

    def __len__(self) -> int:
        return len(self._pairs)

    def source_key(self, root: int, path: bytes) -> Key:
        """Return the place of an archived name in the order of a walk."""
        return root, _below(path, self._pairs[root][0]).replace(b"/", b"\0")

    def target_key(self, root: int, path: bytes) -> Key:
        """Return the place of a name at the destination in the order of a walk.

        Raises:
            MalformedError: The name is not that of such a target.
        """
        return root, _below(path, self._pair(root)[1]).replace(b"/", b"\0")

    def target(self, root: int, path: bytes) -> bytes:
        """Return the name at the destination of what is archived as ``path``.

        Raises:
            MalformedError: It is not of that source.
        """
        source, target = self._pair(root)
        below = _below(path, source)
        return path if source == target else (target + below).lstrip(b"/")

    def source(self, root: int, path: bytes) -> bytes:
        """Return the archived name of what the destination calls ``path``; see ``target``."""
        source, target = self._pair(root)
        return (source + _below(path, target)).lstrip(b"/")

    def _pair(self, root: int) -> tuple[bytes, bytes]:
        if root >= len(self._pairs):
            raise MalformedError(what="entry table", reason=f"there is no source {root}")
        return self._pairs[root]


def _below(path: bytes, name: bytes) -> bytes:
    """Return what follows ``name`` in ``path``: empty, or with a slash at its beginning."""
    if not name:
        return b"/" + path
    if path == name:
        return b""
    if not path.startswith(name + b"/"):
        raise MalformedError(what="entry table", reason=f"{path[:80]!r} is not below {name[:80]!r}")
    return path[len(name) :]
