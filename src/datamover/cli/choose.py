"""Which of the names after `restore` is an archive, and which are paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from datamover.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LATEST", "Named", "choose"]

LATEST: Final = "latest"
_SHORTEST_ID: Final = 6
"""Fewer digits are more likely a path such as `cafe`."""


class Named(Protocol):
    """An archive, as far as its names go."""

    @property
    def archive(self) -> str:
        """Its id, in hex."""
        ...

    @property
    def name(self) -> str:
        """What a person called it."""
        ...


def choose(names: Sequence[str], archives: Iterable[Named]) -> tuple[str | None, list[str]]:
    """Split `[ARCHIVE] [PATH...]`.

    The first name is an archive when it is `latest`, the name or the id of one, or the beginning
    of an id of at least six digits.  Otherwise it is a path like the others, and the latest
    archive is meant.  A path that is also an archive's name follows `latest`, or is written with
    a `./` before it.

    Returns:
        The archive's id, None for the latest; and the paths, as they were typed.

    Raises:
        UsageError: The beginning of an id fits several archives.
    """
    if not names:
        return None, []
    first, rest = names[0], list(names[1:])
    if first == LATEST:
        return None, rest
    found = _find(first, list(archives))
    return (found, rest) if found else (None, list(names))


def _find(word: str, archives: list[Named]) -> str | None:
    for archive in archives:
        if word == archive.archive:
            return archive.archive
    # Oldest first: of two archives with one name the newer is meant.
    named = [archive.archive for archive in archives if archive.name == word]
    if named:
        return named[-1]
    if len(word) < _SHORTEST_ID:
        return None
    begun = [archive.archive for archive in archives if archive.archive.startswith(word)]
    if len(begun) > 1:
        raise UsageError(reason=f"{word} is the beginning of {len(begun)} archive ids")
    return begun[0] if begun else None
