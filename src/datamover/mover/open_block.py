"""Undo what was done to one stored record, in memory: for the few blocks that listing needs.

Restoring undoes the same steps in a pipe, one stage for each.

Source: docs/spec/wire-format.md, "Transforms"; SPEC G5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from datamover.codec.checksum import check_checksum, crc32c
from datamover.codec.cipher import Cipher
from datamover.codec.envelope import open_block
from datamover.codec.registry import make_expanders
from datamover.errors import CorruptError, MalformedError, PassphraseError, SealError
from datamover.units import MIB, Bytes
from datamover.wire.tag import TagHeader, TransformId

if TYPE_CHECKING:
    from datamover.ids import ArchiveId

__all__ = ["BLOCK_MAX", "open_record"]

BLOCK_MAX: Final = Bytes(64 * MIB)
"""No block is larger, whatever its tag says."""

_CIPHERS: Final = frozenset({TransformId.AES_256_GCM, TransformId.CHACHA20_POLY1305})


def open_record(
    record: memoryview, *, key: bytes, archive: ArchiveId
) -> tuple[TagHeader, memoryview]:
    """Return a stored record's tag and payload as they were before the first transform.

    Args:
        record: Tag header and payload; it is not changed.
        key: The archive's key; empty when nothing is encrypted.
        archive: The archive it belongs to.

    Raises:
        SealError: It was changed, it belongs elsewhere, or it is not sealed and ``key`` is given.
        PassphraseError: It is encrypted, and ``key`` is empty.
        FormatError: It is damaged, or says what no writer says.
    """
    tag = TagHeader.decode(record)
    start = len(record) - tag.length
    if start < 0 or tag.length > BLOCK_MAX or tag.plain > BLOCK_MAX:
        raise MalformedError(what=f"block {tag.block}", reason=f"record of {len(record)} bytes")
    data = memoryview(bytearray(record[start:]))
    if tag.crc and crc32c(data) != tag.crc:
        raise CorruptError(what=f"block {tag.block}", expected=tag.crc, actual=crc32c(data))
    if key and not any(step.id in _CIPHERS for step in tag.transforms):
        raise SealError(what=f"block {tag.block}")
    # Each turn takes one step off the stack, which holds at most TRANSFORMS_MAX.
    while tag.transforms:
        if tag.transforms[-1].id in _CIPHERS:
            tag = _decrypt(tag, data, key=key, archive=archive)
        else:
            tag, data = _expand(tag, data)
    if tag.length != tag.plain:
        raise MalformedError(what=f"block {tag.block}", reason="its lengths contradict each other")
    return tag, data[: tag.length]


def _decrypt(tag: TagHeader, data: memoryview, *, key: bytes, archive: ArchiveId) -> TagHeader:
    if not key:
        raise PassphraseError(reason=f"block {tag.block} is encrypted; no key was given")
    cipher = Cipher(TransformId(tag.transforms[-1].id), key)
    return open_block(tag, data, cipher=cipher, archive=archive)


def _expand(tag: TagHeader, data: memoryview) -> tuple[TagHeader, memoryview]:
    """Undo a step that is no cipher; it may need another place for the result."""
    what = f"block {tag.block}"
    step = tag.transforms[-1]
    expander = make_expanders().get(step.id)
    if step.length > BLOCK_MAX:
        raise MalformedError(what=what, reason=f"expands to {step.length} bytes")
    if step.id == TransformId.CRC32C:
        if check_checksum(data, tag.length) != step.length:
            raise MalformedError(what=what, reason="its checksum is in the wrong place")
    elif expander is not None:
        out = memoryview(bytearray(step.length))
        expander.expand_into(data[: tag.length], out, step.length)
        data = out
    else:
        raise MalformedError(what=what, reason=f"unknown transform {step.id}")
    return replace(tag, length=step.length, transforms=tag.transforms[:-1]), data
