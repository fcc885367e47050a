"""The process that tasks are forked from: warm, small, single-threaded.

It has imported what stages need, so that a task is up in a few milliseconds, and it has no
threads, so that forking is safe whatever the caller's program does.  It forks, reaps and reports;
it decides nothing.  When the monitor dies its socket ends, it exits, and its children with it.

    monitor -> server   preload modules | spawn task (with its descriptors)
    server -> monitor   started task, pid | exited task, status

Source: seed, "Master_Monitor" (initiates all modules by fork); SPEC C9, C19; DESIGN D2, D6.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from datamover.pipe.crew import run_crew
from datamover.pipe.facts import TaskFacts
from datamover.pipe.plain import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "ADOPTING",
    "LARGEST_REQUEST",
    "Exited",
    "Preload",
    "Request",
    "Spawn",
    "Started",
    "end_with_parent",
    "forget_variable",
    "main",
    "serve",
]

LARGEST_REQUEST: Final = 190_000
"""Bytes of a message: what a socket takes where the system's limits are as usual."""

ADOPTING: Final = "DATAMOVER_ADOPTING"
MOST_DESCRIPTORS: Final = 252
"""Of a crew; the kernel passes one more in a message, which a long request needs for itself."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEEP: Final = 32 << 20
_CONFUSED: Final = 70
_COLLECT_IN_TASKS: Final = (700, 10, 10)
_COLLECT_IN_SERVER: Final = 100_000
"""What imports make lives as long as the server: looking through it is for nothing."""
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.getenv.restype = ctypes.c_void_p


class Preload(msgspec.Struct, frozen=True, tag="preload"):
    """Import these modules now, so that no task has to."""

    modules: list[str]
    path: list[str]


class Spawn(msgspec.Struct, frozen=True, tag="spawn"):
    """Fork a task, or several that are joined."""

    ticket: int
    crew: list[TaskFacts]
    main: str = ""


class Enclosed(msgspec.Struct, frozen=True, tag="enclosed"):
    """A request too long for a message: it is in the memory file that comes as first descriptor."""

    length: int


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A task was forked; ``pid`` 0: it could not be."""

    ticket: int
    pid: int


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """A task is no more."""

    ticket: int
    status: int


Request = Preload | Spawn | Enclosed
_REQUESTS: Final = msgspec.msgpack.Decoder(Request)
_ENCODER: Final = msgspec.msgpack.Encoder()


def set_name(name: str) -> None:
    """Set what ``ps`` and /proc/PID/comm show; 15 characters at most."""
    _LIBC.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def _keep_memory() -> None:
    """Have malloc keep what is freed: libraries that return a block's bytes allocate it anew.

    By default a block of a MiB goes back to the system, and each of its pages is faulted in and
    zeroed again for the next one, which costs more than expanding it.
    """
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_M_TRIM_THRESHOLD, _KEEP)
        _LIBC.mallopt(_M_MMAP_THRESHOLD, _KEEP)


