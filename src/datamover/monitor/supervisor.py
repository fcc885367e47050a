"""The monitor, embedded in the calling process: starts pipes, watches them, ends them.

It does what ``core`` decides.  Nothing runs in the background here: the caller's ``wait`` and
``step`` are the loop, so that a program that embeds it has no thread it did not start.

Source: seed, "Master_Monitor", "Status Monitoring"; SPEC C7, C9, C15-C20; DESIGN D7.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from datamover.errors import SpecError
from datamover.ids import PipeName
from datamover.monitor.forkserver import ADOPTING, Exited, Started
from datamover.monitor.launcher import Launcher
from datamover.monitor.live import Alias, LivePipe, Notify
from datamover.pipe.layout import lay_out
from datamover.pipe.spec import Mode, PipeSpec
from datamover.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from datamover.monitor.live import Outcome
    from datamover.monitor.roster import Led
    from datamover.pipe.layout import Task
    from datamover.shm.tokens import Token

__all__ = ["Monitor", "new_name", "run"]

_COUNTER: Final = itertools.count()
_OURS: Final = "datamover.stages."
_NO_PROCESS: Final = 71  # EX_OSERR
_TICK: Final = 0.5

Tend = Callable[[], float]


class HasFileno(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int:
        """Return it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Watcher:
    """Whom to call for a descriptor that is not a pipe's."""

    ready: Callable[[], None]


