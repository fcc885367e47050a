"""Write one object: a small one at once, a long one in parts that are under way together.

    write ──▶ area ──full──▶ a part, sent by the library's own threads     (at most N under way)
               ▲                   │
               └──────given back───┘      when the server has it

The library sends a part from where it lies and keeps it for repeats, so the caller's buffers are
copied once, into an area that stays as it is until the part has arrived.

Source: docs/spec/media-format.md, "Object stores"; ADR 0026.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import obstore

from datamover.errors import DataMoverError, StoreError
from datamover.media.object_errors import is_not_honoured, is_taken, refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from obstore import WritableFile
    from obstore.store import S3Store

    from datamover.units import Bytes

__all__ = ["Areas", "ObjectWriter"]


class Areas:
    """Memory that parts are sent from, used again when the library has let go of it.

    A chunk is finished in another thread than the next one is filled in.
    """

    def __init__(self, size: Bytes) -> None:
        """Choose an area's bytes; memory is taken when it is needed."""
        self.size = size
        self._lock = threading.Lock()
        self._lent: list[bytearray] = []
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        """Return an area: writable, ``size`` bytes; what is in it is of no meaning."""
        with self._lock:
            self._collect()
            return self._free.pop() if self._free else memoryview(bytearray(self.size))

    def lend(self, area: memoryview, part: memoryview) -> None:
        """Take back an area of which somebody else may still read ``part``; both are dead then."""
        whole = area.obj
        assert isinstance(whole, bytearray)  # noqa: S101 - take makes them
        with suppress(BufferError):
            # Whoever looks through ours keeps it from being released, and the bytes with it.
            part.release()
            area.release()
        with self._lock:
            self._lent.append(whole)

    def give(self, area: memoryview) -> None:
        """Take back an area that nobody reads."""
        with self._lock:
            self._free.append(area)

    def _collect(self) -> None:
        """Find the areas that the library has let go of."""
        still = []
        for whole in self._lent:
            try:
                # Bytes that somebody looks at keep their length; no memory moves for one.
                whole.append(whole.pop())
            except BufferError:
                still.append(whole)
            else:
                self._free.append(memoryview(whole))
        self._lent = still


class ObjectWriter:
    """One object that is being written; see ``Writer``."""

    def __init__(
        self,
        name: str,
        *,
        store: S3Store,
        key: str,
        where: str,
        areas: Areas,
        parallel: int,
        discard: Callable[[], None],
    ) -> None:
        """Prepare; nothing is sent before there is a whole part.

        Args:
            name: The chunk's.
            store: Where to.
            key: The object's.
            where: The medium, for messages.
            areas: Where parts are sent from.
            parallel: Parts under way at once.
            discard: Takes back the unfinished upload of ``key``.
        """
        self.name = name
        self.length = 0
        self._store = store
        self._key = key
        self._where = where
        self._areas = areas
        self._parallel = parallel
        self._discard = discard
        self._area: memoryview | None = areas.take()
        self._used = 0
        self._upload: WritableFile | None = None
        self._is_open = True

    def write(self, views: Sequence[memoryview | bytes]) -> None:
        """Append; see ``Writer.write``."""
        for view in views:
            left = memoryview(view)
            while left:
                left = self._stage(left)

    def commit(self) -> None:
        """Make the object visible; see ``Writer.commit``."""
        try:
            with refusals(self._where):
                if self._upload is None:
                    self._put()
                else:
                    self._finish(self._upload)
        except DataMoverError:
            self.abandon()
            raise
        self._close()

    def abandon(self) -> None:
        """Take back what was sent; see ``Writer.abandon``."""
        if not self._is_open:
            return
        is_begun = self._upload is not None
        self._close()
        if is_begun:
            # What cannot be taken back now is left for the next cleaning.
            with suppress(DataMoverError):
                self._discard()

    def _stage(self, left: memoryview) -> memoryview:
        """Copy what fits into the area, send the area when it is full; return what is left."""
        if self._area is None:
            self._area = self._areas.take()
        size = min(len(left), len(self._area) - self._used)
        self._area[self._used : self._used + size] = left[:size]
        self._used += size
        self.length += size
        if self._used == len(self._area):
            self._send(self._used)
        return left[size:]

    def _send(self, size: int) -> None:
        """Hand the area to the library, which waits while enough parts are under way."""
        area, self._area, self._used = self._area, None, 0
        assert area is not None  # noqa: S101 - the callers have one
        with refusals(self._where):
            if self._upload is None:
                self._upload = obstore.open_writer(
                    self._store,
                    self._key,
                    buffer_size=self._areas.size,
                    max_concurrency=self._parallel,
                )
            part = area[:size]
            try:
                self._upload.write(part)
            finally:
                # Whatever became of it: after an error the library may still be at it.
                self._areas.lend(area, part)

    def _put(self) -> None:
        """Store a small object with one request, unless there is one of that name."""
        assert self._area is not None  # noqa: S101 - what is not full is still here
        whole = bytes(self._area[: self._used])
        try:
            obstore.put(self._store, self._key, whole, mode="create", use_multipart=False)
        except Exception as error:
            if is_taken(error):
                raise StoreError(
                    store=self._where, reason=f"chunk {self.name} is already there"
                ) from error
            if not is_not_honoured(error):
                raise
            obstore.put(self._store, self._key, whole, use_multipart=False)

    def _finish(self, upload: WritableFile) -> None:
        """Send the last part, and have the server put the parts together."""
        if self._used:
            self._send(self._used)
        if self._exists():
            # Parts replace what is there when they are put together, so it is looked for before.
            raise StoreError(store=self._where, reason=f"chunk {self.name} is already there")
        upload.close()
        kept = int(obstore.head(self._store, self._key)["size"])
        if kept != self.length:
            raise StoreError(
                store=self._where,
                reason=f"the server kept {kept} of {self.length} bytes of {self.name}",
            )

    def _exists(self) -> bool:
        try:
            obstore.head(self._store, self._key)
        except FileNotFoundError:
            return False
        return True

    def _close(self) -> None:
        if self._area is not None:
            self._areas.give(self._area)
        self._area = self._upload = None
        self._is_open = False
