"""The monitor's side of the fork server: start it once, ask it for tasks.

Source: SPEC C9, C19; DESIGN D2 (start-up), D6.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import ForkServerError, SpecError
from datamover.monitor.forkserver import (
    LARGEST_REQUEST,
    MOST_DESCRIPTORS,
    Enclosed,
    Exited,
    Preload,
    Spawn,
    Started,
)
from datamover.monitor.server import ServerProcess, module_path
from datamover.pipe.plain import packed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datamover.pipe.facts import TaskFacts

__all__ = ["Launcher", "drop_prepared", "prepare"]

_ENCODER: Final = msgspec.msgpack.Encoder()
_REPORTS: Final = msgspec.msgpack.Decoder(Started | Exited)
_LARGEST: Final = 65536
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.001


_prepared: list[ServerProcess] = []


def prepare(*, without: Iterable[str] = ()) -> None:
    """Fork a server now, for the next launcher of this process, if it can be done safely.

    For a program that is about to run a pipe, and does not share its process with anybody.  What
    is imported by now, no task imports again.

    Args:
        without: Variables of the environment that no task may see.
    """
    server = ServerProcess.forked(without=without)
    if server is not None:
        _prepared.append(server)


def drop_prepared() -> None:
    """End a server that was prepared and not taken.

    Blocking: until it has exited.
    """
    server = _take_prepared()
    if server is not None:
        server.close()


def _take_prepared() -> ServerProcess | None:
    # A process that was forked meanwhile has no right to its parent's.
    return _prepared.pop() if _prepared and _prepared[0].parent == os.getpid() else None


class Launcher:
    """A running fork server.  ``fileno`` is readable when it has something to report."""

    def __init__(self) -> None:
        """Take the server that was prepared, or start one; that warms up meanwhile."""
        self._server = _take_prepared() or ServerProcess.executed()
        self._socket = self._server.socket
        self._tickets = 0

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def preload(self, modules: list[str]) -> None:
        """Have the server import modules now, so that no task has to."""
        self._send(_ENCODER.encode(Preload(modules, module_path())), [])

    def spawn(self, crew: list[TaskFacts]) -> int:
        """Ask for a task, or for several in one process; return the ticket that reports name.

        Raises:
            ForkServerError: The server is gone.
            SpecError: The descriptors are too many for a message.

        Ownership: the descriptors in ``crew`` stay the caller's; the task gets duplicates.
        """
        self._tickets += 1
        main = next((path for facts in crew if (path := _main_path(facts.use))), "")
        numbers = [number for facts in crew for number in facts.descriptors.numbers()]
        crew = [msgspec.structs.replace(facts, settings=packed(facts.settings)) for facts in crew]
        data = _ENCODER.encode(Spawn(self._tickets, crew, main))
        if len(numbers) > MOST_DESCRIPTORS:
            raise SpecError(
                reason=f"stage {crew[0].stage} and those joined to it need {len(numbers)} "
                f"descriptors, a task can be given {MOST_DESCRIPTORS}"
            )
        if len(data) > LARGEST_REQUEST:
            self._send_enclosed(data, numbers)
        else:
            self._send(data, numbers)
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

    def close(self) -> int:
        """End the server; its tasks, if any are left, die with it.

        Returns:
            Its exit status, or minus the signal that killed it.

        Blocking: until it has exited.
        """
        return self._server.close()

    def _send_enclosed(self, data: bytes, numbers: list[int]) -> None:
        """Send what is too long for a message as a memory file."""
        with open(os.memfd_create("request", os.MFD_CLOEXEC), "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            self._send(_ENCODER.encode(Enclosed(len(data))), [file.fileno(), *numbers])

    def _send(self, data: bytes, numbers: list[int]) -> None:
        rights = array.array("i", numbers)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if numbers else []
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._socket.sendmsg([data], ancillary)
            except (BrokenPipeError, ConnectionResetError):
                raise ForkServerError(status=self._server.wait_status()) from None
            except OSError as error:
                # Users may have only so many descriptors under way; the server takes them out.
                if error.errno != errno.ETOOMANYREFS or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return


def _main_path(use: str) -> str:
    if not use.startswith("__main__:"):
        return ""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.abspath(path) if path else ""  # noqa: PTH100 - a plain string is wanted
