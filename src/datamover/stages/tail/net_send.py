"""Send buffers to another machine, over one path or several.

Role:       tail
Instances:  one, which holds all paths of a border
Copies:     none in clear; sealed, one into an area of each path
Fails:      when no path is open for too long, or a block is too long for the other side
Source:     seed FIG. 2B (50A), FIG. 7; SPEC N1-N6, X15; docs/spec/link-protocol.md
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.errors import (
    BufferTimeoutError,
    FormatError,
    PeerError,
    PeerProtocolError,
    RoomError,
    SecurityError,
)
from datamover.link.border import Border, BorderSettings
from datamover.link.channel import shut
from datamover.link.greeting import Carrier
from datamover.link.limit import Limit
from datamover.link.path import Outlet, SmallFrames
from datamover.link.seal import Sealer
from datamover.link.sender import Sender
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.statistics import Wait
from datamover.wire.frame import FRAME_SIZE, MARGIN, SEAL_SIZE, Kind, Protection
from datamover.wire.tag import TagHeader, TransformId

if TYPE_CHECKING:
    from datamover.link.greeting import Opened
    from datamover.pipe.ports import TailPort
    from datamover.shm.buffer import Buffer
    from datamover.wire.frame import Frame

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="net_send", role=Role.TAIL, parallel=False)

_CIPHERS: Final = frozenset({TransformId.AES_256_GCM, TransformId.CHACHA20_POLY1305})
_MICRO: Final = 1e-6
_FAREWELL: Final = 2.0
_LOOK: Final = 0.05
"""Seconds between two looks at what time does: a frame need not wait for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BorderSettings):
    """Settings of a net_send stage: those of its border; see ``BorderSettings``."""


def run(port: TailPort, settings: Settings) -> None:
    """Send until the stage before has finished and the other side has everything.

    Sends the notices ``paths`` (path, state, rate, round_trip_s, frames, bytes, resent; once a
    second while something changes), ``path lost`` and ``path refused`` (path, reason), and leaves
    the result blocks, bytes and resent.

    Raises:
        PeerUnreachableError: No path came about.
        PeerLostError: No path has been open for too long.
        RoomError: A block is longer than the other side's buffers.
        UsageError: A setting makes no sense.
        PipeError: From the port.
    """
    with Border(port, settings) as border:
        sending = _Sending(port, settings, border)
        try:
            sending.run()
        finally:
            sending.close()


class _Block(NamedTuple):
    """What is sent as one frame."""

    buffer: Buffer
    body: memoryview
    tag_used: int
    is_sealed: bool


@dataclass(slots=True)
class _Line:
    """An open path."""

    number: int
    carrier: Carrier
    outlet: Outlet
    frames: SmallFrames
    sealer: Sealer
    room: int
    opened: float
    is_full: bool = False
    backlog: int = 0
    writing: int = 0


