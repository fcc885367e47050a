"""A pipe that runs: its state, its statistics, and its end.

Source: seed, "Status Monitoring"; SPEC C15-C17, C19; DESIGN D7.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import (
    BufferTimeoutError,
    ForkServerError,
    MalformedError,
    PipeError,
    StageFailedError,
    StopRequestedError,
)
from datamover.link.doorway import remove_door
from datamover.monitor.core import (
    CrewDied,
    CrewRespawned,
    GraceExpired,
    KillTask,
    Report,
    Respawn,
    StartGrace,
    State,
    StopRequested,
    StopTask,
    Supervision,
    TaskExited,
    TaskFailed,
    TaskFinished,
    TaskReady,
)
from datamover.monitor.failure import revived_failure
from datamover.monitor.silent import SilentTasks
from datamover.monitor.stall import find_stall
from datamover.monitor.statistics import PipeStatistics, read_statistics
from datamover.monitor.succession import Succession
from datamover.monitor.wiring import Wiring
from datamover.pipe.control import DirectControl, Message, decode
from datamover.pipe.crew import run_crew
from datamover.pipe.inline import InlineScheduler
from datamover.pipe.task import run_task

if TYPE_CHECKING:
    import socket

    from datamover.ids import PipeName
    from datamover.monitor.core import Event
    from datamover.monitor.succession import Successor
    from datamover.monitor.supervisor import Monitor
    from datamover.pipe.layout import Layout, Task

__all__ = ["Alias", "LivePipe", "Notify", "Outcome"]

Notify = Callable[[str, int, str, Mapping[str, object]], None]

_GRACE: Final = 2.0
_PATHS: Final = "paths"
_NETWORK: Final = frozenset({"net_send", "net_receive"})
_LONGEST: Final = 65536
_TICK: Final = 0.2
_LOOK: Final = 0.5
"""Seconds between two looks whether the pipe can still go on."""

_NOT_STARTED: Final = 71


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """What others call a pipe of this process that is a part of a larger one.

    Attributes:
        pipe: The whole's name.
        part: Its number in that.
        by: Who asked for it; empty: the user of this process.
    """

    pipe: str
    part: int = 0
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a pipe.

    Attributes:
        results: What each stage left, a mapping for each of its instances.
    """

    pipe: str
    seconds: float
    results: Mapping[str, tuple[Mapping[str, object], ...]]
    statistics: PipeStatistics


