"""Difference: what a source's file and the one at the destination do not have in common.

Source: docs/spec/copy-pipes.md, "Equal"; docs/guides/copy.md.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.files.entry import EntryFlag, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from datamover.files.entry import Entry

    Digest = Callable[[Entry], tuple[int, int] | None]

__all__ = ["Difference"]

_FILE: Final = int(Kind.FILE)
_SYMLINK: Final = int(Kind.SYMLINK)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_HARD_LINK: Final = int(Kind.HARD_LINK)
_LINKED: Final = int(EntryFlag.LINKED)
_DIGEST: Final = int(EntryFlag.DIGEST)


@dataclass(frozen=True, slots=True)
class Difference:
    """How two entries are compared.

    Attributes:
        owners: Owners count; off where the destination cannot set them.
        numeric_ids: Owners are numbers; without it, names where both sides know them.
        digest: Returns the digest of a source's file, or None when it cannot be read; without it,
            files of one size and time are equal.
    """

    owners: bool = True
    numeric_ids: bool = False
    digest: Digest | None = None

    def has_same_content(self, ours: Entry, theirs: Entry) -> bool:
        """Say whether what is there holds the same; hard links are the caller's to compare."""
        kind = ours.kind
        # Another name of an inode is a file all the same, if ours is meant to have names too.
        is_name = kind == _FILE and theirs.kind == _HARD_LINK and ours.flags & _LINKED
        if kind != theirs.kind and not is_name:
            return False
        if kind == _FILE:
            return self._has_same_data(ours, theirs)
        if kind == _SYMLINK:
            return ours.link == theirs.link
        return (ours.major, ours.minor) == (theirs.major, theirs.minor)

    def has_same_metadata(self, ours: Entry, theirs: Entry) -> bool:
        """Say whether mode, owner, times and extended attributes are equal, of one kind."""
        if ours.mtime_ns != theirs.mtime_ns:
            return False
        if ours.kind != _SYMLINK and stat.S_IMODE(ours.mode) != stat.S_IMODE(theirs.mode):
            return False
        if self.owners and not self._has_same_owner(ours, theirs):
            return False
        # A survey does not say the attributes of an inode again with its further names.
        return ours.xattrs == theirs.xattrs or theirs.kind == _HARD_LINK

    def _has_same_data(self, ours: Entry, theirs: Entry) -> bool:
        if ours.size != theirs.size:
            return False
        if self.digest is None or not ours.size:
            return ours.mtime_ns == theirs.mtime_ns or not ours.size
        if not theirs.flags & _DIGEST:
            return False
        return self.digest(ours) == (theirs.actual, theirs.before)

    def _has_same_owner(self, ours: Entry, theirs: Entry) -> bool:
        if self.numeric_ids:
            return (ours.uid, ours.gid) == (theirs.uid, theirs.gid)
        return _is_same(ours.user, ours.uid, theirs.user, theirs.uid) and _is_same(
            ours.group, ours.gid, theirs.group, theirs.gid
        )


def _is_same(our_name: bytes, our_id: int, their_name: bytes, their_id: int) -> bool:
    """Compare by name where both sides have one."""
    return our_name == their_name if our_name and their_name else our_id == their_id
