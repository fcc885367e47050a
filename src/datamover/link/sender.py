"""Which frame goes out on which path, and what may be forgotten.  Pure: no sockets, no clock.

    offer ─▶ waiting, lowest first ─▶ in flight on one path ─▶ acknowledged: given back
                   ▲                            │
                   └──── the path is lost ◀─────┘

The caller says what happened, and when; it is told what to do.  A number is in one place at a time,
so nothing is lost, and it is sent twice only when its path was lost.

Source: docs/spec/link-protocol.md, 4 and 5; SPEC N5, B6, X15; DESIGN D8.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from datamover.errors import PeerProtocolError

__all__ = ["Lane", "Numbered", "Order", "Sender"]

T = TypeVar("T")
_UNMEASURED: Final = 1  # frames under way on a path whose speed nobody knows yet
_PATIENT: Final = 4
_SMOOTHING: Final = 0.5  # seconds of work after which an old measurement counts for a third
_CLOCK: Final = 1 << 32
_MICRO: Final = 1e-6


class Numbered(NamedTuple, Generic[T]):
    """What is to be sent.

    Attributes:
        sequence: Its number in the stream, from 0.
        size: Bytes that it has on the wire.
        item: The caller's.
    """

    sequence: int
    size: int
    item: T


class Order(NamedTuple, Generic[T]):
    """What to send on a path now: ``data``, or the end after ``total`` numbers."""

    data: Numbered[T] | None = None
    total: int = 0


@dataclass(slots=True)
class Lane(Generic[T]):
    """One open path, as the sender sees it; all but the methods of ``Sender`` only read it.

    Attributes:
        rate: Bytes a second that it delivered lately; 0: not known yet.
        round_trip: Seconds from a frame to its acknowledgement, the last one.
        frames: Frames acknowledged on this connection.
        bytes: And their bytes.
        under_way: Bytes in flight.
    """

    opened: float
    progress: float
    heard: float
    rate: float = 0.0
    round_trip: float = 0.0
    frames: int = 0
    bytes: int = 0
    sent: int = 0
    under_way: int = 0
    acknowledged: float = 0.0
    in_flight: deque[tuple[Numbered[T], float]] = field(default_factory=deque)
    knows_end: bool = False
    is_pinged: bool = False

    @property
    def waits(self) -> bool:
        """Whether the peer owes a word."""
        return bool(self.in_flight) or self.is_pinged

    def eta(self, more: int) -> float:
        """Seconds until ``more`` bytes would have been delivered, behind all that is under way."""
        return (self.under_way + more) / self.rate if self.rate else math.inf


class Sender(Generic[T]):
    """The sending side of a border.

    Attributes:
        lanes: The open paths.
        resent: Frames that were put back because their path was lost.
        is_done: The receiver has everything and has said so.
    """

    def __init__(self, *, stall: float) -> None:
        """Begin at number 0.

        Args:
            stall: Seconds that a path may owe a word before it counts as lost.
        """
        self.lanes: dict[int, Lane[T]] = {}
        self.resent = 0
        self.is_done = False
        self._stall = stall
        self._credit = 0
        self._next = 0
        self._total: int | None = None
        self._end_is_said = False
        self._waiting: list[Numbered[T]] = []

    # ---- what is to be sent

    @property
    def wants(self) -> bool:
        """Whether the next item may be offered: it could go out at once."""
        return not self._waiting and self._total is None and self._next < self._credit

    @property
    def is_idle(self) -> bool:
        """Whether everything that was offered has arrived."""
        return not self._waiting and not any(lane.in_flight for lane in self.lanes.values())

    def has_for(self, path: int) -> bool:
        """Whether there is anything that a path could be chosen for."""
        return bool(self._waiting) or (self._total is not None and not self.lanes[path].knows_end)

    def offer(self, item: T, size: int) -> None:
        """Take in the next item of the stream."""
        heapq.heappush(self._waiting, Numbered(self._next, size, item))
        self._next += 1

    def end(self) -> None:
        """Learn that nothing more will be offered."""
        self._total = self._next

    # ---- paths

    def open(self, path: int, now: float) -> None:
        """Learn of a new connection; it must not be open already."""
        self.lanes[path] = Lane(opened=now, progress=now, heard=now)

    def close(self, path: int) -> int:
        """Learn that a connection is lost; return how many frames must go out again."""
        lane = self.lanes.pop(path)
        for numbered, _ in lane.in_flight:
            heapq.heappush(self._waiting, numbered)
        self.resent += len(lane.in_flight)
        return len(lane.in_flight)

    def progressed(self, path: int, now: float) -> None:
        """Learn that a path took bytes, or that nothing but our own limit kept it from doing so."""
        self.lanes[path].progress = now

    # ---- what goes out

    def choose(self, path: int, now: float) -> Order[T] | None:
        """Say what to send on a path that could take something; None: nothing, for now.

        What is chosen counts as sent: it comes back by ``acknowledge`` or by ``close``.
        """
        lane = self.lanes[path]
        if self._waiting:
            if not self._is_worth(lane, self._waiting[0]):
                return None
            numbered = heapq.heappop(self._waiting)
            if not lane.waits:
                lane.progress = now
            lane.in_flight.append((numbered, now))
            lane.under_way += numbered.size
            lane.sent += 1
            return Order(numbered)
        if self._total is not None and not lane.knows_end:
            lane.knows_end = self._end_is_said = True
            return Order(None, self._total)
        return None

    def pings(self, now: float) -> list[int]:
        """Return the paths that have been silent for too long; each counts as asked."""
        silent = [
            path
            for path, lane in self.lanes.items()
            if not lane.waits and now - lane.heard > self._stall / 2
        ]
        for path in silent:
            lane = self.lanes[path]
            lane.is_pinged, lane.progress = True, now
        return silent

    # ---- what comes back

    def acknowledge(
        self, path: int, *, received: int, credit: int, stamp: int, now: float
    ) -> list[Numbered[T]]:
        """Learn how many frames of a connection have arrived; return what may be forgotten.

        Raises:
            PeerProtocolError: It would be more than were sent, or fewer than before.
        """
        lane = self.lanes[path]
        if self.is_done:
            return []
        if not lane.frames <= received <= lane.sent:
            raise PeerProtocolError(
                peer=f"path {path}",
                reason=f"acknowledges {received} frames, {lane.sent} were sent",
            )
        self._credit = max(self._credit, credit)
        lane.heard = now
        lane.is_pinged = False
        if received == lane.frames:
            return []
        done: list[Numbered[T]] = []
        size, began = 0, lane.in_flight[0][1]
        while lane.frames < received:
            numbered, _ = lane.in_flight.popleft()
            lane.frames += 1
            size += numbered.size
            done.append(numbered)
        self._measure(lane, size, now - max(began, lane.acknowledged))
        lane.acknowledged = lane.progress = now
        lane.under_way -= size
        lane.bytes += size
        lane.round_trip = ((int(now / _MICRO) - stamp) % _CLOCK) * _MICRO
        return done

    def finish(self, path: int) -> list[Numbered[T]]:
        """Learn that the receiver has passed on everything; return what may be forgotten.

        Raises:
            PeerProtocolError: It cannot have.
        """
        if not self._end_is_said:
            raise PeerProtocolError(peer=f"path {path}", reason="done before the end")
        self.is_done = True
        left = [*self._waiting]
        self._waiting = []
        for lane in self.lanes.values():
            left += [numbered for numbered, _ in lane.in_flight]
            lane.frames += len(lane.in_flight)
            lane.bytes += lane.under_way
            lane.in_flight.clear()
            lane.under_way = 0
        return left

    # ---- time

    def stalled(self, now: float) -> list[int]:
        """Return the paths that owe a word for longer than they may."""
        return [
            path
            for path, lane in self.lanes.items()
            if lane.waits and now - lane.progress > self._allowed(lane)
        ]

    # ---- inside

    def _allowed(self, lane: Lane[T]) -> float:
        """Seconds that a path may owe a word.

        What stands between, such as a remote shell, may have taken whole frames, so a slow path
        shows nothing for as long as these need; while its rate is not known, that is guessed.
        """
        if not lane.in_flight:
            return self._stall
        if not lane.rate:
            return _PATIENT * self._stall
        return max(self._stall, _PATIENT * lane.under_way / lane.rate)

    def _is_worth(self, lane: Lane[T], numbered: Numbered[T]) -> bool:
        """Whether this path, though it could take the frame, is a good place for it.

        A slow path may hold no more than it delivers while the others use up the window: what is
        due on it would make them wait.  The quickest path is always good, so one always is.
        """
        if len(self.lanes) == 1:
            return True
        if not lane.rate:
            return len(lane.in_flight) < _UNMEASURED
        eta = lane.eta(numbered.size)
        others = [other for other in self.lanes.values() if other is not lane]
        if eta <= min(other.eta(numbered.size) for other in others):
            return True
        rates = sum(other.rate for other in self.lanes.values())
        window = (self._credit - numbered.sequence) * numbered.size
        return eta <= window / rates

    def _measure(self, lane: Lane[T], size: int, seconds: float) -> None:
        seconds = max(seconds, _MICRO)
        weight = 1.0 if not lane.rate else 1.0 - math.exp(-seconds / _SMOOTHING)
        lane.rate += (size / seconds - lane.rate) * weight
