"""The monitor's side of the fork server: start it once, ask it for tasks.

Source: SPEC C9, C19; DESIGN D2 (start-up), D6.
"""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import PipeError
from datamover.monitor.forkserver import Exited, Preload, Spawn, Started

if TYPE_CHECKING:
    from datamover.pipe.facts import TaskFacts

__all__ = ["Launcher"]

_ENCODER: Final = msgspec.json.Encoder()
_REPORTS: Final = msgspec.json.Decoder(Started | Exited)
_LARGEST: Final = 65536
_PATIENCE: Final = 5.0


class Launcher:
    """A running fork server.  ``fileno`` is readable when it has something to report."""

    def __init__(self) -> None:
        """Start the server; returns at once, the server warms up meanwhile."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with theirs:
            # Standard input is inherited: a head may read it.
            self._server = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "datamover.monitor.forkserver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
        self._tickets = 0

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def preload(self, modules: list[str]) -> None:
        """Have the server import modules now, so that no task has to."""
        self._send(_ENCODER.encode(Preload(modules, [p for p in sys.path if p])), [])

    def spawn(self, facts: TaskFacts) -> int:
        """Ask for a task; return its ticket, which ``reports`` will name.

        Raises:
            PipeError: The server is gone.

        Ownership: the descriptors in ``facts`` stay the caller's; the task gets duplicates.
        """
        self._tickets += 1
        spawn = Spawn(self._tickets, facts, _main_path(facts.use))
        self._send(_ENCODER.encode(spawn), facts.descriptors.numbers())
        return self._tickets

    def reports(self) -> list[Started | Exited] | None:
        """Return what the server has reported; ``None``: it is gone, and its tasks with it.

        Blocking: never.
        """
        found: list[Started | Exited] = []
        while True:
            try:
                data = self._socket.recv(_LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except ConnectionResetError:
                data = b""
            if not data:
                return found or None
            found.append(_REPORTS.decode(data))

    def close(self) -> None:
        """End the server; its tasks, if any are left, die with it.

        Blocking: until it has exited.
        """
        self._socket.close()
        try:
            self._server.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def _send(self, data: bytes, numbers: list[int]) -> None:
        rights = array.array("i", numbers)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if numbers else []
        try:
            self._socket.sendmsg([data], ancillary)
        except (BrokenPipeError, ConnectionResetError):
            raise PipeError from None


def _main_path(use: str) -> str:
    if not use.startswith("__main__:"):
        return ""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.abspath(path) if path else ""  # noqa: PTH100 - a plain string is wanted
