"""What a conversation has said and its socket has not taken yet.

asyncio counts a transport's backlog anew for each piece that is written to it, which takes ever
longer where the other side does not read.  So the transport gets one piece at a time, and what is
said meanwhile waits here, and is given to it together.

Source: docs/spec/control-protocol.md, section 3 (who takes nothing in).
"""

from __future__ import annotations

import asyncio
import contextlib

from datamover.units import Bytes

__all__ = ["Outgoing"]


class Outgoing:
    """The way out of one conversation, in the thread of its event loop."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting = bytearray()
        self._sending: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> Bytes:
        """How many bytes wait for the transport to take the last piece."""
        return Bytes(len(self._waiting))

    def put(self, data: bytes) -> None:
        """Send ``data`` behind all that was put before; dropped when the socket is closing.

        Blocking: never.
        """
        if self._writer.is_closing():
            return
        self._waiting += data
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._send())

    async def drain(self) -> None:
        """Wait until there is room for more.

        Raises:
            ConnectionError: The connection is gone.
        """
        if self._sending is not None:
            await asyncio.shield(self._sending)
        if self._writer.is_closing():
            raise ConnectionResetError

    async def finish(self, timeout: float) -> None:
        """Give what was put last a moment to go out."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(timeout):
                self._writer.transport.set_write_buffer_limits(0)
                await self.drain()
                await self._writer.drain()

    def close(self) -> None:
        """Close the connection; what has not gone out is lost."""
        if self._waiting or self._writer.transport.get_write_buffer_size():
            self.abort()
        self._writer.close()

    def abort(self) -> None:
        """Break the connection off."""
        self._waiting.clear()
        self._writer.transport.abort()

    async def _send(self) -> None:
        try:
            while self._waiting:
                piece = bytes(self._waiting)
                self._waiting.clear()
                self._writer.write(piece)
                await self._writer.drain()
        except ConnectionError:
            self.abort()
        finally:
            self._sending = None
