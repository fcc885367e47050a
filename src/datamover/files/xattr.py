"""Extended attributes by directory descriptor and name.

Python has no ``llistxattrat``; ``/proc/self/fd/N/name`` is the way that follows no symlink on the
way to the file, whatever happens to the path meanwhile.

Source: SPEC U10; docs/spec/entry-table.md, "Entry"; xattr(7).
"""

from __future__ import annotations

import errno
import os
from typing import Final

__all__ = ["read_xattrs"]

_ORDINARY: Final = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA)


def read_xattrs(directory: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes of the file itself, never those of a symlink's target.

    Attributes that may not be read, or of file systems without any, are left out.

    Raises:
        OSError: The file is gone.
    """
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
