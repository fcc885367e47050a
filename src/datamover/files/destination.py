"""Destination: making files below one directory, and nowhere else.

Every directory is opened by descriptor and never through a symlink, and every file is made new: an
existing one is kept, refused or removed first, but never written through.

Source: DESIGN D14 ("no path outside the destination"); SPEC E1.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, Self

from datamover.disk.sync import sync_file_system
from datamover.files.descent import DIRECTORY_FLAGS, Descent
from datamover.files.entry import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from datamover.files.entry import Entry

__all__ = ["Destination"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PRIVATE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700
_COPY: Final = 1 << 20
_SYMLINK: Final = int(Kind.SYMLINK)
_FILE: Final = int(Kind.FILE)
_TYPES: Final[dict[int, int]] = {
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
}
"""What a kind is to the system; the archived mode is not asked, for it could say otherwise."""

_CANNOT_LINK: Final = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)


class Destination:
    """One directory to restore into.

    Where a file is in the way, each method makes nothing and says ``None`` when it is the same
    already; when it is another, it raises FileExistsError, or removes it with ``overwrite``.
    A directory is never removed.

    Args:
        base: Descriptor of the directory; this object closes it.
        overwrite: Remove files that are in the way.
    """

    def __init__(self, base: int, *, overwrite: bool = False) -> None:
        self._directories = _Making(base)
        self._overwrite = overwrite
        # Links are made from one directory to another, and each has its own way down.
        self._targets = Descent(os.dup(base))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._directories.close()
        self._targets.close()

    def sync(self) -> None:
        """Wait until every file system that was written to is durable.

        Raises:
            OSError: Something could not be written.

        Blocking: until the disks have it.
        """
        for descriptor in self._directories.file_systems.values():
            sync_file_system(descriptor)

    @property
    def base(self) -> int:
        """The descriptor of the directory itself."""
        return self._directories.base

    def enter(self, path: bytes) -> int:
        """Return the descriptor of a directory, which is made when missing.

        Raises:
            OSError: Something that is no directory is on the way.
        """
        return self._directories.enter(path)

    def directory(self, path: bytes) -> int:
        """Make a directory, or use the one that is there; return its descriptor.

        Raises:
            FileExistsError: Something else has its name.
            OSError: The system refuses.
        """
        try:
            return self._directories.enter(path)
        except OSError as error:
            # A symlink says ELOOP or ENOTDIR, by the kernel's choice.
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        if not self._overwrite:
            raise FileExistsError(errno.EEXIST, "a file or symlink has the name of a directory")
        parent, _, name = path.rpartition(b"/")
        os.unlink(name, dir_fd=self._directories.enter(parent))
        return self._directories.enter(path)

    def file(self, entry: Entry) -> int | None:
        """Make an empty file that only this user may read; return its descriptor, for writing.

        Raises:
            FileExistsError: Another file is there.
            OSError: The system refuses.
        """
        parent, _, name = entry.path.rpartition(b"/")
        directory = self._directories.enter(parent)
        try:
            return os.open(name, _NEW, _PRIVATE, dir_fd=directory)
        except FileExistsError:
            if not self._clear(directory, name, entry):
                return None
        return os.open(name, _NEW, _PRIVATE, dir_fd=directory)

    def remove(self, path: bytes) -> None:
        """Remove a file that was made and cannot be finished."""
        parent, _, name = path.rpartition(b"/")
        os.unlink(name, dir_fd=self._directories.enter(parent))

    def special(self, entry: Entry) -> tuple[int, bytes] | None:
        """Make a symlink, FIFO or device; return its directory's descriptor and its name.

        Raises:
            FileExistsError: Another file is there.
            OSError: The system refuses.
        """
        parent, _, name = entry.path.rpartition(b"/")
        directory = self._directories.enter(parent)

        def make() -> None:
            if entry.kind == _SYMLINK:
                os.symlink(entry.link, name, dir_fd=directory)
                return
            mode = _TYPES[entry.kind] | _PRIVATE
            os.mknod(name, mode, os.makedev(entry.major, entry.minor), dir_fd=directory)

        return (directory, name) if self._make(directory, name, entry, make) else None

    def link(self, entry: Entry, target: bytes) -> bool | None:
        """Make another name of ``target``, a path that was restored; false when it cannot be one.

        Raises:
            FileExistsError: Another file is there.
            OSError: The system refuses.
        """
        above, _, first = target.rpartition(b"/")
        source = self._targets.enter(above)
        parent, _, name = entry.path.rpartition(b"/")
        directory = self._directories.enter(parent)

        def make() -> None:
            os.link(first, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)

        try:
            make()
        except FileExistsError:
            there = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if os.path.samestat(there, os.stat(first, dir_fd=source, follow_symlinks=False)):
                return None
            self._unlink(directory, name)
            make()
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            return False
        return True

    def copy(self, target: bytes, file: int) -> None:
        """Fill the new ``file`` with what is in ``target``, where links cannot be.

        Raises:
            OSError: The target is no file, or the system refuses.
        """
        above, _, name = target.rpartition(b"/")
        directory = self._targets.enter(above)
        source = os.open(name, _OLD, dir_fd=directory)
        try:
            while os.sendfile(file, source, None, _COPY):
                pass
        finally:
            os.close(source)

    def _make(self, directory: int, name: bytes, entry: Entry, make: Callable[[], None]) -> bool:
        try:
            make()
        except FileExistsError:
            if not self._clear(directory, name, entry):
                return False
            make()
        return True

    def _clear(self, directory: int, name: bytes, entry: Entry) -> bool:
        """Remove what is in the way; false when it is the same file, which stays."""
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not self._overwrite and _is_same(there, entry, directory, name):
            return False
        self._unlink(directory, name)
        return True

    def _unlink(self, directory: int, name: bytes) -> None:
        if not self._overwrite:
            raise FileExistsError(errno.EEXIST, "another file is there")
        try:
            os.unlink(name, dir_fd=directory)
        except (IsADirectoryError, PermissionError) as error:
            if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                raise
            raise FileExistsError(errno.EEXIST, "a directory has the name of a file") from error


class _Making(Descent):
    """A descent that makes the directories it misses, for this user alone until they are done.

    Attributes:
        file_systems: A directory of each that it was in, by device.
    """

    def __init__(self, base: int) -> None:
        super().__init__(base)
        self.file_systems: dict[int, int] = {os.fstat(base).st_dev: os.dup(base)}

    def close(self) -> None:
        while self.file_systems:
            os.close(self.file_systems.popitem()[1])
        super().close()

    def make(self, parent: int, name: bytes) -> int:
        found = self._made(parent, name)
        device = os.fstat(found).st_dev
        if device not in self.file_systems:
            self.file_systems[device] = os.dup(found)
        return found

    def _made(self, parent: int, name: bytes) -> int:
        try:
            return os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except FileNotFoundError:
            os.mkdir(name, _PRIVATE_DIRECTORY, dir_fd=parent)
        return os.open(name, DIRECTORY_FLAGS, dir_fd=parent)


def _is_same(there: os.stat_result, entry: Entry, directory: int, name: bytes) -> bool:
    """Say whether what is there looks like the entry: kind, and size and time or target."""
    if stat.S_IFMT(there.st_mode) != _TYPES[entry.kind]:
        return False
    if entry.kind == _FILE:
        return there.st_size == entry.size and there.st_mtime_ns == entry.mtime_ns
    if entry.kind == _SYMLINK:
        return os.readlink(name, dir_fd=directory) == entry.link
    return there.st_rdev == os.makedev(entry.major, entry.minor)
