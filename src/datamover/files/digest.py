"""Digest: what a file holds, in 126 bits of BLAKE3.

Source: docs/spec/copy-pipes.md, "Digests"; DESIGN D10.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from datamover.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from datamover.files.entry import Entry
    from datamover.files.origin import Origin

__all__ = ["digest_of"]

_STEP: Final = MIB
_MASK: Final = (1 << 63) - 1


def digest_of(origin: Origin, entry: Entry, check: Callable[[], None]) -> tuple[int, int]:
    """Read a file, and return the digest of its data.

    Args:
        origin: Where it is.
        entry: Which.
        check: Called between reads; may raise to stop.

    Raises:
        OSError: It cannot be read.
    """
    from blake3 import blake3  # noqa: PLC0415 - only those who ask for checksums pay for it

    hasher = blake3()
    buffer = memoryview(bytearray(min(_STEP, max(entry.size, 1))))
    file = origin.open(entry.root, entry.path)
    try:
        while got := os.readv(file, [buffer]):
            hasher.update(buffer[:got])
            check()
    finally:
        os.close(file)
    digest = hasher.digest(16)
    first, second = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
    return first & _MASK, second & _MASK
