"""What becomes of each frame that arrives, and what is said about it.  Pure: no sockets, no clock.

    granted ─▶ credit          begin ─▶ take it, or skip what is here already
                               arrive ─▶ put in order ─▶ what is due goes on

Source: docs/spec/link-protocol.md, 4 and 5; SPEC N5, B6, X15; DESIGN D8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from datamover.errors import PeerProtocolError
from datamover.pipe.order import Resequencer

__all__ = ["Acknowledgement", "Lane", "Receiver"]

T = TypeVar("T")
_REPEAT: Final = 0.05
_UNBOUNDED: Final = 1 << 62


class Acknowledgement(NamedTuple):
    """What to say on a path.

    Attributes:
        received: DATA frames of the connection that have arrived.
        credit: Numbers below it may be sent.
        stamp: That of the last DATA frame.
    """

    path: int
    received: int
    credit: int
    stamp: int


@dataclass(slots=True)
class Lane:
    """One open path, as the receiver sees it.

    Attributes:
        frames: DATA frames that have arrived on this connection.
        bytes: And their bytes.
        repeated: How many of them had come before on another path.
        taking: The number that is arriving; -1: none.
    """

    opened: float
    heard: float
    frames: int = 0
    bytes: int = 0
    repeated: int = 0
    taking: int = -1
    stamp: int = 0
    owes: bool = True
    told: int = 0
    told_at: float = 0.0


class Receiver(Generic[T]):
    """The receiving side of a border.

    Attributes:
        lanes: The open paths.
        credit: Buffers that were ever set aside: numbers below it may come.
    """

    def __init__(self, *, silence: float) -> None:
        """Begin at number 0, with no buffer.

        Args:
            silence: Seconds without a byte after which a path counts as lost.
        """
        self.lanes: dict[int, Lane] = {}
        self.credit = 0
        self._silence = silence
        self._order: Resequencer[T] = Resequencer(window=_UNBOUNDED)
        self._early: set[int] = set()
        self._highest = self._begun = 0
        self._total: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether everything that will ever come was passed on."""
        return self._total == self._order.next_due

    @property
    def total(self) -> int | None:
        """How many numbers there are, once the sender has said so."""
        return self._total

    def granted(self, buffers: int = 1) -> None:
        """Learn that more buffers were set aside."""
        self.credit += buffers

    # ---- paths

    def open(self, path: int, now: float) -> None:
        """Learn of a new connection; it must not be open already."""
        self.lanes[path] = Lane(opened=now, heard=now)

    def close(self, path: int) -> None:
        """Learn that a connection is lost; a frame that was arriving on it will come again."""
        del self.lanes[path]

    # ---- frames

    def begin(self, path: int, sequence: int, now: float) -> bool:
        """Learn which frame begins to arrive; return whether to take it, or to skip it.

        Raises:
            PeerProtocolError: No buffer was promised for it, or it lies behind the end.
        """
        lane = self.lanes[path]
        lane.heard = now
        if sequence >= self.credit or (self._total is not None and sequence >= self._total):
            raise PeerProtocolError(
                peer=f"path {path}",
                reason=f"sent number {sequence}, "
                f"{self.credit if self._total is None else self._total} were allowed",
            )
        if sequence < self._order.next_due or sequence in self._early:
            lane.repeated += 1
            return False
        lane.taking = sequence
        self._begun = max(self._begun, sequence + 1)
        return True

    def rivals(self, path: int) -> list[int]:
        """Return the paths on which the same number was arriving: the sender gave them up."""
        taking = self.lanes[path].taking
        return [
            other
            for other, lane in self.lanes.items()
            if other != path and taking >= 0 and lane.taking == taking
        ]

    def arrive(
        self, path: int, size: int, stamp: int, now: float, item: T | None = None
    ) -> list[T]:
        """Learn that the frame has arrived whole; return what is due now, in order.

        Args:
            path: Where.
            size: Its bytes.
            stamp: The sender's.
            now: The time.
            item: What was taken; None: it was skipped.
        """
        lane = self.lanes[path]
        sequence, lane.taking = lane.taking, -1
        lane.frames += 1
        lane.bytes += size
        lane.stamp = stamp
        lane.heard = now
        lane.owes = True
        if item is None:
            return []
        self._highest = max(self._highest, sequence + 1)
        before = self._order.next_due
        due = self._order.push(sequence, item)
        if due:
            self._early.difference_update(range(before, self._order.next_due))
        else:
            self._early.add(sequence)
        return due

    def end(self, path: int, total: int, now: float) -> None:
        """Learn how many numbers there are.

        Raises:
            PeerProtocolError: More have come, or another count was given before.
        """
        self.lanes[path].heard = now
        if self._highest > total or self._total not in {None, total}:
            raise PeerProtocolError(
                peer=f"path {path}",
                reason=f"ends after {total}, {self._total or self._highest} were known",
            )
        self._total = total

    def heard(self, path: int, now: float) -> None:
        """Learn that bytes came on a path, be they a whole frame or not."""
        self.lanes[path].heard = now

    def pinged(self, path: int, now: float) -> None:
        """Learn that the sender wants a word."""
        lane = self.lanes[path]
        lane.heard = now
        lane.owes = True

    # ---- what goes back

    def acknowledgements(self, now: float, ready: set[int]) -> list[Acknowledgement]:
        """Return what to say now, on those paths that are ``ready``; it counts as said.

        News of the credit alone goes out on the path that was heard last, at once if the sender may
        have little else, and a little later on those that still do not know: that one may be dead.
        """
        found = [path for path in ready if self.lanes[path].owes]
        if not found and self.lanes and self._is_urgent():
            freshest = max(self.lanes, key=lambda path: self.lanes[path].heard)
            found = [freshest] if freshest in ready else []
        found += [
            path for path in ready if path not in found and self._is_late(self.lanes[path], now)
        ]
        return [self._say(path, now) for path in found]

    def next_due(self, now: float) -> float | None:
        """Seconds until a path should be told of the credit; None: all know it."""
        late = [x.told_at + _REPEAT - now for x in self.lanes.values() if x.told < self.credit]
        return max(0.0, min(late)) if late else None

    def silent(self, now: float) -> list[int]:
        """Return the paths that have said nothing for too long."""
        return [p for p, lane in self.lanes.items() if now - lane.heard > self._silence]

    # ---- inside

    def _is_urgent(self) -> bool:
        """Whether there is news of the credit that the next acknowledgement would bring too late.

        A frame each has to be read, and wakes the sender: news that can wait goes with what is
        acknowledged next, which comes as long as the sender has numbers to send.
        """
        told = max(lane.told for lane in self.lanes.values())
        return self.credit > told and self.credit - told >= told - self._begun

    def _is_late(self, lane: Lane, now: float) -> bool:
        return lane.told < self.credit and now - lane.told_at >= _REPEAT

    def _say(self, path: int, now: float) -> Acknowledgement:
        lane = self.lanes[path]
        lane.owes, lane.told, lane.told_at = False, self.credit, now
        return Acknowledgement(path, lane.frames, self.credit, lane.stamp)
