"""What is in there? A content type by magic bytes, and how random the bytes look.

Both run for every block and every file, so they look at few bytes: ``sniff`` at the first 512,
``entropy`` at 1024 spread over the view.

Source: docs/spec/inspection.md; SPEC E4, G3, X7.
"""

from __future__ import annotations

import codecs
import math
from collections import Counter
from typing import Final

from datamover.codec.sample import take_sample
from datamover.codec.signatures import BOXES, SIGNATURES, Signature

__all__ = ["BINARY", "EMPTY", "HEAD_SIZE", "TEXT", "TYPES", "entropy", "sniff"]

HEAD_SIZE: Final = 512
EMPTY: Final = "inode/x-empty"
TEXT: Final = "text/plain"
BINARY: Final = "application/octet-stream"

_TAR: Final = "application/x-tar"
_BOX: Final = "video/mp4"
TYPES: Final = frozenset(
    {TEXT, BINARY, _TAR, _BOX, *BOXES.values(), *(row.type for row in SIGNATURES)}
)
"""Every content type that ``sniff`` can find in a file that has data."""

# Bytes of text: printable ASCII, the usual white space, escape (terminal logs).
_ASCII: Final = bytes([7, 8, 9, 10, 12, 13, 27, *range(0x20, 0x7F)])
_HIGH: Final = bytes(range(0x80, 0x100))
_PIECES: Final = 8
_PIECE_SIZE: Final = 128


def sniff(head: memoryview | bytes) -> str:
    """Return the content type of a file or block that begins with ``head``.

    About one microsecond.

    Args:
        head: The first bytes; more than 512 are not looked at, fewer say less.
    """
    first = bytes(head[:HEAD_SIZE])
    if not first:
        return EMPTY
    for size, rows in _BY_SIZE:
        for row in rows.get(first[:size], ()):
            if first.startswith(row.magic) and first.startswith(row.more, row.at):
                return row.type
    if first[4:8] == b"ftyp":
        return BOXES.get(first[8:12], _BOX)
    if first[257:262] == b"ustar":
        return _TAR
    return TEXT if _is_text(first) else BINARY


def entropy(view: memoryview) -> float:
    """Estimate the Shannon entropy of ``view`` in bits per byte, 0.0 to 8.0.

    Counts a sample of at most 1 KiB, some 50 us, and adds the Miller-Madow correction:
    a small sample of random bytes would else look less random than it is.
    """
    sample = take_sample(view, _PIECES, _PIECE_SIZE)
    total = len(sample)
    if not total:
        return 0.0
    counts = Counter(sample).values()
    plain = math.log2(total) - math.fsum(n * math.log2(n) for n in counts) / total
    missing = (len(counts) - 1) / (2 * total * math.log(2))
    return min(8.0, max(0.0, plain) + missing)


def _is_text(first: bytes) -> bool:
    """Nothing but ASCII text, or UTF-8; a character cut off at the end is forgiven."""
    if b"\0" in first:  # settles most binaries at once
        return False
    rest = first.translate(None, _ASCII)
    if not rest:
        return True
    if rest.translate(None, _HIGH):  # control characters are left
        return False
    try:
        codecs.utf_8_decode(first, "strict", False)  # not final: the head may cut a character
    except UnicodeDecodeError:
        return False
    return True


def _by_size() -> tuple[tuple[int, dict[bytes, tuple[Signature, ...]]], ...]:
    """Group the table by its first bytes: four look-ups at most find the few rows to compare."""
    sizes: dict[int, dict[bytes, tuple[Signature, ...]]] = {4: {}, 3: {}, 2: {}}
    for row in SIGNATURES:
        size = min(4, len(row.magic))
        rows = sizes[size]
        prefix = row.magic[:size]
        rows[prefix] = (*rows.get(prefix, ()), row)
    return tuple(sizes.items())


_BY_SIZE: Final = _by_size()
