"""The monitor's side of the fork server: start it once, ask it for tasks.

Source: SPEC C9, C19; DESIGN D2 (start-up), D6.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.errors import PipeError, SpecError
from datamover.monitor.forkserver import (
    LARGEST_REQUEST,
    MOST_DESCRIPTORS,
    Enclosed,
    Exited,
    Preload,
    Spawn,
    Started,
)
from datamover.pipe.plain import packed

if TYPE_CHECKING:
    from datamover.pipe.facts import TaskFacts

__all__ = ["Launcher"]

_ENCODER: Final = msgspec.msgpack.Encoder()
_REPORTS: Final = msgspec.msgpack.Decoder(Started | Exited)
_LARGEST: Final = 65536
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.001


class Launcher:
    """A running fork server.  ``fileno`` is readable when it has something to report."""

    def __init__(self) -> None:
        """Start the server; returns at once, the server warms up meanwhile."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with theirs:
            # Standard input is inherited: a head may read it.
            # -P: never import from the folder that a command happens to run in.
            module = ["-P", "-m", "datamover.monitor.forkserver"]
            self._server = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, *module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_path())},
            )
        self._tickets = 0

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def preload(self, modules: list[str]) -> None:
        """Have the server import modules now, so that no task has to."""
        self._send(_ENCODER.encode(Preload(modules, _path())), [])

    def spawn(self, crew: list[TaskFacts]) -> int:
        """Ask for a task, or for several in one process; return the ticket that reports name.

        Raises:
            PipeError: The server is gone.
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
                raise PipeError from None
            except OSError as error:
                # Users may have only so many descriptors under way; the server takes them out.
                if error.errno != errno.ETOOMANYREFS or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return


def _path() -> list[str]:
    """Where modules are found, without a word for "the current folder"."""
    return [os.path.abspath(p) for p in sys.path]  # noqa: PTH100 - plain strings are wanted


def _main_path(use: str) -> str:
    if not use.startswith("__main__:"):
        return ""
    path = getattr(sys.modules["__main__"], "__file__", None)
    return os.path.abspath(path) if path else ""  # noqa: PTH100 - a plain string is wanted