class LivePipe:
    """A pipe that was started; use it from the thread that uses its monitor."""

    def __init__(
        self,
        name: PipeName,
        layout: Layout,
        *,
        monitor: Monitor,
        on_notice: Notify | None,
        alias: Alias | None = None,
        silence_s: float = 0.0,
    ) -> None:
        self.name = name
        self.alias = alias or Alias(pipe=name)
        self.paths: dict[tuple[str, int], Mapping[str, object]] = {}
        self.layout = layout
        self.wiring = Wiring(layout)
        self.pids: dict[int, int] = {}
        self.started = time.monotonic()
        self.respawns = 0
        self._monitor = monitor
        self._on_notice = on_notice
        self._core = Supervision(len(layout.tasks))
        self._failure: PipeError | None = None
        self._results: dict[int, Mapping[str, object]] = {}
        self._grace: float | None = None
        self._threads: dict[int, threading.Thread] = {}
        self._hung: set[int] = set()
        self._lock = threading.Lock()  # of _hung, and of closing the wiring behind the last
        self._forced = False
        self._inline: InlineScheduler | None = None
        self._look = self.started + _LOOK
        self._last: PipeStatistics | None = None
        self._succession = Succession(self.wiring)
        self._silence = SilentTasks(self.wiring, silence_s)
        self._ended = 0.0
        self._alive = {task.id for task in layout.tasks}
        self._told: set[int] = set()  # tasks whose end the core has been told

    # ---- for the caller

    @property
    def state(self) -> State:
        """Where in its life the pipe is."""
        return self._core.state

    @property
    def limit(self) -> int:
        """Bytes a second that its network stages send at most; 0: as much as they can."""
        return 0 if self._last is not None else self.wiring.segment.limit

    def set_limit(self, bytes_per_s: int) -> None:
        """Set ``limit``; network stages heed it at once."""
        if self._last is None:
            self.wiring.segment.set_limit(bytes_per_s)

    @property
    def reason(self) -> str:
        """Why it ends or has ended, in words; "finished" until something else is known."""
        return self._core.reason

    def is_alive(self, task: int) -> bool:
        """Whether a task has not ended."""
        return task in self._alive

    @property
    def failure(self) -> PipeError | None:
        """Why the pipe failed; None while nothing is known against it.

        Blocking: never.
        """
        if self._core.culprit < 0:
            return None
        return self._failure or self._death(self._core.culprit, self._core.reason)

    @property
    def is_over(self) -> bool:
        """Whether every task has ended."""
        return self._core.state is State.STOPPED

    def statistics(self) -> PipeStatistics:
        """Return what the pipe has done so far; after its end, what it did.

        Blocking: never.
        """
        if self._last is not None:
            return self._last
        return read_statistics(self.wiring, self.name, self.started)

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Wait until every task has attached.

        Raises:
            BufferTimeoutError: They have not within ``timeout`` seconds; the pipe goes on.

        Blocking: until then.
        """
        deadline = time.monotonic() + timeout
        while self.state is State.STARTING:
            left = deadline - time.monotonic()
            if left <= 0:
                raise BufferTimeoutError(waited_s=timeout)
            self._monitor.step(min(left, _TICK))

    def poll(self, timeout: float) -> bool:
        """Let the pipe go on for at most ``timeout`` seconds; return whether it is over.

        Blocking: at most ``timeout``; an inline pipe runs to its end.
        """
        if self._inline is not None and not self.is_over:
            self._run_inline()
        deadline = time.monotonic() + timeout
        while not self.is_over:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._monitor.step(left)
        return self.is_over

    def wait(self) -> Outcome:
        """Wait for the end, and return what came of it.

        Raises:
            StageFailedError: A stage ended abnormally: which, where, and why.
            ForkServerError: The fork server ended, and every task of the pipe with it.
            StopRequestedError: The pipe was stopped before its end.

        Blocking: until every task has ended and everything is given back.
        """
        while not self.poll(_TICK):
            continue
        return self.outcome()

    def outcome(self) -> Outcome:
        """Return what came of a pipe that is over; see ``wait``."""
        if (failure := self.failure) is not None:
            raise failure
        if self._core.reason != "finished":
            raise StopRequestedError(reason=f"the pipe was {self._core.reason}")
        results = {
            stage.name: tuple(
                self._results.get(task.id, {}) for task in self.layout.tasks if task.stage == place
            )
            for place, stage in enumerate(self.layout.stages)
        }
        return Outcome(
            pipe=self.name,
            seconds=self._ended - self.started,
            results=results,
            statistics=self.statistics(),
        )

    def stop(self, by: str = "the caller") -> None:
        """Ask the pipe to end; ``wait`` then raises StopRequestedError.

        Blocking: never.
        """
        self._handle(StopRequested(by))

    # ---- for the monitor

    def hear(self, task: int) -> bool:
        """Read one message of a task; return whether its socket is still open."""
        control = self.wiring.sockets.get(task)
        if control is None:
            return False
        data = _receive(control)
        if data is None:
            return True
        if not data:
            if task in self._threads:
                self._threads.pop(task).join()
                self.exited(task, 0)
            return False
        self._understand(task, data)
        return True

    def hear_all(self, task: int) -> None:
        """Read what a dead task had still said."""
        control = self.wiring.sockets.get(task)
        while control is not None and (data := _receive(control)):
            self._understand(task, data)

    def ended(self, tasks: list[int], status: int) -> None:
        """Learn that the process of these tasks is no more; hear first what they had said."""
        for task in tasks:
            self.hear_all(task)
        if self.layout.stages[self.layout.tasks[tasks[0]].stage].retried:
            for task in tasks:
                self.pids.pop(task, None)
                self._alive.discard(task)
            held = self.wiring.in_work(tasks) if self._last is None else []
            self._handle(CrewDied(tuple(tasks), status, time.monotonic(), tuple(held)))
            return
        for task in tasks:
            self.exited(task, status)

    def orphaned(self, tasks: list[int], status: int) -> None:
        """Learn that the fork server of these tasks ended with ``status``, and they with it."""
        for task in tasks:
            self.hear_all(task)
        if self._failure is None and self.state in {State.STARTING, State.RUNNING}:
            self._failure = ForkServerError(status=status)
        self.ended(tasks, -signal.SIGKILL)

    def exited(self, task: int, status: int) -> None:
        """Learn that a task is no more."""
        self.pids.pop(task, None)
        self._alive.discard(task)
        self._told.add(task)
        self._handle(TaskExited(task, status))

    def began(self, task: int, pid: int) -> None:
        """Learn that a task runs; one that comes too late for the others' end ends at once."""
        self.pids[task] = pid
        if self._forced:
            self.signal(task, pid)

    def mend(self) -> None:
        """Replace the dead that are to be replaced, as soon as that can be done.

        Blocking: until every task stands still for a moment; see ``Succession.successors``.
        """
        if self._core.state not in {State.STARTING, State.RUNNING}:
            self._succession.clear()
        try:
            for successor in self._succession.successors(self._alive, self.pids):
                self._replace(successor)
        except PipeError as error:
            reason = f"it died, and could not be replaced: {error}"
            self._handle(TaskFailed(self._succession.first, reason))

    def abandon(self, started: set[int]) -> None:
        """Count out every task but ``started`` and the threads: they will never run."""
        for task in self.layout.tasks:
            if task.id not in started and task.id not in self._threads:
                self.exited(task.id, _NOT_STARTED)

    def give_up(self, task: int) -> None:
        """Count out a thread that hangs in its stage: nothing can end it but the program's end."""
        if self._threads.pop(task, None) is not None:
            with self._lock:
                self._hung.add(task)
            self.exited(task, -signal.SIGKILL)

    def start_thread(self, crew: list[Task]) -> None:
        """Run a task, or several that are joined, as a thread of this process."""
        facts = [self.wiring.facts(task) for task in crew]
        for task in crew:
            self.wiring.take_socket(task).detach()  # it is the thread's from here on
        definitions = [self.layout.stages[task.stage].definition for task in crew]

        def body() -> None:
            run_crew(facts, definitions=definitions)
            for task in crew:
                self._let_go(task.id)

        name = f"{facts[0].stage}.{facts[0].instance}"
        thread = threading.Thread(target=body, name=name, daemon=True)
        for task in crew:
            self._threads[task.id] = thread
        thread.start()

    def add_inline(self, task: Task) -> None:
        """Take a task into this pipe's single thread of work; ``poll`` runs it."""
        if self._inline is None:
            self._inline = InlineScheduler()
        scheduler = self._inline
        facts = self.wiring.facts(task)
        definition = self.layout.stages[task.stage].definition

        def body() -> None:
            run_task(
                facts,
                control=DirectControl(lambda message: self._listen(task.id, message)),
                waiter=scheduler,
                definition=definition,
            )

        scheduler.add(body)

    def due(self) -> float | None:
        """Seconds until ``check_grace``, ``mend`` or ``check_stall``; None: only events matter."""
        if self._grace is not None:
            return max(0.0, self._grace - time.monotonic())
        if (left := self._succession.left()) is not None:
            return left
        if self.state is State.RUNNING and self._inline is None:
            return max(0.0, self._look - time.monotonic())
        return None

    def check_grace(self) -> None:
        """End by force what did not end by itself in time."""
        if self._grace is not None and time.monotonic() >= self._grace:
            self._grace = None
            self._forced = True
            self._handle(GraceExpired())

    def check_stall(self) -> None:
        """End what can never go on, and name the task to blame."""
        now = time.monotonic()
        if self.state is not State.RUNNING or self._inline is not None or now < self._look:
            return
        if self._succession.left() is not None:
            return  # whoever takes the place of the dead will go on
        self._look = now + _LOOK
        stall = find_stall(self.wiring, told=self._told)
        if stall is None:
            return
        task = self.layout.tasks[stall.task]
        self._failure = self._failure or StageFailedError(
            stage=self.layout.stages[task.stage].name,
            instance=task.instance,
            sequence=stall.sequence,
            cause=str(stall.error),
            cause_code=stall.error.code,
            cause_status=stall.error.exit_status,
        )
        self._handle(TaskFailed(stall.task, str(self._failure)))
        self._stop_task(stall.task)  # it waits, and does not end by itself

    def check_silence(self) -> None:
        """Kill what is alive for the system alone, and name it where nobody takes its place."""
        if self.state is not State.RUNNING or self._inline is not None:
            return
        for silent in self._silence.find(self.pids):
            task = self.layout.tasks[silent.task]
            if not self.layout.stages[task.stage].retried:
                self._failure = self._failure or self._death(silent.task, silent.reason)
                self._handle(TaskFailed(silent.task, silent.reason))
            self.signal(silent.task, silent.pid)

    def signal(self, task: int, pid: int) -> None:
        """Kill one task's process."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            self.pids.pop(task, None)

    def release(self) -> None:
        """Keep the last statistics, and give everything back."""
        if self._last is None:
            self._last = read_statistics(self.wiring, self.name, self.started)
            self._ended = time.monotonic()
            self._close_doors()
            self._let_go(None)

    # ---- inside

    def _replace(self, successor: Successor) -> None:
        crew = [task.id for task in successor.crew]
        self._monitor.respawn(self, list(successor.crew), successor.replay)
        self._succession.started(successor)
        self.respawns += 1
        self._alive |= set(crew)
        self._told -= set(crew)
        self._handle(CrewRespawned(tuple(crew)))
        if self._on_notice is not None:
            first = successor.crew[0]
            stage = self.layout.stages[first.stage].name
            facts = {"reason": successor.reason, "again": successor.again}
            facts = {"task": f"{stage}.{first.instance}", **facts}
            self._on_notice(stage, first.instance, "respawned", facts)

    def _close_doors(self) -> None:
        """Remove the doors that network tasks left which were killed; others have done so."""
        for stage in self.layout.stages:
            door = stage.spec.settings.get("door")
            if stage.definition.info.name in _NETWORK and isinstance(door, str) and door:
                remove_door(door)

    def _let_go(self, hung: int | None) -> None:
        """Close everything, unless a thread that hangs may still use it: then it does so last."""
        with self._lock:
            if hung is not None and hung not in self._hung:
                return
            self._hung.discard(-1 if hung is None else hung)
            if self._last is not None and not self._hung:
                self.wiring.close()

    def _run_inline(self) -> None:
        assert self._inline is not None  # noqa: S101 - the caller has looked
        self._inline.run()
        for task in self.layout.tasks:
            self.exited(task.id, 0)
        self._monitor.step(0.0)

    def _understand(self, task: int, data: bytes) -> None:
        try:
            message = decode(data)
        except MalformedError as error:
            self._handle(TaskFailed(task, str(error)))
            self._stop_task(task)  # unlike a stage that failed, it does not end by itself
        else:
            self._listen(task, message)

    def _listen(self, task: int, message: Message) -> None:
        facts = message.facts
        match message.what:
            case "ready":
                self._handle(TaskReady(task))
            case "finished":
                self._told.add(task)
                self._handle(TaskFinished(task))
            case "result":
                values = facts.get("values")
                self._results[task] = values if isinstance(values, Mapping) else {}
            case "notice" if facts.get("kind") == _PATHS:
                self._note_path(task, facts.get("given"))
            case "notice" if self._on_notice is not None:
                stage = self.layout.stages[self.layout.tasks[task].stage].name
                given = facts.get("given")
                self._on_notice(
                    stage,
                    self.layout.tasks[task].instance,
                    str(facts.get("kind")),
                    given if isinstance(given, Mapping) else {},
                )
            case "failed":
                failure = revived_failure(facts)
                if self._failure is None:
                    self._failure = failure
                self._told.add(task)
                self._handle(TaskFailed(task, str(failure)))
            case _:
                return  # a newer task may say more

    def _note_path(self, task: int, given: object) -> None:
        """Keep what a network task says of its paths: it is for who asks, and no news."""
        if isinstance(given, Mapping) and isinstance(path := given.get("path"), int):
            stage = self.layout.stages[self.layout.tasks[task].stage].name
            self.paths[stage, path] = given

    def _handle(self, event: Event) -> None:
        for effect in self._core.handle(event):
            match effect:
                case StopTask(task):
                    self._stop_task(task)
                case KillTask(task):
                    self._monitor.kill(self, task)
                case Respawn(crew, reason):
                    self._succession.add(crew, reason)
                case StartGrace():
                    self.wiring.segment.request_stop()
                    self._grace = time.monotonic() + _GRACE
                case Report(culprit=culprit, reason=reason) if culprit >= 0:
                    # The table still says what the dead task held; soon it is gone.
                    self._failure = self._failure or self._death(culprit, reason)

    def _stop_task(self, task: int) -> None:
        if self._inline is not None:
            self._inline.stop()
        control = self.wiring.sockets.get(task)
        if control is None:
            return
        try:
            control.send(b"{}")
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return  # it has been told, or is gone

    def _death(self, task: int, reason: str) -> StageFailedError:
        found = self.layout.tasks[task]
        held = self.wiring.held_by(task) if self._last is None else []
        return StageFailedError(
            stage=self.layout.stages[found.stage].name,
            instance=found.instance,
            sequence=held[0] if held else -1,
            cause=reason,
            cause_code=_code_of(reason),
        )


def _code_of(reason: str) -> str:
    if "silent" in reason or "stopped" in reason:
        return "silent"
    return "killed" if "signal" in reason else "exit"


def _receive(control: socket.socket) -> bytes | None:
    """Return the next message; empty at the end, None when there is none yet."""
    while True:
        try:
            return control.recv(_LONGEST)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            # The task ended before it read our word to stop.  The kernel says so once, ahead of
            # what the task had still said: read on.
            continue
