"""Bytes to and from a peer, never waiting: over a socket, or two descriptors.

For TLS see ``tls_channel``.

Source: docs/spec/control-protocol.md, section 1; SPEC C2, C13; DESIGN D7.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

__all__ = ["Channel", "ShellChannel", "SocketChannel"]

_AT_ONCE: Final = 256 << 10
_PATIENCE: Final = 2.0
_NOT_FOUND: Final = 127
_SHELL_FAILED: Final = 255


class Channel(Protocol):
    """Where bytes come from and go to.  After ``close`` it is of no use."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when something came."""
        ...

    def write_fileno(self) -> int:
        """Return the descriptor that is writable when there is room; it may be the same."""
        ...

    def read(self) -> bytes | None:
        """Return what came; empty: the other side has ended, None: nothing is here.

        Raises:
            OSError: The connection broke.

        Blocking: never.
        """
        ...

    def write(self, data: memoryview) -> int:
        """Return how much of ``data`` was taken; 0: there is no room.

        Raises:
            OSError: The connection broke.

        Blocking: never.
        """
        ...

    def close(self) -> str:
        """Give everything back; return what is known of why it ended, which may be nothing.

        Blocking: at most some seconds, until what carried it has ended.
        """
        ...


class SocketChannel:
    """A connected socket; it becomes this object's."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setblocking(False)

    def fileno(self) -> int:
        """See ``Channel``."""
        return self._connection.fileno()

    def write_fileno(self) -> int:
        """See ``Channel``."""
        return self._connection.fileno()

    def read(self) -> bytes | None:
        """See ``Channel``."""
        try:
            return self._connection.recv(_AT_ONCE)
        except BlockingIOError:
            return None

    def write(self, data: memoryview) -> int:
        """See ``Channel``."""
        try:
            return self._connection.send(data[:_AT_ONCE])
        except BlockingIOError:
            return 0

    def close(self) -> str:
        """See ``Channel``; never blocks."""
        self._connection.close()
        return ""


class ShellChannel:
    """Standard input and output of a program that was started to reach somebody.

    Its standard error is this process's: what a remote shell asks or says, a person sees.
    """

    def __init__(self, command: list[str]) -> None:
        """Start the program; Ctrl-C is for this process, which ends it in order.

        Raises:
            OSError: It cannot be started.
        """
        with _ignoring_interrupts():
            self._process = subprocess.Popen(  # noqa: S603 - what the user asked for
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        assert self._process.stdin is not None  # noqa: S101 - asked for
        assert self._process.stdout is not None  # noqa: S101 - asked for
        self._in, self._out = self._process.stdin, self._process.stdout
        for end in (self._in, self._out):
            os.set_blocking(end.fileno(), False)

    def fileno(self) -> int:
        """See ``Channel``."""
        return self._out.fileno()

    def write_fileno(self) -> int:
        """See ``Channel``."""
        return self._in.fileno()

    def read(self) -> bytes | None:
        """See ``Channel``."""
        try:
            return os.read(self._out.fileno(), _AT_ONCE)
        except BlockingIOError:
            return None

    def write(self, data: memoryview) -> int:
        """See ``Channel``."""
        try:
            return os.write(self._in.fileno(), data[:_AT_ONCE])
        except BlockingIOError:
            return 0

    def close(self) -> str:
        """See ``Channel``; the program sees the end of its input, and is ended if it stays."""
        for end in (self._in, self._out):
            with contextlib.suppress(OSError):
                end.close()
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            try:
                status = self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                status = self._process.wait()
        return _meaning(status)


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Have the program that is started meanwhile ignore SIGINT, as it inherits that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _meaning(status: int) -> str:
    if status == _NOT_FOUND:
        return "the remote shell found no program of that name"
    if status == _SHELL_FAILED:
        return "the remote shell could not connect, or was cut off"
    if status < 0:
        return f"the remote shell was killed by signal {-status}"
    return f"the remote shell ended with status {status}" if status else ""
