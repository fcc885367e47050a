"""What a descriptor allows that may be a socket, or one end of a pipe of a remote shell.

Source: docs/spec/link-protocol.md, 1; LIMITS: network.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_socket", "keep_near", "shut", "tune"]

_NEAR: Final = 256 << 10
"""Bytes that wait in a connection within this machine: they stay in the processor's caches."""


@contextlib.contextmanager
def as_socket(descriptor: int) -> Iterator[socket.socket | None]:
    """Yield the socket behind a descriptor, which stays open; None: it is no socket."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        yield None
        return
    with socket.socket(fileno=os.dup(descriptor)) as found:
        yield found


def tune(descriptor: int, *, send_buffer: int = 0) -> None:
    """Make a path's descriptor non-blocking and, where it is a TCP connection, quick to answer."""
    os.set_blocking(descriptor, False)
    with as_socket(descriptor) as connection:
        if connection is None:
            return
        if connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if send_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)


def keep_near(descriptor: int) -> None:
    """Let little wait in a connection whose both ends are on this machine; others stay as they are.

    The system would let megabytes wait, for a line that is long, and here there is none: bytes that
    are read at once are still in the caches, and the pages that held them are used again.
    """
    with as_socket(descriptor) as connection:
        if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
            return
        with contextlib.suppress(OSError):  # it may have ended meanwhile, as others will see
            if connection.getsockname()[0] == connection.getpeername()[0]:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _NEAR)


def shut(descriptor: int, how: int = socket.SHUT_RDWR) -> None:
    """End a connection, so that the other side sees it even where others hold duplicates."""
    with as_socket(descriptor) as connection, contextlib.suppress(OSError):
        if connection is not None:
            connection.shutdown(how)
