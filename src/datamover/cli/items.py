"""What a copy does, file by file, on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.cli.measure import printable
from datamover.cli.screen import put

if TYPE_CHECKING:
    from datamover.mover.report import Notice, Progress, Watch

__all__ = ["Items"]

_ITEM: Final = "item"


class Items:
    """A watch that writes "item" notices as lines, and passes on everything else.

    Args:
        watch: Who sees all else; as JSON, items too.
        as_json: Items are JSON.
    """

    def __init__(self, watch: Watch, *, as_json: bool) -> None:
        self._watch = watch
        self._as_json = as_json

    def progress(self, progress: Progress) -> None:
        """See ``Watch``."""
        self._watch.progress(progress)

    def notice(self, notice: Notice) -> None:
        """See ``Watch``.

        Raises:
            OutputClosedError: The reader of standard output has gone.
        """
        if notice.kind != _ITEM or self._as_json:
            self._watch.notice(notice)
            return
        action, path = str(notice.given.get("action")), str(notice.given.get("path"))
        put(f"{action}\t{printable(path)}\n")
