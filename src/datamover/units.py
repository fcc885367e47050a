"""Units that live in the type: six kinds of ``int`` in one signature are six chances to swap two.

Source: docs/STYLE.md, "Names".
"""

from __future__ import annotations

from typing import Final, NewType

__all__ = ["GIB", "KIB", "MIB", "Bytes", "Nanoseconds", "Seconds"]

Bytes = NewType("Bytes", int)
Seconds = NewType("Seconds", float)
Nanoseconds = NewType("Nanoseconds", int)

KIB: Final = 1024
MIB: Final = 1024 * 1024
GIB: Final = 1024 * 1024 * 1024
