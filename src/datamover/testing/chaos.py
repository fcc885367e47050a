"""Kill one task of a running job at a seeded moment, and say what the job then did wrong.

A clean run is watched first (``observe``): which tasks there are, and from when to when each
lives, in seconds and in bytes written.  A ``Plan`` is drawn from a seed within the life of its
task, so most plans find it alive, and a failure repeats with its seed.

Source: SPEC C15, C16, X1; docs/STYLE.md, "Tests".
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import ForkServerError
from datamover.testing.job import Ended, Job, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = [
    "Life",
    "Observation",
    "Plan",
    "Struck",
    "complaints",
    "kills",
    "leftovers",
    "observe",
    "strike",
]

# Every look takes processor time from the job: a task lives for some hundred of these.
_TICK: Final = 0.003
_COARSE: Final = 0.02
_APPEAR_S: Final = 20.0
_SCRATCH: Final = frozenset({"tmp", "active"})
_FORK_SERVER: Final = "dm:forkserver"
_KILLS_IN_CI: Final = 200
_KILLS: Final = 8


def kills() -> int:
    """How many seeded kills a suite makes: DATAMOVER_KILLS, or 200 in CI and 8 elsewhere."""
    usual = _KILLS_IN_CI if os.environ.get("CI") else _KILLS
    return int(os.environ.get("DATAMOVER_KILLS") or usual)


@dataclass(frozen=True, slots=True)
class Life:
    """When a task was seen first and last: seconds since the start, and bytes gained by then."""

    born_s: float
    born_bytes: int
    died_s: float
    died_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a clean run looks like.

    Attributes:
        lives: Every task that was seen, "main" among them.
        grown: Bytes that the watched folder gained.
        ended: How it ended.
    """

    lives: Mapping[str, Life]
    grown: int
    ended: Ended | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks, sorted."""
        return tuple(sorted(self.lives))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Whom to kill, and when.

    Attributes:
        name: The role of the task.
        after_bytes: Kill when the folder has grown by so much; None: by time.
        after_s: Kill so many seconds after the start, or at the task's birth if that is later.
    """

    name: str
    after_bytes: int | None
    after_s: float

    @classmethod
    def draw(cls, seed: int, seen: Observation) -> Self:
        """Choose; seeds that follow each other go round the tasks, so that few reach them all."""
        random = Random(seed)  # noqa: S311  a failure has to repeat, not to be secret
        name = seen.names[seed % len(seen.names)]
        life = seen.lives[name]
        by_bytes = life.died_bytes > life.born_bytes and random.random() < 0.5
        return cls(
            name=name,
            after_bytes=random.randrange(life.born_bytes, life.died_bytes) if by_bytes else None,
            after_s=random.uniform(life.born_s, life.died_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What became of a plan; ``task`` is None when the job had ended before its moment came."""

    task: Task | None
    ended: Ended


def observe(
    command: Sequence[str],
    *,
    grows: Path,
    environment: Mapping[str, str] | None = None,
    start: Callable[..., Job] = Job,
) -> Observation:
    """Run a command that must end well and note its tasks and what it wrote below ``grows``.

    ``start`` makes a job of the command and ``environment=``: a ``HostsJob`` for several hosts.
    """
    before = _size(grows)
    job = start(command, environment=environment)
    lives: dict[str, Life] = {}
    while job.is_running():
        now, grown = time.monotonic() - job.started, max(0, _size(grows) - before)
        for task in job.tasks():
            if task.stage or task.host or task.name == "main":
                born = lives.setdefault(task.role, Life(now, grown, now, grown))
                lives[task.role] = Life(born.born_s, born.born_bytes, now, grown)
        time.sleep(_TICK)
    ended = job.wait().check(0)
    return Observation(lives=lives, grown=max(0, _size(grows) - before), ended=ended)


def strike(
    command: Sequence[str],
    plan: Plan,
    *,
    grows: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
    grace: float = 5.0,
    start: Callable[..., Job] = Job,
) -> Struck:
    """Run a command, kill what the plan names, and wait for the end of everything."""
    before = _size(grows)
    job = start(command, environment=environment)
    due = job.started + plan.after_s
    while job.is_running():
        if plan.after_bytes is None:
            left = due - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, _COARSE))
        elif _size(grows) - before > plan.after_bytes:
            break
        else:
            time.sleep(_TICK)
    task = job.wait_task(plan.name, timeout=_APPEAR_S)
    hit = task is not None and job.kill(task)
    return Struck(task=task if hit else None, ended=job.wait(timeout=timeout, grace=grace))


def complaints(struck: Struck, *, crews: Iterable[Sequence[str]] = ()) -> list[str]:
    """Say what a job did wrong after one of its tasks was killed; empty when all is well.

    A job may still end with 0 when the task had done its work already: then the caller must find
    that everything is there.

    Args:
        struck: What became of it.
        crews: Stages that share a task, which is called after the first: the error may name any.
    """
    ended, task = struck.ended, struck.task
    found = [f"left: {one.name} ({one.pid})" for one in ended.left]
    if "Traceback" in ended.stderr:
        found.append(f"traceback: {ended.stderr[-2000:]}")
    if ended.status == 0:
        return found
    if task is None:
        return [*found, f"nobody was killed, but it failed: {ended.status}: {ended.stderr[-2000:]}"]
    if task.name == "main":
        return found  # nobody is there to say anything
    if ended.status < 0:
        found.append(f"ended by signal {-ended.status} because {task.name} was killed")
    elif not ended.error:
        found.append(f"no error was told: {ended.stderr[-2000:]}")
    elif task.stage and not _names(ended.error, task, crews):
        found.append(f"{task.name} was killed, but the error is of another: {ended.error}")
    return found


def leftovers(store: Path) -> list[Path]:
    """Return the files of unfinished work in a store: what lies in its scratch folders."""
    return [path for path in _files(store) if _SCRATCH & set(path.relative_to(store).parts[:-1])]


def _names(error: Mapping[str, object], task: Task, crews: Iterable[Sequence[str]]) -> bool:
    """Whether an error names a task: a stage that it ran, and its instance; or the fork server."""
    if task.name == _FORK_SERVER:
        return error.get("code") == ForkServerError.code
    facts = error.get("facts")
    if not isinstance(facts, dict):
        return False
    stage, instance = str(facts.get("stage", "")), facts.get("instance")
    mates = [name for crew in crews if crew[0].startswith(task.stage) for name in crew]
    named = bool(stage) and (stage.startswith(task.stage) or stage in mates)
    # 15 bytes may not hold the instance, nor the point before it.
    return named and str(instance).startswith(task.name.partition(".")[2])


def _files(folder: Path) -> Iterator[Path]:
    for at, _, names in os.walk(folder):
        yield from (Path(at, name) for name in names)


def _size(folder: Path) -> int:
    total = 0
    for path in _files(folder):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:  # renamed or removed while it was looked at
            continue
    return total
