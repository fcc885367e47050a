"""The pipes of a copy: which stages, in which order, on which side.

    one machine, nothing there      survey(source) > duplicate xp > place
    one machine                     survey(destination) > compare > duplicate xp > place
    through buffers, nothing there  scan > collect xp [> compress xp] | [expand xp >] place
    through buffers                 survey | compare > collect xp > .. | .. > place

    deferred files                  sign | match [> compress xp] | [expand xp >] place

A bar is where a pipe is cut when the two sides are on two machines: survey, expand and place belong
to the destination, all else to the source.

Source: ADR 0015; docs/spec/copy-pipes.md; seed FIG. 2A, FIG. 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import fsdecode, fsencode
from typing import TYPE_CHECKING, Final

from datamover.codec.codec import Codec
from datamover.files.leftover import PATTERN
from datamover.files.naming import Naming
from datamover.mover.targets import Source, Target
from datamover.pipe.spec import OnDeath, PipeSpec, StageSpec
from datamover.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BORDERS", "PRELOAD", "Deferred", "Plan", "copying", "matching"]

PRELOAD: Final = (
    "datamover.stages.head.scan",
    "datamover.stages.head.survey",
    "datamover.stages.middle.compare",
    "datamover.stages.middle.collect",
    "datamover.stages.middle.duplicate",
    "datamover.stages.head.sign",
    "datamover.stages.middle.match",
    "datamover.stages.tail.place",
    "datamover.stages.tail.discard",
)
"""What the fork server imports for these pipes."""

BORDERS: Final = ("datamover.stages.head.net_receive", "datamover.stages.tail.net_send")
"""And for those that another machine takes part in."""

_BUFFER_SIZE: Final = 2 * MIB
_SHARE: Final = 8
# What goes to another machine is kept until that has it: as much as the other side grants.
_UNDER_WAY: Final = 16
_FEW: Final = 3
_MOST_WORKERS: Final = 16
_SHARED: Final = 32 * KIB
"""Bytes of a block whose files several instances copy: some hundreds of names."""

Deferred = tuple[int, bytes]
"""Number of the source, and archived name, of a file that is sent in a pipe of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run of a copy.

    Attributes:
        sources: What.
        target: Where to.
        source_at: The machine that the sources are on, as ``StageSpec.at`` has it.
        target_at: The machine that the destination is on.
        compares: Something is there to compare with.
        kernel: Both sides are on one machine, and its kernel moves the data.
        excludes: Patterns of what to leave out.
        one_file_system: Stay on the file system of each source.
        removes: Remove what the sources do not have.
        removes_excluded: Excluded names, too.
        checksum: Compare what files hold.
        numeric_ids: Owners are numbers.
        owners: The destination can set owners.
        defers: From this size on, replaced files are deferred.
        resumes: Files that an earlier copy may have begun are deferred.
        codec: Compression between the two sides.
        jobs: Instances that read, and that compress.
        sync: Return when everything is durable.
        dry_run: Tell what would be done.
        itemize: Tell each difference.
        on_death: What happens when a worker is killed.
    """

    sources: tuple[Source, ...]
    target: Target
    source_at: str = ""
    target_at: str = ""
    compares: bool
    kernel: bool
    excludes: tuple[str, ...] = ()
    one_file_system: bool = False
    removes: bool = False
    removes_excluded: bool = False
    checksum: bool = False
    numeric_ids: bool = False
    owners: bool = True
    defers: int = 0
    resumes: bool = False
    codec: Codec
    jobs: int = 1
    sync: bool = True
    dry_run: bool = False
    itemize: bool = False
    on_death: OnDeath = OnDeath.STOP

    @property
    def roots(self) -> list[str]:
        """The sources' paths."""
        return [one.path for one in self.sources]

    @property
    def ignores(self) -> list[str]:
        """What is left out, leftovers of earlier copies among it."""
        return [*self.excludes, PATTERN]


def copying(plan: Plan) -> PipeSpec:
    """Return the pipe of one run."""
    if plan.dry_run:
        stages = [*_compared(plan), StageSpec(use="discard", at=plan.source_at)]
    elif plan.kernel:
        heads = (
            _compared(plan)
            if plan.compares
            else [_survey(plan, plan.roots, plan.ignores, at=plan.source_at)]
        )
        stages = [*heads, _duplicating(plan), placing(plan, replaces=plan.compares)]
    else:
        heads = _compared(plan) if plan.compares else [_scan(plan)]
        stages = [*heads, *_moved(plan), placing(plan, replaces=plan.compares)]
    return _pipe(plan, stages)


def placing(plan: Plan, *, replaces: bool = True) -> StageSpec:
    """Return the tail, which belongs to the destination; ``replaces``: something may be there."""
    return StageSpec(
        use="place",
        at=plan.target_at,
        settings={
            "destination": plan.target.base,
            "sources": [one.name for one in plan.sources],
            "targets": list(plan.target.names),
            "origins": plan.roots if plan.kernel else [],
            "removes": plan.removes,
            "numeric_ids": plan.numeric_ids,
            "sync": plan.sync,
            "replaces": replaces,
        },
    )


