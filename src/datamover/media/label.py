"""Labels: the record that each volume of a medium begins with, so that it says whose it is.

    offset  size  field
        16    16  store
        32     8  created_ns
        40     4  volume             number, from 0; the only one of a medium that has no pieces
        44     4  description_crc    CRC-32C of the payload
        48     2  name_length        at most 200
        50     n  name               of the volume: what a person reads on it; UTF-8

The payload is the store's whole description, so that a volume says how to open what is on it.

Source: docs/spec/media-format.md, "Labels"; ADR 0025; SPEC X10.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from datamover.errors import CorruptError, MalformedError, StoreError, TruncatedError
from datamover.ids import StoreId
from datamover.units import KIB, Bytes, Nanoseconds
from datamover.wire.crc import crc32c
from datamover.wire.record import CRC_SIZE, PRELUDE, Prelude, build, check, pack

__all__ = ["LABEL_MAX", "Owner", "VolumeLabel"]

_WHAT: Final = "volume label"
_BODY: Final = struct.Struct("<16sQIIH")
_NAME_MAX: Final = 200
_DESCRIPTION_MAX: Final = 60 * KIB
LABEL_MAX: Final = Bytes(64 * KIB)
"""A label and its payload are no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The store whose chunks a medium holds, as far as a label says it.

    Attributes:
        store: Its id; zeros where there is none.
        description: Its description, as ``store.json`` holds it; empty where there is none.
    """

    store: StoreId
    description: bytes = b""

    def label(self, name: str, volume: int = 0) -> VolumeLabel:
        """Return the label of a new volume of this owner's."""
        return VolumeLabel(
            store=self.store,
            created_ns=Nanoseconds(time.time_ns()),
            volume=volume,
            name=name,
            description=self.description,
        )

    def require(self, label: VolumeLabel, where: str) -> None:
        """Hold the label of a volume against this owner.

        Raises:
            StoreError: It is another's.
        """
        if label.store != self.store:
            raise StoreError(store=where, reason=f"belongs to store {label.store.hex()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeLabel:
    """What a volume says of itself.

    Attributes:
        store: The store whose chunks are on it.
        created_ns: When it became that.
        volume: Its number within the medium, from 0.
        name: What a person reads on it.
        description: The store's description; may be empty.
    """

    MAGIC: ClassVar[bytes] = b"DMvl"

    store: StoreId
    created_ns: Nanoseconds
    volume: int = 0
    name: str = ""
    description: bytes = b""

    def encode(self) -> bytes:
        """Return the record and its payload.

        Raises:
            MalformedError: A field does not fit.
        """
        name = self.name.encode()
        if len(name) > _NAME_MAX or len(self.description) > _DESCRIPTION_MAX:
            raise MalformedError(what=_WHAT, reason="name or description too long")
        body = pack(
            _BODY, _WHAT,
            self.store, self.created_ns, self.volume, crc32c(self.description), len(name),
        )  # fmt: skip
        head = build(
            self.MAGIC, _WHAT, body=body + name, extensions=(), payload=len(self.description)
        )
        return head + self.description

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a label from the start of ``data``.

        Raises:
            FormatError: It is none, or damaged.
        """
        name_at = PRELUDE.size + _BODY.size
        size = check(data, magic=cls.MAGIC, what=_WHAT, least=name_at + CRC_SIZE)
        store, created, volume, crc, length = _BODY.unpack_from(data, PRELUDE.size)
        if length > _NAME_MAX or name_at + length > size - CRC_SIZE:
            raise MalformedError(what=_WHAT, reason="the name reaches beyond the record")
        payload = Prelude.decode(data).payload_length
        if payload > _DESCRIPTION_MAX:
            raise MalformedError(what=_WHAT, reason=f"description of {payload} bytes")
        description = bytes(data[size : size + payload])
        if len(description) < payload:
            raise TruncatedError(what=_WHAT, need=payload, have=Bytes(len(description)))
        if crc32c(description) != crc:
            raise CorruptError(what=_WHAT, expected=crc, actual=crc32c(description))
        try:
            name = bytes(data[name_at : name_at + length]).decode()
        except UnicodeDecodeError:
            raise MalformedError(what=_WHAT, reason="the name is no text") from None
        return cls(
            store=StoreId(store),
            created_ns=Nanoseconds(created),
            volume=volume,
            name=name,
            description=description,
        )
