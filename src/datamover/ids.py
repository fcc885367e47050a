"""What things are called: one type for each kind of number or name.

Source: docs/STYLE.md, "Names".
"""

from __future__ import annotations

from typing import Final, NewType

__all__ = [
    "ATTEMPT_BLOCKS",
    "ArchiveId",
    "BlockNumber",
    "BufferIndex",
    "ChunkNumber",
    "InstanceId",
    "PipeName",
    "SequenceNumber",
    "StoreId",
]

PipeName = NewType("PipeName", str)
"""Initiator's process id, time and host: the same on every machine the pipe runs on."""

BufferIndex = NewType("BufferIndex", int)
"""A buffer's place in its pool, from 0."""

InstanceId = NewType("InstanceId", int)
"""A task's number within its pipe, from 0, counted over all stages."""

SequenceNumber = NewType("SequenceNumber", int)
"""A stamp, dense from 0 within one ordered region of a pipe."""

BlockNumber = NewType("BlockNumber", int)
"""A block's place in its archive, dense from 0, or from ``attempt * ATTEMPT_BLOCKS``."""

ATTEMPT_BLOCKS: Final = 1 << 40
"""Where the block numbers of the next attempt at an interrupted archive begin."""

ChunkNumber = NewType("ChunkNumber", int)
"""A chunk's place in its archive, dense from 0."""

ArchiveId = NewType("ArchiveId", bytes)
"""16 random bytes that name an archive for ever."""

StoreId = NewType("StoreId", bytes)
"""16 random bytes that name a store for ever."""
