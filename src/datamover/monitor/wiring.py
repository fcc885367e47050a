"""A laid-out pipe's kernel objects: its segment, its queues, its control sockets.

Source: seed, "Attachments"; SPEC A7-A9, A19-A21, C8, C12, C18; docs/spec/shm-layout.md.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING, Final

from datamover.pipe.facts import Descriptors, TaskFacts
from datamover.pipe.spec import OnQuota
from datamover.shm.segment import DESCRIPTOR, Segment
from datamover.shm.statistics import Stand, Wait
from datamover.shm.tokens import Token, TokenQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datamover.pipe.layout import Layout, Task

__all__ = ["Wiring"]

_OWNED: Final = 1
_WAITS, _IN_WORK = 9, 13  # fields of an instance record


class Wiring:
    """Everything that one pipe holds of the system on this machine; ``close`` gives it back."""

    def __init__(self, layout: Layout) -> None:
        """Make the segment, the queues and the sockets, and fill the free queues.

        Raises:
            OSError: The system refuses; nothing is left.
        """
        self.layout = layout
        self.segment = Segment.create(layout.geometry)
        self.queues: list[TokenQueue] = []
        self._inputs: dict[int, list[TokenQueue]] = {}
        self.free: dict[int, TokenQueue] = {}
        self.sockets: dict[int, socket.socket] = {}
        self._theirs: dict[int, socket.socket] = {}
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        layout = self.layout
        # Room for every buffer, every end and every completion that may wait at once.
        tokens = 2 * layout.geometry.buffers + 2 * len(layout.tasks)
        for place, stage in enumerate(layout.stages[1:], start=1):
            # One by one, so that ``close`` finds each.
            for _ in range(stage.instances if stage.joined else 1):
                self.queues.append(TokenQueue(tokens))
                self._inputs.setdefault(place, []).append(self.queues[-1])
        table = self.segment.descriptors()
        for task in layout.allocators():
            queue = self.free[task.id] = TokenQueue(len(task.buffers) + 1)
            for index in task.buffers:
                DESCRIPTOR.pack_into(table, index * 64, 0, task.id, task.id, 0, 0, 0, 0, 0)
                queue.put(Token(index, 0, 0))
        table.release()
        for task in layout.tasks:
            self._connect(task)

    def _connect(self, task: Task) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.sockets[task.id], self._theirs[task.id] = ours, theirs

    def reconnect(self, task: Task) -> None:
        """Make another control socket, for one that takes a dead task's place."""
        self.sockets[task.id].close()
        self._connect(task)

    def facts(self, task: Task, replay: Sequence[Token] = ()) -> TaskFacts:
        """Return what a task is told; the descriptor numbers are this process's.

        Args:
            task: The task.
            replay: What the one whose place it takes had not finished with.
        """
        stage = self.layout.stages[task.stage]
        before = self.layout.stages[task.stage - 1] if task.stage else None
        source, target = self.input(task.stage, task), self.input(task.stage + 1, task)
        return TaskFacts(
            id=task.id,
            pipe=self.layout.name,
            stage=stage.name,
            use=stage.definition.reference,
            instance=task.instance,
            instances=stage.instances,
            settings=dict(stage.spec.settings),
            segment=self.segment.identity,
            descriptors=Descriptors(
                segment=self.segment.descriptor,
                control=self._theirs[task.id].fileno(),
                input=source.reader if source else -1,
                output=target.writer if target else -1,
                free={str(task.id): self.free[task.id].reader} if task.buffers else {},
                release={str(owner): queue.writer for owner, queue in self.free.items()},
            ),
            producers=task.producers,
            consumers=task.consumers,
            share=len(task.buffers),
            terminates=stage.spec.on_quota is OnQuota.TERMINATE,
            resequences=stage.resequences,
            fan_out=stage.definition.info.fan_out.value,
            window=self._window(task) if stage.resequences else 0,
            joined=stage.joined,
            hands_over=target is not None and self.layout.stages[task.stage + 1].joined,
            wide=stage.instances > 1 or stage.retried,
            accounted=self.layout.is_retried,
            crew=[one.id for one in self.layout.crew(task)] if stage.retried else [],
            overwrites=stage.definition.info.overwrites,
            late=before is not None and before.retried and not stage.joined,
            replay=list(replay),
        )

    @property
    def count(self) -> int:
        """How many descriptors it holds in this process."""
        queues = 2 * (len(self.queues) + len(self.free))
        return queues + len(self.sockets) + len(self._theirs) + (self.segment.descriptor >= 0)

    def inputs(self, stage: int) -> list[TokenQueue]:
        """The queues in front of a stage: one, or one for each instance of a joined one."""
        return self._inputs.get(stage, [])

    def depth(self, stage: int) -> int:
        """How many tokens wait in front of a stage; 0 in front of the head."""
        return sum(queue.depth() for queue in self._inputs.get(stage, ()))

    def is_stuck(self, task: Task, stand: Stand) -> bool:
        """Whether a task that stands at a queue has nothing there to go on with."""
        if stand is Stand.AT_FREE:
            return not self.free[task.id].depth()
        queue = self.input(task.stage + (stand is Stand.AT_OUTPUT), task)
        if queue is None:
            return False
        return not queue.has_room() if stand is Stand.AT_OUTPUT else not queue.depth()

    def input(self, stage: int, task: Task) -> TokenQueue | None:
        """The queue in front of ``stage`` that ``task`` reads or writes."""
        queues = self._inputs.get(stage)
        return queues[task.instance if len(queues) > 1 else 0] if queues else None

    def _window(self, task: Task) -> int:
        """Behind middles a completion may close a gap; behind heads only a buffer can."""
        heads = [found for found in self.layout.tasks if found.stage == 0]
        return sum(len(head.buffers) for head in heads) if task.stage == 1 else 0

    def take_socket(self, task: Task) -> socket.socket:
        """Hand out the task's end of its control socket; the caller closes it."""
        return self._theirs.pop(task.id)

    def give_away(self, task: Task) -> None:
        """Close the task's end here: the task has its own, and its death must show."""
        theirs = self._theirs.pop(task.id, None)
        if theirs is not None:
            theirs.close()

    def held_by(self, task: int) -> list[int]:
        """The sequence numbers that a dead task had received and still owned, lowest first."""
        table = self.segment.descriptors()
        found = []
        for index in range(self.layout.geometry.buffers):
            state, owner, allocator, _, sequence, *_ = DESCRIPTOR.unpack_from(table, index * 64)
            # What a task allocated never comes back to it: a buffer of its own has no number yet.
            if state == _OWNED and owner == task != allocator:
                found.append(sequence)
        table.release()
        return sorted(found)

    def in_work(self, crew: Sequence[int]) -> list[int]:
        """The numbers that dead tasks of one process were at work on, lowest first."""
        table = self.segment.descriptors()
        held = set()
        for index in range(self.layout.geometry.buffers):
            state, owner, _, _, sequence, *_ = DESCRIPTOR.unpack_from(table, index * 64)
            if state == _OWNED:
                held.add((owner, sequence))
        table.release()
        found = set()
        for task in crew:
            record = self.segment.record(task)
            sequence = record[_IN_WORK] - 1
            # One that waits for a buffer does no harm to itself.
            if record[_WAITS] == Wait.NOTHING and (task, sequence) in held:
                found.add(sequence)
            record.release()
        return sorted(found)

    def held(self) -> Counter[int]:
        """How many buffers each task owns now."""
        table = self.segment.descriptors()
        owners: Counter[int] = Counter()
        for index in range(self.layout.geometry.buffers):
            found = DESCRIPTOR.unpack_from(table, index * 64)
            # Its owner may be writing it: what is half written differs when it is read again.
            if found[0] == _OWNED and found == DESCRIPTOR.unpack_from(table, index * 64):
                owners[found[1]] += 1
        table.release()
        return owners

    def close(self) -> None:
        """Give everything back; idempotent."""
        for queue in [*self.queues, *self.free.values()]:
            queue.close()
        for end in [*self.sockets.values(), *self._theirs.values()]:
            end.close()
        self._inputs = {}
        self.queues, self.free, self.sockets, self._theirs = [], {}, {}, {}
        self.segment.close()
