"""Backlog: entries that are set aside in order, and come back last first.

They wait in a file without a name, for there may be a million of them.

Source: docs/spec/copy-pipes.md, "Removing".
"""

from __future__ import annotations

import struct
import tempfile
from typing import TYPE_CHECKING, Final, Self

from datamover.files.table import ENTRY_SIZE, HEADER_SIZE, decode_entries, encode_entry, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from datamover.files.entry import Entry

__all__ = ["Backlog"]

_LENGTH: Final = struct.Struct("<I")
_IN_MEMORY: Final = 1 << 20


class Backlog:
    """A stack of entries; true when there are any."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - kept
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __bool__(self) -> bool:
        return self._end > 0

    def close(self) -> None:
        """Forget all entries; the object is of no use afterwards."""
        self._file.close()

    def push(self, entry: Entry) -> None:
        """Set an entry aside."""
        record = encode_entry(entry)
        self._file.write(record + _LENGTH.pack(len(record)))
        self._end += len(record) + _LENGTH.size

    def drain(self) -> Iterator[Entry]:
        """Yield all entries, last first, and forget them."""
        at, self._end = self._end, 0
        while at:
            self._file.seek(at - _LENGTH.size)
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            at -= length + _LENGTH.size
            self._file.seek(at)
            yield _decoded(self._file.read(length))
        self._file.seek(0)
        self._file.truncate()


def _decoded(record: bytes) -> Entry:
    table = memoryview(bytearray(HEADER_SIZE + max(len(record), ENTRY_SIZE)))
    write_table(table, [record])
    return next(decode_entries(table))
