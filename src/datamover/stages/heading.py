"""What a stage that writes a session is told about it, as plain settings.

Source: docs/spec/wire-format.md, "Session" and "Archive".
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from datamover.errors import UsageError
from datamover.ids import ArchiveId, StoreId
from datamover.units import Bytes, Nanoseconds
from datamover.wire.archive import ArchiveHeader
from datamover.wire.session import SessionHeader

if TYPE_CHECKING:
    from datamover.wire.framing import Framing

__all__ = ["read_archive_header", "read_hex", "start_session"]

_NO_SIZE: Final = Bytes(0)


def read_hex(what: str, text: str) -> bytes:
    """Return the bytes that a setting spells.

    Raises:
        UsageError: It is not hexadecimal.
    """
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(reason=f"{what} is not hexadecimal: {text!r:.60}") from None


def read_archive_header(text: str, *, block_size: Bytes = _NO_SIZE) -> ArchiveHeader:
    """Return the archive header whose encoded record a setting spells; a fresh one for none.

    Args:
        text: The record, in hexadecimal; empty for an archive of its own, unnamed and in clear.
        block_size: Bytes of a block of such an archive.

    Raises:
        UsageError: It is not hexadecimal.
        FormatError: It is not an archive header.
    """
    if not text:
        return ArchiveHeader(
            archive=ArchiveId(os.urandom(16)),
            created_ns=Nanoseconds(time.time_ns()),
            block_size=block_size,
        )
    return ArchiveHeader.decode(memoryview(read_hex("archive", text)))


def start_session(framing: Framing, store: str) -> SessionHeader:
    """Return the header of a new session; ``store`` is an id in hexadecimal, or empty.

    Raises:
        UsageError: The id is not hexadecimal.
    """
    return SessionHeader(
        session=os.urandom(16),
        created_ns=Nanoseconds(time.time_ns()),
        framing=framing,
        store=StoreId(read_hex("store", store) or bytes(16)),
    )
