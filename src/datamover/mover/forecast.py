"""How much there will be: counts the sources in the background, for the estimate of a long backup.

It starts after a second, so that a short job pays nothing, and it is a thread of the calling
process, which only waits while the pipe works.

Source: SPEC U18.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, Self

from datamover.files.entry import EntryFlag, Kind
from datamover.files.exclude import Excludes
from datamover.files.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["Forecast"]

_DELAY: Final = 1.0


class Forecast:
    """Counts while it is entered as a context.

    Attributes:
        files: How many files there are; None until all are counted.
        bytes: How many bytes of data they have; None until then.
    """

    def __init__(
        self, roots: Sequence[str], *, excludes: Sequence[str], one_file_system: bool
    ) -> None:
        self.files: int | None = None
        self.bytes: int | None = None
        self._walk = Walk(
            [os.fsencode(root) for root in roots],
            notice=lambda *_: None,  # the scan tells it
            excludes=Excludes(excludes),
            one_file_system=one_file_system,
        )
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._count, name="forecast", daemon=True)

    def __enter__(self) -> Self:
        """Begin, after a second."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop counting, wherever it is."""
        self._end.set()
        self._thread.join()

    def _count(self) -> None:
        if self._end.wait(_DELAY):
            return
        files = size = 0
        for entry in self._walk:
            if self._end.is_set():
                return
            if entry.kind == Kind.FILE:
                files += 1
                if entry.flags & EntryFlag.SPARSE:
                    size += sum(length for _, length in self._walk.extents(entry))
                else:
                    size += entry.size
        self.files, self.bytes = files, size
