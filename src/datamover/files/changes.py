"""Changes: what a destination lacks, has too much, or has otherwise, as entries for ``Place``.

    source        there          sent
    new           -              the entry
    changed       file           the entry; or deferred, to send less than all of it
    equal         equal          nothing; SAME where only its metadata differ
    -             extra          REMOVED, last of all, children before parents
    file          folder         what is in the folder as REMOVED, then the entry

A directory in which something changes gets its times again, so it is sent before.

Source: docs/spec/copy-pipes.md; SPEC U3.
"""

from __future__ import annotations

import stat
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from datamover.files.backlog import Backlog
from datamover.files.difference import Difference
from datamover.files.entry import Entry, EntryFlag, Extent, Kind
from datamover.files.exclude import Excludes
from datamover.files.leftover import RESUMABLE, is_leftover, leftover_name
from datamover.files.naming import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from datamover.files.naming import Naming

__all__ = ["Changes", "Receiver", "Rules"]

_FILE: Final = int(Kind.FILE)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_HARD_LINK: Final = int(Kind.HARD_LINK)
_REMOVED: Final = int(Kind.REMOVED)
_LINKED: Final = int(EntryFlag.LINKED)
_SPARSE: Final = int(EntryFlag.SPARSE)
_BARE: Final = int(EntryFlag.BARE)
_SAME: Final = int(EntryFlag.SAME)
_NAMED: Final = int(EntryFlag.NAMED)


class Receiver(Protocol):
    """Who takes what differs."""

    def send(self, entry: Entry, extents: Iterable[Extent]) -> None:
        """Take an entry for the destination; ``extents`` is for a sparse file with data."""
        ...

    def extents(self, entry: Entry) -> Iterable[Extent]:
        """Return where the data is of the sparse file that was added last."""
        ...

    def defer(self, entry: Entry) -> None:
        """Take a large file that differs, to be sent in another way."""
        ...

    def item(self, action: str, entry: Entry) -> None:
        """Learn of one difference: "create", "replace", "metadata" or "remove"."""
        ...

    def notice(self, kind: str, path: bytes, reason: str) -> None:
        """Learn of what is not done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What counts as a difference, and what is done about it.

    Attributes:
        difference: How entries are compared.
        excludes: What is never removed.
        parents: What precedes an archived name in a source path, by source's number.
        removes: Extra names are removed.
        bare: Files are sent without their data.
        defers: Files of this size or more are deferred when they replace one; 0: none are.
        resumes: Files that an earlier copy may have begun are deferred.
    """

    difference: Difference
    excludes: Excludes
    parents: tuple[bytes, ...]
    removes: bool = False
    bare: bool = False
    defers: int = 0
    resumes: bool = False


@dataclass(slots=True)
class _Folder:
    """A directory of the source, on the way to where the walk is."""

    key: Key
    entry: Entry
    is_sent: bool


@dataclass(slots=True)
class _Blocked:
    """A file whose place a directory has, until all in that is known."""

    key: Key
    entry: Entry
    theirs: Entry
    extents: list[Extent]
    below: Backlog
    keeps: bool = False


