"""Lacking: which entries of a walk an interrupted archive has not, or has otherwise.

    walk          held          yields
    src           src           (nothing, or AGAIN when something below is sent)
    src/a                       src/a
    src/b         src/b other   src/b, AGAIN
                  src/c         src/c, REMOVED and AGAIN
    src/d         src/d         nothing

Pure; of each side it holds one entry, and the folders above.

Source: docs/spec/resume.md, section 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.files.entry import Entry, EntryFlag, Kind
from datamover.files.holding import Holding, Key, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Lacking"]

_FILE: Final = int(Kind.FILE)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_REMOVED: Final = int(Kind.REMOVED)
_AGAIN: Final = int(EntryFlag.AGAIN)
_WAS: Final = {
    _FILE: int(EntryFlag.WAS_FILE),
    _DIRECTORY: int(EntryFlag.WAS_DIRECTORY),
    _REMOVED: 0,
}
_WAS_OTHER: Final = int(EntryFlag.WAS_OTHER)


class Lacking:
    """An iterable over what is to be sent.

    Args:
        walk: The entries that are there now; the next is asked for only when the one before was
            used.
        held: What the archive holds, in the same order.
        completed: The entry of a file that this attempt has completed already.

    Attributes:
        is_past: Nothing is left that the archive holds: all that follows is new.
        taken: Entries that were left as they are.
        again: Entries that were changed or removed.
    """

    def __init__(
        self, walk: Iterator[Entry], held: Iterator[Holding], *, completed: Entry | None = None
    ) -> None:
        self._walk = walk
        self._held = held
        self._completed = completed
        self._other: Holding | None = None
        self._above: list[tuple[Entry, bool]] = []
        self.is_past = False
        self.taken = 0
        self.again = 0

    def __iter__(self) -> Iterator[Entry]:
        self._other = next(self._held, None)
        for entry in self._walk:
            key = key_of(entry.root, entry.path)
            while self._other is not None and _key(self._other) < key:
                yield from self._gone()
            held = None
            if self._other is not None and _key(self._other) == key:
                held, self._other = self._other, next(self._held, None)
            is_sent = not self._has(held, entry)
            if self._other is None and not self.is_past:
                # What follows needs no look at the folders above it: they are sent now.
                self.is_past = True
                yield from self._ancestors(entry)
                is_sent = is_sent or entry.kind == _DIRECTORY
            yield from self._met(entry, held, is_sent=is_sent)
        while self._other is not None:
            yield from self._gone()
        self.is_past = True

    def _met(self, entry: Entry, held: Holding | None, *, is_sent: bool) -> Iterator[Entry]:
        self._leave(entry)
        if is_sent:
            yield from self._ancestors(entry)
            if held is not None:
                self.again += held.kind != _REMOVED
                entry.flags |= _again(held.kind)
        else:
            self.taken += 1
        if entry.kind == _DIRECTORY:
            self._above.append((entry, is_sent))
        if is_sent:
            yield entry

    def _has(self, held: Holding | None, entry: Entry) -> bool:
        if held is None:
            return False
        done = self._completed
        if done is not None and (done.root, done.path) == (entry.root, entry.path):
            now, then = Holding.of(entry), Holding.of(done)
            return now.kind == then.kind and now.fields == then.fields
        return held.is_like(entry)

    def _gone(self) -> Iterator[Entry]:
        """Take back what the walk did not meet."""
        other, self._other = self._other, next(self._held, None)
        if other is None or other.kind == _REMOVED:
            return
        entry = Entry(other.path, _REMOVED, 0, root=other.root, flags=_again(other.kind))
        yield from self._ancestors(entry)
        self.again += 1
        yield entry

    def _ancestors(self, entry: Entry) -> Iterator[Entry]:
        """Yield the folders above that this attempt has not sent."""
        self._leave(entry)
        for at, (above, is_sent) in enumerate(self._above):
            if not is_sent:
                self._above[at] = (above, True)
                above.flags |= _again(_DIRECTORY)
                yield above

    def _leave(self, entry: Entry) -> None:
        """Forget the folders that ``entry`` is not in."""
        while self._above:
            above = self._above[-1][0]
            if above.root == entry.root and entry.path.startswith(above.path + b"/"):
                return
            self._above.pop()


def _key(held: Holding) -> Key:
    return key_of(held.root, held.path)


def _again(kind: int) -> int:
    return _AGAIN | _WAS.get(kind, _WAS_OTHER)
