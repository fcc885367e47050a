"""A buffer handle: the right to touch one slot of the pool, until it is sent or freed.

    slot  =  tag area, TAG_SIZE bytes  |  buffer_size bytes  |  TRAILER_SIZE bytes of room
             buffer.tag                   buffer.data (both parts)

Source: seed, "Buffer Manipulation Primitives"; SPEC A13, A23; docs/spec/shm-layout.md.
"""

from __future__ import annotations

from typing import Final

from datamover.errors import OwnershipError
from datamover.units import Bytes

__all__ = ["TAG_SIZE", "TRAILER_SIZE", "Buffer"]

TAG_SIZE: Final = Bytes(4096)
TRAILER_SIZE: Final = Bytes(4096)


class Buffer:
    """One slot of the pool, owned by whoever holds a live handle.

    Attributes:
        index: The slot's number in the pool.
        allocator: The instance whose share the buffer belongs to.
        sequence: The stamp it came with; 0 on a fresh one.
        used: Bytes of ``data`` that mean something; set it before ``send``.
        tag_used: Bytes of ``tag`` that mean something; 0 when the buffer carries no tag.
    """

    __slots__ = (
        "_data",
        "_payloads",
        "_room",
        "_slot",
        "_start",
        "_tag",
        "allocator",
        "index",
        "sequence",
        "tag_used",
        "used",
    )

    def __init__(
        self, index: int, slot: memoryview, start: int, room: int, allocator: int = 0
    ) -> None:
        """Make a handle of the slot that begins at ``start`` of ``slot``; only a port does."""
        self.index = index
        self.allocator = allocator
        self.sequence = 0
        self.used = 0
        self.tag_used = 0
        # Views are cut when they are asked for: passing a buffer on costs none.
        self._slot: memoryview | None = slot
        self._start = start
        self._room = room
        self._data: memoryview | None = None
        self._tag: memoryview | None = None
        self._payloads: list[memoryview] | None = None

    @property
    def data(self) -> memoryview:
        """The slot's bytes: writable, 1-D, buffer_size + TRAILER_SIZE.

        Raises:
            OwnershipError: The buffer was sent or freed.
        """
        if self._data is None:
            start = self._start + TAG_SIZE
            self._data = self._living()[start : start + self._room]
        return self._data

    @property
    def payload(self) -> memoryview:
        """``data[:used]``; dead, as ``data`` is, once the buffer was sent or freed."""
        view = self.data[: self.used]
        # A slice outlives the view that it was cut from, so it is remembered and ended by itself.
        if self._payloads is None:
            self._payloads = [view]
        else:
            self._payloads.append(view)
        return view

    @property
    def tag(self) -> memoryview:
        """The tag area: writable, 1-D, TAG_SIZE bytes.

        Raises:
            OwnershipError: The buffer was sent or freed.
        """
        if self._tag is None:
            self._tag = self._living()[self._start : self._start + TAG_SIZE]
        return self._tag

    def across(self, tag_used: int, length: int) -> memoryview:
        """Return the last ``tag_used`` bytes of the tag area and ``data[:length]`` as one view.

        What must lie in one piece, for a cipher or a system call, has its tag there for a while.
        Dead, as ``data`` is, once the buffer was sent or freed.

        Raises:
            OwnershipError: The buffer was sent or freed, or has not so many bytes.
        """
        if not 0 <= tag_used <= TAG_SIZE or not 0 <= length <= self._room:
            raise OwnershipError(index=self.index, reason=f"has no {tag_used} + {length} bytes")
        middle = self._start + TAG_SIZE
        view = self._living()[middle - tag_used : middle + length]
        if self._payloads is None:
            self._payloads = [view]
        else:
            self._payloads.append(view)
        return view

    @property
    def is_alive(self) -> bool:
        """Whether the handle may still be used."""
        return self._slot is not None

    def adopt(self, other: Buffer) -> None:
        """Take over ``other``'s tag, as a stage does that replaces one buffer by another."""
        self.tag[: other.tag_used] = other.tag[: other.tag_used]
        self.tag_used = other.tag_used

    def kill(self) -> None:
        """End the handle: views taken from it directly are dead too."""
        self._slot = None
        if self._data is not None:
            self._data.release()
            self._data = None
        if self._tag is not None:
            self._tag.release()
            self._tag = None
        if self._payloads is not None:
            for view in self._payloads:
                view.release()
            self._payloads = None

    def _living(self) -> memoryview:
        if self._slot is None:
            raise OwnershipError(index=self.index, reason="used after it was sent or freed")
        return self._slot
