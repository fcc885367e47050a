"""From a specification to tasks, queues and shares: everything decided before anything starts.

    head x1 ══▶ queue 1 ══▶ middle xp ══▶ queue 2 ══▶ tail x1
      ▲                       ▲                          │ free
      └── free queue 0        └── free queues 1…p ◀──────┘

Queue i is the output of stage i and the input of stage i+1.  The free queues close the ring: what
the tail frees is what the allocators take.  Each allocating instance has its own, filled with its
share of the pool, so that quota and free list are one thing and cannot drift.

Source: seed FIG. 4A, 4B, 7, "Fairness"; SPEC A2-A4, A9, A15, A20-A22, B1-B5; ADR 0003, 0004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from datamover.errors import MalformedError, SpecError
from datamover.pipe.definition import Definition, find
from datamover.pipe.retrying import find_retried
from datamover.pipe.spec import Mode, PipeSpec, StageSpec
from datamover.pipe.stage import FanOut, Role
from datamover.shm.buffer import TAG_SIZE, TRAILER_SIZE
from datamover.shm.segment import Geometry
from datamover.units import Bytes

__all__ = ["LaidStage", "Layout", "Task", "lay_out"]

_ORDER: Final = "order"
_LEAST_SHARE: Final = 2
_USUAL_SHARE: Final = 4
_MOST_SHARE: Final = 64
_WARM: Final = 4 << 20
_LEAST_POOL: Final = 8
_MAX_INSTANCES: Final = 256
_MAX_STAGES: Final = 64
_MOST_SILENCE_S: Final = 1e9
_MAX_ALLOCATORS: Final = 240  # a task gets a descriptor for each, 253 at most with one message
_DEFAULT_CACHE: Final = Bytes(32 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaidStage:
    """One stage in its place.

    Attributes:
        resequences: It puts back in order what the instances before it send.
        stamps: It numbers what it sends to the instances behind it.
        inserted: The engine put it there, between two multi-instance stages.
        joined: It runs in the tasks of the stage before it.
        retried: A dead instance is replaced, with those joined with it.
        share: Buffers of each instance; 0 when it does not allocate.
    """

    name: str
    spec: StageSpec
    definition: Definition
    instances: int
    mode: Mode
    resequences: bool
    stamps: bool
    inserted: bool
    joined: bool
    retried: bool
    share: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One instance of one stage: what a port needs to know.

    Attributes:
        id: Its number in the pipe, and its record in the segment.
        producers: How many instances send to it; each sends one end.
        consumers: How many ends it sends when it has finished.
        buffers: The indices of its share; empty when it does not allocate.
    """

    id: int
    stage: int
    instance: int
    producers: int
    consumers: int
    buffers: range


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A pipe that can be built."""

    name: str
    stages: tuple[LaidStage, ...]
    tasks: tuple[Task, ...]
    geometry: Geometry

    def crews(self) -> list[list[Task]]:
        """The tasks by what runs them: joined ones share a process or a thread."""
        crews: dict[tuple[int, int], list[Task]] = {}
        first = 0
        for place, stage in enumerate(self.stages):
            first = first if stage.joined else place
            for task in self.tasks:
                if task.stage == place:
                    crews.setdefault((first, task.instance), []).append(task)
        return list(crews.values())

    def crew(self, task: Task) -> list[Task]:
        """The tasks that share a process or a thread with one, itself among them."""
        return next(crew for crew in self.crews() if task in crew)

    @property
    def is_retried(self) -> bool:
        """Whether any stage is."""
        return any(stage.retried for stage in self.stages)

    def allocators(self) -> list[Task]:
        """The tasks that have a share, in the order of their ids."""
        return [task for task in self.tasks if task.buffers]


def lay_out(spec: PipeSpec, *, cache: Bytes = _DEFAULT_CACHE) -> Layout:
    """Decide every task, queue and share of a pipe.

    Args:
        spec: What is wanted.
        cache: The processor's last-level cache: a pool of automatic size keeps to half of it.

    Raises:
        SpecError: The pipe cannot be built; the text has the numbers.
    """
    chosen, retried, inserted = _stages(spec)
    # One that may be replaced keeps the numbers, even alone: those behind it must know a late twin.
    wide = [stage.instances > 1 or retried[i] for i, (stage, _) in enumerate(chosen)]
    names = _names([stage.name or found.info.name for stage, found in chosen])
    takes = [
        found.info.allocates or (retried[i] and found.info.overwrites)
        for i, (_, found) in enumerate(chosen)
    ]
    shares, buffers = _shares(spec, chosen, takes, cache)
    stages = tuple(
        LaidStage(
            name=names[i],
            spec=stage,
            definition=found,
            instances=stage.instances,
            mode=Mode.INLINE if spec.mode is Mode.INLINE else stage.mode or spec.mode,
            resequences=i > 0 and wide[i - 1] and not wide[i],
            stamps=i + 1 < len(chosen) and wide[i + 1] and not wide[i],
            inserted=i in inserted,
            joined=stage.joined,
            retried=retried[i],
            share=shares[i],
        )
        for i, (stage, found) in enumerate(chosen)
    )
    tasks = _tasks(stages)
    geometry = Geometry(
        buffers=buffers,
        buffer_size=Bytes(spec.buffer_size),
        instances=len(tasks),
        keeps_tags=any(retried),
    )
    try:
        geometry.check()
    except MalformedError as error:
        raise SpecError(reason=error.reason) from None
    return Layout(name=spec.name, stages=stages, tasks=tasks, geometry=geometry)


def _stages(
    spec: PipeSpec,
) -> tuple[list[tuple[StageSpec, Definition]], list[bool], set[int]]:
    """Return every stage, which are retried, and where an order stage was inserted."""
    given = _given(spec)
    found_retried = find_retried(spec, given)
    chosen, retried, inserted = [given[0]], [found_retried[0]], set()
    for (stage, found), again in zip(given[1:], found_retried[1:], strict=True):
        if stage.joined:
            _check_joined(stage, found, *chosen[-1])
        elif (stage.instances > 1 or again) and (chosen[-1][0].instances > 1 or retried[-1]):
            order = StageSpec(use=_ORDER)
            inserted.add(len(chosen))
            chosen.append((order, find(_ORDER)))
            retried.append(False)
        chosen.append((stage, found))
        retried.append(again)
    return chosen, retried, inserted


def _given(spec: PipeSpec) -> list[tuple[StageSpec, Definition]]:
    given = [(stage, stage.resolved() or find(stage.use)) for stage in spec.stages]
    if not _LEAST_SHARE <= len(given) <= _MAX_STAGES:
        raise SpecError(reason=f"a pipe has 2 to {_MAX_STAGES} stages, not {len(given)}")
    if not 0 <= spec.silence_s < _MOST_SILENCE_S:
        raise SpecError(reason=f"silence_s: {spec.silence_s:g}")
    if spec.buffer_size < 1:
        raise SpecError(reason=f"buffer_size: {spec.buffer_size}")
    if given[0][0].joined:
        raise SpecError(reason=f"stage {given[0][1].info.name} is first, with none to be joined to")
    for place, (stage, found) in enumerate(given):
        _check(stage, found, first=place == 0, last=place == len(given) - 1)
    return given


def _check(stage: StageSpec, found: Definition, *, first: bool, last: bool) -> None:
    info = found.info
    due = Role.HEAD if first else Role.TAIL if last else Role.MIDDLE
    if info.role is not due:
        raise SpecError(reason=f"stage {info.name} is a {info.role}, and stands where a {due} must")
    if info.allocates is not (info.role is Role.HEAD) and info.role is not Role.MIDDLE:
        raise SpecError(
            reason=f"stage {info.name}: a {info.role} "
            + ("always allocates" if first else "never allocates")
        )
    if not 1 <= stage.instances <= _MAX_INSTANCES:
        raise SpecError(
            reason=f"stage {info.name}: instances is {stage.instances}, "
            f"it must be 1 to {_MAX_INSTANCES}"
        )
    if stage.instances > 1 and not info.parallel:
        raise SpecError(
            reason=f"stage {info.name} runs in one instance only, not {stage.instances}"
        )
    if stage.mode is Mode.INLINE:
        raise SpecError(reason=f"stage {info.name}: inline is a mode of the whole pipe")
    if stage.at:
        raise SpecError(reason=f"stage {info.name} runs on {stage.at}: split the pipe first")
    found.convert(stage.settings)


def _check_joined(stage: StageSpec, found: Definition, before: StageSpec, its: Definition) -> None:
    name = found.info.name
    if stage.instances != before.instances:
        raise SpecError(
            reason=f"stage {name} is joined to {its.info.name}, so it must have as many "
            f"instances: {before.instances}, not {stage.instances}"
        )
    if stage.mode is not before.mode:
        raise SpecError(reason=f"stage {name} is joined to {its.info.name}, in another mode")
    if stage.instances > 1 and its.info.fan_out is FanOut.MANY:
        raise SpecError(
            reason=f"stage {name} cannot be joined to {its.info.name}, which in several "
            "instances sends many buffers for one"
        )


def _names(wanted: list[str]) -> list[str]:
    names: list[str] = []
    for place, name in enumerate(wanted):
        count, free = wanted[:place].count(name) + 1, name
        while free in names or (free != name and free in wanted):
            free = f"{name}-{count}"
            count += 1
        names.append(free)
    return names


def _shares(
    spec: PipeSpec, chosen: list[tuple[StageSpec, Definition]], takes: list[bool], cache: Bytes
) -> tuple[list[int], int]:
    """Return each stage's share for one instance, and the pool's size."""
    instances = sum(stage.instances for (stage, _), one in zip(chosen, takes, strict=True) if one)
    if instances > _MAX_ALLOCATORS:
        raise SpecError(
            reason=f"{instances} instances allocate, a pipe has room for {_MAX_ALLOCATORS}"
        )
    allocating = [one for one, takes_part in zip(chosen, takes, strict=True) if takes_part]
    fixed = sum(s.share * s.instances for s, _ in allocating if s.share)
    free = sum(s.instances for s, _ in allocating if not s.share)
    buffers = spec.buffers or _pool(spec, fixed, free, cache)
    equal = (buffers - fixed) // free if free else 0
    for stage, found in allocating:
        share = stage.share or equal
        if share < _LEAST_SHARE:
            raise SpecError(
                reason=f"stage {found.info.name}: {buffers} buffers, {fixed} of them promised, "
                f"leave {max(0, equal)} for each of {free} allocating instances; "
                f"each needs {_LEAST_SHARE}"
            )
    if fixed > buffers:
        raise SpecError(reason=f"shares add up to {fixed} buffers, the pool has {buffers}")
    return [
        (stage.share or equal) if takes_part else 0
        for (stage, _), takes_part in zip(chosen, takes, strict=True)
    ], buffers


def _pool(spec: PipeSpec, fixed: int, free: int, cache: Bytes) -> int:
    slot = TAG_SIZE + spec.buffer_size + TRAILER_SIZE
    fits = (cache // 2 // slot - fixed) // free if free else 0
    # Small buffers: enough of them that a task finds many when it is woken.  Large ones: few, so
    # that they stay in the cache between the task that writes and the one that reads.
    many = min(_MOST_SHARE, _WARM // slot // free) if free else 0
    share = min(max(_USUAL_SHARE, many), max(_LEAST_SHARE, fits))
    pool = fixed + free * share
    return max(pool, min(_LEAST_POOL, cache // 2 // slot))


def _tasks(stages: tuple[LaidStage, ...]) -> tuple[Task, ...]:
    tasks: list[Task] = []
    taken = 0
    for place, stage in enumerate(stages):
        after = stages[place + 1] if place + 1 < len(stages) else None
        for instance in range(stage.instances):
            tasks.append(
                Task(
                    id=len(tasks),
                    stage=place,
                    instance=instance,
                    producers=_one(stage.joined, stages[place - 1].instances if place else 0),
                    consumers=_one(after.joined, after.instances) if after else 0,
                    buffers=range(taken, taken + stage.share),
                )
            )
            taken += stage.share
    return tuple(tasks)


def _one(joined: bool, instances: int) -> int:
    """Between joined stages each instance has one partner."""
    return 1 if joined else instances
