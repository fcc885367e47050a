"""Holding: what an interrupted archive has under each name, kept in a file beside the journal.

    | segment of attempt 0 | segment of attempt 1 | ... | trailer | length of the trailer, 4 |

A segment is records in the order of a walk: their length, 4 bytes, and the fields.  Each attempt
walks the whole tree, so segments are merged, and of one name the last attempt's record counts.

Source: docs/spec/resume.md, sections 5 and 6.
"""

from __future__ import annotations

import heapq
import os
import struct
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from datamover.errors import MalformedError
from datamover.files.entry import EntryFlag
from datamover.files.table import HEADER_SIZE, decode_entries, encode_entry, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO, Self

    from datamover.files.entry import Entry

__all__ = ["Cut", "Holding", "HoldingReader", "HoldingWriter", "Key", "key_of"]

T = TypeVar("T")
_WHAT: Final = "list of what is there"

Key = tuple[int, bytes]
"""Source's number, and the path with NUL, the lowest byte, in the place of each slash."""

_LENGTH: Final = struct.Struct("<I")
_LONGEST: Final = 1 << 20
_TRAILER_MAX: Final = 64 << 20
_AT_ONCE: Final = 1 << 16
_CONTINUES: Final = int(EntryFlag.CONTINUES)
_MORE: Final = int(EntryFlag.MORE)


def key_of(root: int, path: bytes) -> Key:
    """Return a name's place in the order of a walk."""
    return root, path.replace(b"/", b"\0")


class Holding(msgspec.Struct, array_like=True, gc=False):
    """What the archive holds under one name.

    Attributes:
        root: Which source.
        path: Its archived name.
        kind: Its kind; REMOVED when it was taken back.
        fields: What must be equal for it to be left as it is.
        whole: All of its data is there, and was read as it should be.
    """

    root: int
    path: bytes
    kind: int
    fields: tuple[int, int, int, int, int, int, bytes, int, int]
    whole: bool

    @classmethod
    def of(cls, entry: Entry) -> Holding:
        """Return what an archive holds that has this entry."""
        fields = (
            entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns, entry.ctime_ns,
            entry.link, entry.major, entry.minor,
        )  # fmt: skip
        whole = not entry.status and not entry.flags & _MORE
        return cls(entry.root, entry.path, entry.kind, fields, whole)

    def is_like(self, entry: Entry) -> bool:
        """Whether nothing of ``entry`` need be sent again."""
        other = Holding.of(entry)
        return self.whole and self.kind == other.kind and self.fields == other.fields


class Cut(msgspec.Struct, array_like=True):
    """A file in whose middle the archive ends.

    Attributes:
        table: An entry table with its last entry alone.
        data: Bytes of its data that are there.
    """

    table: bytes
    data: int

    @property
    def entry(self) -> Entry:
        """The entry.

        Raises:
            FormatError: The table is none.
        """
        return next(decode_entries(memoryview(self.table)))


class _Trailer(msgspec.Struct, array_like=True):
    segments: list[tuple[int, int]]
    cut: Cut | None


class HoldingWriter:
    """Writes the file, from the entries of an archive in the order of its blocks.

    Args:
        file: A new file, open for writing; the caller closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._segments: list[tuple[int, int]] = []
        self._begin = self._at = 0
        self._attempt = 0
        self._open: Holding | None = None
        self._is_sound = True
        self._last: Entry | None = None

    def add(self, entry: Entry, attempt: int) -> None:
        """Take in the next entry, which is of this attempt or of a later one."""
        self._last = entry
        held = self._open
        if held is not None and entry.flags & _CONTINUES and entry.path == held.path:
            # It belongs where the file began, even if that was in an earlier attempt.
            self._is_sound = self._is_sound and not entry.status
            held.whole = self._is_sound and not entry.flags & _MORE
            return
        self._flush()
        if attempt != self._attempt:
            self._end_segment()
            self._attempt = attempt
        self._open = Holding.of(entry)
        self._is_sound = not entry.status

    def finish(self) -> None:
        """Write what is left, and the trailer."""
        cut, last = None, self._last
        if last is not None and last.flags & _MORE and self._is_sound:
            record = encode_entry(last)
            table = bytearray(len(record) + HEADER_SIZE)
            write_table(memoryview(table), [record])
            done = last.before + sum([length for _, length in last.extents])
            cut = Cut(bytes(table), done)
        self._flush()
        self._end_segment()
        trailer = msgspec.msgpack.encode(_Trailer(self._segments, cut))
        self._file.write(trailer + _LENGTH.pack(len(trailer)))

    def _flush(self) -> None:
        held, self._open = self._open, None
        if held is not None:
            data = msgspec.msgpack.encode(held)
            self._file.write(_LENGTH.pack(len(data)))
            self._file.write(data)
            self._at += _LENGTH.size + len(data)

    def _end_segment(self) -> None:
        if self._at > self._begin:
            self._segments.append((self._begin, self._at))
        self._begin = self._at


class HoldingReader:
    """Reads the file; a context manager, and an iterable in the order of a walk.

    Attributes:
        cut: The file in whose middle the archive ends; None when it ends between two.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            MalformedError: It is no such file.
            OSError: It cannot be read.
        """
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = _trailer(self._file)
        except BaseException:
            os.close(self._file)
            raise
        self._segments = found.segments
        self.cut = found.cut

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def __iter__(self) -> Iterator[Holding]:
        last: Key | None = None
        # Of one name the record of the last attempt comes first.
        for key, _, held in heapq.merge(
            *(self._segment(number, *one) for number, one in enumerate(self._segments)),
            key=lambda one: one[:2],
        ):
            if key != last:
                last = key
                yield held

    def _segment(self, number: int, at: int, end: int) -> Iterator[tuple[Key, int, Holding]]:
        left = b""
        while at < end:
            more = os.pread(self._file, min(_AT_ONCE, end - at), at)
            if not more:
                raise MalformedError(what=_WHAT, reason="it is too short")
            at += len(more)
            left += more
            begin = 0
            while len(left) - begin >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(left, begin)
                if length > _LONGEST:
                    raise MalformedError(what=_WHAT, reason=f"a record of {length} bytes")
                stop = begin + _LENGTH.size + length
                if stop > len(left):
                    break
                held = _decoded(left[begin + _LENGTH.size : stop], Holding)
                yield key_of(held.root, held.path), -number, held
                begin = stop
            left = left[begin:]


def _trailer(file: int) -> _Trailer:
    size = os.fstat(file).st_size
    tail = os.pread(file, _LENGTH.size, max(0, size - _LENGTH.size))
    length = _LENGTH.unpack(tail)[0] if len(tail) == _LENGTH.size else size
    at = size - _LENGTH.size - length
    if at < 0 or length > _TRAILER_MAX:
        raise MalformedError(what=_WHAT, reason="it has no trailer")
    return _decoded(os.pread(file, length, at), _Trailer)


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise MalformedError(what=_WHAT, reason=str(error)) from None
