"""Deltas: how a new file is built from an old one, and from the data that it lacks.

Source: docs/spec/copy-pipes.md, "Differences"; ADR 0016.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.errors import MagicError, MalformedError, TruncatedError
from datamover.files.table import decode_entries, encode_entry, table_size, write_table
from datamover.units import Bytes

if TYPE_CHECKING:
    from datamover.files.entry import Entry

__all__ = ["DATA", "STEP_SIZE", "Delta", "DeltaWriter", "Step", "decode_delta"]

DATA: Final = (1 << 64) - 1
"""``from`` of a step that takes its bytes from the block."""

_MAGIC: Final = b"DMdl"
_WHAT: Final = "delta"
_HEADER: Final = struct.Struct("<4sIIIQQ32s")
_STEP: Final = struct.Struct("<QIQ")
_FIRST, _LAST, _FAILED = 1, 2, 4
_MOST: Final = (1 << 32) - 1
_OFFSET_MAX: Final = (1 << 63) - 1

STEP_SIZE: Final = _STEP.size


class Step(NamedTuple):
    """Bytes at an offset of the new file: ``source`` says where in the old one, or DATA."""

    offset: int
    length: int
    source: int


class Delta(NamedTuple):
    """One block.

    Attributes:
        entry: The file's.
        is_first: The file begins here.
        is_last: It ends here.
        has_failed: The source could not be read to its end.
        kept: Bytes of the leftover that are its beginning.
        size: Of a last block, the file's size.
        digest: Of a last block, of all that the steps write.
        steps: What to write.
        data: What the steps take that have DATA as their source, one after another.
    """

    entry: Entry
    is_first: bool
    is_last: bool
    has_failed: bool
    kept: int
    size: int
    digest: bytes
    steps: list[Step]
    data: memoryview


class DeltaWriter:
    """Fills one payload.

    Args:
        out: Writable; all of it may be used.
        entry: The file's.
    """

    def __init__(self, out: memoryview, entry: Entry) -> None:
        self._out = out
        table = write_table(out[_HEADER.size :], [encode_entry(entry)])
        self._data = self._end = _HEADER.size + table
        self._steps: list[Step] = []

    @property
    def room(self) -> int:
        """Data bytes that one more step can bring."""
        return len(self._out) - self._end - STEP_SIZE * (len(self._steps) + 1)

    @property
    def is_empty(self) -> bool:
        """Nothing was added."""
        return not self._steps

    def release(self) -> None:
        """Let go of the payload, which is about to be passed on."""
        self._out.release()

    def refer(self, offset: int, length: int, source: int) -> None:
        """Add bytes of the old file; there is room for a step."""
        if self._steps:
            last = self._steps[-1]
            follows = last.source != DATA and last.source + last.length == source
            if follows and last.offset + last.length == offset and last.length + length <= _MOST:
                self._steps[-1] = Step(last.offset, last.length + length, last.source)
                return
        self._steps.append(Step(offset, length, source))

    def put(self, offset: int, data: memoryview) -> None:
        """Add bytes, no more than there is room for."""
        self._out[self._end : self._end + len(data)] = data
        self._end += len(data)
        if self._steps:
            last = self._steps[-1]
            if last.source == DATA and last.offset + last.length == offset:
                self._steps[-1] = Step(last.offset, last.length + len(data), DATA)
                return
        self._steps.append(Step(offset, len(data), DATA))

    def finish(
        self,
        *,
        first: bool,
        last: bool = False,
        failed: bool = False,
        kept: int = 0,
        size: int = 0,
        digest: bytes = bytes(32),
    ) -> Bytes:
        """Complete the payload; return its length."""
        flags = _FIRST * first | _LAST * last | _FAILED * failed
        _HEADER.pack_into(self._out, 0, _MAGIC, flags, self._data, self._end, kept, size, digest)
        at = self._end
        for step in self._steps:
            _STEP.pack_into(self._out, at, *step)
            at += _STEP.size
        return Bytes(at)


def decode_delta(payload: memoryview) -> Delta:
    """Read one payload.

    Raises:
        FormatError: It breaks a rule.
    """
    if len(payload) < _HEADER.size:
        raise TruncatedError(what=_WHAT, need=Bytes(_HEADER.size), have=Bytes(len(payload)))
    magic, flags, data, end, kept, size, digest = _HEADER.unpack_from(payload)
    if magic != _MAGIC:
        raise MagicError(what=_WHAT, found=magic.hex())
    if not _HEADER.size <= data <= end <= len(payload) or (len(payload) - end) % _STEP.size:
        raise _malformed("its parts do not fit it")
    length, entries = table_size(payload[_HEADER.size : data])
    if entries != 1 or length != data - _HEADER.size:
        raise _malformed("it is not of one file")
    (entry,) = decode_entries(payload[_HEADER.size : data])
    if kept > _OFFSET_MAX or size > _OFFSET_MAX:
        raise _malformed("a size is beyond what a file can have")
    steps = [Step(*one) for one in _STEP.iter_unpack(payload[end:])]
    _check(steps, end - data)
    return Delta(
        entry, bool(flags & _FIRST), bool(flags & _LAST), bool(flags & _FAILED),
        kept, size, digest, steps, payload[data:end],
    )  # fmt: skip


def _check(steps: list[Step], data: int) -> None:
    at = 0
    for offset, length, source in steps:
        if offset < at or offset + length > _OFFSET_MAX:
            raise _malformed("its steps overlap, or lead beyond what a file can have")
        at = offset + length
        if source == DATA:
            data -= length
        elif source + length > _OFFSET_MAX:
            raise _malformed("a step reads beyond what a file can have")
    if data:
        raise _malformed("its steps do not take its data")


def _malformed(reason: str) -> MalformedError:
    return MalformedError(what=_WHAT, reason=reason)
