"""Leftovers: the names under which a copy writes files before they get their own.

A file is written beside the one it replaces and renamed over it, so a copy that dies leaves the
old file and a leftover.  A leftover's name says what it is and, of a large file, whose beginning it
holds, so the next copy goes on with it, or removes it.

    .datamover-0123456789abcdef.part

Source: docs/spec/copy-pipes.md, "Leftovers"; SPEC U1.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

__all__ = ["PATTERN", "RESUMABLE", "is_leftover", "leftover_name"]

PATTERN: Final = ".datamover-????????????????.part"
"""What excludes leftovers of earlier copies from being sources of this one."""

RESUMABLE: Final = 8 << 20
"""Files of this size and more keep their beginning when a copy ends early."""

_NAME: Final = re.compile(rb"\.datamover-[0-9a-f]{16}\.part", re.DOTALL)


def leftover_name(name: bytes) -> bytes:
    """Return the name, in the same folder, under which the file ``name`` is written."""
    return b".datamover-%b.part" % blake2b(name, digest_size=8).hexdigest().encode()


def is_leftover(name: bytes) -> bool:
    """Say whether a name is one of these."""
    return _NAME.fullmatch(name) is not None
