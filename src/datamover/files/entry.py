"""Entry: what is known about one file, and the names for its kinds and states.

Source: docs/spec/entry-table.md, "Entry"; SPEC U10.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import msgspec

__all__ = ["PATH_MAX", "SIZE_MAX", "Entry", "EntryFlag", "Extent", "Kind", "Status"]

PATH_MAX: Final = 65535
SIZE_MAX: Final = (1 << 63) - 1
"""The largest size of a file that the system calls can name."""

Extent = tuple[int, int]
"""Offset in the file and length, in bytes."""


class Kind(IntEnum):
    """What a file is; REMOVED: what had this name is gone, see the entry tables."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    HARD_LINK = 4
    FIFO = 5
    CHARACTER = 6
    BLOCK = 7
    REMOVED = 8


class Status(IntEnum):
    """How reading a file's data went."""

    OK = 0
    CHANGED = 1
    SHORT = 2
    MISSING = 3


class EntryFlag(IntFlag):
    """How a file lies in the blocks of its archive.

    BARE to NAMED are in the pipes of a copy alone, AGAIN and WAS in archives that were interrupted.
    """

    CONTINUES = 1
    MORE = 2
    SPARSE = 4
    LINKED = 8
    XATTRS_DROPPED = 16
    BARE = 32
    SAME = 64
    DIGEST = 128
    NAMED = 256
    AGAIN = 512
    WAS_FILE = 1024
    WAS_DIRECTORY = 2048
    WAS_OTHER = 4096


class Entry(msgspec.Struct, gc=False):
    """One file as it was found, or one block's part of it.

    A plain struct with positional fields: a backup makes one for each file.

    Attributes:
        path: Archived name: relative, no empty, ``.`` or ``..`` component, any byte but NUL.
        kind: A Kind, as a plain int.
        mode: ``st_mode``, type bits included.
        uid: Owner's number.
        gid: Group's number.
        size: Bytes of the file when it was scanned.
        mtime_ns: Time of the last change of its data.
        ctime_ns: Time of the last change of the inode; recorded, never restored.
        root: Which source, from 0.
        flags: EntryFlag bits, as a plain int.
        link: A symlink's target, or the archived name of a hard link's first name.
        user: Owner's name; empty when it has none.
        group: Group's name.
        xattrs: Extended attributes, name and value.
        extents: What of the file's data is in this block.
        status: A Status, as a plain int.
        actual: The file's size when read, for the status SHORT.
        before: Data bytes of the file in earlier blocks.
        major: Of a device.
        minor: Of a device.
    """

    path: bytes
    kind: int
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    root: int = 0
    flags: int = 0
    link: bytes = b""
    user: bytes = b""
    group: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    extents: tuple[Extent, ...] = ()
    status: int = 0
    actual: int = 0
    before: int = 0
    major: int = 0
    minor: int = 0
