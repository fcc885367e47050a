"""Where a stage finds or leaves chunks: a store's folder, or a medium by its address.

Source: docs/spec/media-format.md, "Addresses"; ADR 0025.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import UsageError
from datamover.media.directory import DirectoryMedium
from datamover.media.opening import open_medium

if TYPE_CHECKING:
    from datamover.media.label import Owner
    from datamover.media.medium import Medium

__all__ = ["chunk_medium"]


def chunk_medium(directory: str, address: str, owner: Owner | None = None) -> Medium:
    """Open what two settings of a stage say, of which one is empty.

    Args:
        directory: A store's folder, which has its description beside it.
        address: A medium's address.
        owner: Whose chunks the medium holds, if it is to be labelled.

    Raises:
        UsageError: Neither is given, or both are, or the address is none.
    """
    if bool(directory) == bool(address):
        raise UsageError(reason="chunks need one place: a directory, or a medium's address")
    return open_medium(address, owner) if address else DirectoryMedium(directory)
