"""Exit statuses that no error class carries; the others are in ``errors``.

Source: sysexits(3); docs/reference/cli.md, "Exit statuses".
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HARMLESS", "Status", "of_notices"]


class Status(IntEnum):
    """How the program ended, where no error says it."""

    FINE = 0
    """Everything that was asked for was done."""

    INCOMPLETE = 3
    """It finished, but something was skipped or is damaged; notices say what."""

    BUG = 70
    """A mistake of the program itself."""

    SYSTEM = 74
    """The operating system refused something."""

    HUNG_UP = 129
    """The terminal went away (SIGHUP); the pipe was stopped in order."""

    INTERRUPTED = 130
    """Ctrl-C (SIGINT); the pipe was stopped in order."""

    OUTPUT_CLOSED = 141
    """Whoever read the output had enough, as `head` does."""

    TERMINATED = 143
    """SIGTERM; the pipe was stopped in order."""


HARMLESS: Final = frozenset(
    {
        "archive",
        "chunk",
        "item",
        "kept",
        "not resumable",
        "not resumed",
        "note",
        "page",
        "path lost",
        "path refused",
        "respawned",
        "resumed",
    }
)
"""Kinds of notices that take nothing away from what was asked for."""


def of_notices(notices: Mapping[str, int]) -> Status:
    """Return the status of a job that finished with so many notices of each kind."""
    serious = any(count for kind, count in notices.items() if kind not in HARMLESS)
    return Status.INCOMPLETE if serious else Status.FINE
