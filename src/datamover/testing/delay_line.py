"""The process of a ``DelayProxy``: one thread, a selector, and a queue for each way.

Source: SPEC G9; linux/netfilter_ipv4.h, SO_ORIGINAL_DST.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
from random import Random
from typing import TYPE_CHECKING, Any, Final

from datamover.testing.delay import LineSettings
from datamover.testing.delay_way import Way, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main"]

_IDLE_S: Final = 1.0
# What the kernel holds at each end of a line is on no line: with its own limits, of many
# megabytes, a short transfer would be over for its sender before it had begun.
_KERNEL: Final = 256 * 1024
_CONNECT_S: Final = 5.0
_ASKED_MAX: Final = 65536
_ORIGINAL_DESTINATION: Final = 80  # linux/netfilter_ipv4.h
_RESET: Final = struct.pack("ii", 1, 0)


class _Connection:
    """Two sockets, and a way from each to the other."""

    def __init__(self, near: socket.socket, far: socket.socket, wires: tuple[Wire, Wire]) -> None:
        self.sockets = (near, far)
        self.ways = ((near, Way(wires[0]), far), (far, Way(wires[1]), near))
        self.finished: set[socket.socket] = set()
        for one in self.sockets:
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL)

    def end(self, *, reset: bool) -> None:
        for one in self.sockets:
            if reset:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.close()


class _Line:
    def __init__(self, control: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._wanted: dict[socket.socket, int] = {}
        self._control = control
        self._asked = bytearray()
        self._settings = LineSettings()
        self._random = Random(0)  # noqa: S311  a failure has to repeat, not to be secret
        self._listen: tuple[str, int] = ("", 0)
        self._target: tuple[str, int] = ("", 0)
        self._turned = ""
        self._listener: socket.socket | None = None
        self._wires = (Wire(), Wire())
        self._connections: list[_Connection] = []
        self._paused = False
        self._opened = self._held_max = 0
        self._verbs: dict[str, Callable[..., dict[str, int] | None]] = {
            "start": self._start,
            "change": self._change,
            "pause": self._pause,
            "resume": self._resume,
            "cut": self._cut,
            "statistics": self._statistics,
        }

    def run(self) -> None:
        """Work until the owner closes the control socket."""
        self._want(self._control, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj: mask for key, mask in self._selector.select(self._turn())}
            if self._control in ready and not self._answer():
                return
            if self._listener in ready and not self._paused:
                self._accept(self._listener)

    # -- what is asked for

    def _answer(self) -> bool:
        got = self._control.recv(_ASKED_MAX)
        self._asked += got
        while (end := self._asked.find(b"\n")) >= 0:
            asked = json.loads(self._asked[:end])
            del self._asked[: end + 1]
            try:
                told: dict[str, Any] = self._verbs[asked.pop("do")](**asked) or {}
            except OSError as error:
                told = {"error": str(error)}
            self._control.sendall(json.dumps(told).encode() + b"\n")
        return bool(got)

    def _start(
        self, listen: str, target: tuple[str, int], turned: str, settings: dict[str, Any]
    ) -> dict[str, int]:
        self._change(settings)
        self._random = Random(self._settings.seed)  # noqa: S311  as above
        self._listen, self._target, self._turned = (listen, 0), (target[0], target[1]), turned
        self._open_door()
        return {"port": self._listen[1]}

    def _change(self, settings: dict[str, Any]) -> None:
        self._settings = LineSettings(**settings)

    def _pause(self) -> None:
        self._paused = True

    def _resume(self) -> None:
        self._paused = False
        self._open_door()

    def _cut(self, how: str, refuse: bool) -> None:
        if refuse and self._listener is not None:
            self._want(self._listener, 0)
            self._listener.close()
            self._listener = None
        for connection in list(self._connections):
            self._drop(connection, reset=how == "rst")

    def _statistics(self) -> dict[str, int]:
        forward, backward = self._wires
        return {
            "opened": self._opened,
            "open": len(self._connections),
            "forward": forward.delivered,
            "backward": backward.delivered,
            "held": self._held(),
            "held_max": self._held_max,
            "lost": forward.lost + backward.lost,
        }

    def _held(self) -> int:
        return sum(way.held for one in self._connections for _, way, _ in one.ways)

    def _open_door(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(self._listen, backlog=128)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL)
            self._listener.setblocking(False)
            self._listen = self._listener.getsockname()[:2]

    # -- connections

    def _accept(self, listener: socket.socket) -> None:
        try:
            near, (origin, _) = listener.accept()
        except OSError:  # it went away while it waited
            return
        self._opened += 1
        try:
            far = _connected(self._far_end(near))
        except OSError:  # nobody there: so it looks from here too
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            near.close()
            return
        there, back = self._wires
        wires = (back, there) if origin == self._turned else (there, back)
        self._connections.append(_Connection(near, far, wires))

    def _far_end(self, near: socket.socket) -> tuple[str, int]:
        if self._target[0]:
            return self._target
        port, address = struct.unpack("!2xH4s8x", near.getsockopt(0, _ORIGINAL_DESTINATION, 16))
        return socket.inet_ntoa(address), port

    def _drop(self, connection: _Connection, *, reset: bool) -> None:
        self._connections.remove(connection)
        for one in connection.sockets:
            self._want(one, 0)
        connection.end(reset=reset)

    # -- bytes

    def _turn(self) -> float:
        """Move what can be moved; return the seconds until there is more to do."""
        rest = _IDLE_S
        if self._listener is not None:
            self._want(self._listener, 0 if self._paused else selectors.EVENT_READ)
        for connection in list(self._connections):
            try:
                rest = min(rest, self._attend(connection))
            except OSError:
                self._drop(connection, reset=True)
                continue
            if len(connection.finished) == len(connection.ways):
                self._drop(connection, reset=False)
        self._held_max = max(self._held_max, self._held())
        return max(0.0, rest)

    def _attend(self, connection: _Connection) -> float:
        rest = _IDLE_S
        wanted = dict.fromkeys(connection.sockets, 0)
        for source, way, sink in connection.ways if not self._paused else ():
            now = time.monotonic()
            if self._write(way, sink, connection, now):
                wanted[sink] |= selectors.EVENT_WRITE
            elif way.queue:
                rest = min(rest, way.queue[0][0] - now)
            # Reading without having been told that there is something costs one call and saves one.
            room = way.room(self._settings, now)
            if room and self._read(source, way, room, now):
                rest = 0.0
            elif room:
                wanted[source] |= selectors.EVENT_READ
            elif not way.ended:
                rest = min(rest, way.wakes(self._settings, now))
        for one, mask in wanted.items():
            self._want(one, mask)
        return rest

    def _read(self, source: socket.socket, way: Way, room: int, now: float) -> bool:
        try:
            block = source.recv(room)
        except BlockingIOError:
            return False
        way.take(block, self._settings, self._random, now)
        return True

    def _write(self, way: Way, sink: socket.socket, connection: _Connection, now: float) -> bool:
        """Deliver what is due; return whether the sink takes no more."""
        while way.queue and way.queue[0][0] <= now:
            block = way.queue[0][1]
            if not block:
                way.gave(0)
                sink.shutdown(socket.SHUT_WR)
                connection.finished.add(sink)
                break
            try:
                way.gave(sink.send(block))
            except BlockingIOError:
                return True
        return False

    def _want(self, one: socket.socket, mask: int) -> None:
        before = self._wanted.pop(one, 0)
        if mask:
            self._wanted[one] = mask
        if before == mask:
            return
        if not before:
            self._selector.register(one, mask)
        elif not mask:
            self._selector.unregister(one)
        else:
            self._selector.modify(one, mask)


def _connected(to: tuple[str, int]) -> socket.socket:
    far = socket.socket()
    try:
        # Before it connects, since that is when the window is agreed.
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL)
        far.settimeout(_CONNECT_S)
        far.connect(to)
    except BaseException:
        far.close()
        raise
    return far


def main() -> None:
    """Run a line; the one argument is the descriptor of its control socket."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _Line(control).run()


if __name__ == "__main__":
    main()
