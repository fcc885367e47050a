"""Where a stage finds or leaves chunks: a store's folder, or a medium by its address.

Source: docs/spec/media-format.md, "Addresses"; ADR 0025.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import UsageError
from datamover.media.directory import DirectoryMedium
from datamover.media.opening import open_medium

if TYPE_CHECKING:
    from datamover.media.medium import Medium

__all__ = ["chunk_medium"]


def chunk_medium(directory: str, address: str) -> Medium:
    """Open what two settings of a stage say, of which one is empty.

    Raises:
        UsageError: Neither is given, or both are, or the address is none.
    """
    if bool(directory) == bool(address):
        raise UsageError(reason="chunks need one place: a directory, or a medium's address")
    return open_medium(address) if address else DirectoryMedium(directory)
