"""Attributes: owner, mode, extended attributes and times of a restored file.

They are set in the one order that works: the owner first, because changing it clears the setuid bit
and capabilities; extended attributes before the mode, which may forbid writing them; times last.

Source: SPEC U10; DESIGN D14 (no surprise ownership); chown(2), chmod(2), xattr(7).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from datamover.files.entry import Kind
from datamover.files.owner import gid_of, uid_of
from datamover.files.printable import why

if TYPE_CHECKING:
    from datamover.files.entry import Entry
    from datamover.files.notice import Notice

__all__ = ["Attributes"]

_SYMLINK: Final = int(Kind.SYMLINK)
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_PRIVILEGED: Final = (b"security.", b"trusted.")


class Attributes:
    """Sets what an entry says about a file beside its data.

    What is refused is a notice ("metadata") and the rest is set.  Owners need root; without it the
    setuid and setgid bits are dropped where the owner is not the archived one.

    Args:
        notice: Told what could not be set.
        numeric_ids: Use the archived numbers even where the owner's name exists here.
    """

    def __init__(self, *, notice: Notice, numeric_ids: bool = False) -> None:
        self._notice = notice
        self._numeric_ids = numeric_ids
        self._user = os.geteuid()
        self._is_root = self._user == 0

    def set(self, file: int, entry: Entry, *, times: bool = True) -> None:
        """Set them on an open file or directory."""
        try:
            owned = self._own(file, entry)
            if entry.xattrs:
                self._extend(file, entry)
            mode = stat.S_IMODE(entry.mode)
            os.chmod(file, mode if owned else mode & ~_SET_ID)
            if times:
                os.utime(file, ns=(entry.mtime_ns, entry.mtime_ns))
        except OSError as error:
            self._notice("metadata", entry.path, why(error))

    def prune(self, file: int | bytes, entry: Entry) -> None:
        """Remove the extended attributes that the entry does not have; one it may not, stays.

        Args:
            file: A descriptor, or a path that leads through no symlink but its last component.
            entry: What the file is to be.
        """
        wanted = {name for name, _ in entry.xattrs}
        follow = {} if isinstance(file, int) else {"follow_symlinks": False}
        with suppress(OSError):
            for one in os.listxattr(file, **follow):
                name = os.fsencode(one)
                if name not in wanted and name.startswith((b"user.", b"system.posix_acl")):
                    os.removexattr(file, one, **follow)

    def set_special(self, directory: int, name: bytes, entry: Entry) -> None:
        """Set them on a symlink, FIFO or device that was just made in ``directory``."""
        try:
            file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError as error:
            self._notice("metadata", entry.path, why(error))
            return
        try:
            # Whatever the name has become meanwhile, the descriptor is what was looked at.
            if stat.S_IFMT(os.fstat(file).st_mode) == stat.S_IFMT(entry.mode):
                self._set_path(b"/proc/self/fd/%d" % file, entry)
        except OSError as error:
            self._notice("metadata", entry.path, why(error))
        finally:
            os.close(file)

    def _set_path(self, path: bytes, entry: Entry) -> None:
        owned = self._own(path, entry)
        if entry.xattrs:
            self._extend(path, entry)
        if entry.kind != _SYMLINK:
            mode = stat.S_IMODE(entry.mode)
            os.chmod(path, mode if owned else mode & ~_SET_ID)  # noqa: PTH101 - bytes
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))

    def _own(self, file: int | bytes, entry: Entry) -> bool:
        """Set the owner; say whether the file has the archived one."""
        if not self._is_root:
            return entry.uid == self._user
        uid, gid = entry.uid, entry.gid
        if not self._numeric_ids:
            uid, gid = uid_of(entry.user, uid), gid_of(entry.group, gid)
        try:
            os.chown(file, uid, gid)
        except OSError as error:
            self._notice("metadata", entry.path, f"owner {uid}:{gid}: {why(error)}")
            return False
        return True

    def _extend(self, file: int | bytes, entry: Entry) -> None:
        for name, value in entry.xattrs:
            if not self._is_root and name.startswith(_PRIVILEGED):
                continue
            try:
                os.setxattr(file, name, value)
            except OSError as error:
                text = name.decode(errors="backslashreplace")
                self._notice("metadata", entry.path, f"extended attribute {text}: {why(error)}")
