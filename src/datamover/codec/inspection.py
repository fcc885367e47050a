"""The result of inspecting a block, as it travels in the block's tag.

Source: docs/spec/inspection.md; SPEC E4, G3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from datamover.errors import MalformedError, TruncatedError, VersionError
from datamover.units import Bytes

__all__ = ["Inspection"]

_WHAT: Final = "inspection"
_VERSION: Final = 1
_FIXED: Final = struct.Struct("<BBHIQ")
_STEPS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a block holds.

    Layout of the extension's value, little-endian::

        offset  size  field    unit
             0     1  version  1
             1     1  length   bytes of type, at most 127
             2     2  entropy  1/256 bit per byte, at most 2048
             4     4  blocks   blocks this speaks of
             8     8  size     bytes this speaks of
            16     n  type     ASCII

    Attributes:
        content_type: As ``sniff`` names it.
        entropy: Bits per byte, 0.0 to 8.0; kept to 1/256.
        size: Plain bytes of file data.
        blocks: 1 from the inspect stage.
    """

    TYPE_MAX: ClassVar[int] = 127

    content_type: str
    entropy: float
    size: Bytes
    blocks: int = 1

    def encode(self) -> bytes:
        """Return the extension's value.

        Raises:
            MalformedError: A field does not fit.
        """
        name = self.content_type.encode("ascii", "replace")
        if len(name) > self.TYPE_MAX:
            raise MalformedError(what=_WHAT, reason=f"type has {len(name)} bytes")
        steps = round(self.entropy * _STEPS)
        try:
            return _FIXED.pack(_VERSION, len(name), steps, self.blocks, self.size) + name
        except struct.error as error:
            raise MalformedError(what=_WHAT, reason=str(error)) from error

    @classmethod
    def decode(cls, value: memoryview | bytes) -> Self:
        """Read an extension's value; bytes behind the type are not looked at.

        Raises:
            TruncatedError: Fewer bytes than it claims.
            VersionError: Written by a newer release.
            MalformedError: A field is out of range.
        """
        _require(value, _FIXED.size)
        version, length, steps, blocks, size = _FIXED.unpack_from(value)
        if version != _VERSION:
            raise VersionError(what=_WHAT, found=version, newest=_VERSION)
        _require(value, _FIXED.size + length)
        name = bytes(value[_FIXED.size : _FIXED.size + length])
        if length > cls.TYPE_MAX or steps > 8 * _STEPS or not name.isascii():
            raise MalformedError(what=_WHAT, reason="type or entropy is out of range")
        return cls(
            content_type=name.decode("ascii"),
            entropy=steps / _STEPS,
            size=Bytes(size),
            blocks=blocks,
        )


def _require(value: memoryview | bytes, need: int) -> None:
    if len(value) < need:
        raise TruncatedError(what=_WHAT, need=Bytes(need), have=Bytes(len(value)))
