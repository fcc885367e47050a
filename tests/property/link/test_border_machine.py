"""Whatever paths do, everything arrives once and in order, and the border never locks up.

A network in memory: each path is two queues, that lose all they carry when it is cut.  Frames come
in pieces (begin, arrive), so a path may die in the middle of one; windows are as small as one
buffer, and buffers come back late.  At the end the network is mended, and all must have come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from datamover.errors import PeerProtocolError
from datamover.link.receiver import Receiver
from datamover.link.sender import Sender

PATHS = 3
SIZE = 1000
STEPS = ("use", "set_aside", "send", "receive", "say", "hear")
PATHS_OF = st.integers(0, PATHS - 1)


@dataclass
class Wire:
    """One connection."""

    data: deque[tuple[str, int, int]] = field(default_factory=deque)
    back: deque[tuple[str, int, int]] = field(default_factory=deque)
    begun: tuple[int, bool] | None = None


class Border(RuleBasedStateMachine):
    """Sender, receiver, and what is between them."""

    @initialize(window=st.integers(1, 4), pool=st.integers(1, 5), total=st.integers(0, 40))
    def start(self, window: int, pool: int, total: int) -> None:
        self.now = 0.0
        self.sender: Sender[int] = Sender(stall=1.0)
        self.receiver: Receiver[int] = Receiver(silence=3.0)
        self.wires: dict[int, Wire] = {}
        self.left = total
        self.total = total
        self.free = window  # the receiver's pool
        self.hand = 0  # of it: set aside
        self.pool = pool  # the sender's
        self.held: set[int] = set()
        self.passed: list[int] = []
        self.downstream = 0
        self.lost = 0

    # ---- the world

    @rule(paths=st.sets(PATHS_OF))
    def cut_several(self, paths: set[int]) -> None:
        for path in paths:
            self.close(path)

    @rule(path=PATHS_OF)
    def open(self, path: int) -> None:
        if path not in self.wires:
            self.wires[path] = Wire()
            self.sender.open(path, self.now)
            self.receiver.open(path, self.now)

    @rule(path=PATHS_OF)
    def cut_unseen_by_the_receiver(self, path: int) -> None:
        """The sender gives a path up; a frame on it stays half arrived until it comes again."""
        wire = self.wires.get(path)
        if wire is not None and path in self.sender.lanes:
            self.lost += self.sender.close(path)
            wire.data.clear()
            wire.back.clear()

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.6, 1.5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for path in self.sender.pings(self.now):
            self.wires[path].data.append(("ping", 0, 0))

    @rule()
    def give_up_stalled_paths(self) -> None:
        for path in self.sender.stalled(self.now):
            self.close(path)

    @rule(count=st.integers(1, 3))
    def free_downstream(self, count: int) -> None:
        count = min(count, self.downstream)
        self.downstream -= count
        self.free += count

    # ---- the two tasks

    @rule(path=PATHS_OF, turns=st.integers(1, 12), late=st.sampled_from([*STEPS, ""]))
    def go_on(self, path: int, turns: int, late: str) -> None:
        """One path works for a while; what is ``late`` does not happen meanwhile."""
        self.open(path)
        for _ in range(turns):
            self.what_is_passed_on_is_the_stream()
            self.what_is_not_passed_on_is_still_held()
            for step in STEPS:
                if step != late:
                    getattr(self, step)(path)

    def use(self, _: int) -> None:
        self.free_downstream(1)

    def set_aside(self, _: int = 0) -> None:
        self.receiver.granted(self.free)
        self.hand, self.free = self.hand + self.free, 0

    @rule(path=PATHS_OF)
    def send(self, path: int) -> None:
        if self.sender.wants and self.left and len(self.held) < self.pool:
            number = self.total - self.left
            self.sender.offer(number, SIZE)
            self.held.add(number)
            self.left -= 1
        elif self.sender.wants and not self.left:
            self.sender.end()
        if path not in self.sender.lanes:
            return
        order = self.sender.choose(path, self.now)
        if order is not None and order.data is not None:
            assert order.data.item == order.data.sequence
            self.wires[path].data.append(("data", order.data.sequence, 0))
        elif order is not None:
            self.wires[path].data.append(("end", order.total, 0))

    @rule(path=PATHS_OF)
    def receive(self, path: int) -> None:
        wire = self.wires.get(path)
        if wire is None:
            return
        if wire.begun is not None:
            self.arrive(path, wire)
        elif wire.data:
            kind, number, _ = wire.data.popleft()
            if kind == "data":
                self.begin(path, wire, number)
            elif kind == "end":
                self.receiver.end(path, number, self.now)
            else:
                self.receiver.pinged(path, self.now)

    @rule(path=PATHS_OF)
    def say(self, path: int) -> None:
        ready = {path} & self.wires.keys()
        for said in self.receiver.acknowledgements(self.now, ready):
            if said.path in self.sender.lanes:
                self.wires[said.path].back.append(("ack", said.received, said.credit))
        if self.receiver.is_complete and path in self.sender.lanes:
            self.wires[path].back.append(("done", 0, 0))

    @rule(path=PATHS_OF)
    def hear(self, path: int) -> None:
        wire = self.wires.get(path)
        if wire is None or not wire.back:
            return
        kind, received, credit = wire.back.popleft()
        if kind == "done":
            done = self.sender.finish(path)
        else:
            done = self.sender.acknowledge(
                path, received=received, credit=credit, stamp=0, now=self.now
            )
        for numbered in done:
            self.held.remove(numbered.item)

    # ---- inside

    def close(self, path: int) -> None:
        wire = self.wires.pop(path, None)
        if wire is None:
            return
        if path in self.sender.lanes:
            self.lost += self.sender.close(path)
        self.receiver.close(path)
        if wire.begun is not None and wire.begun[1]:
            self.hand += 1

    def begin(self, path: int, wire: Wire, number: int) -> None:
        taken = self.receiver.begin(path, number, self.now)
        for rival in self.receiver.rivals(path) if taken else []:
            # The sender has lost it already: nobody but it sends a number twice.
            assert rival not in self.sender.lanes
            self.close(rival)
        if taken:
            assert self.hand > 0, "a frame came for which no buffer is in hand"
            self.hand -= 1
        wire.begun = (number, taken)

    def arrive(self, path: int, wire: Wire) -> None:
        number, taken = wire.begun
        wire.begun = None
        due = self.receiver.arrive(path, SIZE, 0, self.now, number if taken else None)
        self.passed += due
        self.downstream += len(due)

    @invariant()
    def what_is_passed_on_is_the_stream(self) -> None:
        assert self.passed == list(range(len(self.passed)))

    @invariant()
    def what_is_not_passed_on_is_still_held(self) -> None:
        sent = self.total - self.left
        assert set(range(len(self.passed), sent)) <= self.held | self.early()

    def early(self) -> set[int]:
        return set(self.receiver._early)

    @precondition(lambda self: self.total)
    @rule()
    def count_what_is_repeated(self) -> None:
        repeated = sum(lane.repeated for lane in self.receiver.lanes.values())
        assert repeated <= self.lost

    def teardown(self) -> None:
        """Mend the network; a fair schedule must bring everything home."""
        for path in list(self.wires):
            if path not in self.sender.lanes:
                self.close(path)
        for turn in range(3000):
            if self.sender.is_done:
                break
            self.now += 0.06
            path = turn % PATHS
            self.open(path)
            self.free_downstream(3)
            self.set_aside()
            for step in (self.send, self.receive, self.receive, self.say, self.hear):
                step(path)
        assert self.passed == list(range(self.total))
        assert self.sender.is_done
        assert not self.held
        assert self.sender.resent == self.lost


Border.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestBorder = Border.TestCase


def test_a_frame_without_a_buffer_is_refused() -> None:
    receiver: Receiver[int] = Receiver(silence=1.0)
    receiver.granted(2)
    receiver.open(0, 0.0)

    with pytest.raises(PeerProtocolError, match="sent number 2, 2 were allowed"):
        receiver.begin(0, 2, 0.0)


def test_an_end_that_contradicts_is_refused() -> None:
    receiver: Receiver[int] = Receiver(silence=1.0)
    receiver.granted(5)
    receiver.open(0, 0.0)
    receiver.begin(0, 3, 0.0)
    receiver.arrive(0, 1, 0, 0.0, 3)

    with pytest.raises(PeerProtocolError, match="ends after 3, 4 were known"):
        receiver.end(0, 3, 0.0)
    receiver.end(0, 4, 0.0)
    with pytest.raises(PeerProtocolError, match="ends after 5, 4 were known"):
        receiver.end(0, 5, 0.0)
    with pytest.raises(PeerProtocolError, match="sent number 4, 4 were allowed"):
        receiver.begin(0, 4, 0.0)


def test_more_acknowledgements_than_frames_are_refused() -> None:
    sender: Sender[str] = Sender(stall=1.0)
    sender.open(0, 0.0)
    sender.acknowledge(0, received=0, credit=3, stamp=0, now=0.0)
    sender.offer("a", 1)
    sender.choose(0, 0.0)

    with pytest.raises(PeerProtocolError, match="acknowledges 2 frames, 1 were sent"):
        sender.acknowledge(0, received=2, credit=3, stamp=0, now=0.0)
    assert [one.item for one in sender.acknowledge(0, received=1, credit=3, stamp=0, now=0.0)] == [
        "a"
    ]
    with pytest.raises(PeerProtocolError, match="acknowledges 0 frames"):
        sender.acknowledge(0, received=0, credit=3, stamp=0, now=0.0)


def test_done_before_the_end_is_refused() -> None:
    sender: Sender[str] = Sender(stall=1.0)
    sender.open(0, 0.0)

    with pytest.raises(PeerProtocolError, match="done before the end"):
        sender.finish(0)