class Monitor:
    """Owns a fork server and any number of pipes; close it to end them all.

    Not thread-safe: one thread calls it.

    Attributes:
        led: Pipes over several machines that its caller leads, for who asks from outside.
    """

    def __init__(self, *, preload: list[str] | None = None) -> None:
        """Make a monitor; nothing is started before it is needed.

        Args:
            preload: Modules that the fork server imports while it warms up.
        """
        self._selector = selectors.DefaultSelector()
        self._launcher: Launcher | None = None
        self._preload = preload or []
        self._imported: set[str] = set()
        self._pipes: list[LivePipe] = []
        self._tickets: dict[int, tuple[LivePipe, list[int]]] = {}
        self._tended: list[Tend] = []
        self._tends_by = math.inf
        self.led: list[Led] = []

    @property
    def pipes(self) -> tuple[LivePipe, ...]:
        """The pipes that are not over, oldest first."""
        return tuple(self._pipes)

    def fileno(self) -> int:
        """A descriptor that is readable when ``step`` has something to do; see ``due`` too."""
        return self._selector.fileno()

    def __enter__(self) -> Self:
        """Use it in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every pipe, then the fork server."""
        self.close()

    def warm_up(self) -> None:
        """Start the fork server now, so that the first pipe need not wait for it.

        Blocking: never; the server imports in its own time.
        """
        if self._launcher is None:
            self._launcher = Launcher()
            self._selector.register(self._launcher, selectors.EVENT_READ, None)
            self._launcher.preload(self._preload)
            self._imported = set(self._preload)

    def start(
        self, spec: PipeSpec, *, on_notice: Notify | None = None, alias: Alias | None = None
    ) -> LivePipe:
        """Build a pipe and start its tasks.

        Args:
            spec: What to build.
            on_notice: Called with (stage, instance, kind, facts) for each notice of a stage.
            alias: What others call it; by default the name that it is given here.

        Raises:
            SpecError: It cannot be built; nothing was started.
            ForkServerError: The fork server is gone.

        Blocking: never; tasks attach while the caller waits.
        """
        if os.environ.get(ADOPTING):
            raise SpecError(
                reason="a script whose stages run as processes is imported by each: "
                'start the pipe under `if __name__ == "__main__":`'
            )
        layout = lay_out(spec, cache=last_level_cache())
        name = new_name(spec)
        pipe = LivePipe(
            name,
            layout,
            monitor=self,
            on_notice=on_notice,
            alias=alias,
            silence_s=spec.silence_s,
        )
        self._pipes.append(pipe)
        for task, control in pipe.wiring.sockets.items():
            self._selector.register(control, selectors.EVENT_READ, (pipe, task))
        try:
            self._launch(pipe)
        except BaseException:
            pipe.stop("a task that could not be started")
            started = {
                task for owner, tasks in self._tickets.values() if owner is pipe for task in tasks
            }
            pipe.abandon(started)
            if pipe.is_over:
                self._forget(pipe)
            raise
        return pipe

    def _launch(self, pipe: LivePipe) -> None:
        self._import_once(pipe)
        for crew in pipe.layout.crews():
            mode = pipe.layout.stages[crew[0].stage].mode
            if mode is Mode.PROCESS:
                self._spawn(pipe, crew)
            elif mode is Mode.THREAD:
                pipe.start_thread(crew)
            else:
                for task in crew:
                    pipe.add_inline(task)

    def _import_once(self, pipe: LivePipe) -> None:
        """Have the server import our own stages, rather than each task; users' stay in theirs."""
        modules = {
            stage.definition.reference.partition(":")[0]
            for stage in pipe.layout.stages
            if stage.mode is Mode.PROCESS
        }
        ours = {one for one in modules if one.startswith(_OURS)} - self._imported
        if ours:
            self.warm_up()
            assert self._launcher is not None  # noqa: S101 - warm_up has just made it
            self._launcher.preload(sorted(ours))
            self._imported |= ours

    def step(self, timeout: float) -> None:
        """Handle what has happened, waiting at most ``timeout`` seconds for something to.

        Blocking: until something happened, at most ``timeout``.
        """
        self._tends_by = time.monotonic() + min(
            (call() for call in list(self._tended)), default=math.inf
        )
        left = self.due()
        for key, _ in self._selector.select(timeout if left is None else min(timeout, left)):
            if self._selector.get_map().get(key.fd) is key:  # what was served before may end it
                self._serve(key)
        for pipe in list(self._pipes):
            pipe.check_grace()
            pipe.mend()
            pipe.check_stall()
            pipe.check_silence()
            if pipe.is_over:
                self._forget(pipe)

    def _serve(self, key: selectors.SelectorKey) -> None:
        if key.data is None:
            self._hear_server()
        elif isinstance(key.data, _Watcher):
            key.data.ready()
        else:
            pipe, task = key.data
            if not pipe.hear(task) and pipe.wiring.sockets.get(task) is key.fileobj:
                self._selector.unregister(key.fileobj)

    def due(self) -> float | None:
        """Seconds until ``step`` has something to do though nothing happens; None: never."""
        left = [one for pipe in self._pipes if (one := pipe.due()) is not None]
        if self._tends_by < math.inf:
            left.append(self._tends_by - time.monotonic())
        return max(0.0, min(left)) if left else None

    def watch(
        self,
        file: HasFileno | int,
        ready: Callable[[], None],
        *,
        reads: bool = True,
        writes: bool = False,
    ) -> None:
        """Call ``ready`` in each step in which ``file`` can be read, or written.

        A file that is watched already is watched anew.

        Ownership: ``file`` stays the caller's, who unwatches it before it is closed.
        """
        self.unwatch(file)
        events = selectors.EVENT_READ * reads | selectors.EVENT_WRITE * writes
        self._selector.register(file, events, _Watcher(ready))

    def unwatch(self, file: HasFileno | int) -> None:
        """Watch a file no longer; nothing happens when it is not watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(file)

    def tend(self, call: Tend) -> None:
        """Call this in each step; it returns the seconds within which it must be called again."""
        self._tended.append(call)
        self._tends_by = time.monotonic()

    def untend(self, call: Tend) -> None:
        """Call it no longer; nothing happens when it is not called."""
        if call in self._tended:
            self._tended.remove(call)

    def respawn(self, pipe: LivePipe, crew: list[Task], replay: Sequence[Token]) -> None:
        """Start a process in the place of one that died; the first of its tasks begins again.

        Raises:
            PipeError: The fork server is gone.
        """
        for task in crew:
            old = pipe.wiring.sockets[task.id]
            if old in self._selector.get_map():
                self._selector.unregister(old)
            pipe.wiring.reconnect(task)
            control = pipe.wiring.sockets[task.id]
            self._selector.register(control, selectors.EVENT_READ, (pipe, task.id))
        self._spawn(pipe, crew, replay)

    def _spawn(self, pipe: LivePipe, crew: list[Task], replay: Sequence[Token] = ()) -> None:
        self.warm_up()
        assert self._launcher is not None  # noqa: S101 - warm_up has just made it
        first, *rest = crew
        facts = [pipe.wiring.facts(first, replay), *(pipe.wiring.facts(task) for task in rest)]
        ticket = self._launcher.spawn(facts)
        self._tickets[ticket] = (pipe, [task.id for task in crew])
        for task in crew:
            pipe.wiring.give_away(task)

    def kill(self, pipe: LivePipe, task: int) -> None:
        """End one task by force."""
        pid = pipe.pids.get(task)
        if pid:
            pipe.signal(task, pid)
        else:
            pipe.give_up(task)

    def close(self) -> None:
        """End every pipe and the fork server; idempotent.

        Blocking: until they have ended, a few seconds at most.
        """
        for pipe in list(self._pipes):
            pipe.stop("the monitor, which is closing")
            pipe.poll(0.0)  # an inline pipe ends only while it is run
        deadline = time.monotonic() + 10.0
        while self._pipes and time.monotonic() < deadline:
            self.step(_TICK)
        for pipe in list(self._pipes):
            self._forget(pipe)
        if self._launcher is not None:
            self._selector.unregister(self._launcher)
            self._launcher.close()
            self._launcher = None
        self._selector.close()

    def _hear_server(self) -> None:
        launcher = self._launcher
        reports = launcher.reports() if launcher is not None else None
        if reports is None:
            self._lose_server()
            return
        for report in reports:
            pipe, tasks = self._tickets[report.ticket]
            match report:
                case Started(pid=pid) if pid:
                    for task in tasks:
                        pipe.began(task, pid)
                case Started():
                    del self._tickets[report.ticket]
                    pipe.ended(tasks, _NO_PROCESS)
                case Exited(status=status):
                    del self._tickets[report.ticket]
                    pipe.ended(tasks, status)

    def _lose_server(self) -> None:
        """The fork server died, and every task of it: end their pipes."""
        status = 0
        if self._launcher is not None:
            self._selector.unregister(self._launcher)
            status = self._launcher.close()
            self._launcher = None
        for pipe, tasks in list(self._tickets.values()):
            pipe.orphaned(tasks, status)
        self._tickets.clear()

    def _forget(self, pipe: LivePipe) -> None:
        if pipe not in self._pipes:
            return
        self._pipes.remove(pipe)
        for control in pipe.wiring.sockets.values():
            if control.fileno() >= 0 and control in self._selector.get_map():
                self._selector.unregister(control)
        pipe.release()


def run(spec: PipeSpec, *, on_notice: Notify | None = None) -> Outcome:
    """Run a pipe to its end in a monitor of its own, and return what came of it.

    Raises:
        SpecError: It cannot be built.
        StageFailedError: A stage ended abnormally; everything was stopped and given back.

    Blocking: until the pipe has ended.
    """
    with Monitor() as monitor:
        return monitor.start(spec, on_notice=on_notice).wait()


def new_name(spec: PipeSpec) -> PipeName:
    """Return a name that no other pipe has, on any machine: process, time, number, host."""
    return PipeName(
        f"{spec.name}-{os.getpid()}-{time.time_ns():x}-{next(_COUNTER)}@{socket.gethostname()}"
    )


def last_level_cache() -> Bytes:
    """Bytes of the processor's last-level cache; 32 MiB where the system does not say."""
    for level in (4, 3, 2):
        try:
            size = os.sysconf(f"SC_LEVEL{level}_CACHE_SIZE")
        except (ValueError, OSError):
            continue
        if size > 0:
            return Bytes(size)
    return Bytes(32 << 20)
