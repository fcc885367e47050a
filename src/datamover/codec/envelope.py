"""Seal a block: payload and private extensions, bound to what its tag says.

    before   data = payload                                     tag: private extensions
    after    data = encrypted(payload, private extensions) seal   tag: a cipher on the stack

What the seal vouches for: the bytes, the tag's associated facts, and where the payload ends and the
extensions begin.

Source: docs/spec/keys.md, "What a seal covers"; docs/spec/wire-format.md, "Transforms".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from datamover.codec.cipher import SEAL_SIZE, Cipher, make_nonce
from datamover.errors import RoomError
from datamover.wire.tag import Transform, decode_extensions, encode_extensions

if TYPE_CHECKING:
    from datamover.wire.tag import TagHeader

__all__ = ["LAYER_MAX", "open_block", "seal_block"]

LAYER_MAX: Final = 65535

_SPLIT: Final = struct.Struct("<IH")


def seal_block(
    tag: TagHeader, data: memoryview, *, cipher: Cipher, archive: bytes, layer: int
) -> TagHeader:
    """Seal ``data[:tag.length]`` and the tag's private extensions in place.

    Args:
        tag: The block's tag.
        data: Writable; the payload, with room behind it.
        cipher: Holds the archive's key.
        archive: 16 bytes; a block sealed for one archive opens in no other.
        layer: Which encryption of this block this is, from 0 to 65535; never twice with one key.

    Returns:
        The tag of the sealed block.

    Raises:
        RoomError: The result would not fit ``data``; nothing was changed.
    """
    private = encode_extensions(tag.private)
    end = tag.length + len(private)
    if end + SEAL_SIZE > len(data):
        raise RoomError(what=f"block {tag.block}", need=end + SEAL_SIZE, have=len(data))
    step = Transform(id=cipher.id, parameter=layer, length=tag.length, inner=len(private))
    data[tag.length : end] = private
    length = cipher.seal(make_nonce(layer, tag.block), _facts(tag, archive, step), data, end)
    return replace(tag, length=length, transforms=(*tag.transforms, step), private=())


def open_block(tag: TagHeader, data: memoryview, *, cipher: Cipher, archive: bytes) -> TagHeader:
    """Undo ``seal_block`` in place; the top of the tag's stack is ``cipher``'s.

    Private extensions that stand in clear beside a sealed payload are dropped: no seal covers them.

    Returns:
        The tag as it was before the block was sealed.

    Raises:
        SealError: Bytes or facts were changed, or the key or the archive is another; the payload
            is lost.
        FormatError: The extensions inside make no sense, although the seal matches.
    """
    *rest, step = tag.transforms
    below = replace(tag, length=step.length, transforms=tuple(rest), private=())
    nonce = make_nonce(step.parameter, tag.block)
    end = cipher.open(nonce, _facts(below, archive, step), data, tag.length)
    # Length and inner are sealed facts, so they add up to ``end`` as they did for the writer.
    return replace(below, private=decode_extensions(data[step.length : end]))


def _facts(below: TagHeader, archive: bytes, step: Transform) -> bytes:
    return below.associated(archive, step.parameter) + _SPLIT.pack(step.length, step.inner)
