"""Merge: two trees, walked in the same order, side by side.

    source        there           pairs
    src           src             (src, src)
    src/a                         (src/a, None)       new
                  src/b           (None, src/b)       extra
    src/c         src/c           (src/c, src/c)

Pure; of each side it holds one entry.

Source: docs/spec/copy-pipes.md, "Order"; docs/spec/entry-table.md, "Names".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamover.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.files.entry import Entry
    from datamover.files.naming import Key, Naming

__all__ = ["merge"]


def merge(
    ours: Iterator[Entry], theirs: Iterator[Entry], naming: Naming
) -> Iterator[tuple[Key, Entry | None, Entry | None]]:
    """Yield each place of either tree once, in order, with the entries that are there.

    The next of ``ours`` is asked for only when the one before was used.

    Args:
        ours: The source's entries, with archived names.
        theirs: The destination's, with the names that they have there.
        naming: What is called what.

    Raises:
        MalformedError: ``theirs`` is not in the order of a walk.
    """
    last: Key = (-1, b"")
    mine, other = next(ours, None), next(theirs, None)
    key: Key | None
    place: Key | None
    while mine is not None or other is not None:
        key = None if mine is None else naming.source_key(mine.root, mine.path)
        place = None if other is None else naming.target_key(other.root, other.path)
        if place is not None and place <= last:
            raise MalformedError(what="survey", reason=f"it is out of order at {place[1][:80]!r}")
        if key is not None and (place is None or key < place):
            yield key, mine, None
            mine = next(ours, None)
            continue
        assert place is not None  # noqa: S101 - one of the two is there
        last = place
        if key == place:
            yield place, mine, other
            mine = next(ours, None)
        else:
            yield place, None, other
        other = next(theirs, None)
