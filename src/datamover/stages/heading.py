"""What a stage that writes a session is told about it, as plain settings.

Source: docs/spec/wire-format.md, "Session" and "Archive".
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from datamover.errors import UsageError
from datamover.ids import StoreId
from datamover.units import Nanoseconds
from datamover.wire.archive import ArchiveHeader
from datamover.wire.session import SessionHeader

if TYPE_CHECKING:
    from datamover.wire.framing import Framing

__all__ = ["read_archive_header", "read_hex", "start_session"]


def read_hex(what: str, text: str) -> bytes:
    """Return the bytes that a setting spells.

    Raises:
        UsageError: It is not hexadecimal.
    """
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(reason=f"{what} is not hexadecimal: {text!r:.60}") from None


def read_archive_header(text: str) -> ArchiveHeader:
    """Return the archive header whose encoded record a setting spells.

    Raises:
        UsageError: It is not hexadecimal.
        FormatError: It is not an archive header.
    """
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
