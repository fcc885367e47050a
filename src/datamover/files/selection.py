"""Selection: which entries of an archive are wanted.

A path selects itself and what is below it; the directories above it come along, so that they get
their own modes and owners.

A hard link may be wanted while the name that carries its data is not.  ``stand_ins`` finds these
from the index, and a restore then gives the data to the first wanted name.

Source: SPEC U23; docs/spec/entry-table.md, "Entry" (LINKED, hard links).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.files.entry import EntryFlag, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datamover.files.entry import Entry

__all__ = ["Selection", "stand_ins"]

_DIRECTORY: Final = int(Kind.DIRECTORY)
_HARD_LINK: Final = int(Kind.HARD_LINK)
_LINKED: Final = int(EntryFlag.LINKED)


class Selection:
    """Paths that are wanted; with none, everything is.

    Args:
        paths: Archived names; slashes around them do not matter.
    """

    def __init__(self, paths: Iterable[bytes] = ()) -> None:
        self._paths = {one.strip(b"/") for one in paths}
        # The empty path is the whole archive, as "/" is for its sources.
        self._everything = not self._paths or b"" in self._paths
        self._above = {above for one in self._paths for above in _ancestors(one)}
        self._unseen = set() if self._everything else set(self._paths)
        self._directory: bytes | None = None
        self._inside = False

    def wants(self, path: bytes, kind: int) -> bool:
        """Say whether the entry is wanted."""
        if self._everything:
            return True
        if path in self._paths:
            self._unseen.discard(path)
            return True
        directory = path.rpartition(b"/")[0]
        if directory != self._directory:
            self._directory = directory
            self._inside = directory in self._paths or any(
                above in self._paths for above in _ancestors(directory)
            )
        return self._inside or (kind == _DIRECTORY and path in self._above)

    @property
    def unseen(self) -> list[bytes]:
        """Selected paths that no entry had, sorted."""
        return sorted(self._unseen)


def stand_ins(entries: Iterable[Entry], selection: Selection) -> dict[bytes, bytes]:
    """Map the unwanted first name of each inode to the first wanted hard link to it.

    Args:
        entries: Those of the whole archive, in its order.
        selection: What is wanted.
    """
    unwanted: set[bytes] = set()
    found: dict[bytes, bytes] = {}
    for entry in entries:
        wanted = selection.wants(entry.path, entry.kind)
        if entry.flags & _LINKED and not wanted:
            unwanted.add(entry.path)
        elif entry.kind == _HARD_LINK and wanted and entry.link in unwanted:
            found.setdefault(entry.link, entry.path)
    return found


def _ancestors(path: bytes) -> Iterable[bytes]:
    at = path.rfind(b"/")
    while at > 0:
        yield path[:at]
        at = path.rfind(b"/", 0, at)
