"""Which of the names after `restore` is an archive, and which are paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.errors import ArchiveMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LATEST", "choose"]

LATEST: Final = "latest"


def choose(names: Sequence[str], find: Callable[[str], object]) -> tuple[str | None, list[str]]:
    """Split `[ARCHIVE] [PATH...]`.

    The first name is an archive when the store knows it as one: `latest`, a name, an id, or the
    beginning of an id.  Otherwise it is a path like the others, and the latest archive is meant.
    A path that is also an archive's name follows `latest`, or is written with a `./` before it.

    Args:
        names: What was typed.
        find: Raises ArchiveMissingError for what is no archive.

    Returns:
        The archive, None for the latest; and the paths, as they were typed.

    Raises:
        UsageError: The first is the beginning of several ids.
    """
    if not names:
        return None, []
    first, rest = names[0], list(names[1:])
    if first == LATEST:
        return None, rest
    try:
        find(first)
    except ArchiveMissingError:
        return None, list(names)
    return first, rest
