"""Replacement: files written beside those they replace, and renamed over them.

Whenever a copy dies, a name has its old content or its new one.  Every directory is opened by
descriptor and never through a symlink, and every file is made new.

Source: docs/spec/copy-pipes.md, "Leftovers"; DESIGN D14; SPEC E1, U1.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from datamover.files.destination import Destination
from datamover.files.entry import Kind
from datamover.files.leftover import RESUMABLE, leftover_name

if TYPE_CHECKING:
    from datamover.files.entry import Entry

__all__ = ["Replacement"]

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PRIVATE: Final = 0o600
_LARGEST: Final = (1 << 64) - 1
_SYMLINK: Final = int(Kind.SYMLINK)
_TYPES: Final[dict[int, int]] = {
    Kind.FIFO: stat.S_IFIFO,
    Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
}
_CANNOT_LINK: Final = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)


class Replacement(Destination):
    """A destination whose names change from old to new in one step.

    Args:
        base: Descriptor of the directory; this object closes it.
    """

    def __init__(self, base: int) -> None:
        super().__init__(base, overwrite=True)
        # No other copy has these names, and none of them is used twice.
        self._scratch = int.from_bytes(os.urandom(8))

    def begin(self, path: bytes, size: int) -> tuple[int, bytes, int]:
        """Make a file beside ``path``, or go on with the one that an earlier copy left.

        Returns:
            Descriptor, which is the caller's; name, for ``commit`` or ``drop``; and the bytes
            that are in it already, which may be anything.

        Raises:
            OSError: The system refuses.
        """
        above, _, name = path.rpartition(b"/")
        directory = self.enter(above)
        if size < RESUMABLE:
            # What is not in a folder of the copy's own is found again by its name alone.
            beside = self._unique() if above else leftover_name(name)
        else:
            beside = leftover_name(name)
            with suppress(OSError):
                file = os.open(beside, _OLD, dir_fd=directory)
                there = os.fstat(file)
                if _is_ours(there):
                    return file, beside, there.st_size
                os.close(file)
        try:
            return os.open(beside, _NEW, _PRIVATE, dir_fd=directory), beside, 0
        except FileExistsError:
            os.unlink(beside, dir_fd=directory)
        return os.open(beside, _NEW, _PRIVATE, dir_fd=directory), beside, 0

    def has(self, path: bytes) -> bool:
        """Say whether something has the name already."""
        above, _, name = path.rpartition(b"/")
        try:
            os.stat(name, dir_fd=self.enter(above), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def commit(self, path: bytes, beside: bytes) -> None:
        """Give the file its name; what had it is gone, in the same step.

        Raises:
            FileExistsError: A directory that is not empty has the name.
            OSError: The system refuses.
        """
        above, _, name = path.rpartition(b"/")
        directory = self.enter(above)
        try:
            os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
        except IsADirectoryError:
            _clear(directory, name)
            os.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)

    def drop(self, path: bytes, beside: bytes) -> None:
        """Remove a file that was begun."""
        above = path.rpartition(b"/")[0]
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=self.enter(above))

    def special(self, entry: Entry) -> tuple[int, bytes]:
        """Make a symlink, FIFO or device beside its name, for ``commit``."""
        directory = self.enter(entry.path.rpartition(b"/")[0])
        beside = self._unique()
        if entry.kind == _SYMLINK:
            os.symlink(entry.link, beside, dir_fd=directory)
        else:
            device = os.makedev(entry.major, entry.minor)
            os.mknod(beside, _TYPES[entry.kind] | _PRIVATE, device, dir_fd=directory)
        return directory, beside

    def link_beside(self, entry: Entry, target: bytes) -> bytes | None:
        """Make another name of ``target`` beside that of ``entry``, for ``commit``.

        Returns:
            The name; empty when none can be made, None when the entry is a name of it already.

        Raises:
            OSError: The system refuses.
        """
        above, _, first = target.rpartition(b"/")
        source = self._targets.enter(above)
        over, _, name = entry.path.rpartition(b"/")
        directory = self.enter(over)
        beside = self._unique()
        with suppress(FileNotFoundError):
            there = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if os.path.samestat(there, os.stat(first, dir_fd=source, follow_symlinks=False)):
                return None
        try:
            os.link(
                first, beside,
                src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False,
            )  # fmt: skip
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            return b""
        return beside

    def remove_entry(self, path: bytes, *, is_directory: bool) -> bool:
        """Remove what has this name, an empty directory or anything else; say whether it was there.

        Raises:
            OSError: The system refuses; ENOTEMPTY among others.
        """
        above, _, name = path.rpartition(b"/")
        try:
            directory = self._targets.enter(above)
            if is_directory:
                os.rmdir(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            return False
        return True

    def _unique(self) -> bytes:
        self._scratch = self._scratch + 1 & _LARGEST
        return b".datamover-%016x.part" % self._scratch


def _is_ours(there: os.stat_result) -> bool:
    """Say whether an earlier copy of this user left the file, and nobody else can write to it."""
    return (
        stat.S_ISREG(there.st_mode)
        and there.st_nlink == 1
        and there.st_uid == os.geteuid()
        and not there.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _clear(directory: int, name: bytes) -> None:
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise FileExistsError(errno.EEXIST, "a folder that is not empty has the name") from error
