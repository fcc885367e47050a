"""Chunk names: ``<archive id, 32 hex digits>-<chunk number, 8 hex digits>.dmc``.

A name is a convenience for people and for listing; the records in the chunk decide.

Source: docs/spec/media-format.md, "Chunk files".
"""

from __future__ import annotations

import re
from typing import Final

from datamover.errors import UsageError
from datamover.ids import ArchiveId, ChunkNumber

__all__ = ["chunk_name", "parse_chunk_name", "require_name"]

_CHUNK: Final = re.compile(r"([0-9a-f]{32})-([0-9a-f]{8})\.dmc")
_ANY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def chunk_name(archive: bytes, chunk: int) -> str:
    """Return the name of a chunk."""
    return f"{archive.hex()}-{chunk:08x}.dmc"


def parse_chunk_name(name: str) -> tuple[ArchiveId, ChunkNumber] | None:
    """Return the archive and the chunk number that a name claims; None when it is no such name."""
    match = _CHUNK.fullmatch(name)
    if match is None:
        return None
    return ArchiveId(bytes.fromhex(match[1])), ChunkNumber(int(match[2], 16))


def require_name(name: str) -> str:
    """Return ``name`` if it may be a file's: one plain component, no dot in front.

    Raises:
        UsageError: It may not.
    """
    if _ANY.fullmatch(name) is None:
        raise UsageError(reason=f"not the name of a chunk: {name!r:.100}")
    return name
