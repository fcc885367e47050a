"""Settings on their way to another process: plain values, in which a name may hold any byte.

A name that is no UTF-8 is a text with surrogates inside a program, as the system decodes names, and
no encoding of text takes it.  On the way it is bytes: MessagePack keeps the two apart.

Source: SPEC U10 (any byte in a name), C3; docs/spec/control-protocol.md, section 2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["packed", "unpacked"]


def packed(value: object) -> object:
    """Return a plain value with each text that is no UTF-8 as bytes, at any depth."""
    match value:
        case str():
            return value if value.isascii() or _is_text(value) else os.fsencode(value)
        case Mapping():
            return {packed(name): packed(held) for name, held in value.items()}
        case list() | tuple():
            return [packed(held) for held in value]
        case _:
            return value


def unpacked(value: object) -> object:
    """Undo ``packed``: bytes are a name, and become the text that the system makes of it."""
    match value:
        case bytes():
            return os.fsdecode(value)
        case Mapping():
            return {unpacked(name): unpacked(held) for name, held in value.items()}
        case list() | tuple():
            return [unpacked(held) for held in value]
        case _:
            return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
