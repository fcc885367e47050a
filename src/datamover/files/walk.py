"""Walk: the entries of source trees, depth first, in the order of their archived names.

What is held is sorted names of the directories on the way to the current one, as many as
``datamover.files.names`` reads at once, and a name for each inode with several; never the tree.
Every call is relative to a directory's descriptor.

Source: SPEC U4, U5, U10, U21; docs/spec/entry-table.md, "Names"; LIMITS 6.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from datamover.disk.straight import open_folder, shown
from datamover.files.descent import Descent
from datamover.files.entry import PATH_MAX, Entry, EntryFlag, Kind
from datamover.files.exclude import Excludes
from datamover.files.names import Names
from datamover.files.owner import group_name, user_name
from datamover.files.printable import why
from datamover.files.table import encode_plain
from datamover.files.xattr import read_xattrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from datamover.files.entry import Extent
    from datamover.files.notice import Notice

__all__ = ["Walk", "archived_root", "data_extents"]

_KINDS: Final = {
    stat.S_IFREG: int(Kind.FILE),
    stat.S_IFDIR: int(Kind.DIRECTORY),
    stat.S_IFLNK: int(Kind.SYMLINK),
    stat.S_IFIFO: int(Kind.FIFO),
    stat.S_IFCHR: int(Kind.CHARACTER),
    stat.S_IFBLK: int(Kind.BLOCK),
}
_FILE: Final = int(Kind.FILE)
_DIRECTORY: Final = int(Kind.DIRECTORY)
_SYMLINK: Final = int(Kind.SYMLINK)
_HARD_LINK: Final = int(Kind.HARD_LINK)
_DEVICES: Final = (int(Kind.CHARACTER), int(Kind.BLOCK))
_SPARSE: Final = int(EntryFlag.SPARSE)
_LINKED: Final = int(EntryFlag.LINKED)
_ANY_DEVICE: Final = -1
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SHORT: Final = 256
"""A plain file's path at most: its entry fits the smallest block, whoever the owner is."""

_TYPE: Final = 0o170000
"""The bits of a mode that say what a file is."""

_SECTOR: Final = 512
"""What ``st_blocks`` counts, whatever the file system's block size."""


def archived_root(root: bytes) -> tuple[bytes, bytes]:
    """Split a source path into the directory that archived names are relative to, and its name.

    The root directory has no name: its children are archived, and it is not.
    """
    parent, _, name = root.rstrip(b"/").rpartition(b"/")
    return parent or b"/", name


