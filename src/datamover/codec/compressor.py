"""What every compressor promises, and the checks that all of them share.

Adapters do not stream: a block is compressed whole, so that each one can be expanded alone.

Source: SPEC E2, G2, G5; docs/decisions/0010-compression-libraries.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from datamover.errors import MalformedError, UsageError
from datamover.units import Bytes

if TYPE_CHECKING:
    from datamover.wire.tag import TransformId

__all__ = ["Compressor", "put_compressed", "put_expanded", "require_level", "require_room"]


class Compressor(Protocol):
    """Makes blocks smaller and whole again; one instance belongs to one task.

    Attributes:
        id: What the tag of a compressed block says.
        level: What it compresses with; expanding does not depend on it.
    """

    id: TransformId
    level: int

    def compress_into(self, src: memoryview, out: memoryview) -> Bytes | None:
        """Compress ``src`` to the start of ``out``.

        Returns:
            Bytes written; None when they would be no fewer than ``src`` or do not fit, and
            then ``out`` is untouched.
        """
        ...

    def expand_into(self, src: memoryview, out: memoryview, plain: Bytes) -> Bytes:
        """Expand ``src`` to the start of ``out``.

        No more than ``plain`` + 1 bytes are ever produced, whatever ``src`` claims.

        Args:
            src: Exactly one compressed block; untrusted.
            out: Writable.
            plain: Bytes that must come out; untrusted.

        Returns:
            Bytes written, always ``plain``.

        Raises:
            MalformedError: ``src`` is damaged, or does not expand to ``plain`` bytes, or they
                do not fit; ``out`` is untouched.
        """
        ...


def require_level(name: str, level: int, levels: range) -> None:
    """Refuse a level that the compressor does not have.

    Raises:
        UsageError: ``level`` is not in ``levels``.
    """
    if level not in levels:
        raise UsageError(reason=f"{name}: level {level} is not {levels.start} to {levels[-1]}")


def require_room(what: str, out: memoryview, plain: int) -> None:
    """Refuse a stated length before anything of that size is made.

    Raises:
        MalformedError: ``plain`` bytes do not fit ``out``.
    """
    if not 0 <= plain <= len(out):
        raise MalformedError(what=what, reason=f"expands to {plain} bytes, {len(out)} fit")


def put_compressed(packed: bytes, src: memoryview, out: memoryview) -> Bytes | None:
    """Keep ``packed`` if it is worth it; the end of every ``compress_into``."""
    size = len(packed)
    if size >= len(src) or size > len(out):
        return None
    out[:size] = packed
    return Bytes(size)


def put_expanded(what: str, expanded: bytes, out: memoryview, plain: int) -> Bytes:
    """Keep ``expanded`` if it is as long as was stated; the end of every ``expand_into``.

    Raises:
        MalformedError: It is not.
    """
    if len(expanded) != plain:
        raise MalformedError(what=what, reason=f"does not expand to {plain} bytes")
    out[:plain] = expanded
    return Bytes(plain)
