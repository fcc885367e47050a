"""One open path: frames out and frames in, straight from and into the shared buffers.

Never blocks.  What goes out is a list of pieces that one system call takes as far as it can; what
comes in is read to where it belongs, and the next frame's header with it.

Source: docs/spec/link-protocol.md, 3; SPEC N5; DESIGN D8; LIMITS: network.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import stat
import termios
from typing import TYPE_CHECKING, Final, NamedTuple

from datamover.errors import PeerLostError, PeerProtocolError
from datamover.link.seal import Opener
from datamover.wire.frame import FRAME_SIZE, Frame, Kind, decode_frame

if TYPE_CHECKING:
    from datamover.wire.frame import Protection

__all__ = ["Arrived", "DataFrames", "Outlet", "SmallFrames"]

_SKIPPED: Final = 1 << 16
_BATCH: Final = 64


class Arrived(NamedTuple):
    """A frame, or the beginning of one.

    Attributes:
        frame: Its header.
        is_whole: Everything has come and was checked; else say where the rest is to go.
    """

    frame: Frame
    is_whole: bool


class Outlet:
    """The writing end of a path.

    Attributes:
        pending: Bytes that wait to be written.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.pending = 0
        self._descriptor = descriptor
        self._name = name
        self._pieces: list[memoryview | bytes] = []

    def put(self, pieces: list[memoryview]) -> None:
        """Have pieces written, in order, behind what waits.

        Ownership: they must stay as they are until ``pending`` is 0.
        """
        self._pieces += pieces
        self.pending += sum(map(len, pieces))

    def put_small(self, frame: bytes) -> None:
        """Have a small frame written."""
        self._pieces.append(frame)
        self.pending += len(frame)

    def push(self, most: int = 1 << 62) -> int:
        """Write what the connection takes, at most ``most`` bytes; return how many.

        Raises:
            PeerLostError: The connection is no more.

        Blocking: never.
        """
        pieces = self._pieces if self.pending <= most else _first(self._pieces, most)
        try:
            done = os.writev(self._descriptor, pieces)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerLostError(peer=self._name, reason=error.strerror or str(error)) from None
        self.pending -= done
        if not self.pending:
            self._pieces = []
        else:
            self._drop(done)
        return done

    def backlog(self) -> int:
        """Bytes that were written and that the system still holds; it sinks while a path lives."""
        held = array.array("i", [0])
        is_socket = stat.S_ISSOCK(os.fstat(self._descriptor).st_mode)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, termios.TIOCOUTQ if is_socket else termios.FIONREAD, held)
        return held[0]

    def _drop(self, done: int) -> None:
        pieces = self._pieces
        while done and done >= len(pieces[0]):
            done -= len(pieces.pop(0))
        if done:
            pieces[0] = memoryview(pieces[0])[done:]


class SmallFrames:
    """The reading end, where only frames come that carry nothing: acknowledgements."""

    def __init__(self, descriptor: int, name: str, *, protection: Protection, key: bytes) -> None:
        self._descriptor = descriptor
        self._name = name
        self._opener = Opener(protection, key)
        self._size = int(FRAME_SIZE) + self._opener.seal_size
        self._rest = b""
        self._counter = 0

    def pull(self) -> list[Frame]:
        """Return what has come, checked.

        Raises:
            PeerLostError: The connection is no more.
            FormatError: Not what may come here.
            SecurityError: Not the peer's.

        Blocking: never.
        """
        data = self._rest + _read(self._descriptor, _BATCH * self._size, self._name)
        frames = []
        end = len(data) - len(data) % self._size
        for at in range(0, end, self._size):
            header = data[at : at + FRAME_SIZE]
            frame = decode_frame(header, counter=self._counter, most=0)
            if frame.kind is Kind.DATA:
                raise PeerProtocolError(peer=self._name, reason="data, against the stream")
            seal = bytearray(data[at + FRAME_SIZE : at + self._size])
            self._opener.check(frame, header, memoryview(seal))
            self._counter += 1
            frames.append(frame)
        self._rest = data[end:]
        return frames


