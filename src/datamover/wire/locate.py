"""Where the blocks are, when not all that says so is there.

Blocks are found by any one of three things: a storage map (where each chunk lies), a data
index (where each block lies), or the records within the chunks.  ``walk`` serves the first and the
third, and steps over damage; with the second there is nothing to find.

Source: docs/spec/wire-format.md, "Finding blocks"; seed FIG. 12 (1211-1217); SPEC H1, X10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from datamover.errors import FormatError, MalformedError, TruncatedError
from datamover.units import Bytes
from datamover.wire.chunk import BlockEntry
from datamover.wire.record import CRC_SIZE, HEADER_MAX, PRELUDE, Prelude, check
from datamover.wire.session import SessionFooter
from datamover.wire.tag import MAGIC, TagHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Damage", "Read", "session_footer", "walk"]

Read: TypeAlias = "Callable[[int, int], bytes | memoryview]"
"""``read(offset, length)`` returns at most ``length`` bytes from ``offset``; fewer at the end."""

_WINDOW: Final = 1 << 16
_FOOTER: Final = "session footer"


class Damage(NamedTuple):
    """No record could be read here."""

    offset: int
    reason: str


def walk(
    read: Read, *, start: int, end: int, origin: int | None = None
) -> Iterator[BlockEntry | Damage]:
    """Go from record to record; after damage, on to the next tag.

    Args:
        read: Where the bytes are.
        start: Where a record begins: a session, or a chunk as a storage map knows it.
        end: Where to stop.
        origin: What the tags must carry as ``origin``; None takes all.  Without it, tags within the
            payload of a damaged block may be taken for tags of this stream.

    Yields:
        Each block, and each place where no record could be read, in order of place.
    """
    at = start
    while at < end:
        head = memoryview(read(at, min(HEADER_MAX, end - at)))
        try:
            length, found = _record(head, at, origin)
        except FormatError as error:
            yield Damage(at, str(error))
            at = _next_tag(read, at + 1, end, origin)
            continue
        if found is not None:
            yield found
        at += length


def session_footer(tail: memoryview) -> SessionFooter:
    """Read the session footer that ends at the end of ``tail``.

    Args:
        tail: The last bytes of a file; 4096 are enough for any footer.

    Raises:
        FormatError: There is none: the file was cut, or its end is damaged.
    """
    view = bytes(tail[-HEADER_MAX:])
    at = view.rfind(SessionFooter.MAGIC)
    while at >= 0:
        here = memoryview(view)[at:]
        try:
            if Prelude.decode(here).header_length == len(here):
                return SessionFooter.decode(here)
        except (MalformedError, TruncatedError):
            pass  # the four bytes lie within something else
        at = view.rfind(SessionFooter.MAGIC, 0, at)
    raise TruncatedError(what=_FOOTER, need=Bytes(1), have=Bytes(0))


def _record(head: memoryview, at: int, origin: int | None) -> tuple[int, BlockEntry | None]:
    """Return the length of the record at ``at``, payload included, and the block if it is one."""
    prelude = Prelude.decode(head)
    size = prelude.header_length
    if prelude.magic != MAGIC:
        check(head, magic=prelude.magic, what="record", least=PRELUDE.size + CRC_SIZE)
        return size + prelude.payload_length, None
    tag = TagHeader.decode(head)
    if origin is not None and tag.origin != origin:
        raise MalformedError(what="tag header", reason="of another archive")
    entry = BlockEntry(tag.block, at, size, tag.length, tag.kind, tag.flags)
    return size + tag.length, entry


def _next_tag(read: Read, at: int, end: int, origin: int | None) -> int:
    """Return where the next sound tag begins, or ``end``."""
    while at < end:
        window = bytes(read(at, min(_WINDOW, end - at)))
        hit = window.find(MAGIC)
        while hit >= 0:
            head = memoryview(read(at + hit, min(HEADER_MAX, end - at - hit)))
            try:
                _record(head, at + hit, origin)
            except FormatError:
                hit = window.find(MAGIC, hit + 1)
            else:
                return at + hit
        # A magic may lie across two windows.
        at += max(1, len(window) - len(MAGIC) + 1)
    return end
