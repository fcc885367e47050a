"""Let others of this machine ask a command what its pipes do, and stop them.

    with asked(monitor): ...      RUNTIME/pipes/PID.sock is there meanwhile

The commands' own steps serve it; that takes nothing until somebody asks.

Source: docs/spec/control-protocol.md, section 1; SPEC C15, C17, C18.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final

from datamover.errors import UnsafeFileError
from datamover.link.places import runtime_folder
from datamover.monitor.runtime import bind_pipe_socket, user_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datamover.monitor.answering import Answering
    from datamover.monitor.supervisor import Monitor

__all__ = ["asked"]

_MOST: Final = 16
_BACKLOG: Final = 16


@contextlib.contextmanager
def asked(monitor: Monitor) -> Iterator[Monitor]:
    """Serve who asks about a monitor's pipes, in its steps.

    Where the runtime folder cannot be used nobody can ask, and all else goes on.
    """
    try:
        serving = _PipeSocket(monitor, runtime_folder())
    except (UnsafeFileError, OSError):
        yield monitor
        return
    try:
        yield monitor
    finally:
        serving.close()


class _PipeSocket:
    def __init__(self, monitor: Monitor, runtime: Path) -> None:
        self._monitor = monitor
        self._guests: list[Answering] = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path = bind_pipe_socket(self._listening, runtime)
            self._listening.listen(_BACKLOG)
            self._listening.setblocking(False)
            monitor.watch(self._listening, self._accept)
        except BaseException:
            self._listening.close()
            raise

    def close(self) -> None:
        """Serve nobody any more."""
        self._monitor.unwatch(self._listening)
        self._listening.close()
        self._path.unlink(missing_ok=True)
        for guest in list(self._guests):
            guest.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return  # it has gone again, or there is no descriptor left for it
        self._guests = [guest for guest in self._guests if not guest.is_over]
        # Late: hardly any command is ever asked.
        from datamover.monitor.answering import Answering  # noqa: PLC0415 - as above

        if len(self._guests) >= _MOST or user_of(connection) not in {os.geteuid(), 0}:
            connection.close()
            return
        self._guests.append(Answering(self._monitor, connection))
