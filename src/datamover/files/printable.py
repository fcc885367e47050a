"""File names as text that any terminal and any log can show.

Source: docs/STYLE.md, "Messages"; SPEC U10 (odd file names).
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["printable", "why"]

_LONGEST: Final = 1024


def printable(path: bytes) -> str:
    """Return the name with every byte that is not plain text escaped, and a long middle cut."""
    text = os.fsdecode(path)
    if not text.isprintable():
        text = "".join(one if one.isprintable() else _escaped(one) for one in text)
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]}...{text[-half:]}"
    return text


def why(error: OSError) -> str:
    """Return what the system says, without the path, which a notice carries by itself."""
    return error.strerror or str(error)


def _escaped(character: str) -> str:
    """Return the bytes that the character stands for, in hexadecimal escapes."""
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
