"""Extended attributes by directory descriptor and name.

Nearly every file has none, and asking costs as much as all else that a scan asks for.
Linux 6.13 has a call for it (listxattrat); before that, ``/proc/self/fd/N/name`` is the way that
follows no symlink on the way to the file, whatever happens to the path meanwhile.

Source: SPEC U5, U10; docs/spec/entry-table.md, "Entry"; xattr(7), listxattrat(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["read_xattrs"]

_LISTXATTRAT: Final = 465
"""The call's number, the same on every architecture."""

_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_ORDINARY: Final = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA)


def read_xattrs(directory: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes of the file itself, never those of a symlink's target.

    Attributes that may not be read, or of file systems without any, are left out.

    Raises:
        OSError: The file is gone.
    """
    if _list_size is not None and not _list_size(
        _LISTXATTRAT, directory, name, _AT_SYMLINK_NOFOLLOW, 0, 0
    ):
        return ()
    path = b"/proc/self/fd/%d/%b" % (directory, name)
    try:
        found = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _ORDINARY:
            return ()
        raise
    return _values(path, found) if found else ()


def _values(path: bytes, names: list[str]) -> tuple[tuple[bytes, bytes], ...]:
    pairs: list[tuple[bytes, bytes]] = []
    for one in sorted(names):
        try:
            pairs.append((os.fsencode(one), os.getxattr(path, one, follow_symlinks=False)))
        except OSError as error:
            if error.errno not in _ORDINARY:
                raise
    return tuple(pairs)


def _size_call() -> Callable[[int, int, bytes, int, int, int], int] | None:
    """Return syscall(2), fit for listxattrat; None where the kernel or a filter lacks that."""
    # Called with the interpreter's lock held: letting go of it would cost as much as the call.
    # No argument types: small integers and a byte string pass as they are, in half of the time.
    call: Callable[[int, int, bytes, int, int, int], int] = ctypes.PyDLL(None)["syscall"]
    works = call(_LISTXATTRAT, _AT_FDCWD, b"/", _AT_SYMLINK_NOFOLLOW, 0, 0) >= 0
    return call if works else None


_list_size: Final = _size_call()
