"""A meddler on the way: passes bytes on between two sides, and does one thing wrong on cue.

Source: docs/spec/link-protocol.md, 3 and 4.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Meddler", "Mischief"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mischief:
    """What to do to one connection, where its dialing side has sent so many bytes.

    Attributes:
        at: Offset in the stream; the hello is the first 64 bytes.
        what: "flip" a bit, "cut" the connection, "stall": pass on nothing any more, or "garbage":
            other bytes from there on.
        back: In the other direction instead.
        times: To how many connections, from the first.
    """

    at: int
    what: str
    back: bool = False
    times: int = 1


class Meddler:
    """Listens on a port of the loopback interface, and connects on."""

    def __init__(self, address: str, mischief: Mischief) -> None:
        """Begin; connections go on to ``address``."""
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._mischief = mischief
        self._left = mischief.times
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._run(self._serve)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in [self._listener, *self._ends]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in [self._listener, *self._ends]:
            one.close()

    @property
    def done(self) -> int:
        """How many connections were spoiled, or will be when they get so far."""
        return self._mischief.times - self._left

    def _run(self, body: object, *given: object) -> None:
        thread = threading.Thread(target=body, args=given, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._ends += [near, far]
            spoils = self._left > 0
            self._left -= spoils
            self._run(self._pump, near, far, spoils and not self._mischief.back)
            self._run(self._pump, far, near, spoils and self._mischief.back)

    def _pump(self, source: socket.socket, target: socket.socket, spoils: bool) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                at = self._mischief.at - count
                count += len(data)
                if spoils and 0 <= at < len(data):
                    changed = self._spoil(data, at)
                    if changed is None:
                        return
                    data = changed
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _spoil(self, data: bytes, at: int) -> bytes | None:
        match self._mischief.what:
            case "flip":
                return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
            case "garbage":
                return data[:at] + b"\x5a" * (len(data) - at)
            case "stall":
                return None
            case _:
                raise OSError("cut")
