"""Wait until a whole file system is on its medium: one call for any number of files.

Source: syncfs(2); docs/ARCHITECTURE.md, "Invariants".
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["sync_file_system"]


def sync_file_system(descriptor: int) -> None:
    """Wait until the file system of an open file or directory is durable.

    Raises:
        OSError: Something could not be written.

    Blocking: until the disk has it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
