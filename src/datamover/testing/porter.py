"""A porter: takes TCP connections and passes them through the door that their hello names.

Every connection stays known, so that a test can cut it while it carries data.

Source: docs/spec/link-protocol.md, 2.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

from datamover.errors import DataMoverError
from datamover.link.door import hand_over
from datamover.wire.frame import HELLO_SIZE

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Porter"]


class Porter:
    """Listens on a port, by default one of the loopback interface, in a thread of its own.

    Attributes:
        address: Where, as a stage is told it.
        connections: Every connection that came, in order.
        hellos: The first bytes of each that was passed on.
        refused: Why those that were passed to nobody were not.
        turns_away: Close whatever comes.
    """

    def __init__(self, runtime: str, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Begin to listen.

        Args:
            runtime: The folder of the doors.
            host: The address to listen on; empty: all.
            port: And the port; 0: any.
        """
        self.connections: list[socket.socket] = []
        self.hellos: list[bytes] = []
        self.refused: list[str] = []
        self.turns_away = False
        self._runtime = runtime
        self._listener = socket.create_server((host, port))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, name="porter", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def cut(self) -> int:
        """Cut every connection in both directions; return how many were."""
        count = 0
        for one in self.connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
                count += 1
        return count

    def close(self) -> None:
        """Stop listening, and let go of every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        for one in self.connections:
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            try:
                if not self.turns_away:
                    self._pass_on(connection)
                    continue
            except (OSError, DataMoverError) as error:
                self.refused.append(str(error))
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        hello = connection.recv(HELLO_SIZE, socket.MSG_WAITALL)
        self.hellos.append(hello)
        hand_over(self._runtime, hello, [connection.fileno()]).close()
