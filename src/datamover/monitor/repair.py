"""Give back what a dead task had: its share to its free queue, its inputs to its successor.

Source: SPEC X2; DESIGN D3; docs/spec/shm-layout.md, "After damage"; ADR 0017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from datamover.monitor.audit import Crew, Place, find
from datamover.monitor.stillness import Stillness
from datamover.pipe.accounted import ends_sent, is_between, took_end, word_after
from datamover.shm.segment import DESCRIPTOR, OWNER, SAVED, SAVED_AT, State
from datamover.shm.tokens import END, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from datamover.monitor.wiring import Wiring
    from datamover.pipe.layout import Task

__all__ = ["repair"]

_RECORD: Final = 64
_LAST: Final = 1
_ENDED, _WAITS, _STANDS = 8, 9, 12  # fields of an instance record


def repair(
    wiring: Wiring, dead: Sequence[Sequence[Task]], processes: Mapping[int, Sequence[int]]
) -> dict[int, list[Token]] | None:
    """Put a pipe in order after some of its tasks died.

    Args:
        wiring: The pipe's.
        dead: The crews that died, each first to last.
        processes: Every process that is alive: the tasks in it, by pid.

    Returns:
        What each successor begins with, by its first task; ``None``: not now, for another died
        meanwhile, or one could not be stopped; nothing was changed.

    Raises:
        OwnershipError: Queues and table contradict each other.

    Blocking: until every process stands still, some milliseconds; at most some seconds.
    """

    def between(tasks: Sequence[int]) -> Callable[[], bool]:
        return lambda: any(is_between(_word(wiring, task)) for task in tasks)

    with Stillness({pid: between(tasks) for pid, tasks in processes.items()}) as still:
        return _repair(wiring, dead) if still.reached else None


def _repair(wiring: Wiring, dead: Sequence[Sequence[Task]]) -> dict[int, list[Token]]:
    for crew in dead:
        for task in crew[1:]:
            queue = wiring.input(task.stage, task)
            assert queue is not None  # noqa: S101 - a joined task has one
            queue.drain()
    table = wiring.segment.descriptors()
    buffers = wiring.layout.geometry.buffers
    places = [Place(*DESCRIPTOR.unpack_from(table, at * _RECORD)[:3]) for at in range(buffers)]
    queues = [*wiring.queues, *wiring.free.values()]
    queued = [token.index for queue in queues for token in queue.look() if token.index < buffers]
    found = find(places, queued, [_crew(wiring, crew) for crew in dead])
    for index in found.free:
        allocator = places[index].allocator
        OWNER.pack_into(table, index * _RECORD, State.FREE, allocator)
        wiring.free[allocator].put(Token(index, 0, 0))
    replay = {
        first: sorted(
            (_restored(wiring, table, first, *one) for one in inputs.items()),
            key=lambda token: token.sequence,
        )
        for first, inputs in found.inputs.items()
    }
    table.release()
    _hand_out_ends(wiring, dead, replay)
    return replay


def _crew(wiring: Wiring, crew: Sequence[Task]) -> Crew:
    before = crew[0].stage - 1
    senders = frozenset(task.id for task in wiring.layout.tasks if task.stage == before)
    return Crew(tasks=tuple(task.id for task in crew), senders=senders)


def _restored(
    wiring: Wiring,
    table: memoryview,
    first: int,
    index: int,
    begun: bool,
) -> Token:
    """Make an input what it was when it came, and its successor's."""
    at = index * _RECORD
    _, _, allocator, _, sequence, _, used, tag_used = DESCRIPTOR.unpack_from(table, at)
    saved, its_used, its_tag_used = SAVED.unpack_from(table, at + SAVED_AT)
    if begun and saved:
        used, tag_used = its_used, its_tag_used
        wiring.segment.tag(index)[:tag_used] = wiring.segment.saved_tag(index)[:tag_used]
    fields = (State.TAKEN, first, allocator, _LAST, sequence, 0, used, tag_used)
    DESCRIPTOR.pack_into(table, at, *fields)
    SAVED.pack_into(table, at + SAVED_AT, 0, 0, 0)
    return Token(index, used, sequence)


def _hand_out_ends(
    wiring: Wiring, dead: Sequence[Sequence[Task]], replay: Mapping[int, list[Token]]
) -> None:
    """An end that a dead task had taken is in no queue: its successor begins with it."""
    firsts = {crew[0].id for crew in dead}
    for stage in {crew[0].stage for crew in dead}:
        tasks = [task for task in wiring.layout.tasks if task.stage == stage]
        sent = sum(
            ends_sent(_word(wiring, task.id))
            for task in wiring.layout.tasks
            if task.stage == stage - 1
        )
        (queue,) = wiring.inputs(stage)
        waiting = sum(token.index == END for token in queue.look())
        alive = sum(took_end(_word(wiring, one.id)) for one in tasks if one.id not in firsts)
        lost = sent - waiting - alive
        for task in tasks:
            if task.id in firsts and lost > 0:
                replay[task.id].append(Token(END, 0, 0))
                lost -= 1
    for crew in dead:
        for task in crew:
            ended = any(token.index == END for token in replay.get(task.id, ()))
            with wiring.segment.moment(task.id) as word:
                word[0] = word_after(took_end=ended)
            with wiring.segment.record(task.id) as record:
                record[_ENDED] = record[_WAITS] = record[_STANDS] = 0


def _word(wiring: Wiring, task: int) -> int:
    with wiring.segment.moment(task) as word:
        return int(word[0])
