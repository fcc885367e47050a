"""The one piece of memory that the tasks of a pipe share: made once, never grown.

Source: seed FIG. 2B (85), FIG. 2C (75); SPEC A7, A8; docs/spec/shm-layout.md.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
from dataclasses import dataclass
from enum import IntEnum
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, fcntl
from typing import Final, Self

from datamover.errors import (
    MagicError,
    MalformedError,
    OwnershipError,
    TruncatedError,
    VersionError,
)
from datamover.shm.buffer import TAG_SIZE, TRAILER_SIZE
from datamover.units import Bytes

__all__ = [
    "ARRIVAL",
    "DESCRIPTOR",
    "OWNER",
    "SAVED",
    "SAVED_AT",
    "Geometry",
    "Segment",
    "State",
    "owner_word",
]

DESCRIPTOR: Final = struct.Struct("<IIIIQIII")
"""state, owner, allocator, flags, sequence, part, used, tag_used."""

OWNER: Final = struct.Struct("<II")
"""state, owner: the beginning of a descriptor."""

ARRIVAL: Final = struct.Struct("<8xI20xI")
"""allocator, tag_used: what a receiver reads of a descriptor."""

SAVED: Final = struct.Struct("<III")
"""saved, saved used, saved tag_used, at ``SAVED_AT`` of a descriptor."""

SAVED_AT: Final = 36

_PAGE: Final = 4096
_MAGIC: Final = b"DMSEGMNT"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIIIIII16s")
_DESCRIPTOR_SIZE: Final = 64
_RECORD_FIELDS: Final = 16
_STOP_WORD: Final = 16  # the u32 at offset 64
_LIMIT_WORD: Final = 9  # the u64 at offset 72
_KEEPS_TAGS: Final = 1
_MOMENT_SIZE: Final = 64  # a line of the processor's cache for each
_MAX_BUFFERS: Final = 1 << 20
_MAX_BUFFER_SIZE: Final = 1 << 30
_MAX_INSTANCES: Final = 4096


def owner_word(state: int, owner: int) -> int:
    """Return the first 8 bytes of a descriptor, state and owner, as a number of this machine."""
    return int.from_bytes(struct.pack("<II", state, owner), sys.byteorder)


def _pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


class State(IntEnum):
    """Where a buffer is, as its descriptor says."""

    FREE = 0
    OWNED = 1
    QUEUED = 2
    TAKEN = 3
    """Its token was read in advance: no queue has it, and its owner has not begun with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How a segment is cut.

    Attributes:
        buffers: Slots.
        buffer_size: Bytes a head fills of each.
        instances: Tasks that have a record.
        keeps_tags: Behind the slots there is room to save each slot's tag, and a word for each
            task: see ``pipe.accounted``.
    """

    buffers: int
    buffer_size: Bytes
    instances: int
    keeps_tags: bool = False

    @property
    def room(self) -> Bytes:
        """Bytes of ``Buffer.data``: buffer_size and the trailer's room."""
        return Bytes(self.buffer_size + TRAILER_SIZE)

    @property
    def stride(self) -> Bytes:
        """Bytes from one slot to the next."""
        return Bytes(_pages(TAG_SIZE + self.room))

    @property
    def records(self) -> int:
        """Offset of the first instance record."""
        return _pages(_PAGE + self.buffers * _DESCRIPTOR_SIZE)

    @property
    def slots(self) -> int:
        """Offset of the first slot; the others follow at every ``stride``."""
        return _pages(self.records + self.instances * _RECORD_FIELDS * 8)

    @property
    def saved_tags(self) -> int:
        """Offset of the first saved tag."""
        return self.slots + self.buffers * self.stride

    @property
    def moments(self) -> int:
        """Offset of the first instance's word of where its tokens are."""
        return self.saved_tags + self.buffers * TAG_SIZE

    @property
    def size(self) -> Bytes:
        """Bytes of the whole segment."""
        if not self.keeps_tags:
            return Bytes(self.saved_tags)
        return Bytes(_pages(self.moments + self.instances * _MOMENT_SIZE))

    def check(self) -> None:
        """Refuse what no pipe would ask for.

        Raises:
            MalformedError: A count or size is out of range.
        """
        if not 1 <= self.buffers <= _MAX_BUFFERS:
            raise MalformedError(what="segment", reason=f"buffers: {self.buffers}")
        if not 1 <= self.buffer_size <= _MAX_BUFFER_SIZE:
            raise MalformedError(what="segment", reason=f"buffer size: {self.buffer_size}")
        if not 1 <= self.instances <= _MAX_INSTANCES:
            raise MalformedError(what="segment", reason=f"instances: {self.instances}")


