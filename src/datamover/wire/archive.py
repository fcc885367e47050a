"""Archive records: they open and close one archive of a session.

Archives commit one by one: an archive is complete when its footer says so.

Source: docs/spec/wire-format.md, "Archive"; seed FIG. 13 (1318-1328); SPEC H6; DESIGN D9, D10.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from datamover.errors import MalformedError
from datamover.ids import ArchiveId
from datamover.units import Bytes, Nanoseconds
from datamover.wire.extension import Extension
from datamover.wire.record import CRC_SIZE, PRELUDE, build, check, flags_of, pack, rest

__all__ = ["LABEL_MAX", "WRAPPED_KEY_MAX", "ArchiveFooter", "ArchiveHeader", "finished_at"]

LABEL_MAX: Final = 2048
WRAPPED_KEY_MAX: Final = 512

_OPENS: Final = "archive header"
_CLOSES: Final = "archive footer"
_HEADER: Final = struct.Struct("<16sQIHHHH")
_FOOTER: Final = struct.Struct("<16sIIQQ")
_COMPLETE: Final = 1
_FINISHED_ID: Final = 1
_FINISHED: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveHeader:
    """Opens an archive.

    Layout behind the prelude::

        offset  size  field
            16    16  archive
            32     8  created_ns
            40     4  block_size
            44     2  cipher
            46     2  wrapped_length   at most 512
            48     2  label_length     at most 2048
            50     2  transforms       count
            52     w  wrapped_key
             +     l  label
             +   2*n  transforms       ids

    Attributes:
        archive: 16 random bytes.
        created_ns: Nanoseconds since 1970, UTC.
        block_size: Plain bytes of a block at most.
        cipher: TransformId of the cipher that seals this archive; 0 for none.
        wrapped_key: The archive's key, sealed with the store's; empty when nothing is encrypted.
        label: What the archive calls itself, sealed by its writer; opaque here.
        transforms: The ids that the writer declares for its blocks, in order of application.  The
            tags decide; this lets a reader prepare.
        extensions: Unknown ones are carried on.
    """

    MAGIC: ClassVar[bytes] = b"DMah"

    archive: ArchiveId
    created_ns: Nanoseconds
    block_size: Bytes
    cipher: int = 0
    wrapped_key: bytes = b""
    label: bytes = b""
    transforms: tuple[int, ...] = ()
    extensions: tuple[Extension, ...] = ()

    def encode(self) -> bytes:
        """Return the header.

        Raises:
            MalformedError: A field does not fit.
        """
        wrapped, label, count = len(self.wrapped_key), len(self.label), len(self.transforms)
        if wrapped > WRAPPED_KEY_MAX or label > LABEL_MAX:
            raise MalformedError(what=_OPENS, reason=f"key of {wrapped}, label of {label} bytes")
        fixed = pack(
            _HEADER, _OPENS,
            self.archive, self.created_ns, self.block_size, self.cipher, wrapped, label, count,
        )  # fmt: skip
        ids = pack(struct.Struct(f"<{count}H"), _OPENS, *self.transforms)
        body = fixed + self.wrapped_key + self.label + ids
        return build(self.MAGIC, _OPENS, body=body, extensions=self.extensions)

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a header from the start of ``data``.

        Raises:
            FormatError: As ``record.check`` says.
            MalformedError: A list reaches beyond the header.
        """
        key_at = PRELUDE.size + _HEADER.size
        size = check(data, magic=cls.MAGIC, what=_OPENS, least=key_at + CRC_SIZE)
        archive, created, block, cipher, wrapped, label, count = _HEADER.unpack_from(
            data, PRELUDE.size
        )
        label_at = key_at + wrapped
        ids_at = label_at + label
        at = ids_at + 2 * count
        if wrapped > WRAPPED_KEY_MAX or label > LABEL_MAX or at > size - CRC_SIZE:
            raise MalformedError(what=_OPENS, reason="lists reach beyond the header")
        return cls(
            archive=ArchiveId(archive),
            created_ns=Nanoseconds(created),
            block_size=Bytes(block),
            cipher=cipher,
            wrapped_key=bytes(data[key_at:label_at]),
            label=bytes(data[label_at:ids_at]),
            transforms=struct.unpack_from(f"<{count}H", data, ids_at),
            extensions=rest(data, size, at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFooter:
    """Closes an archive.

    Layout behind the prelude; bit 0 of the flags is ``complete``::

        offset  size  field
            16    16  archive
            32     4  chunks
            36     4  reserved  0
            40     8  blocks
            48     8  plain

    Attributes:
        archive: As in the header.
        chunks: Of the whole archive, whatever session they lie in.
        blocks: Likewise.
        plain: Bytes of all blocks before the first transform.
        complete: The writer stored all it wanted to.
        extensions: Unknown ones are carried on.
    """

    MAGIC: ClassVar[bytes] = b"DMaf"

    archive: ArchiveId
    chunks: int
    blocks: int
    plain: int
    complete: bool = True
    extensions: tuple[Extension, ...] = ()

    @property
    def finished_ns(self) -> Nanoseconds | None:
        """When the archive's last block was written; None when its writer did not say."""
        for item in self.extensions:
            if item.id == _FINISHED_ID and len(item.value) == _FINISHED.size:
                return Nanoseconds(_FINISHED.unpack(item.value)[0])
        return None

    def encode(self) -> bytes:
        """Return the footer.

        Raises:
            MalformedError: A field does not fit.
        """
        body = pack(_FOOTER, _CLOSES, self.archive, self.chunks, 0, self.blocks, self.plain)
        flags = _COMPLETE if self.complete else 0
        return build(self.MAGIC, _CLOSES, body=body, extensions=self.extensions, flags=flags)

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a footer from the start of ``data``.

        Raises:
            FormatError: As ``record.check`` says.
        """
        at = PRELUDE.size + _FOOTER.size
        size = check(data, magic=cls.MAGIC, what=_CLOSES, least=at + CRC_SIZE)
        archive, chunks, _, blocks, plain = _FOOTER.unpack_from(data, PRELUDE.size)
        return cls(
            archive=ArchiveId(archive),
            chunks=chunks,
            blocks=blocks,
            plain=plain,
            complete=bool(flags_of(data) & _COMPLETE),
            extensions=rest(data, size, at),
        )


def finished_at(moment: Nanoseconds) -> Extension:
    """Return the extension by which an archive footer says when it was written."""
    return Extension(id=_FINISHED_ID, value=_FINISHED.pack(moment))
