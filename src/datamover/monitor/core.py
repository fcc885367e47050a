"""The monitor's decisions, without its hands.

``Supervision.handle`` maps one event to the effects that the supervisor must carry out.  It opens
no socket, starts no process and reads no clock, so each line of the rules is a golden script
(tests/golden/monitor/).

    state       event               next       effects
    STARTING    TaskReady, all      RUNNING    Report
    any live    TaskFailed          STOPPING   StopTask for each other alive, StartGrace
    any live    TaskExited, early   STOPPING   the same; the culprit is the one that exited
    any live    TaskExited, done    -          (STOPPED when it was the last)
    any live    CrewDied            -          Respawn, or the same as TaskExited for each of it
    any live    CrewRespawned       -
    any live    StopRequested       STOPPING   StopTask for each alive, StartGrace
    STOPPING    GraceExpired        STOPPING   KillTask for each alive
    STOPPING    TaskExited          STOPPING   (STOPPED when it was the last)
    -> STOPPED                                 ReleasePipe, Report

CrewDied is said instead of TaskExited where the tasks of one process can be replaced.  They are,
but when they end by themselves, or are killed a second time, before they were ever ready; when the
same input was in work at three deaths in a row; or when too many died within a minute: then the
pipe stops.

A task that exits without having said "finished" has exited early, whatever its status.  The first
culprit stays the culprit: those that follow fall because of it.

Source: seed, "Control Messages" and "Status Monitoring"; SPEC C15, C16; DESIGN D7.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

__all__ = [
    "CrewDied",
    "CrewRespawned",
    "Effect",
    "Event",
    "GraceExpired",
    "KillTask",
    "ReleasePipe",
    "Report",
    "Respawn",
    "StartGrace",
    "State",
    "StopRequested",
    "StopTask",
    "Supervision",
    "TaskExited",
    "TaskFailed",
    "TaskFinished",
    "TaskReady",
]


_A_MINUTE: Final = 60.0
_MOST_A_MINUTE: Final = 120
_FATAL: Final = 3  # two may be chance, where the system kills one after the other


class State(StrEnum):
    """Where in its life a pipe is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TaskReady:
    """A task has attached."""

    task: int


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """A task's stage has returned, and its stream has ended."""

    task: int


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A task's stage has raised."""

    task: int
    cause: str


@dataclass(frozen=True, slots=True)
class TaskExited:
    """A task is no more.  ``status``: exit status, or minus the signal that killed it."""

    task: int
    status: int


