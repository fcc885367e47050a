"""Write one chunk to a tape: into the buffer, and from there to the drive once it is worth it.

A small chunk goes to the tape when it is committed.  A long one begins when the buffer is high;
from then on the drive is this chunk's, and another one waits in its own buffer.

Source: docs/spec/media-format.md, "Tapes"; SPEC F13; ADR 0027.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from datamover.errors import DataMoverError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.media.tape.buffer import StreamingBuffer
    from datamover.media.tape.medium import TapeMedium

__all__ = ["TapeWriter"]


class TapeWriter:
    """See ``Writer``.

    Attributes:
        is_ending: Nothing more comes: the drive will be free without anybody's doing.
    """

    def __init__(self, name: str, medium: TapeMedium, buffer: StreamingBuffer) -> None:
        self.name = name
        self.length = 0
        self._medium = medium
        self._buffer = buffer
        self._thread: threading.Thread | None = None
        self._error: DataMoverError | None = None
        self._writing = b""
        self._is_open = True
        self.is_ending = False

    def write(self, views: Sequence[memoryview | bytes]) -> None:
        """Append; see ``Writer.write``."""
        for view in views:
            left = memoryview(view)
            while left:
                if self._thread is None and self._buffer.is_high:
                    self._begin()
                before = len(left)
                left = self._buffer.put(left)
                self.length += before - len(left)
                if self._error is not None:
                    raise self._error

    def commit(self) -> None:
        """Have all of it on the tape; see ``Writer.commit``."""
        try:
            self.is_ending = True
            self._buffer.end()
            if self._thread is None:
                self._medium.enter(self)
                self._pump()
            else:
                self._thread.join()
            if self._error is not None:
                raise self._error
            self._medium.finish(self, self._writing)
        except DataMoverError:
            self.abandon()
            raise
        self._is_open = False
        self._medium.leave(self)

    def abandon(self) -> None:
        """Drop it; what is on the tape already counts no more."""
        if not self._is_open:
            return
        self._is_open = False
        self._buffer.break_off()
        if self._thread is not None:
            self._thread.join()
        # What cannot be dropped now is torn, and no reader takes it for a chunk.
        with suppress(DataMoverError):
            self._medium.drop(self, self._writing)
        self._medium.leave(self)

    def _begin(self) -> None:
        """Take the drive, if it can be had, and start it."""
        if self._medium.try_enter(self, needs_it=self._buffer.is_full):
            self._thread = threading.Thread(target=self._pump, name="tape")
            self._thread.start()

    def _pump(self) -> None:
        """Move blocks from the buffer to the tape until there are no more."""
        try:
            self._writing = self._medium.pump(self.name, self._buffer, self._began)
        except DataMoverError as error:
            self._error = error
            self._buffer.break_off()

    def _began(self, writing: bytes) -> None:
        self._writing = writing