class Segment:
    """A mapped segment: ``create`` it in the monitor, ``attach`` to it in a task."""

    def __init__(self, descriptor: int, geometry: Geometry, identity: bytes) -> None:
        self.descriptor = descriptor
        self.geometry = geometry
        self.identity = identity
        self._map = mmap.mmap(descriptor, geometry.size)
        self._view = memoryview(self._map)
        self._words = self._view[:_PAGE].cast("I")
        self._longs = self._view[:_PAGE].cast("Q")

    @classmethod
    def create(cls, geometry: Geometry) -> Self:
        """Make a segment of this machine.

        Raises:
            MalformedError: The geometry is out of range; nothing was made.
            OSError: The system has no memory for it; nothing was made.

        Ownership: the caller closes it; tasks get ``descriptor`` by SCM_RIGHTS.
        """
        geometry.check()
        descriptor = os.memfd_create("datamover", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, geometry.size)
            fcntl(descriptor, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
            segment = cls(descriptor, geometry, os.urandom(16))
        except BaseException:
            os.close(descriptor)
            raise
        _HEADER.pack_into(
            segment._view,
            0,
            _MAGIC,
            _VERSION,
            geometry.buffers,
            geometry.buffer_size,
            geometry.stride,
            geometry.instances,
            _KEEPS_TAGS if geometry.keeps_tags else 0,
            segment.identity,
        )
        return segment

    @classmethod
    def attach(cls, descriptor: int, identity: bytes) -> Self:
        """Map the segment behind ``descriptor``, which must be the one named ``identity``.

        Raises:
            OwnershipError: It is another pipe's segment.
            FormatError: It is no segment, or its header disagrees with its size.
        """
        have = os.fstat(descriptor).st_size
        if have < _PAGE:
            raise TruncatedError(what="segment", need=Bytes(_PAGE), have=Bytes(have))
        head = os.pread(descriptor, _HEADER.size, 0)
        magic, version, buffers, size, stride, instances, flags, found = _HEADER.unpack(head)
        if magic != _MAGIC:
            raise MagicError(what="segment", found=magic.hex())
        if version != _VERSION:
            raise VersionError(what="segment", found=version, newest=_VERSION)
        if found != identity:
            raise OwnershipError(reason="the segment belongs to another pipe")
        if flags & ~_KEEPS_TAGS:
            raise MalformedError(what="segment", reason=f"flags: {flags}")
        geometry = Geometry(
            buffers=buffers,
            buffer_size=Bytes(size),
            instances=instances,
            keeps_tags=bool(flags),
        )
        geometry.check()
        if geometry.stride != stride:
            raise MalformedError(what="segment", reason=f"stride: {stride}")
        if geometry.size != have:
            raise TruncatedError(what="segment", need=geometry.size, have=Bytes(have))
        return cls(descriptor, geometry, identity)

    @property
    def is_stopping(self) -> bool:
        """Whether every task must end."""
        return self._words[_STOP_WORD] != 0

    @property
    def words(self) -> memoryview:
        """The header as u32, for the one test that every verb makes: ``words[16]``."""
        return self._words

    @property
    def memory(self) -> memoryview:
        """All of it, for ports, which make a handle of a slot for each token that they take."""
        return self._view

    def request_stop(self) -> None:
        """Tell every task to end; only the monitor does."""
        self._words[_STOP_WORD] = 1

    @property
    def limit(self) -> int:
        """Bytes a second that network tasks send at most; 0: no limit."""
        return int(self._longs[_LIMIT_WORD])

    def set_limit(self, limit: int) -> None:
        """Change the limit, of a pipe that runs too; only the monitor does.

        Raises:
            MalformedError: It is no number of bytes; nothing was changed.
        """
        if not 0 <= limit < 1 << 64:
            raise MalformedError(what="segment", reason=f"limit: {limit}")
        self._longs[_LIMIT_WORD] = limit

    def descriptors(self) -> memoryview:
        """All buffer descriptors: bytes, 64 a buffer."""
        return self._view[_PAGE : _PAGE + self.geometry.buffers * _DESCRIPTOR_SIZE]

    def tag(self, index: int) -> memoryview:
        """The tag area of one slot: TAG_SIZE bytes; only for whoever has its token."""
        start = self.geometry.slots + index * int(self.geometry.stride)
        return self._view[start : start + TAG_SIZE]

    def saved_tag(self, index: int) -> memoryview:
        """The room where one slot's tag is saved: TAG_SIZE bytes, in a geometry that has it."""
        start = self.geometry.saved_tags + index * TAG_SIZE
        return self._view[start : start + TAG_SIZE]

    def moment(self, instance: int) -> memoryview:
        """One instance's word of where its tokens are, in a geometry that has it: one u64."""
        if not self.geometry.keeps_tags or not 0 <= instance < self.geometry.instances:
            raise MalformedError(what="segment", reason=f"instance: {instance}")
        start = self.geometry.moments + instance * _MOMENT_SIZE
        return self._view[start : start + 8].cast("Q")

    def record(self, instance: int) -> memoryview:
        """The counters of one instance: 16 u64, written by that instance only."""
        if not 0 <= instance < self.geometry.instances:
            raise MalformedError(what="segment", reason=f"instance: {instance}")
        start = self.geometry.records + instance * _RECORD_FIELDS * 8
        return self._view[start : start + _RECORD_FIELDS * 8].cast("Q")

    def close(self) -> None:
        """Unmap and close; memory goes when the last task has done so.  Idempotent."""
        if self.descriptor < 0:
            return
        self._words.release()
        self._longs.release()
        self._view.release()
        # A stage may have kept a view of a dead buffer: the mapping goes with that view.
        with contextlib.suppress(BufferError):
            self._map.close()
        os.close(self.descriptor)
        self.descriptor = -1
