"""What the pipes of a process do, for who asks from outside.

Source: docs/spec/control-protocol.md, section 4; SPEC C13, C17; DESIGN D15.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Final

import msgspec

from datamover.monitor.core import State
from datamover.wire.account import (
    Account,
    InstanceAccount,
    PartAccount,
    PathAccount,
    StageAccount,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datamover.monitor.live import LivePipe
    from datamover.monitor.statistics import InstanceStatistics
    from datamover.pipe.layout import Task

__all__ = ["account_of", "part_of", "shortened", "together"]

_MEASURED: Final = frozenset(InstanceAccount.__struct_fields__) - {"instance", "pid", "state"}


def account_of(pipe: LivePipe) -> Account:
    """Return a pipe of this process as an account of one part.

    Blocking: never.
    """
    return Account(
        pipe=pipe.alias.pipe,
        machine=platform.node(),
        pid=os.getpid(),
        by=pipe.alias.by,
        state=pipe.state,
        limit=pipe.limit,
        parts=[part_of(pipe)],
    )


def together(accounts: Iterable[Account]) -> list[Account]:
    """Return the same with the parts of one pipe in one account, in their order."""
    found: dict[tuple[str, int], Account] = {}
    for account in accounts:
        key = (account.pipe, account.pid)
        if key in found:
            found[key].parts.extend(account.parts)
        else:
            found[key] = account
    for account in found.values():
        account.parts.sort(key=lambda part: part.part)
    return list(found.values())


def shortened(account: Account) -> Account:
    """Return the same without what each instance does."""
    parts = [
        msgspec.structs.replace(
            part, stages=[msgspec.structs.replace(stage, instances=[]) for stage in part.stages]
        )
        for part in account.parts
    ]
    return msgspec.structs.replace(account, parts=parts)


def part_of(pipe: LivePipe) -> PartAccount:
    """Return what one part does, or did.

    Blocking: never.
    """
    layout, statistics = pipe.layout, pipe.statistics()
    tasks = {(task.stage, task.instance): task for task in layout.tasks}
    return PartAccount(
        part=pipe.alias.part,
        state=pipe.state,
        reason=pipe.reason,
        elapsed_s=statistics.elapsed_s,
        buffers=layout.geometry.buffers,
        buffer_size=layout.geometry.buffer_size,
        descriptors=pipe.wiring.count,
        stages=[
            StageAccount(
                stage=stage.stage,
                queue=stage.queue,
                instances=[
                    _instance(pipe, tasks[place, found.instance], found)
                    for found in stage.instances
                ],
            )
            for place, stage in enumerate(statistics.stages)
        ],
        paths=[
            PathAccount(stage=stage, path=path, facts=dict(facts))
            for (stage, path), facts in sorted(pipe.paths.items())
        ],
    )


def _instance(pipe: LivePipe, task: Task, found: InstanceStatistics) -> InstanceAccount:
    return InstanceAccount(
        instance=found.instance,
        pid=pipe.pids.get(task.id, 0),
        state=_state(pipe, task, found),
        **{name: getattr(found, name) for name in _MEASURED},
    )


def _state(pipe: LivePipe, task: Task, found: InstanceStatistics) -> str:
    if pipe.state is State.STOPPED or not pipe.is_alive(task.id):
        return "ended"
    return "running" if found.elapsed_s else "starting"
