"""Read one object: anywhere, and fast when it is read from its beginning to its end.

    │ read already │ this read │ window │ window │ ...      windows ahead are fetched meanwhile

The last bytes come with the opening: a chunk file is read from its footer on.

Source: docs/spec/media-format.md, "Reading" and "Object stores"; ADR 0026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import obstore

from datamover.errors import DataMoverError, StoreError
from datamover.media.object_errors import refusals
from datamover.units import KIB, MIB, Bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor, Future

    from obstore.store import S3Store

__all__ = ["AHEAD", "TAIL", "ObjectReader"]

TAIL: Final = 64 * KIB
AHEAD: Final = 4
"""Windows that are fetched before they are asked for."""

_WINDOW: Final = 4 * MIB
# From one block to the next is no farther than this when nothing is left out.
_NEAR: Final = 64 * KIB


class ObjectReader:
    """One object; see ``Reader``."""

    def __init__(
        self,
        name: str,
        *,
        store: S3Store,
        key: str,
        where: str,
        size: int,
        tail: memoryview,
        pool: Executor,
    ) -> None:
        """Read an object of ``size`` bytes, of which the last ones are in ``tail``.

        Windows are fetched by the threads of ``pool``.
        """
        self.name = name
        self.size = size
        self._store = store
        self._key = key
        self._where = f"{where}: {name}"
        self._tail = tail
        self._pool = pool
        self._end = -1
        self._windows: dict[int, Future[memoryview]] = {}

    def read_into(self, views: Sequence[memoryview], offset: int) -> Bytes:
        """Fill the views; see ``Reader.read_into``."""
        want = min(sum(map(len, views)), max(0, self.size - offset))
        if want:
            goes_on = self._end >= 0 and abs(offset - self._end) <= _NEAR
            with refusals(self._where):
                if offset >= self.size - len(self._tail):
                    at = offset - (self.size - len(self._tail))
                    _fill(views, [self._tail[at : at + want]])
                elif goes_on:
                    _fill(views, self._from_windows(offset, offset + want))
                else:
                    self._drop()
                    _fill(views, [self._fetch(offset, offset + want)])
            if offset < self.size - len(self._tail):
                self._end = offset + want
        return Bytes(want)

    def close(self) -> None:
        """Let go of the object; what is under way is given up."""
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _fetch(self, start: int, end: int) -> memoryview:
        found = memoryview(obstore.get_range(self._store, self._key, start=start, end=end))
        if len(found) != end - start:
            raise StoreError(
                store=self._where, reason=f"the server gave {len(found)} of {end - start} bytes"
            )
        return found

    def _from_windows(self, start: int, end: int) -> list[memoryview]:
        """Return the bytes from start to end in pieces, and have what follows them fetched."""
        first, last = start // _WINDOW, (end - 1) // _WINDOW
        for passed in [number for number in self._windows if number < first]:
            self._windows.pop(passed).cancel()
        for number in range(first, min(last + AHEAD, (self.size - 1) // _WINDOW) + 1):
            if number not in self._windows:
                at = number * _WINDOW
                self._windows[number] = self._pool.submit(
                    self._fetch, at, min(at + _WINDOW, self.size)
                )
        pieces = []
        for number in range(first, last + 1):
            at = number * _WINDOW
            try:
                window = self._windows[number].result()
            except DataMoverError:
                raise
            except Exception:
                # What failed once may be asked for again.
                self._drop()
                raise
            pieces.append(window[max(start - at, 0) : end - at])
        return pieces

    def _drop(self) -> None:
        while self._windows:
            self._windows.popitem()[1].cancel()


def _fill(views: Sequence[memoryview], pieces: Sequence[memoryview]) -> None:
    """Copy the pieces, in order, into the views, in order; the views have room."""
    places = [view for view in views if len(view)]
    at = 0
    for piece in pieces:
        left = piece
        while left:
            size = min(len(left), len(places[0]) - at)
            places[0][at : at + size] = left[:size]
            left = left[size:]
            at += size
            if at == len(places[0]):
                places.pop(0)
                at = 0
