"""Tag headers (i-tags): the record before each run of data.

A tag says what its payload is (block, offset, kind), what was done to it (transforms, in order of
application) and what travels with it (extensions).  It is all a reader needs to undo what was done.

Source: docs/spec/wire-format.md, "Tag"; seed FIG. 9 and FIG. 13 (1356); SPEC G1-G7, G10, H8.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final, Self

import msgspec

from datamover.errors import MalformedError, TruncatedError
from datamover.ids import BlockNumber, ChunkNumber
from datamover.units import Bytes
from datamover.wire.extension import Extension, decode_extensions, encode_extensions
from datamover.wire.record import CRC_SIZE, HEADER_MAX, ID_SIZE, VERSION, check, seal

__all__ = [
    "MAGIC",
    "TRANSFORMS_MAX",
    "Extension",
    "ExtensionId",
    "TagFlag",
    "TagHeader",
    "TagKind",
    "Transform",
    "TransformId",
    "decode_extensions",
    "encode_extensions",
]

MAGIC: Final = b"DMtg"
TRANSFORMS_MAX: Final = 16

_WHAT: Final = "tag header"
_FIXED: Final = struct.Struct("<4sHHIIQQIIIHHHHI")
_TRANSFORM: Final = struct.Struct("<HHIHH")
_ASSOCIATED: Final = struct.Struct("<16sHHQIQHH")
_NO_FIRST: Final = ChunkNumber(0)


class TagKind(IntEnum):
    """What a block is; a reader skips kinds it does not know."""

    LOST = 0
    """Nothing: a block that could not be read keeps its place in a pipe; never stored."""

    DATA = 1
    INDEX = 2
    CONTENTS = 3
    RAW = 4


class TagFlag(IntFlag):
    """How files lie in a block."""

    GROUPED = 1
    """Several files in one block."""

    CONTINUED = 2
    """The first file continues from the block before."""


class TransformId(IntEnum):
    """What was done to a payload; ids are never used again for something else."""

    ZSTD = 1
    LZ4 = 2
    GZIP = 3
    AES_256_GCM = 16
    CHACHA20_POLY1305 = 17
    CRC32C = 32


class ExtensionId(IntEnum):
    """What an extension of a tag is."""

    CONTENT = 1
    """The result of an inspection."""

    HEADER = 2
    """An opaque special header: key, NUL, value."""

    ROUTE = 3
    """Which of the writing pipe's routes the block goes by."""