class Changes:
    """Takes the pairs of a merge, in order, and tells the receiver what to do.

    A context manager: it may keep a temporary file.
    """

    def __init__(self, rules: Rules, naming: Naming, receiver: Receiver) -> None:
        self._rules = rules
        self._naming = naming
        self._to = receiver
        self._count: Counter[str] = Counter()
        self._folders: list[_Folder] = []
        self._removed = Backlog()
        self._removed_in = b""
        self._blocked: _Blocked | None = None
        self._protected: Key | None = None
        self._leftovers: dict[bytes, Entry] = {}
        self._links: dict[bytes, bytes] = {}
        self._sent_links: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._removed.close()
        if self._blocked is not None:
            self._blocked.below.close()

    def counts(self) -> Mapping[str, int]:
        """How many entries of each sort there were, and bytes of the source's files."""
        names = (
            "files", "directories", "other", "bytes", "equal", "created", "replaced", "touched",
            "extra", "deferred", "changed_files", "changed_bytes",
        )  # fmt: skip
        return {name: self._count[name] for name in names}

    def add(self, key: Key, ours: Entry | None, theirs: Entry | None, *, may_remove: bool) -> None:
        """Take what is in one place.

        Args:
            key: The place.
            ours: What the source has there.
            theirs: What the destination has there.
            may_remove: Nothing of the source has been unreadable so far.
        """
        if self._blocked is not None and not _is_below(key, self._blocked.key):
            self._unblock(may_remove=may_remove)
        while self._folders and not _is_below(key, self._folders[-1].key):
            self._leave()
        if ours is None:
            assert theirs is not None  # noqa: S101 - the merge yields no empty pair
            self._extra(key, theirs)
            return
        self._total(ours)
        if ours.kind == _DIRECTORY:
            self._directory(key, ours, theirs)
        elif theirs is not None and theirs.kind == _DIRECTORY:
            extents = list(self._to.extents(ours)) if ours.flags & _SPARSE else []
            self._blocked = _Blocked(key, ours, theirs, extents, Backlog())
        elif ours.kind == _HARD_LINK:
            self._hard_link(ours, theirs)
        else:
            self._other(ours, theirs)

    def finish(self, *, may_remove: bool) -> None:
        """Send what waited for the end."""
        if self._blocked is not None:
            self._unblock(may_remove=may_remove)
        while self._folders:
            self._leave()
        if self._removed and not may_remove:
            reason = "nothing is removed, for a part of the source could not be read"
            self._to.notice("note", b"", reason)
            return
        for entry in self._removed.drain():
            if entry.kind == _REMOVED:
                self._to.item("remove", entry)
            self._to.send(entry, ())

    # ---- what the source has

    def _total(self, ours: Entry) -> None:
        if ours.kind == _FILE:
            self._count["files"] += 1
            self._count["bytes"] += ours.size
        else:
            self._count["directories" if ours.kind == _DIRECTORY else "other"] += 1

    def _directory(self, key: Key, ours: Entry, theirs: Entry | None) -> None:
        if theirs is None or theirs.kind != _DIRECTORY:
            self._change(ours, theirs)
            self._folders.append(_Folder(key, ours, is_sent=True))
            return
        folder = _Folder(key, ours, is_sent=False)
        self._folders.append(folder)
        if self._rules.difference.has_same_metadata(ours, theirs):
            self._count["equal"] += 1
        else:
            self._count["touched"] += 1
            self._to.item("metadata", ours)
            self._send_folder(folder)

    def _hard_link(self, ours: Entry, theirs: Entry | None) -> None:
        is_there = theirs is not None and self._links.get(_first(theirs)) == ours.link
        if is_there and ours.link not in self._sent_links:
            self._count["equal"] += 1
        else:
            self._change(ours, theirs)

    def _other(self, ours: Entry, theirs: Entry | None) -> None:
        difference = self._rules.difference
        if theirs is None or not difference.has_same_content(ours, theirs):
            self._change(ours, theirs)
            return
        is_linked = bool(ours.flags & _LINKED)
        if is_linked:
            self._links[_first(theirs)] = ours.path
        if difference.has_same_metadata(ours, theirs):
            self._count["equal"] += 1
            if is_linked:
                ours.flags |= _BARE | _SAME | _NAMED
                self._to.send(ours, ())
            return
        self._count["touched"] += 1
        self._to.item("metadata", ours)
        ours.flags |= _BARE | _SAME
        self._to.send(ours, ())

    def _change(
        self, ours: Entry, theirs: Entry | None, extents: Iterable[Extent] | None = None
    ) -> None:
        """Send what is new, or other than what is there."""
        self._count["created" if theirs is None else "replaced"] += 1
        self._to.item("create" if theirs is None else "replace", ours)
        is_linked = bool(ours.flags & _LINKED)
        if is_linked:
            self._sent_links.add(ours.path)
        if ours.kind == _FILE:
            is_begun = self._take_leftover(ours)
            if not is_linked and (is_begun or self._has_basis(ours, theirs)):
                self._count["deferred"] += 1
                self._to.defer(ours)
                return
            if self._rules.bare:
                ours.flags |= _BARE
            self._count["changed_files"] += 1
            self._count["changed_bytes"] += ours.size
        self._refresh_folder()
        if extents is None:
            is_asked = ours.flags & _SPARSE and not ours.flags & _BARE
            extents = self._to.extents(ours) if is_asked else ()
        self._to.send(ours, extents)

    def _refresh_folder(self) -> None:
        """Something in the innermost directory changes: its times are to be set again."""
        if self._folders and not self._folders[-1].is_sent:
            self._send_folder(self._folders[-1])

    def _send_folder(self, folder: _Folder) -> None:
        folder.is_sent = True
        folder.entry.flags |= _BARE | _SAME
        self._to.send(folder.entry, ())

    # ---- what only the destination has

    def _extra(self, key: Key, theirs: Entry) -> None:
        if not key[1]:
            return  # a target itself is never removed
        path = self._naming.source(theirs.root, theirs.path)
        above, _, name = path.rpartition(b"/")
        folder = self._folders[-1] if self._folders else None
        is_inside = folder is not None and folder.entry.path == above
        if theirs.kind == _FILE and is_inside and is_leftover(name):
            self._leftovers[name] = _removed(theirs, path)
            return
        if self._is_protected(key, b"%b/%b" % (self._rules.parents[theirs.root], above), name):
            if self._blocked is not None:
                self._blocked.keeps = True
            return
        if self._blocked is not None:
            self._blocked.below.push(_removed(theirs, path))
            return
        self._count["extra"] += 1
        if not self._rules.removes:
            return
        if folder is not None and is_inside and self._removed_in != above:
            # Comes back behind all that is removed from it.
            self._removed_in = above
            again = _copy_of(folder.entry)
            again.flags |= _BARE | _SAME
            self._removed.push(again)
        self._removed.push(_removed(theirs, path))

    def _is_protected(self, key: Key, directory: bytes, name: bytes) -> bool:
        if self._protected is not None and _is_below(key, self._protected):
            return True
        if self._rules.excludes and self._rules.excludes.match(directory, name):
            self._protected = key
            return True
        return False

    def _unblock(self, *, may_remove: bool) -> None:
        blocked, self._blocked = self._blocked, None
        assert blocked is not None  # noqa: S101 - the callers have looked
        with blocked.below as below:
            if not blocked.keeps and (not below or (self._rules.removes and may_remove)):
                for entry in below.drain():
                    self._to.item("remove", entry)
                    self._refresh_folder()
                    self._to.send(entry, ())
                self._change(blocked.entry, blocked.theirs, blocked.extents)
                return
        reason = "a folder that is not empty has the name"
        self._to.notice("exists", self._naming.target(blocked.key[0], blocked.entry.path), reason)

    # ---- leftovers of earlier copies

    def _take_leftover(self, ours: Entry) -> bool:
        """Say whether an earlier copy may have left the beginning of the file, to be gone on with.

        The leftover stays, whether this copy goes on with it or not.
        """
        if ours.size < RESUMABLE:
            return False
        above, _, name = ours.path.rpartition(b"/")
        if not above:
            # A target itself: the survey does not see what is beside it.
            return self._rules.resumes
        if not self._leftovers or self._leftovers.pop(leftover_name(name), None) is None:
            return False
        return self._rules.resumes

    def _has_basis(self, ours: Entry, theirs: Entry | None) -> bool:
        """Say whether the file replaces one that it may have much in common with."""
        least = self._rules.defers
        is_file = theirs is not None and theirs.kind == _FILE and theirs.size > 0
        return bool(least) and ours.size >= least and is_file

    def _leave(self) -> None:
        """Leave a directory; leftovers in it that are of no use go."""
        folder = self._folders[-1]
        prefix = folder.entry.path + b"/"
        for name, entry in list(self._leftovers.items()):
            if entry.path.startswith(prefix):
                del self._leftovers[name]
                self._refresh_folder()
                self._to.send(entry, ())
        self._folders.pop()


def _is_below(key: Key, above: Key) -> bool:
    """Say whether a place is another, or in the directory there."""
    return key[0] == above[0] and (key[1] == above[1] or key[1].startswith(above[1] + b"\0"))


def _first(entry: Entry) -> bytes:
    """Return the name by which an inode of several is known."""
    return entry.link if entry.kind == _HARD_LINK else entry.path


def _removed(theirs: Entry, path: bytes) -> Entry:
    mode = stat.S_IFMT(theirs.mode)
    return Entry(path, _REMOVED, mode, root=theirs.root)


def _copy_of(entry: Entry) -> Entry:
    return Entry(
        entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns,
        entry.ctime_ns, entry.root, entry.flags, entry.link, entry.user, entry.group, entry.xattrs,
    )  # fmt: skip
