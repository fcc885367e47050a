"""A few bytes that stand for many: what to know of a block without reading it.

Source: SPEC G2; docs/decisions/0010-compression-libraries.md, "Incompressible blocks".
"""

from __future__ import annotations

from typing import Final

from datamover.codec.zstd import Zstd

__all__ = ["incompressible", "take_sample"]

_PIECES: Final = 8
_PIECE_SIZE: Final = 1024
# A sample that loses less than 1/50 stands for a block on which a compressor wastes its time.
_WORTH: Final = 50
# One context for the process: the library locks it, and a sample holds it for microseconds.
_PROBE: Final = Zstd(1)


def incompressible(view: memoryview) -> bool:
    """Guess, from 8 KiB, whether compressing ``view`` is a waste of time.

    A block too small to sample is never called incompressible: trying costs as little.
    10 us on random bytes, 35 us on programs, whatever the size of the block.
    """
    if len(view) <= _PIECES * _PIECE_SIZE:
        return False
    sample = take_sample(view, _PIECES, _PIECE_SIZE)
    return _PROBE.packed_size(sample) > len(sample) - len(sample) // _WORTH


def take_sample(view: memoryview, pieces: int, size: int) -> bytes:
    """Return ``pieces`` slices of ``size`` bytes, spread evenly, the first and last included.

    A view that is no longer than that is returned whole.
    """
    if len(view) <= pieces * size:
        return bytes(view)
    step = (len(view) - size) // (pieces - 1)
    return b"".join([view[at : at + size] for at in range(0, pieces * step, step)])