class _Server:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._children: dict[int, tuple[int, int]] = {}  # pidfd -> (ticket, pid)

    def run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._connection.fileno():
                    if not self._serve():
                        return
                else:
                    self._reap(descriptor)

    def _serve(self) -> bool:
        data, numbers = _receive(self._connection)
        if not data:
            return False
        request: Request = _REQUESTS.decode(data)
        if isinstance(request, Enclosed):
            request = _opened(request, numbers.pop(0))
        match request:
            case Preload(modules, path):
                sys.path[:] = [*path, *(p for p in sys.path if p not in path)]
                if missing := [module for module in modules if module not in sys.modules]:
                    for module in missing:
                        with contextlib.suppress(ImportError):
                            importlib.import_module(module)
                    gc.freeze()
            case Spawn() as spawn:
                self._spawn(spawn, numbers)
            case Enclosed():
                os._exit(_CONFUSED)  # one within another: no monitor of ours says that
        return True

    def _spawn(self, spawn: Spawn, numbers: list[int]) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            self._be_task(spawn, numbers, parent)
        for number in numbers:
            os.close(number)
        if pid < 0:
            self._say(Started(spawn.ticket, 0))
            return
        descriptor = os.pidfd_open(pid)
        self._children[descriptor] = (spawn.ticket, pid)
        self._poll.register(descriptor, select.POLLIN)
        self._say(Started(spawn.ticket, pid))

    def _be_task(self, spawn: Spawn, numbers: list[int], parent: int) -> NoReturn:
        status = 70
        try:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(status)  # the server was killed before the kernel knew we go with it
            set_name(f"dm:{spawn.crew[0].stage}.{spawn.crew[0].instance}")
            # A task that is woken lets the one that woke it go on: with more tasks than processors
            # it then finds several tokens at once.  Worth 10 to 20 % (docs/decisions/0008).
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            gc.set_threshold(*_COLLECT_IN_TASKS)
            self._connection.close()
            for descriptor in self._children:
                os.close(descriptor)
            left = iter(numbers)
            crew = [
                msgspec.structs.replace(
                    facts,
                    descriptors=facts.descriptors.renumbered(left),
                    settings=unpacked(facts.settings),
                )
                for facts in spawn.crew
            ]
            good = run_crew(crew, prepare=lambda: _adopt_main(spawn.main))
            status = 0 if good else 1
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self, descriptor: int) -> None:
        ticket, pid = self._children.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        self._say(Exited(ticket, os.waitstatus_to_exitcode(status)))

    def _say(self, message: Started | Exited) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(_ENCODER.encode(message))


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    numbers = array.array("i")
    room = socket.CMSG_SPACE(MOST_DESCRIPTORS * numbers.itemsize)
    try:
        data, ancillary, _, _ = connection.recvmsg(LARGEST_REQUEST, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # the monitor was killed before it read all of our answers
        return b"", []
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(value[: len(value) - len(value) % numbers.itemsize])
    return data, list(numbers)


def _opened(enclosed: Enclosed, descriptor: int) -> Request:
    """Read a request from its memory file, and close that."""
    try:
        request: Request = _REQUESTS.decode(os.pread(descriptor, enclosed.length, 0))
    finally:
        os.close(descriptor)
    return request


def _adopt_main(path: str) -> None:
    """Make ``__main__`` of the caller importable, as stages written in a script need."""
    if not path:
        return
    import runpy  # noqa: PLC0415 - only for scripts
    import types  # noqa: PLC0415

    module = types.ModuleType("__mp_main__")
    sys.modules["__mp_main__"] = module
    with _adopting():
        module.__dict__.update(runpy.run_path(path, run_name="__mp_main__"))
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Tell monitors that the script makes now that it is not to start its pipe once more."""
    os.environ[ADOPTING] = "1"
    try:
        yield
    finally:
        del os.environ[ADOPTING]


def forget_variable(name: str) -> None:
    """Take a variable out of this process's environment, as /proc/PID/environ shows it too.

    The block that a program begins with stays what it was in every process that is forked from it,
    whatever is removed from ``os.environ``.
    """
    value = os.environb.get(name.encode())
    place = _LIBC.getenv(name.encode())
    if value is not None and place:
        ctypes.memset(place, 0, len(value))
    os.environb.pop(name.encode(), None)


def serve(connection: socket.socket) -> None:
    """Be the server: answer the monitor on ``connection`` until it is gone.

    Blocking: until then.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    set_name("dm:forkserver")
    gc.set_threshold(_COLLECT_IN_SERVER)
    _keep_memory()
    _LIBC.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
    _Server(connection).run()


def end_with_parent() -> None:
    """Have this process asked to end (SIGTERM) when the one that started it dies."""
    parent = os.getppid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: Sequence[str]) -> None:
    """Serve the monitor on the inherited socket named by ``arguments[0]``, until it is gone."""
    serve(socket.socket(fileno=int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