class Walk:
    """An iterable over the entries of the given sources.

    Args:
        roots: Absolute paths, in bytes, straight ones among them.  Each is archived below its own
            last component.
        excludes: What to leave out; the roots themselves are never left out.
        one_file_system: Stay on the file system of each root; a mount point is archived empty.
        notice: Told of what cannot be archived ("unreadable", "skipped"); the walk goes on.
        plain: Given encoded entry and size of each plain file, which is then not yielded; between
            the same neighbours as it would be.  Plain is a file of one name, without holes or
            extended attributes: nearly every one, and this way takes half of the time.
        plain_size: Bytes of a plain file at most.

    Attributes:
        plain: As given; when it is set later, it takes effect with the next directory.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        *,
        notice: Notice,
        excludes: Excludes | None = None,
        one_file_system: bool = False,
        plain: Callable[[bytes, int], None] | None = None,
        plain_size: int = 0,
    ) -> None:
        self.plain = plain
        self._plain_size = plain_size
        self._roots = roots
        self._notice = notice
        self._excludes = excludes or Excludes()
        self._one_file_system = one_file_system
        self._links: dict[tuple[int, int], list[bytes | int]] = {}
        self._directory = -1
        self._source = b""
        self._root = 0
        self._device = _ANY_DEVICE
        self._foreign = False
        self._size = 0
        self._named = True

    def __iter__(self) -> Iterator[Entry]:
        for number, root in enumerate(self._roots):
            parent, name = archived_root(root)
            try:
                base = open_folder(parent)
            except OSError as error:
                self._notice("unreadable", shown(root), why(error))
                continue
            with Descent(base) as descent:
                yield from self._walk(descent, shown(parent).rstrip(b"/"), name, number)

    def extents(self, entry: Entry) -> Iterator[Extent]:
        """Yield where the data is of the file yielded last, which is sparse.

        A file that cannot be opened is one extent: reading it later finds the same, and says so.
        """
        try:
            file = os.open(
                entry.path.rpartition(b"/")[2],
                _READ,
                dir_fd=self._directory,
            )
        except OSError:
            yield (0, entry.size)
            return
        try:
            yield from data_extents(file, entry.size)
        finally:
            os.close(file)

    def folder(self, path: bytes) -> bytes:
        """Return where the directory with the archived name ``path`` is, of the source at hand."""
        return b"%b/%b" % (self._source, path) if path else self._source

    def head(self, name: bytes, size: int) -> bytes | None:
        """Return the first ``size`` bytes of a file; None when it cannot be read.

        Args:
            name: Its last component; it is the file yielded last, or given to ``plain`` last.
            size: Bytes at most.
        """
        try:
            file = os.open(name, _READ, dir_fd=self._directory)
        except OSError:
            return None
        try:
            return os.pread(file, size, 0)
        except OSError:
            return None
        finally:
            os.close(file)

    def _walk(self, descent: Descent, source: bytes, name: bytes, root: int) -> Iterator[Entry]:
        """Walk one source; ``source`` is what precedes an archived name in a source path."""
        self._source, self._root, self._device = source, root, _ANY_DEVICE
        self._named = bool(name)
        pending: list[tuple[bytes, Names]] = []
        if name:
            pending.append((b"", Names([name])))
        else:
            status = os.fstat(descent.base)
            self._device, self._size = status.st_dev, status.st_size
            self._list(descent, b"", pending)
        while pending:
            path, names = pending[-1]
            try:
                self._directory = descent.enter(path)
                if not names.left and not names.read_on(self._directory):
                    pending.pop()
                    continue
            except OSError as error:
                self._unreadable(path, error)
                pending.pop()
                continue
            entry = None
            for entry in self._siblings(path, names.left):
                yield entry
            if entry is not None and entry.kind == _DIRECTORY and not self._foreign:
                self._list(descent, entry.path, pending)

    def _siblings(self, path: bytes, names: list[bytes]) -> Iterator[Entry]:
        """Yield entries of the directory ``path`` until one is a directory, or none are left."""
        prefix = path + b"/" if path else b""
        excludes = self._excludes if path or not self._named else None
        folder = self.folder(path)
        directory, plain = self._directory, self.plain
        while names:
            name = names.pop()
            if excludes and excludes.match(folder, name):
                continue
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                record = self._encode(prefix, name, status) if plain else None
                entry = None if record else self._look(prefix + name, name, status)
            except OSError as error:
                self._unreadable(prefix + name, error)
                continue
            if record and plain:
                plain(record, status.st_size)
            elif entry is not None and entry.kind == _DIRECTORY:
                yield entry
                return
            elif entry is not None and not self._foreign:
                yield entry

    def _encode(self, prefix: bytes, name: bytes, status: os.stat_result) -> bytes | None:
        """Return the encoded entry of a plain file; None for any other."""
        mode, size = status.st_mode, status.st_size
        if (
            mode & _TYPE != stat.S_IFREG
            or status.st_nlink != 1
            or size > self._plain_size
            or status.st_blocks * _SECTOR < size
            or len(prefix) + len(name) > _SHORT
            or (self._one_file_system and status.st_dev != self._device)
            or read_xattrs(self._directory, name)
        ):
            return None
        owner = user_name(status.st_uid), group_name(status.st_gid)
        return encode_plain(prefix, name, status, self._root, *owner)

    def _list(self, descent: Descent, path: bytes, pending: list[tuple[bytes, Names]]) -> None:
        """Push the names of the directory ``path``; with a notice when it refuses."""
        try:
            names = Names.of(descent.enter(path), self._size)
        except OSError as error:
            self._unreadable(path, error)
            return
        pending.append((path, names))

    def _look(self, path: bytes, name: bytes, status: os.stat_result) -> Entry | None:
        """Make the entry of one file; None, and a notice, for what is not archived.

        Raises:
            OSError: It is gone, or refuses.
        """
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None or len(path) > PATH_MAX:
            self._skip(path, status.st_mode)
            return None
        entry = self._entry(path, kind, status, name)
        self._size = status.st_size
        if self._one_file_system:
            if self._device == _ANY_DEVICE:
                self._device = status.st_dev
            self._foreign = status.st_dev != self._device
        return entry

    def _entry(self, path: bytes, kind: int, status: os.stat_result, name: bytes) -> Entry:
        directory = self._directory
        uid, gid = status.st_uid, status.st_gid
        entry = Entry(
            path, kind, status.st_mode, uid, gid, 0, status.st_mtime_ns, status.st_ctime_ns,
            self._root, 0,
            b"", user_name(uid), group_name(gid), read_xattrs(directory, name),
        )  # fmt: skip
        if kind == _FILE:
            entry.size = size = status.st_size
            if status.st_blocks * _SECTOR < size:
                entry.flags = _SPARSE
        elif kind == _SYMLINK:
            entry.link = os.readlink(name, dir_fd=directory)
        elif kind in _DEVICES:
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        if status.st_nlink > 1 and kind != _DIRECTORY:
            self._link(entry, status)
        return entry

    def _link(self, entry: Entry, status: os.stat_result) -> None:
        """Make an entry of an inode that was seen a hard link to its first name."""
        key = (status.st_dev, status.st_ino)
        seen = self._links.get(key)
        if seen is None:
            entry.flags |= _LINKED
            self._links[key] = [entry.path, status.st_nlink - 1]
            return
        first, left = seen
        entry.kind, entry.link, entry.size, entry.flags = (
            _HARD_LINK,
            bytes(first),
            status.st_size,
            0,
        )
        entry.xattrs = ()
        if left == 1:
            del self._links[key]
        else:
            seen[1] = int(left) - 1

    def _skip(self, path: bytes, mode: int) -> None:
        reason = "a socket" if stat.S_ISSOCK(mode) else "the name is too long"
        self._notice("skipped", b"%b/%b" % (self._source, path), reason)

    def _unreadable(self, path: bytes, error: OSError) -> None:
        self._notice("unreadable", b"%b/%b" % (self._source, path), why(error))


def data_extents(file: int, size: int) -> Iterator[Extent]:
    """Yield offset and length of each run of data in an open file, up to ``size``.

    Where the file system cannot tell, the rest is data.
    """
    at = 0
    while at < size:
        try:
            begin = os.lseek(file, at, os.SEEK_DATA)
            end = min(os.lseek(file, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno != errno.ENXIO:  # which says that only a hole is left
                yield (at, size - at)
            return
        if begin >= end:
            return
        yield (begin, end - begin)
        at = end
