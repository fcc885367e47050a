"""A process that does one thing for the monitor, with a line to it at its standard input.

    async with attended(command) as process:
        process.post(message)
        async for message in process.messages(): ...
        status = await process.wait()

Source: docs/spec/control-protocol.md, section 8; SPEC C5, C13; ADR 0023.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

from datamover.monitor.mail import posted, received
from datamover.wire.control import ControlReader

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Sequence

    from datamover.wire.message import Message

__all__ = ["Attended", "attended"]

_AT_ONCE: Final = 1 << 16


class Attended:
    """The monitor's end."""

    def __init__(
        self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def post(self, message: Message) -> None:
        """Say something, unless it is gone."""
        if not self._writer.transport.is_closing():
            self._writer.write(posted(message))

    def terminate(self) -> None:
        """Ask the process to end, whatever it is at."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what it says, until it closes its end.

        Raises:
            FormatError: What it says is no message.
        """
        messages = ControlReader()
        messages.open()
        while True:
            try:
                data = await self._reader.read(_AT_ONCE)
            except ConnectionError:
                return
            if not data:
                return
            messages.feed(data)
            for message in messages.messages():
                yield received(message)

    async def wait(self) -> int:
        """Return its status when it has ended."""
        return await self._process.wait()


@contextlib.asynccontextmanager
async def attended(command: Sequence[str]) -> AsyncIterator[Attended]:
    """Start a process for the ``async with`` block; behind it, it sees the end of its line.

    Raises:
        OSError: It cannot be started.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the monitor, which ends it in order
            )
        reader, writer = await asyncio.open_connection(sock=ours)
    except BaseException:
        ours.close()
        raise
    try:
        yield Attended(process, reader, writer)
    finally:
        writer.close()