class DataFrames:
    """The reading end, where data comes."""

    def __init__(
        self, descriptor: int, name: str, *, protection: Protection, key: bytes, most: int
    ) -> None:
        """Begin behind the hellos.

        Args:
            descriptor: To read from, non-blocking.
            name: What a person calls the path.
            protection: Of the border.
            key: Of this direction of this connection.
            most: Bytes of payload that a buffer has room for.
        """
        self._descriptor = descriptor
        self._name = name
        self._opener = Opener(protection, key)
        self._most = most
        self._counter = 0
        self._header = memoryview(bytearray(FRAME_SIZE))
        self._have = 0  # bytes of the header
        self._frame: Frame | None = None
        self._taken = b""  # the header's bytes, of the frame that is arriving
        self._place: memoryview | None = None  # where it goes; None: nobody has said
        self._skips = False
        self._is_drained = False
        self._done = 0  # bytes of its body
        self._spare = memoryview(bytearray(0))

    @property
    def seal_size(self) -> int:
        """Bytes that the place of a frame must have behind tag and payload."""
        return self._opener.seal_size

    def put_into(self, place: memoryview) -> None:
        """Say where tag, payload and seal of the frame that has begun are to go.

        Ownership: until it has come whole, or the path is given up.
        """
        self._place = place

    def skip(self) -> None:
        """Say that the frame that has begun is here already: read it, and forget it."""
        self._skips = True
        if not self._spare:
            self._spare = memoryview(bytearray(_SKIPPED))

    def pull(self) -> Arrived | None:
        """Read on; return a frame that has begun or is whole, or None: nothing more now.

        A DATA frame is returned when its header has come, and again when it is whole; between the
        two the caller says ``put_into`` or ``skip``.  Others are returned when they are whole.

        Raises:
            PeerLostError: The connection is no more.
            FormatError: Not a frame, or damaged.
            SecurityError: Not the peer's.

        Blocking: never.
        """
        if self._frame is None:
            if self._have < FRAME_SIZE:
                if self._is_drained:  # whoever polls will say when there is more
                    self._is_drained = False
                    return None
                self._have += self._fill([self._header[self._have :]])
                if self._have < FRAME_SIZE:
                    return None
            frame = self._begin()
            if frame.kind is Kind.DATA:
                return Arrived(frame, is_whole=False)
            self._place = memoryview(bytearray(self._opener.seal_size))
            return self._go_on(frame)
        return self._go_on(self._frame)

    # ---- inside

    def _begin(self) -> Frame:
        self._taken = bytes(self._header)
        self._frame = decode_frame(self._taken, counter=self._counter, most=self._most)
        self._counter += 1
        self._have = self._done = 0
        self._place, self._skips = None, False
        return self._frame

    def _go_on(self, frame: Frame) -> Arrived | None:
        size = frame.length + self._opener.seal_size
        while self._done < size:
            if self._skips:
                asked = min(size - self._done, _SKIPPED)
                more = self._fill([self._spare[:asked]])
                self._done += more
            else:
                assert self._place is not None  # noqa: S101 - said when the frame began
                asked = size - self._done + FRAME_SIZE
                # The next frame's header comes with the end of this one.
                more = self._fill([self._place[self._done :], self._header])
                self._done += more
                self._is_drained = more < asked
                if self._done > size:
                    self._have, self._done = self._done - size, size
            if self._done < size and more < asked:
                return None
        if not self._skips:
            assert self._place is not None  # noqa: S101 - said when the frame began
            self._opener.check(frame, self._taken, self._place)
        self._frame = self._place = None
        return Arrived(frame, is_whole=True)

    def _fill(self, places: list[memoryview]) -> int:
        try:
            done = os.readv(self._descriptor, places)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerLostError(peer=self._name, reason=error.strerror or str(error)) from None
        if not done:
            raise PeerLostError(peer=self._name, reason="closed by the other side")
        return done


def _read(descriptor: int, most: int, name: str) -> bytes:
    try:
        data = os.read(descriptor, most)
    except BlockingIOError:
        return b""
    except OSError as error:
        raise PeerLostError(peer=name, reason=error.strerror or str(error)) from None
    if not data:
        raise PeerLostError(peer=name, reason="closed by the other side")
    return data


def _first(pieces: list[memoryview | bytes], most: int) -> list[memoryview | bytes]:
    """Return the first ``most`` bytes of pieces."""
    found: list[memoryview | bytes] = []
    for piece in pieces:
        if len(piece) >= most:
            return [*found, memoryview(piece)[:most]]
        found.append(piece)
        most -= len(piece)
    return found
