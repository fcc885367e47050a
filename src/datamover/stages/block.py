"""A block in a buffer: the tag record in the tag area, the payload in ``data[:used]``.

Source: docs/ARCHITECTURE.md, "One block's journey"; docs/spec/wire-format.md, tag records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from datamover.errors import MalformedError
from datamover.ids import BlockNumber
from datamover.units import Bytes
from datamover.wire.tag import TagHeader, TagKind, Transform

if TYPE_CHECKING:
    from datamover.shm.buffer import Buffer

__all__ = ["get_tag", "pop_transform", "push_transform", "set_tag", "top_transform"]

_last: list[tuple[bytes, TagHeader]] = [
    (b"", TagHeader(kind=TagKind.RAW, block=BlockNumber(0), length=Bytes(0), plain=Bytes(0)))
]
"""The record that was read or written last, and what it says: joined stages read what the one
before has just written.  It is compared, never believed, so whose it was does not matter."""


def get_tag(buffer: Buffer) -> TagHeader:
    """Read the buffer's tag.

    Returns:
        The decoded tag; for a buffer that carries none, a RAW tag numbered like the buffer,
        so that transforms work in any pipe and not in backups alone.

    Raises:
        FormatError: The tag area does not hold a tag, or it speaks of another payload.
    """
    if not buffer.tag_used:
        used = Bytes(buffer.used)
        return TagHeader(
            kind=TagKind.RAW, block=BlockNumber(buffer.sequence), length=used, plain=used
        )
    record = bytes(buffer.tag[: buffer.tag_used])
    known, tag = _last[0]
    if record != known:
        tag = TagHeader.decode(memoryview(record))
        _last[0] = (record, tag)
    if tag.length != buffer.used:
        raise MalformedError(
            what=f"block {tag.block}", reason=f"tag says {tag.length} bytes, buffer {buffer.used}"
        )
    return tag


def set_tag(buffer: Buffer, tag: TagHeader) -> None:
    """Write ``tag`` into the buffer's tag area, over the one that was there.

    Raises:
        MalformedError: A field is out of range, or the header would not fit the tag area.
    """
    size = tag.encode_into(buffer.tag)
    buffer.tag_used = size
    _last[0] = (bytes(buffer.tag[:size]), tag)


def top_transform(tag: TagHeader) -> int | None:
    """Return the id of the transform that must be undone next; None when none is left."""
    return tag.transforms[-1].id if tag.transforms else None


def push_transform(tag: TagHeader, number: int, *, parameter: int = 0, length: int) -> TagHeader:
    """Return the tag of a block whose payload was just transformed to ``length`` bytes."""
    step = Transform(id=number, parameter=parameter, length=tag.length)
    return replace(tag, length=Bytes(length), transforms=(*tag.transforms, step))


def pop_transform(tag: TagHeader, length: int) -> TagHeader:
    """Return the tag of a block whose top transform was just undone, to ``length`` bytes.

    Raises:
        MalformedError: The tag said another length, or nothing is left to undo and the length
            is not that of the plain block.
    """
    *rest, step = tag.transforms
    if length != step.length or (not rest and length != tag.plain):
        due = step.length if rest else tag.plain
        raise MalformedError(what=f"block {tag.block}", reason=f"{length} bytes, {due} were due")
    return replace(tag, length=step.length, transforms=tuple(rest))