@dataclass(frozen=True, slots=True)
class CrewDied:
    """The process of tasks that can be replaced is no more.

    Attributes:
        crew: The tasks, first to last.
        at: When, in seconds of any clock that only grows.
        held: Numbers of the inputs that it was at work on.
    """

    crew: tuple[int, ...]
    status: int
    at: float
    held: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CrewRespawned:
    """Others have taken their place."""

    crew: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody wants the pipe to end."""

    by: str


@dataclass(frozen=True, slots=True)
class GraceExpired:
    """The time is over in which tasks may end by themselves."""


@dataclass(frozen=True, slots=True)
class StopTask:
    """Ask a task to end."""

    task: int


@dataclass(frozen=True, slots=True)
class KillTask:
    """End a task by force."""

    task: int


@dataclass(frozen=True, slots=True)
class Respawn:
    """Give back what these tasks had and start others in their place; then say CrewRespawned."""

    crew: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class StartGrace:
    """Send GraceExpired after the time that tasks have to end by themselves."""


@dataclass(frozen=True, slots=True)
class ReleasePipe:
    """Give back everything that the pipe used."""


@dataclass(frozen=True, slots=True)
class Report:
    """Tell whoever asks.  ``culprit``: the task that is to blame, or -1."""

    state: State
    reason: str
    culprit: int = -1


Event: TypeAlias = (
    TaskReady
    | TaskFinished
    | TaskFailed
    | TaskExited
    | CrewDied
    | CrewRespawned
    | StopRequested
    | GraceExpired
)
Effect: TypeAlias = StopTask | KillTask | Respawn | StartGrace | ReleasePipe | Report


class Supervision:
    """One pipe's life, on one machine.

    Invariants: STOPPED is entered once, when no task is alive; ``culprit`` is set at most once.
    """

    def __init__(self, tasks: int) -> None:
        """Begin the life of a pipe of ``tasks`` tasks, numbered from 0."""
        self.state: State = State.STARTING
        self.reason: str = "finished"
        self.culprit: int = -1
        self._alive: set[int] = set(range(tasks))
        self._unready: set[int] = set(range(tasks))
        self._finished: set[int] = set()
        self._unborn: set[int] = set()
        self._deaths: list[float] = []
        self._suspects: dict[int, dict[int, int]] = {}

    def handle(self, event: Event) -> list[Effect]:
        """Take one event; return what to do about it, in order."""
        match event:
            case TaskReady() | TaskFinished() | TaskFailed() | TaskExited():
                return self._of_task(event)
            case CrewDied():
                return self._died(event)
            case CrewRespawned(crew):
                self._alive |= set(crew)
                return []
            case StopRequested(by):
                return self._stop(f"stopped by {by}", culprit=-1)
            case GraceExpired():
                return self._force()
            case _:
                assert_never(event)

    def _of_task(self, event: TaskReady | TaskFinished | TaskFailed | TaskExited) -> list[Effect]:
        match event:
            case TaskReady(task):
                return self._ready(task)
            case TaskFinished(task):
                self._finished.add(task)
                return []
            case TaskFailed(task, cause):
                return self._stop(cause, culprit=task)
            case TaskExited(task, status):
                return self._exited(task, status)

    def _ready(self, task: int) -> list[Effect]:
        self._unready.discard(task)
        if self.state is State.STARTING and not self._unready:
            self.state = State.RUNNING
            return [Report(self.state, "every task is attached")]
        return []

    def _exited(self, task: int, status: int) -> list[Effect]:
        if task not in self._alive:
            return []
        self._alive.discard(task)
        effects: list[Effect] = []
        if task not in self._finished:
            effects = self._stop(_ending(status), culprit=task)
        return effects + self._end()

    def _end(self) -> list[Effect]:
        if self._alive:
            return []
        self.state = State.STOPPED
        return [ReleasePipe(), Report(self.state, self.reason, self.culprit)]

    def _died(self, death: CrewDied) -> list[Effect]:
        crew, status = death.crew, death.status
        done = self._finished.issuperset(crew)
        if done or self.state in {State.STOPPING, State.STOPPED} or self._is_stillborn(death):
            return [effect for task in crew for effect in self._exited(task, status)]
        self._deaths = [at for at in self._deaths if at > death.at - _A_MINUTE] + [death.at]
        before = self._suspects.get(crew[0], {})
        over = self._suspects[crew[0]] = {one: before.get(one, 0) + 1 for one in death.held}
        fatal = [one for one, times in over.items() if times >= _FATAL]
        reason = _ending(status)
        if fatal:
            reason += f", for the third time in a row over number {min(fatal)}"
        elif len(self._deaths) > _MOST_A_MINUTE:
            reason += f", number {len(self._deaths)} within a minute"
        else:
            self._alive -= set(crew)
            self._finished -= set(crew)
            return [Respawn(crew, reason)]
        self._alive -= set(crew)
        effects = self._stop(reason, culprit=crew[0])
        return effects + self._end()

    def _is_stillborn(self, death: CrewDied) -> bool:
        """Whether it died before it was ever ready, and not by a signal for the first time."""
        if not self._unready & set(death.crew):
            return False
        again = death.crew[0] in self._unborn
        self._unborn.add(death.crew[0])
        return again or death.status >= 0

    def _stop(self, reason: str, *, culprit: int) -> list[Effect]:
        if self.state in {State.STOPPING, State.STOPPED}:
            return []
        self.state, self.reason, self.culprit = State.STOPPING, reason, culprit
        others = [StopTask(task) for task in sorted(self._alive - {culprit})]
        return [*others, StartGrace(), Report(self.state, reason, culprit)]

    def _force(self) -> list[Effect]:
        if self.state is not State.STOPPING:
            return []
        return [KillTask(task) for task in sorted(self._alive)]


def _ending(status: int) -> str:
    if status < 0:
        return f"killed by signal {-status}"
    return f"exited with status {status}"
