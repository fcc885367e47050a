"""Answer one client in the steps of an embedded monitor.

Source: docs/spec/control-protocol.md; SPEC C15, C17.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from datamover.errors import UsageError
from datamover.monitor.channel import SocketChannel
from datamover.monitor.conversation import Conversation
from datamover.monitor.patience import PATIENCE
from datamover.monitor.permit import Who

if TYPE_CHECKING:
    import socket

    from datamover.monitor.patience import Patience
    from datamover.monitor.supervisor import Monitor
    from datamover.pipe.spec import PipeSpec

__all__ = ["Answering"]

_MOST_UNSENT: Final = 16 << 20


class Answering:
    """One conversation; close it, or wait until it ``is_over``."""

    def __init__(
        self, monitor: Monitor, connection: socket.socket, *, patience: Patience = PATIENCE
    ) -> None:
        """Begin; the connection becomes this object's."""
        self._monitor = monitor
        self._channel = SocketChannel(connection)
        self._unsent = bytearray()
        self._is_closed = False
        self._conversation = Conversation(
            monitor=monitor,
            who=Who(name="the user", permit=_OnlyLooking()),
            send=self._send,
            patience=patience,
        )
        monitor.watch(self._channel.fileno(), self._ready)
        monitor.tend(self._tend)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._is_closed

    def close(self) -> None:
        """End it; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._conversation.end("the command ends")
        self._monitor.untend(self._tend)
        self._monitor.unwatch(self._channel.fileno())
        self._channel.close()

    def _ready(self) -> None:
        try:
            data = self._channel.read()
        except OSError:
            data = b""
        if data == b"":
            self.close()
        elif data:
            self._conversation.feed(data)
        self._flush()

    def _tend(self) -> float:
        self._conversation.look()
        left = self._conversation.tend()
        self._flush()
        if self._conversation.over is not None:
            self.close()
        return math.inf if self._is_closed else left

    def _send(self, data: bytes) -> None:
        self._unsent += data

    def _flush(self) -> None:
        if self._is_closed:
            return
        had_some = bool(self._unsent)
        try:
            while self._unsent:
                with memoryview(self._unsent) as view:
                    taken = self._channel.write(view)
                if not taken:
                    break
                del self._unsent[:taken]
        except OSError:
            self.close()
            return
        if len(self._unsent) > _MOST_UNSENT:
            self.close()
        elif had_some:
            self._monitor.watch(self._channel.fileno(), self._ready, writes=bool(self._unsent))


class _OnlyLooking:
    """A command runs its own pipes: they can be seen, stopped and limited."""

    def extend(self, spec: PipeSpec) -> PipeSpec:
        """See ``Permit``."""
        raise UsageError(reason=f"this command runs its own pipes only, not {spec.name:.80}")

    def see(self) -> None:
        """See ``Permit``."""

    def stop(self) -> None:
        """See ``Permit``."""
