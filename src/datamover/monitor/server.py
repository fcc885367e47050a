"""The process of a fork server: how it begins, and how it ends.

    executed   a new Python: safe whatever threads the caller has, and imports everything itself
    forked     a copy of a caller that has one thread, and has imported what tasks need

Source: SPEC C9, C19; DESIGN D2 (start-up), D6; docs/decisions/0006 and 0012.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, Self

from datamover.monitor import forkserver

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ServerProcess", "module_path"]

_PATIENCE: Final = 5.0
_HANDLED: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_CONFUSED: Final = 70
_FIRST_OF_OURS: Final = 3
"""Descriptors below are standard input, output and errors."""


class _Process(Protocol):
    pid: int

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


class ServerProcess:
    """A running fork server.

    Attributes:
        socket: The monitor's end; when it closes, the server ends, and its tasks with it.
        pid: The server.
        parent: The process that started it.
    """

    def __init__(self, connection: socket.socket, process: _Process) -> None:
        self.socket = connection
        self.pid = process.pid
        self.parent = os.getpid()
        self._process = process

    @classmethod
    def executed(cls) -> Self:
        """Start one as a program of its own; returns at once, it warms up meanwhile."""
        ours, theirs = _pair()
        with theirs:
            # Standard input is inherited: a head may read it.
            # -P: never import from the folder that a command happens to run in.
            module = ["-P", "-m", "datamover.monitor.forkserver"]
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, *module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(module_path())},
            )
        return cls(ours, process)

    @classmethod
    def forked(cls, *, without: Iterable[str] = ()) -> Self | None:
        """Fork one from this process; ``None`` when this has more than one thread.

        Args:
            without: Variables of the environment that neither it nor its tasks may see.
        """
        if len(list(Path("/proc/self/task").iterdir())) > 1:
            return None
        ours, theirs = _pair()
        gc.freeze()
        # A signal that comes now is this process's: its copy must not act on it likewise.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                _become(theirs, mask, without)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        return cls(ours, _Forked(pid))

    def wait_status(self) -> int:
        """Return the exit status of a server that ended by itself, and leave it to ``close``.

        Blocking: until it has exited.
        """
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if found is None or found.si_code == os.CLD_EXITED:
            return found.si_status if found else 0
        return -found.si_status

    def close(self) -> int:
        """End the server; its tasks, if any are left, die with it.

        Returns:
            Its exit status, or minus the signal that killed it.

        Blocking: until it has exited.
        """
        self.socket.close()
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class _Forked:
    """A child that this process forked, as ``subprocess`` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> int:
        if not select.select([self._descriptor], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("fork server", timeout or 0.0)
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)


def module_path() -> list[str]:
    """Where modules are found, without a word for "the current folder"."""
    return [os.path.abspath(p) for p in sys.path]  # noqa: PTH100 - plain strings are wanted


def _pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return pair


def _become(
    connection: socket.socket, mask: set[int | signal.Signals], without: Iterable[str]
) -> NoReturn:
    """Be the server, as exec would have left it: no descriptor, handler or secret of the caller."""
    status = _CONFUSED
    try:
        for name in without:
            forkserver.forget_variable(name)
        for number in [int(one.name) for one in Path("/proc/self/fd").iterdir()]:
            if number >= _FIRST_OF_OURS and number != connection.fileno():
                with contextlib.suppress(OSError):  # the list's own descriptor is closed already
                    os.close(number)
        for one in _HANDLED:
            if signal.getsignal(one) is not signal.SIG_IGN:
                signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        forkserver.serve(connection)
        status = 0
    finally:
        os._exit(status)
