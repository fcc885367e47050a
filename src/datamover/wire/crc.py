"""CRC-32C (Castagnoli), the one checksum of every record and block.

Source: docs/spec/wire-format.md; RFC 3720, B.4; docs/decisions/dependencies.md.
"""

from __future__ import annotations

from typing import Final

from fastcrc import crc32

__all__ = ["crc32c"]

crc32c: Final = crc32.iscsi
"""Return the checksum of bytes-like data, going on from an earlier one if that is given."""
