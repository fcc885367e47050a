"""Receive buffers from another machine, over one path or several, in order.

Role:       head, allocating
Instances:  one, which holds all paths of a border
Copies:     none; frames are read into the buffer that goes on
Fails:      when no path is open for too long
Source:     seed FIG. 2B (50B), FIG. 7; SPEC N1-N6, B6, X15; docs/spec/link-protocol.md
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.errors import (
    BufferTimeoutError,
    FormatError,
    PeerError,
    PeerProtocolError,
    SecurityError,
)
from datamover.link.border import Border, BorderSettings
from datamover.link.greeting import Carrier
from datamover.link.path import DataFrames, Outlet
from datamover.link.receiver import Receiver
from datamover.link.seal import Sealer
from datamover.pipe.stage import Role, StageInfo
from datamover.shm.buffer import Buffer
from datamover.shm.statistics import Wait
from datamover.wire.frame import MARGIN, Kind

if TYPE_CHECKING:
    from datamover.link.greeting import Opened
    from datamover.pipe.ports import HeadPort
    from datamover.wire.frame import Frame

__all__ = ["STAGE", "Settings", "run"]

STAGE: Final = StageInfo(name="net_receive", role=Role.HEAD, allocates=True, parallel=False)

_LOOK: Final = 0.05
"""Seconds between two looks at what time does: a frame need not wait for them."""
_SILENCE: Final = 3  # times the stall time: the sender speaks at least every half of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(BorderSettings):
    """Settings of a net_receive stage: those of its border; see ``BorderSettings``."""


def run(port: HeadPort, settings: Settings) -> None:
    """Receive until the other side's stream has ended and it knows that everything is here.

    Sends the notices ``paths`` (path, state, frames, bytes, repeated; once a second while something
    changes), ``path lost`` and ``path refused`` (path, reason), and leaves the result blocks and
    bytes.

    Raises:
        PeerUnreachableError: No path came about.
        PeerLostError: No path has been open for too long.
        UsageError: A setting makes no sense.
        PipeError: From the port.
    """
    with Border(port, settings) as border:
        receiving = _Receiving(port, settings, border)
        try:
            receiving.run()
        finally:
            receiving.close()


@dataclass(slots=True)
class _Line:
    """An open path."""

    number: int
    carrier: Carrier
    outlet: Outlet
    frames: DataFrames
    sealer: Sealer
    opened: float
    buffer: Buffer | None = None
    is_told: bool = False


class _Receiving:
    def __init__(self, port: HeadPort, settings: Settings, border: Border) -> None:
        self._port = port
        self._border = border
        self._stall = settings.stall_s
        self._receiver: Receiver[Buffer] = Receiver(silence=_SILENCE * settings.stall_s)
        self._lines: dict[int, _Line] = {}
        self._readers: dict[int, _Line] = {}
        self._writers: dict[int, _Line] = {}
        self._hand: list[Buffer] = []
        self._looked = 0.0
        self._is_dry = False
        self._is_over = False
        self._blocks = self._bytes = 0

    def run(self) -> None:
        while not self._is_over:
            self._port.check()
            self._set_aside()
            self._say()
            self._turn()
        for line in self._lines.values():
            self._tell(line, time.monotonic(), force=True, state="done")
        self.close()
        for buffer in self._hand:
            self._port.free(buffer)
        self._port.result({"blocks": self._blocks, "bytes": self._bytes})

    def close(self) -> None:
        """Close every path; a buffer that was being filled is in hand again."""
        for line in list(self._lines.values()):
            self._remove(line)

    # ---- buffers

    def _set_aside(self) -> None:
        """Take every free buffer, and promise it to the sender."""
        if self._receiver.is_complete:
            return
        while not self._is_dry:
            try:
                self._hand.append(self._port.alloc(timeout=0))
            except BufferTimeoutError:
                self._is_dry = True
                return
            self._receiver.granted()

    # ---- in

    def _hear(self, line: _Line) -> None:
        self._receiver.heard(line.number, time.monotonic())
        try:
            while (arrived := line.frames.pull()) is not None:
                self._understand(line, arrived.frame, is_whole=arrived.is_whole)
                if self._is_over:
                    return
        except (PeerError, FormatError, SecurityError) as error:
            self._lose(line, str(error))

    def _understand(self, line: _Line, frame: Frame, *, is_whole: bool) -> None:
        now = time.monotonic()
        if frame.kind is Kind.DATA:
            if is_whole:
                self._arrive(line, frame, now)
            else:
                self._begin(line, frame, now)
        elif frame.kind is Kind.END:
            self._receiver.end(line.number, frame.sequence, now)
        elif frame.kind is Kind.PING:
            self._receiver.pinged(line.number, now)
        elif frame.kind is Kind.DONE and self._receiver.is_complete:
            self._is_over = True
        else:
            raise PeerProtocolError(
                peer=line.carrier.name, reason=f"{frame.kind.name}, with the stream"
            )

    def _begin(self, line: _Line, frame: Frame, now: float) -> None:
        if not self._receiver.begin(line.number, frame.sequence, now):
            line.frames.skip()
            return
        for rival in self._receiver.rivals(line.number):
            self._lose(self._lines[rival], "its frame came on another path")
        buffer = line.buffer = self._hand.pop()
        place = buffer.across(frame.tag_used, frame.used + line.frames.seal_size)
        line.frames.put_into(place)

    def _arrive(self, line: _Line, frame: Frame, now: float) -> None:
        buffer, line.buffer = line.buffer, None
        if buffer is not None:
            tag_used = frame.tag_used
            buffer.tag[:tag_used] = buffer.tag[len(buffer.tag) - tag_used :]
            buffer.used, buffer.tag_used = frame.used, tag_used
        due = self._receiver.arrive(line.number, frame.length, frame.stamp, now, buffer)
        for one in due:
            self._blocks += 1
            self._bytes += one.used
            self._port.send(one)

    # ---- out

    def _say(self) -> None:
        """Acknowledge what has come, and tell of buffers that were set aside."""
        if self._receiver.is_complete:
            for line in list(self._lines.values()):
                if not line.is_told:
                    line.is_told = True
                    line.outlet.put_small(line.sealer.small(Kind.DONE))
                    self._push(line)
        now = time.monotonic()
        ready = {line.number for line in self._lines.values() if not line.outlet.pending}
        for said in self._receiver.acknowledgements(now, ready):
            line = self._lines[said.path]
            line.outlet.put_small(
                line.sealer.small(
                    Kind.ACK, sequence=said.credit, received=said.received, stamp=said.stamp
                )
            )
            self._push(line)

    def _push(self, line: _Line) -> None:
        try:
            line.outlet.push()
        except PeerError as error:
            self._lose(line, str(error))

    # ---- waiting

    def _turn(self) -> None:
        """Wait for something to happen, and handle it."""
        masks = dict.fromkeys(self._readers, select.POLLIN)
        for writer, line in self._writers.items():
            if line.outlet.pending:
                masks[writer] = masks.get(writer, 0) | select.POLLOUT
        if not self._receiver.is_complete:
            masks[self._border.watched.free] = select.POLLIN
        due = self._receiver.next_due(time.monotonic())
        what = Wait.INPUT if self._hand else Wait.BUFFER
        self._handle(self._border.wait(masks, due, what))
        self._look_after(time.monotonic())

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        for descriptor, events in ready:
            if descriptor == self._border.watched.free:
                self._is_dry = False
                continue
            writing, reading = self._writers.get(descriptor), self._readers.get(descriptor)
            if writing is not None and events & select.POLLOUT:
                self._push(writing)
            if reading is not None and events & ~select.POLLOUT:
                self._hear(reading)
        for opened in self._border.openings(ready):
            self._add(opened)

    def _look_after(self, now: float) -> None:
        if now - self._looked < _LOOK:
            return
        self._looked = now
        for number in self._receiver.silent(now):
            self._lose(self._lines[number], "nothing came for too long")
        for line in self._lines.values():
            self._tell(line, now)
        self._border.grow(self._blocks, self._bytes, now)
        if self._receiver.is_complete:
            # Everything went on; that the sender could not say goodbye is no reason to fail.
            self._is_over = self._is_over or self._border.alone(now) > self._stall
        else:
            self._border.check_patience(now)

    # ---- paths

    def _add(self, opened: Opened) -> None:
        carrier, agreed = opened
        if agreed.path in self._lines:
            self._lose(self._lines[agreed.path], "opened again by the other side", dial=False)
        now = time.monotonic()
        protection = self._border.terms.protection
        line = _Line(
            number=agreed.path,
            carrier=carrier,
            outlet=Outlet(carrier.writer, carrier.name),
            frames=DataFrames(
                carrier.reader,
                carrier.name,
                protection=protection,
                key=agreed.data_key,
                most=self._port.buffer_size + MARGIN,
            ),
            sealer=Sealer(protection, agreed.back_key),
            opened=now,
        )
        self._lines[line.number] = line
        self._readers[carrier.reader] = self._writers[carrier.writer] = line
        self._receiver.open(line.number, now)
        self._tell(line, now, force=True)

    def _lose(self, line: _Line, reason: str, *, dial: bool = True) -> None:
        """Give a path up; a frame that was arriving on it will come again."""
        now = time.monotonic()
        self._tell(line, now, force=True, state="lost")
        self._receiver.close(line.number)
        self._remove(line)
        self._border.lost(
            line.number,
            reason,
            lasted=now - line.opened,
            is_alone=not self._lines and dial,
            # A sender that has heard that all is here leaves whatever way it likes.
            is_news=not self._receiver.is_complete,
        )

    def _remove(self, line: _Line) -> None:
        del self._lines[line.number]
        del self._readers[line.carrier.reader]
        del self._writers[line.carrier.writer]
        if line.buffer is not None:
            self._hand.append(line.buffer)
            line.buffer = None
        for descriptor in {line.carrier.reader, line.carrier.writer}:
            self._border.forget(descriptor)
        line.carrier.close()

    def _tell(self, line: _Line, now: float, *, force: bool = False, state: str = "open") -> None:
        lane = self._receiver.lanes[line.number]
        self._border.tell(
            line.number,
            now,
            force=force,
            state=state,
            frames=lane.frames,
            bytes=lane.bytes,
            repeated=lane.repeated,
        )