class _Sending:
    def __init__(self, port: TailPort, settings: Settings, border: Border) -> None:
        self._port = port
        self._border = border
        self._sender: Sender[_Block] = Sender(stall=settings.stall_s)
        self._lines: dict[int, _Line] = {}
        self._readers: dict[int, _Line] = {}
        self._writers: dict[int, _Line] = {}
        self._limit = Limit(time.monotonic())
        self._looked = 0.0
        self._is_limited = False
        self._is_dry = False
        self._has_ended = False
        self._hides = border.terms.protection is Protection.SEALED
        self._blocks = self._bytes = 0
        self._arrived = self._arrived_bytes = 0

    def run(self) -> None:
        while not self._sender.is_done:
            self._port.check()
            self._push_all()
            self._turn()
        for line in self._lines.values():
            self._tell(line, time.monotonic(), force=True, state="done")
        self._part()
        self._port.result(
            {"blocks": self._blocks, "bytes": self._bytes, "resent": self._sender.resent}
        )

    def close(self) -> None:
        """Close every path."""
        for line in list(self._lines.values()):
            self._remove(line)

    # ---- out

    def _feed(self) -> None:
        """Take the next buffer, if it could go out."""
        if not self._sender.wants or self._is_dry:
            return
        try:
            buffer = self._port.receive(timeout=0)
        except BufferTimeoutError:
            self._is_dry = True
            return
        if buffer is None:
            self._has_ended = True
            self._sender.end()
            return
        tag_used = buffer.tag_used
        is_sealed = self._hides and tag_used > 0 and _is_sealed(buffer)
        buffer.tag[len(buffer.tag) - tag_used :] = buffer.tag[:tag_used]
        block = _Block(buffer, buffer.across(tag_used, buffer.used), tag_used, is_sealed)
        self._blocks += 1
        self._bytes += buffer.used
        self._sender.offer(block, FRAME_SIZE + len(block.body) + SEAL_SIZE)

    def _push_all(self) -> None:
        """Write frames until every path is full, or there is nothing to write."""
        self._is_limited = False
        goes_on = True
        while goes_on:
            goes_on = False
            self._feed()
            for line in self._in_turn():
                if not line.is_full and self._load(line):
                    self._push(line)
                    goes_on = not self._is_limited
                if self._is_limited:
                    return

    def _in_turn(self) -> list[_Line]:
        """Return the paths; under a limit those first that are at what the receiver waits for.

        What may go out now is little then: whoever is asked first would take it all, and the
        others stand in the middle of a frame until the whole window has gone out on that path.
        """
        lines = list(self._lines.values())
        if self._port.limit:
            lines.sort(key=lambda line: line.writing if line.outlet.pending else math.inf)
        return lines

    def _load(self, line: _Line) -> bool:
        """Return whether there is something to write on a path, choosing it first if need be."""
        if line.outlet.pending:
            return True
        now = time.monotonic()
        order = self._sender.choose(line.number, now)
        if order is None:
            return False
        if order.data is None:
            line.writing = order.total
            line.outlet.put_small(line.sealer.small(Kind.END, sequence=order.total))
            return True
        line.writing = order.data.sequence
        block = order.data.item
        if len(block.body) - block.tag_used > line.room:
            raise RoomError(
                what="a block at the other side",
                need=len(block.body) - block.tag_used,
                have=line.room,
            )
        line.outlet.put(
            line.sealer.data(
                block.body,
                sequence=order.data.sequence,
                tag_used=block.tag_used,
                stamp=int(now / _MICRO),
                is_sealed=block.is_sealed,
            )
        )
        self._feed()
        return True

    def _push(self, line: _Line) -> None:
        now = time.monotonic()
        most = self._limit.allowed(self._port.limit, now)
        if not most:
            self._is_limited = True
            for one in self._lines:
                self._sender.progressed(one, now)
            return
        outlet = line.outlet
        wanted = min(most, outlet.pending)
        try:
            done = outlet.push(most)
        except PeerError as error:
            self._lose(line, str(error))
            return
        if done:
            self._limit.spent(done)
            self._sender.progressed(line.number, now)
        # Several paths: the next frame goes where the kernel says that there is room.
        line.is_full = done < wanted or (len(self._lines) > 1 and not outlet.pending)

    # ---- in

    def _hear(self, line: _Line) -> None:
        try:
            for frame in line.frames.pull():
                self._understand(line, frame)
        except (PeerError, FormatError, SecurityError) as error:
            self._lose(line, str(error))

    def _understand(self, line: _Line, frame: Frame) -> None:
        now = time.monotonic()
        if frame.kind is Kind.ACK:
            done = self._sender.acknowledge(
                line.number,
                received=frame.received,
                credit=frame.sequence,
                stamp=frame.stamp,
                now=now,
            )
        elif frame.kind is Kind.DONE:
            done = self._sender.finish(line.number)
        else:
            raise PeerProtocolError(
                peer=line.carrier.name, reason=f"{frame.kind.name}, against the stream"
            )
        for numbered in done:
            self._arrived += 1
            self._arrived_bytes += numbered.size
            self._port.free(numbered.item.buffer)

    # ---- waiting

    def _turn(self) -> None:
        """Wait for something to happen, and handle it."""
        if self._sender.is_done:
            return
        masks = dict.fromkeys(self._readers, select.POLLIN)
        for writer, line in self._writers.items():
            if line.is_full and (line.outlet.pending or self._sender.has_for(line.number)):
                masks[writer] = masks.get(writer, 0) | select.POLLOUT
        is_hungry = self._sender.wants and self._is_dry
        if is_hungry:
            masks[self._border.watched.input] = select.POLLIN
        timeout = self._limit.wait if self._is_limited else None
        idle = is_hungry and self._sender.is_idle
        ready = self._border.wait(masks, timeout, Wait.INPUT if idle else Wait.OUTPUT)
        self._handle(ready)
        self._look_after(time.monotonic())

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        for descriptor, events in ready:
            if descriptor == self._border.watched.input:
                self._is_dry = False
                continue
            writing, reading = self._writers.get(descriptor), self._readers.get(descriptor)
            if writing is not None and events & ~select.POLLIN:
                writing.is_full = False
            if reading is not None and events & ~select.POLLOUT:
                self._hear(reading)
        for opened in self._border.openings(ready):
            self._add(opened)

    def _look_for_progress(self, now: float) -> None:
        """A path that holds whole frames takes nothing more, and yet goes on."""
        for line in self._lines.values():
            backlog = line.outlet.backlog()
            if backlog < line.backlog:
                self._sender.progressed(line.number, now)
            line.backlog = backlog

    def _look_after(self, now: float) -> None:
        if now - self._looked < _LOOK:
            return
        self._looked = now
        self._look_for_progress(now)
        for number in self._sender.stalled(now):
            self._lose(self._lines[number], "nothing went on for too long")
        for number in self._sender.pings(now):
            line = self._lines[number]
            line.outlet.put_small(line.sealer.small(Kind.PING))
            line.is_full = False
        for line in self._lines.values():
            self._tell(line, now)
        self._border.grow(self._arrived, self._arrived_bytes, now)
        self._border.check_patience(now)

    # ---- paths

    def _add(self, opened: Opened) -> None:
        carrier, agreed = opened
        if agreed.path in self._lines:
            self._lose(self._lines[agreed.path], "opened again by the other side", dial=False)
        now = time.monotonic()
        protection = self._border.terms.protection
        room = agreed.peer_buffer_size + MARGIN
        line = _Line(
            number=agreed.path,
            carrier=carrier,
            outlet=Outlet(carrier.writer, carrier.name),
            frames=SmallFrames(
                carrier.reader, carrier.name, protection=protection, key=agreed.back_key
            ),
            sealer=Sealer(
                protection, agreed.data_key, room=min(room, self._port.buffer_size + MARGIN)
            ),
            room=room,
            opened=now,
        )
        self._lines[line.number] = line
        self._readers[carrier.reader] = self._writers[carrier.writer] = line
        self._sender.open(line.number, now)
        self._tell(line, now, force=True)

    def _lose(self, line: _Line, reason: str, *, dial: bool = True) -> None:
        """Give a path up; what it had not delivered goes elsewhere."""
        now = time.monotonic()
        self._tell(line, now, force=True, state="lost")
        self._sender.close(line.number)
        self._remove(line)
        self._border.lost(
            line.number,
            reason,
            lasted=now - line.opened,
            is_alone=not self._lines and dial,
        )

    def _remove(self, line: _Line) -> None:
        del self._lines[line.number]
        del self._readers[line.carrier.reader]
        del self._writers[line.carrier.writer]
        for descriptor in {line.carrier.reader, line.carrier.writer}:
            self._border.forget(descriptor)
        line.carrier.close()

    def _tell(self, line: _Line, now: float, *, force: bool = False, state: str = "open") -> None:
        lane = self._sender.lanes[line.number]
        self._border.tell(
            line.number,
            now,
            force=force,
            state=state,
            rate=int(lane.rate),
            round_trip_s=round(lane.round_trip, 6),
            frames=lane.frames,
            bytes=lane.bytes,
            resent=self._sender.resent,
        )

    # ---- the end

    def _part(self) -> None:
        """Say goodbye on every path, and close each when the other side has heard it."""
        self._border.shut()
        deadline = time.monotonic() + _FAREWELL
        for line in list(self._lines.values()):
            with contextlib.suppress(PeerError):
                line.outlet.put_small(line.sealer.small(Kind.DONE))
                line.outlet.push()
            shut(line.carrier.writer, socket.SHUT_WR)
        while self._lines and (left := deadline - time.monotonic()) > 0:
            masks = dict.fromkeys(self._readers, select.POLLIN)
            for descriptor, _ in self._border.wait(masks, left, Wait.OUTPUT):
                if descriptor in self._readers and _is_closed(descriptor):
                    self._remove(self._readers[descriptor])


def _is_closed(descriptor: int) -> bool:
    try:
        return not os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _is_sealed(buffer: Buffer) -> bool:
    """Whether a store's cipher has hidden the payload already."""
    try:
        tag = TagHeader.decode(buffer.tag[: buffer.tag_used])
    except FormatError:
        return False
    return any(step.id in _CIPHERS for step in tag.transforms)
