"""Copy: files and trees from one folder to another, what is there already and equal left alone.

What differs is written beside what it replaces and renamed over it; the same command goes on where
an earlier one was interrupted.

Source: SPEC E1, U1, U3, U10; ADR 0015; docs/guides/copy.md.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.codec.codec import Codec
from datamover.errors import MalformedError, UsageError
from datamover.files.leftover import RESUMABLE
from datamover.files.printable import printable
from datamover.monitor.pipe_socket import asked
from datamover.monitor.place import parse_place
from datamover.monitor.supervisor import Monitor
from datamover.mover.copying import BORDERS, PRELOAD, Deferred, Plan, copying, matching
from datamover.mover.job import Job, processors
from datamover.mover.report import Copied, Notice, Summary
from datamover.mover.sides import opened_sides
from datamover.mover.targets import sources, target
from datamover.mover.travel import Travel
from datamover.pipe.spec import OnDeath
from datamover.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from datamover.files.found import Found
    from datamover.mover.job import Finished
    from datamover.mover.report import Watch
    from datamover.mover.targets import Source, Target

__all__ = ["CopySettings", "check", "copy", "plan", "run"]

_KIND: Final = "copy"
_BATCH: Final = 64 * KIB
"""Bytes of the names in one request, which has a limit."""
_EACH: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySettings:
    """How to copy.

    Attributes:
        excludes: Patterns of what to leave out, as ``datamover.files.exclude`` reads them.
        one_file_system: Stay on the file system of each source.
        checksum: Files of one size are equal when they hold the same, whatever their times.
        delete: Remove what the sources do not have; never when a part of them was unreadable.
        delete_excluded: Remove what the patterns match, too.
        numeric_ids: Use owners' numbers even where their names exist at the destination.
        compress: A codec between the two sides, as ``Codec`` reads it; "none" for none.
        delta_from: Size from which a file that replaces one is sent as what differs; 0 for never.
        through_buffers: Move the data through the pipe's buffers on one machine, too.
        jobs: Instances that read, and that compress; 0: one for each processor.
        sync: Return only when everything is on the medium.
        dry_run: Tell what would be done ("item" notices), and do nothing.
        itemize: Tell what is done.
        on_death: What happens when a worker is killed.
    """

    excludes: tuple[str, ...] = ()
    one_file_system: bool = False
    checksum: bool = False
    delete: bool = False
    delete_excluded: bool = False
    numeric_ids: bool = False
    compress: str = "none"
    delta_from: int = MIB
    through_buffers: bool = False
    jobs: int = 0
    sync: bool = True
    dry_run: bool = False
    itemize: bool = False
    on_death: OnDeath = OnDeath.STOP


def copy(
    given: Sequence[str],
    to: str,
    settings: CopySettings,
    watch: Watch,
    travel: Travel | None = None,
) -> Summary:
    """Make ``to`` like the sources; return when it is durable.

    Args:
        given: Files and folders; a trailing slash means the contents of a folder.
        to: Where to; see ``datamover.mover.targets`` for what each is called there.
        settings: How.
        watch: Who looks on.
        travel: How other machines are reached, where a path is one of theirs.

    Raises:
        UsageError: It cannot be; nothing was done.
        PeerError: A machine cannot be reached, refuses, or was lost.
        StageFailedError: A stage ended abnormally; what was copied so far is there, whole.

    Blocking: until everything is copied, and durable unless ``settings.sync`` is off.
    """
    with ExitStack() as stack:
        monitor = Monitor(preload=_likely([*given, to]))
        stack.callback(monitor.close)
        monitor.warm_up()  # while other machines are reached
        sides = stack.enter_context(opened_sides(given, to, travel or Travel()))
        source, there = sides.source, sides.target
        (found,) = there.found
        named = sources(source.typed, source.found)
        chosen = target(named, there.typed[0], found)
        check(named, chosen, found, settings, is_one_machine=source.machine == there.machine)
        with monitor, asked(monitor):
            made = plan(
                named,
                chosen,
                found,
                settings,
                source_at=source.machine,
                target_at=there.machine,
            )
            counts = "compare" if settings.dry_run else "place"
            job = Job(
                _KIND,
                watch,
                monitor=monitor,
                counts=counts,
                also="duplicate",
                places=sides.places,
            )
            return run(made, job, watch)


def run(plan: Plan, job: Job, watch: Watch) -> Summary:
    """Run the pipes of a copy, one after another: all files, then those that were deferred.

    Args:
        plan: What to do.
        job: What runs a pipe; on which machines its stages are is its matter.
        watch: Who looks on.

    Raises:
        StageFailedError: A stage ended abnormally.

    Blocking: until all have ended.
    """
    deferred: list[Deferred] = []
    unmatched: list[Deferred] = []
    job.on("item", lambda given: _item(watch, given))
    job.on("deferred", lambda given: deferred.append(_deferred(given)))
    job.on("unmatched", lambda given: unmatched.append(_deferred(given)))
    finished = [job.run(copying(plan))]
    finished += [job.run(matching(plan, batch)) for batch in _batches(deferred)]
    again = list(unmatched)
    unmatched.clear()
    finished += [job.run(matching(plan, batch, fresh=True)) for batch in _batches(again)]
    for _, path in unmatched:
        facts = {"path": printable(path), "reason": "it changed on its way, twice"}
        job.tell("place", "failed", facts)
    return _summary(job, finished)


def plan(
    named: tuple[Source, ...],
    chosen: Target,
    found: Found,
    settings: CopySettings,
    *,
    source_at: str = "",
    target_at: str = "",
) -> Plan:
    """Decide how the pipe is to look.

    Args:
        named: The sources.
        chosen: What they are called at the destination.
        found: What is there.
        settings: How.
        source_at: The machine that the sources are on; empty: this one.
        target_at: The machine that the destination is on.

    Raises:
        UsageError: There is no such codec.
    """
    codec = Codec.parse(settings.compress)
    kernel = source_at == target_at and not settings.through_buffers and codec.name == "none"
    there = found.exists and not (found.is_folder and found.is_empty)
    # Beside a target that is a long file, a leftover may be.
    begun = not kernel and any(one.size >= RESUMABLE for one in named)
    return Plan(
        sources=named,
        target=chosen,
        source_at=source_at,
        target_at=target_at,
        compares=there or begun,
        kernel=kernel,
        excludes=settings.excludes,
        one_file_system=settings.one_file_system,
        removes=settings.delete,
        removes_excluded=settings.delete_excluded,
        checksum=settings.checksum,
        numeric_ids=settings.numeric_ids,
        owners=found.is_root,
        defers=settings.delta_from,
        resumes=True,
        codec=codec,
        jobs=settings.jobs or processors(),
        sync=settings.sync,
        dry_run=settings.dry_run,
        itemize=settings.itemize,
        on_death=settings.on_death,
    )


def check(
    named: tuple[Source, ...],
    chosen: Target,
    found: Found,
    settings: CopySettings,
    *,
    is_one_machine: bool = True,
) -> None:
    """Refuse what would copy a tree into itself, or over itself.

    Raises:
        UsageError: A target is a source, or is in one.
    """
    if settings.delete_excluded and not settings.delete:
        raise UsageError(reason="--delete-excluded says more of --delete, which is missing")
    if not is_one_machine:
        return
    for source, path in zip(named, chosen.paths, strict=True):
        shown = printable(os.fsencode(source.path))
        if path == source.path:
            raise UsageError(reason=f"{shown} and its copy would be the same")
        is_inside = path.startswith(source.path.rstrip("/") + "/")
        is_elsewhere = settings.one_file_system and source.device != found.device
        if source.is_folder and is_inside and not is_elsewhere:
            raise UsageError(reason=f"{shown} cannot be copied into itself")


def _likely(named: Sequence[str]) -> list[str]:
    """Return what the tasks of a copy import: the network, too, if another machine is named."""
    elsewhere = any(parse_place(one).host is not None for one in named)
    return [*PRELOAD, *(BORDERS if elsewhere else ())]


def _summary(job: Job, finished: Sequence[Finished]) -> Summary:
    """Sum up a copy, or what it would have done."""

    def number(stage: str, name: str) -> int:
        return sum(one.number(stage, name) for one in finished)

    def placed(name: str) -> int:
        return number("place", name) + number("duplicate", name)

    is_dry = "place" not in finished[0].outcome.results
    size = number("compare", "changed_bytes") if is_dry else placed("bytes")
    return Summary(
        job=_KIND,
        archive="",
        name="",
        files=number("compare", "changed_files") if is_dry else placed("files"),
        directories=finished[0].number("place", "directories"),
        others=number("place", "other"),
        bytes_in=size,
        bytes_out=size,
        seconds=finished[-1].seconds,
        notices=job.notices,
        stages=tuple(stage for one in finished for stage in one.stages),
        copied=Copied(
            equal=number("compare", "equal"),
            touched=number("compare" if is_dry else "place", "touched"),
            removed=number("place", "removed"),
            extra=number("compare", "extra"),
            resumed=number("place", "resumed"),
            reused=number("place", "reused"),
        ),
    )


def _deferred(given: Mapping[str, object]) -> Deferred:
    """Read a notice that names a file.

    Raises:
        MalformedError: It does not.
    """
    root, path = given.get("root"), given.get("path")
    if isinstance(root, int) and isinstance(path, str):
        try:
            return root, bytes.fromhex(path)
        except ValueError:
            pass
    raise MalformedError(what="notice", reason="it names no file")


def _batches(files: Sequence[Deferred]) -> Iterator[Sequence[Deferred]]:
    """Cut a list into requests of a bounded size."""
    batch: list[Deferred] = []
    room = _BATCH
    for file in files:
        size = len(file[1]) + _EACH
        if batch and size > room:
            yield batch
            batch, room = [], _BATCH
        batch.append(file)
        room -= size
    if batch:
        yield batch


def _item(watch: Watch, given: Mapping[str, object]) -> None:
    """Pass an item on; it is no notice that is counted."""
    facts = {name: value for name, value in given.items() if isinstance(value, str | int)}
    watch.notice(Notice(kind="item", stage="compare", given=facts))
