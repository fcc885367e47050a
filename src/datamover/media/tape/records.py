"""Records that stand on a tape beside the chunks' own bytes, each in a block of its own.

    opening (PartOpening)  data data data  ▮  closing (PartClosing)  ▮
    note (PartsDropped)  ▮

Source: docs/spec/media-format.md, "Tapes"; ADR 0027.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from datamover.errors import MalformedError, UsageError
from datamover.media.naming import require_name
from datamover.wire.record import CRC_SIZE, PRELUDE, build, check, flags_of, pack

__all__ = ["PartClosing", "PartOpening", "PartsDropped"]

_OPENING: Final = struct.Struct("<16sIQH")
_CLOSING: Final = struct.Struct("<16sIQ")
_DROPPED: Final = struct.Struct("<16sH")
_GOES_ON: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOpening:
    """Opens a part of a chunk; one that fits the tape is one part.

    Layout behind the prelude::

        offset  size  field
            16    16  writing
            32     4  part           from 0
            36     8  offset         bytes of the chunk in the parts before
            44     2  name_length    at most 200
            46     n  name

    Attributes:
        writing: 16 random bytes, the same for all parts of one writing of one chunk.
        part: Which part this is.
        offset: Where in the chunk it begins.
        name: The chunk's.
    """

    MAGIC: ClassVar[bytes] = b"DMto"

    writing: bytes
    part: int
    offset: int
    name: str

    def encode(self) -> bytes:
        """Return the record."""
        name = self.name.encode()
        body = pack(_OPENING, "part opening", self.writing, self.part, self.offset, len(name))
        return build(self.MAGIC, "part opening", body=body + name, extensions=())

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read the record from the start of ``data``.

        Raises:
            FormatError: It is none, or damaged.
        """
        at = PRELUDE.size + _OPENING.size
        size = check(data, magic=cls.MAGIC, what="part opening", least=at + CRC_SIZE)
        writing, part, offset, length = _OPENING.unpack_from(data, PRELUDE.size)
        name = _name(data, at, length, size, "part opening")
        return cls(writing=writing, part=part, offset=offset, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartClosing:
    """Closes the part in the file before; without it that was never finished.

    Layout behind the prelude; bit 0 of the flags says that the chunk goes on on another volume::

        offset  size  field
            16    16  writing
            32     4  part
            36     8  length    bytes of the chunk in this part

    Attributes:
        writing: As in the opening.
        part: Likewise.
        length: How many bytes of the blocks between are the chunk's; the rest is padding.
        goes_on: There is a next part.
    """

    MAGIC: ClassVar[bytes] = b"DMtc"

    writing: bytes
    part: int
    length: int
    goes_on: bool

    def encode(self) -> bytes:
        """Return the record."""
        body = pack(_CLOSING, "part closing", self.writing, self.part, self.length)
        flags = _GOES_ON if self.goes_on else 0
        return build(self.MAGIC, "part closing", body=body, extensions=(), flags=flags)

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read the record from the start of ``data``.

        Raises:
            FormatError: It is none, or damaged.
        """
        least = PRELUDE.size + _CLOSING.size + CRC_SIZE
        check(data, magic=cls.MAGIC, what="part closing", least=least)
        writing, part, length = _CLOSING.unpack_from(data, PRELUDE.size)
        goes_on = bool(flags_of(data) & _GOES_ON)
        return cls(writing=writing, part=part, length=length, goes_on=goes_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsDropped:
    """Says that the parts of one writing count no more, wherever they lie.

    Layout behind the prelude::

        offset  size  field
            16    16  writing
            32     2  name_length    at most 200
            34     n  name

    Attributes:
        writing: Whose parts.
        name: The chunk's.
    """

    MAGIC: ClassVar[bytes] = b"DMtd"

    writing: bytes
    name: str

    def encode(self) -> bytes:
        """Return the record."""
        name = self.name.encode()
        body = pack(_DROPPED, "parts dropped", self.writing, len(name))
        return build(self.MAGIC, "parts dropped", body=body + name, extensions=())

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read the record from the start of ``data``.

        Raises:
            FormatError: It is none, or damaged.
        """
        at = PRELUDE.size + _DROPPED.size
        size = check(data, magic=cls.MAGIC, what="parts dropped", least=at + CRC_SIZE)
        writing, length = _DROPPED.unpack_from(data, PRELUDE.size)
        return cls(writing=writing, name=_name(data, at, length, size, "parts dropped"))


def _name(data: memoryview, at: int, length: int, size: int, what: str) -> str:
    if at + length > size - CRC_SIZE:
        raise MalformedError(what=what, reason="the name reaches beyond the record")
    try:
        return require_name(bytes(data[at : at + length]).decode())
    except (UnicodeDecodeError, UsageError):
        raise MalformedError(what=what, reason="not the name of a chunk") from None
