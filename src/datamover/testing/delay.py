"""A long, thin or unreliable line, as a TCP proxy in a process of its own.

    with DelayProxy("127.0.0.1", port, delay_ms=25, mbit=400, window=4 << 20) as line:
        connect to (line.address, line.port)
        line.cut(); line.resume()

Each way takes ``delay_ms``, so a question has its answer after twice that.  ``mbit`` is shared by
all connections of a direction.  ``window`` is what one connection may have on its way without an
acknowledgement: what limits a single TCP connection on a long line, and none of the sockets here
can know it, for they see a line of no length.  ``loss`` is the chance of a block of 64 KiB to
be lost: TCP sends it again, and all behind it waits for ``stall_ms``.

The other half is ``datamover.testing.delay_line``.

Source: SPEC G9; CONTRIBUTING.md, "Two machines on one".
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DelayProxy", "LineSettings", "LineStatistics"]

_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """What a line is like.

    Attributes:
        delay_ms: One way.
        mbit: What it carries each way, in Mbit/s; 0 for as fast as it goes.
        window: Bytes that a connection may have unacknowledged; 0 for no limit but memory.
        loss: Chance of a block to be lost, 0 to 1.
        stall_ms: How long a lost block holds up its connection.
        seed: Which blocks are lost.
    """

    delay_ms: float = 0.0
    mbit: float = 0.0
    window: int = 0
    loss: float = 0.0
    stall_ms: float = 200.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStatistics:
    """What a line has done.

    Attributes:
        opened: Connections that were accepted.
        open: Connections that are there now.
        forward: Bytes delivered from those who connected.
        backward: Bytes delivered to them.
        held: Bytes that are on the line now.
        held_max: The most there ever were.
        lost: Blocks that were held up.
    """

    opened: int
    open: int
    forward: int
    backward: int
    held: int
    held_max: int
    lost: int


class DelayProxy:
    """A line to one address, from ``with`` to its end; the process ends with its owner, however.

    Args:
        host: where the line leads to; "" for where each connection was going before the
            kernel redirected it here (``LongLine``).
        port: its port.
        listen: the address it is reached at.
        turned: connections from this address go the line the other way.
        prefix: what runs it on another host (``Host.prefix``).
        settings: see ``LineSettings``.

    Attributes:
        address: Where to connect to.
        port: Its port; the same after a cut.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        listen: str = "127.0.0.1",
        turned: str = "",
        prefix: Sequence[str] = (),
        **settings: Any,  # noqa: ANN401  the dataclass names and checks them
    ) -> None:
        self.address = listen
        self.port = 0
        self.settings = LineSettings(**settings)
        self._target = (host, port)
        self._turned = turned
        self._prefix = tuple(prefix)

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        ours, theirs = socket.socketpair()
        words = (sys.executable, "-m", "datamover.testing.delay_line", str(theirs.fileno()))
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  tests run what they say
                [*self._prefix, *words],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.settimeout(_ANSWER_S)
        self._socket, self._answers = ours, ours.makefile("r")
        try:
            told = self._ask(
                "start",
                listen=self.address,
                target=self._target,
                turned=self._turned,
                settings=asdict(self.settings),
            )
        except BaseException:
            self.__exit__()
            raise
        self.port = int(told["port"])
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()
        try:
            self._process.wait(_ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Let nothing through; connections stay, new ones wait."""
        self._ask("pause")

    def cut(self, how: Literal["rst", "fin"] = "rst", *, refuse: bool = True) -> None:
        """End all connections, and what they have on the line is lost.

        Args:
            how: by a reset, or by an end that looks like an orderly one.
            refuse: whether new connections are refused until ``resume``.
        """
        self._ask("cut", how=how, refuse=refuse)

    def resume(self) -> None:
        """Let everything through again."""
        self._ask("resume")

    def change(self, **settings: Any) -> None:  # noqa: ANN401  the dataclass names and checks them
        """Make the line another one, for what is sent from now on."""
        self.settings = LineSettings(**{**asdict(self.settings), **settings})
        self._ask("change", settings=asdict(self.settings))

    def statistics(self) -> LineStatistics:
        """Return what it has done."""
        return LineStatistics(**self._ask("statistics"))

    def _ask(self, verb: str, **facts: object) -> dict[str, Any]:
        self._socket.sendall(json.dumps({"do": verb, **facts}).encode() + b"\n")
        line = self._answers.readline()
        if not line:
            raise ConnectionError(f"the line ended at {verb}: status {self._process.poll()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise OSError(answer["error"])
        return answer