def matching(plan: Plan, files: Sequence[Deferred], *, fresh: bool = False) -> PipeSpec:
    """Return the pipe that sends deferred files.

    Args:
        plan: What they were deferred from.
        files: Which.
        fresh: Send all of them, whatever the destination has.
    """
    naming = Naming(
        [
            (fsencode(a.name), fsencode(b))
            for a, b in zip(plan.sources, plan.target.names, strict=True)
        ]
    )
    sign = StageSpec(
        use="sign",
        at=plan.target_at,
        share=_FEW,
        settings={
            "destination": plan.target.base,
            "files": [fsdecode(naming.target(root, path)) for root, path in files],
            "beginnings": not fresh,
            "old": bool(plan.defers) and not fresh,
        },
    )
    match = StageSpec(
        use="match",
        at=plan.source_at,
        share=_share(plan),
        settings={"roots": plan.roots, "files": [[root, fsdecode(path)] for root, path in files]},
    )
    return _pipe(plan, [sign, match, *_compressed(plan), placing(plan)])


def _pipe(plan: Plan, stages: list[StageSpec]) -> PipeSpec:
    buffers = sum(stage.share * stage.instances for stage in stages)
    return PipeSpec(
        name="copy",
        stages=tuple(stages),
        buffers=buffers,
        buffer_size=_BUFFER_SIZE,
        on_death=plan.on_death,
    )


def _compared(plan: Plan) -> list[StageSpec]:
    compare = StageSpec(
        use="compare",
        at=plan.source_at,
        share=_share(plan),
        settings={
            "roots": plan.roots,
            "targets": list(plan.target.names),
            "excludes": plan.ignores,
            "one_file_system": plan.one_file_system,
            "removes": plan.removes,
            "removes_excluded": plan.removes_excluded,
            "checksum": plan.checksum,
            "owners": plan.owners,
            "numeric_ids": plan.numeric_ids,
            "bare": plan.kernel or plan.dry_run,
            "defers": 0 if plan.kernel or plan.dry_run else plan.defers,
            "resumes": plan.resumes and not plan.kernel and not plan.dry_run,
            "itemize": plan.itemize or plan.dry_run,
            "block_size": _SHARED if plan.kernel else 0,
        },
    )
    return [_survey(plan, list(plan.target.paths), [], at=plan.target_at), compare]


def _survey(plan: Plan, roots: list[str], excludes: list[str], *, at: str) -> StageSpec:
    return StageSpec(
        use="survey",
        at=at,
        share=_FEW,
        settings={
            "roots": roots,
            "excludes": excludes,
            "one_file_system": plan.one_file_system,
            "checksum": plan.checksum and plan.compares,
            "block_size": _SHARED if plan.kernel and not plan.compares else 0,
        },
    )


def _scan(plan: Plan) -> StageSpec:
    return StageSpec(
        use="scan",
        at=plan.source_at,
        share=_share(plan),
        settings={
            "roots": plan.roots,
            "excludes": plan.ignores,
            "one_file_system": plan.one_file_system,
        },
    )


def _duplicating(plan: Plan) -> StageSpec:
    """Return what copies small files, as many at once as there are processors."""
    return StageSpec(
        use="duplicate",
        at=plan.target_at,
        instances=_workers(plan),
        settings={
            "destination": plan.target.base,
            "sources": [one.name for one in plan.sources],
            "targets": list(plan.target.names),
            "origins": plan.roots,
            "numeric_ids": plan.numeric_ids,
            "sync": plan.sync,
            "replaces": plan.compares,
        },
    )


def _moved(plan: Plan) -> list[StageSpec]:
    workers = _workers(plan)
    collect = StageSpec(
        use="collect", at=plan.source_at, instances=workers, settings={"roots": plan.roots}
    )
    return [collect, *_compressed(plan, joined=True)]


def _compressed(plan: Plan, *, joined: bool = False) -> list[StageSpec]:
    """Return what makes less of the data between the two sides, and all of it again."""
    if plan.codec.name == "none":
        return []
    workers = _workers(plan)
    settings = {"codec": plan.codec.name, "level": plan.codec.level}
    return [
        StageSpec(
            use="compress",
            at=plan.source_at,
            instances=workers,
            share=_FEW,
            joined=joined,
            settings=settings,
        ),
        StageSpec(use="expand", at=plan.target_at, instances=workers, share=_FEW),
    ]


def _share(plan: Plan) -> int:
    """Return the buffers of what reads files: those that are being filled, and those under way."""
    return _SHARE + (_UNDER_WAY if plan.source_at != plan.target_at else 0)


def _workers(plan: Plan) -> int:
    return max(1, min(plan.jobs, _MOST_WORKERS))
