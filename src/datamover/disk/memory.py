"""Say whether a file lies in memory, where there is no disk to write past a cache to.

Source: statfs(2), ``f_type``; tmpfs(5).
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

__all__ = ["is_in_memory"]

_KINDS: Final = frozenset({0x0102_1994, 0x8584_58F6})
"""tmpfs and ramfs; the first word of what statfs tells is the file system's magic number."""
_WORD: Final = struct.Struct("@l")
_ROOM: Final = 256
"""More than any machine's ``struct statfs`` has."""


def is_in_memory(descriptor: int) -> bool:
    """Return whether an open file's file system has no disk; one that does not say so has.

    Blocking: never.
    """
    told = ctypes.create_string_buffer(_ROOM)
    if ctypes.CDLL(None).fstatfs(descriptor, told):
        return False
    return _WORD.unpack_from(told)[0] & 0xFFFF_FFFF in _KINDS
