"""Session records: they open and close what one pipe writes.

A session whose footer is missing is not complete, whatever it holds.

Source: docs/spec/wire-format.md, "Session"; seed FIG. 13 (1314, 1316); SPEC H5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from datamover.ids import StoreId
from datamover.units import Bytes, Nanoseconds
from datamover.wire.extension import Extension
from datamover.wire.record import CRC_SIZE, PRELUDE, build, check, flags_of, pack, rest

__all__ = ["SessionFooter", "SessionHeader"]

_OPENS: Final = "session header"
_CLOSES: Final = "session footer"
_HEADER: Final = struct.Struct("<16sQHHI16s")
_FOOTER: Final = struct.Struct("<16sQQQ")
_COMPLETE: Final = 1
_NO_STORE: Final = StoreId(bytes(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionHeader:
    """Opens a session.

    Layout behind the prelude::

        offset  size  field
            16    16  session
            32     8  created_ns
            40     2  framing
            42     6  reserved     0
            48    16  store

    Attributes:
        session: 16 random bytes.
        created_ns: Nanoseconds since 1970, UTC.
        framing: How chunks are wrapped; see ``Framing``.
        store: The store's id; zeros when there is none.
        extensions: Unknown ones are carried on.
    """

    MAGIC: ClassVar[bytes] = b"DMsh"

    session: bytes
    created_ns: Nanoseconds
    framing: int
    store: StoreId = _NO_STORE
    extensions: tuple[Extension, ...] = ()

    def encode(self) -> bytes:
        """Return the header.

        Raises:
            MalformedError: A field does not fit.
        """
        body = pack(_HEADER, _OPENS, self.session, self.created_ns, self.framing, 0, 0, self.store)
        return build(self.MAGIC, _OPENS, body=body, extensions=self.extensions)

    @classmethod
    def decode(cls, data: memoryview) -> Self:
        """Read a header from the start of ``data``.

        Raises:
            FormatError: As ``record.check`` says.
        """
        at = PRELUDE.size + _HEADER.size
        size = check(data, magic=cls.MAGIC, what=_OPENS, least=at + CRC_SIZE)
        session, created, framing, _, _, store = _HEADER.unpack_from(data, PRELUDE.size)
        return cls(
            session=session,
            created_ns=Nanoseconds(created),
            framing=framing,
            store=StoreId(store),
            extensions=rest(data, size, at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFooter:
    """Closes a session.

    Layout behind the prelude; bit 0 of the flags is ``complete``::

        offset  size  field
            16    16  session
            32     8  blocks
            40     8  length
            48     8  last_chunk_footer

    Attributes:
        session: As in the header.
        blocks: Tag records in the session.
        length: Bytes from the session header's first byte to this footer's.
        last_chunk_footer: Where the last chunk footer begins, counted from the session header's
            first byte; 0 when there is none.  A file is read from its end with it.
        complete: The writer ended as it wanted to.
        extensions: Unknown ones are carried on.
    """

    MAGIC: ClassVar[bytes] = b"DMsf"

    session: bytes
    blocks: int
    length: Bytes
    last_chunk_footer: int = 0
    complete: bool = True
    extensions: tuple[Extension, ...] = ()

    def encode(self) -> bytes:
        """Return the footer.

        Raises:
            MalformedError: A field does not fit.
        """
        body = pack(
            _FOOTER, _CLOSES, self.session, self.blocks, self.length, self.last_chunk_footer
        )
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
        session, blocks, length, footer = _FOOTER.unpack_from(data, PRELUDE.size)
        return cls(
            session=session,
            blocks=blocks,
            length=Bytes(length),
            last_chunk_footer=footer,
            complete=bool(flags_of(data) & _COMPLETE),
            extensions=rest(data, size, at),
        )