class Transform(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step that was applied to the payload.

    Layout, 12 bytes::

        offset  size  field
             0     2  id
             2     2  parameter
             4     4  length
             8     2  inner
            10     2  reserved   0

    Attributes:
        id: Which; a reader that does not know it cannot expand the block.
        parameter: A level, or a cipher's layer.
        length: Payload bytes before this transform.
        inner: Bytes of private extensions sealed behind the payload.
    """

    id: int
    parameter: int = 0
    length: Bytes
    inner: int = 0


class TagHeader(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Opens one block; ``msgspec.structs.replace`` makes another from it.

    Each stage decodes one, and most make another: a dataclass would take ten times as long.

    Layout, little-endian::

        offset  size  field
             0    16  prelude         magic b"DMtg"; flags: TagFlag; payload_length: length
            16     8  block
            24     8  offset
            32     4  plain
            36     4  chunk
            40     4  crc
            44     2  kind
            46     2  transforms      count, at most 16
            48     2  private_length
            50     2  reserved        0
            52     4  origin
            56  12*n  transforms      in order of application
             +     p  private         extensions, private_length bytes
             +     e  public          extensions, up to the CRC
             +     4  CRC-32C         of all bytes before

    Attributes:
        kind: TagKind; others are skipped by their length.
        block: Place in the archive, dense from 0.
        length: Payload bytes as they are now.
        plain: Payload bytes before the first transform.
        flags: TagFlag bits; unknown bits are kept.
        chunk: The chunk that holds the block.
        offset: Plain bytes of the archive before this block.
        crc: CRC-32C of the payload as stored.
        transforms: In order of application, at most 16.
        public: Extensions that travel in clear.
        private: Extensions that a cipher moves into the sealed payload.
        origin: The first four bytes of the archive's id, as a number, set where the block is
            stored; 0 before.  A search in a damaged chunk tells by it this archive's tags from
            those of an archive that was itself backed up.
    """

    kind: int
    block: BlockNumber
    length: Bytes
    plain: Bytes
    flags: int = 0
    chunk: ChunkNumber = _NO_FIRST
    offset: int = 0
    crc: int = 0
    transforms: tuple[Transform, ...] = ()
    public: tuple[Extension, ...] = ()
    private: tuple[Extension, ...] = ()
    origin: int = 0

    def encode_into(self, out: memoryview) -> Bytes:
        """Write the header at the start of ``out``; return its length in bytes.

        Args:
            out: Writable; a buffer's tag area, or at least the header's length.

        Raises:
            MalformedError: A field does not fit, or the header would pass 4096 bytes.
            TruncatedError: ``out`` is too short.
        """
        private = encode_extensions(self.private) if self.private else b""
        public = encode_extensions(self.public) if self.public else b""
        at = _FIXED.size + _TRANSFORM.size * len(self.transforms)
        end = at + len(private) + len(public)
        _require_room(out, end + CRC_SIZE)
        try:
            _FIXED.pack_into(
                out, 0,
                MAGIC, VERSION, self.flags, end + CRC_SIZE, self.length,
                self.block, self.offset, self.plain, self.chunk, self.crc,
                self.kind, len(self.transforms), len(private), 0, self.origin,
            )  # fmt: skip
            if self.transforms:
                _pack_transforms(out[_FIXED.size : at], self.transforms)
        except struct.error as error:
            raise MalformedError(what=_WHAT, reason=str(error)) from error
        if end > at:
            out[at : at + len(private)] = private
            out[at + len(private) : end] = public
        return seal(out, end)

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a header from the start of ``data``; bytes behind it are not looked at.

        Raises:
            TruncatedError: Fewer bytes than the header claims.
            MagicError: Not a tag header.
            CorruptError: The CRC does not match.
            VersionError: A newer major version.
            MalformedError: A field is out of range.
        """
        size = check(data, magic=MAGIC, what=_WHAT, least=_FIXED.size + CRC_SIZE)
        _, _, flags, _, length, block, offset, plain, chunk, crc, kind, count, inner, _, origin = (
            _FIXED.unpack_from(data)
        )
        at, end = _FIXED.size, size - CRC_SIZE
        transforms: tuple[Transform, ...] = ()
        private: tuple[Extension, ...] = ()
        public: tuple[Extension, ...] = ()
        if end > at:
            transforms, private, public = _decode_rest(data[at:end], count, inner)
        elif count or inner:
            raise MalformedError(what=_WHAT, reason="lists reach beyond the header")
        return cls(
            kind=kind,
            block=block,
            length=length,
            plain=plain,
            flags=flags,
            chunk=chunk,
            offset=offset,
            crc=crc,
            transforms=transforms,
            public=public,
            private=private,
            origin=origin,
        )

    def associated(self, archive: bytes, layer: int) -> bytes:
        """Return the canonical bytes that a cipher authenticates beside the payload.

        Call it on the header as it is before the cipher pushes itself, and again after it was
        popped: ``transforms`` are then those applied before it.  What storing changes (``crc``,
        ``chunk``, ``length``, ``origin``) is left out, and so are private extensions, which are
        sealed.  Public extensions do not change behind a cipher.

        Args:
            archive: The archive's 16-byte id.
            layer: How many ciphers lie below this one.
        """
        transforms = bytearray(_TRANSFORM.size * len(self.transforms))
        if len(archive) != ID_SIZE:
            raise MalformedError(what="archive id", reason=f"{len(archive)} bytes")
        try:
            head = _ASSOCIATED.pack(
                archive, self.kind, self.flags, self.block, self.plain, self.offset,
                layer, len(self.transforms),
            )  # fmt: skip
            _pack_transforms(memoryview(transforms), self.transforms)
        except struct.error as error:
            raise MalformedError(what=_WHAT, reason=str(error)) from error
        return head + transforms + encode_extensions(self.public)


def _require_room(out: memoryview, size: int) -> None:
    if size > HEADER_MAX:
        raise MalformedError(what=_WHAT, reason=f"{size} bytes, at most {HEADER_MAX} fit")
    if len(out) < size:
        raise TruncatedError(what=_WHAT, need=Bytes(size), have=Bytes(len(out)))


def _pack_transforms(out: memoryview, transforms: tuple[Transform, ...]) -> None:
    if len(transforms) > TRANSFORMS_MAX:
        raise MalformedError(what=_WHAT, reason=f"{len(transforms)} transforms")
    at = 0
    for one in transforms:
        _TRANSFORM.pack_into(out, at, one.id, one.parameter, one.length, one.inner, 0)
        at += _TRANSFORM.size


def _decode_rest(
    data: memoryview, count: int, inner: int
) -> tuple[tuple[Transform, ...], tuple[Extension, ...], tuple[Extension, ...]]:
    """Read the lists behind the fixed part: transforms, private and public extensions."""
    at = _TRANSFORM.size * count
    if count > TRANSFORMS_MAX or at + inner > len(data):
        raise MalformedError(what=_WHAT, reason="lists reach beyond the header")
    transforms = tuple(
        Transform(id=number, parameter=parameter, length=length, inner=sealed)
        for number, parameter, length, sealed, _ in _TRANSFORM.iter_unpack(data[:at])
    )
    private = decode_extensions(data[at : at + inner]) if inner else ()
    public = decode_extensions(data[at + inner :]) if at + inner < len(data) else ()
    return transforms, private, public
