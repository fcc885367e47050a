"""The runtime folder: one daemon for each user, and nothing of the dead.

    monitor.lock        held by the daemon
    monitor.sock        the daemon's
    pipes/PID.sock      of each command that runs a pipe
    door-TOKEN          of each network task that takes in connections

Source: docs/spec/control-protocol.md, section 1; SPEC C1, C18, C19.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.errors import RunningError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "bind_pipe_socket",
    "lock",
    "monitor_socket",
    "pipe_sockets",
    "process_of",
    "short",
    "sweep",
    "user_of",
]

_CREDENTIALS: Final = struct.Struct("3i")
_LOCK: Final = "monitor.lock"
_MONITOR: Final = "monitor.sock"
_PIPES: Final = "pipes"
_BORDER: Final = re.compile(r"door-[0-9a-f]{32}")
_YOUNG_S: Final = 10.0
"""A socket that is bound and not listened to yet looks like one that was left behind."""


def monitor_socket(runtime: Path) -> Path:
    """Return where the daemon listens."""
    return runtime / _MONITOR


def bind_pipe_socket(listening: socket.socket, runtime: Path) -> Path:
    """Bind to this process's own name, and remove what the dead left; return the path.

    Doors of killed network tasks go too, whose monitors were killed with them.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = runtime / _PIPES
    folder.mkdir(mode=0o700, exist_ok=True)
    mine = str(os.getpid())
    names = {path.name for path in pipe_sockets(runtime) if _is_of(path) == mine}
    for path in pipe_sockets(runtime):
        if not Path("/proc", _is_of(path)).exists() or (
            path.name in names and not is_listening(path)
        ):
            _removed(path)
    for door in _doors(runtime):
        if _is_left(door):
            _removed(door)
    number = itertools.count(1)
    path = folder / f"{mine}.sock"
    while path.exists():
        # Another monitor of this process has the name.
        path = folder / f"{mine}-{next(number)}.sock"
    with short(path) as name:
        listening.bind(name)
    path.chmod(0o600)
    return path


def pipe_sockets(runtime: Path) -> list[Path]:
    """Return where other processes of this user listen while they run pipes."""
    return sorted((runtime / _PIPES).glob("*.sock"))


@contextlib.contextmanager
def lock(runtime: Path) -> Iterator[None]:
    """Be the only daemon of this user.

    Raises:
        RunningError: Another is; says which.
        OSError: The lock cannot be made.
    """
    with (runtime / _LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read(20).strip() or "unknown"
            raise RunningError(
                peer=str(runtime), reason=f"a monitor runs here already: process {who}"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield  # the kernel takes the lock away with the process, however that ends


def is_listening(path: Path) -> bool:
    """Whether somebody listens at a socket; never blocks."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, short(path) as name:
            return _connects(probe, name) in {0, errno.EAGAIN}
    except FileNotFoundError:
        return False


def sweep(runtime: Path) -> list[str]:
    """Remove the sockets of processes that are no more; return their names.

    Blocking: never for long.
    """
    found = [*_doors(runtime), *pipe_sockets(runtime)]
    return [path.name for path in found if _is_left(path) and _removed(path)]


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """Yield a name for ``path`` that fits a socket's address, however deep its folder is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def process_of(connection: socket.socket) -> int:
    """Return the process that connected a Unix socket, as the kernel knows it."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[0])


def user_of(connection: socket.socket) -> int:
    """Return the user at the other end of a Unix socket, as the kernel knows it."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def _is_of(path: Path) -> str:
    """Return the process that a pipe socket is of."""
    return path.stem.partition("-")[0]


def _doors(runtime: Path) -> list[Path]:
    return sorted(runtime.glob("door-*"))


def _is_left(path: Path) -> bool:
    """Whether nobody listens any more at a socket; who does is not disturbed by the question."""
    try:
        # The door of a border has its name only when it is listened to.
        if not _BORDER.fullmatch(path.name) and path.lstat().st_mtime > time.time() - _YOUNG_S:
            return False
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            with socket.socket(socket.AF_UNIX, kind) as probe, short(path) as name:
                error = _connects(probe, name)
            if error != errno.EPROTOTYPE:
                return error == errno.ECONNREFUSED
    except FileNotFoundError:
        return False
    return False


def _connects(probe: socket.socket, name: str) -> int:
    probe.setblocking(False)
    return probe.connect_ex(name)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
