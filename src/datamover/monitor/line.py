"""The line between a monitor and a controller that it started: messages, and an end that is heard.

No Hello is said on it: both ends are of one release, and one started the other.

Source: docs/spec/control-protocol.md, section 8; SPEC C5, C13; ADR 0023.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Final

from datamover.errors import FormatError, MalformedError, PeerLostError
from datamover.monitor.mail import posted, received
from datamover.wire.control import ControlReader
from datamover.wire.message import PipeNotice

if TYPE_CHECKING:
    import socket

    from datamover.monitor.supervisor import Monitor
    from datamover.wire.message import Message

__all__ = ["Line"]

_AT_ONCE: Final = 1 << 16
_PATIENCE_S: Final = 20.0


class Line:
    """A controller's end.

    Attributes:
        is_gone: The monitor has closed its end, or died.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take a connected socket; it becomes this object's."""
        connection.setblocking(False)
        self.is_gone = False
        self._connection = connection
        self._reader = ControlReader()
        self._reader.open()
        self._heard: list[Message] = []
        self._monitor: Monitor | None = None

    def watch(self, monitor: Monitor) -> None:
        """Be read in the steps of a monitor."""
        monitor.watch(self._connection, self._read)
        self._monitor = monitor

    def first(self) -> Message:
        """Return the first message.

        Raises:
            PeerLostError: None came in time.

        Blocking: until it is here, some seconds at most.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not self._heard and not self.is_gone and time.monotonic() < deadline:
            select.select([self._connection], [], [], _PATIENCE_S)
            self._read()
        if not self._heard:
            raise PeerLostError(peer="the monitor", reason="it did not say what to do")
        return self._heard.pop(0)

    def look(self) -> None:
        """Read what has come, where no monitor's steps do; never blocks."""
        self._read()

    def take(self) -> list[Message]:
        """Return what came; never blocks."""
        found, self._heard = self._heard, []
        return found

    def say(self, message: Message) -> None:
        """Say something; a notice is dropped where the monitor takes nothing in.

        Raises:
            MalformedError: It is too long; nothing was said.

        Blocking: until the monitor has taken it, some seconds at most.
        """
        data, begun = memoryview(posted(message)), False
        deadline = time.monotonic() + _PATIENCE_S
        while data and not self.is_gone:
            try:
                data, begun = data[self._connection.send(data) :], True
            except BlockingIOError:
                if isinstance(message, PipeNotice) and not begun:
                    return
                self.is_gone = time.monotonic() > deadline
                select.select([], [self._connection], [], 1.0)
            except OSError:
                self.is_gone = True

    def close(self) -> None:
        """Close this end."""
        self._connection.close()

    def _read(self) -> None:
        try:
            data = self._connection.recv(_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            self._reader.feed(data)
            self._heard += map(received, self._reader.messages())
        except (FormatError, MalformedError):
            data = b""
        if not data:
            self.is_gone = True
            if self._monitor is not None:
                self._monitor.unwatch(self._connection)
