"""A conversation on standard input and output, as a remote shell carries it.

Source: docs/spec/control-protocol.md, section 1; docs/decisions/0014-two-machines.md.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from datamover.errors import UsageError
from datamover.monitor.patience import PATIENCE
from datamover.monitor.permit import Who
from datamover.monitor.serve import Hub, converse

if TYPE_CHECKING:
    from datamover.monitor.patience import Patience
    from datamover.monitor.supervisor import Monitor
    from datamover.monitor.worker import Service

__all__ = ["serve_stdio", "take_standard_streams"]

_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def take_standard_streams() -> tuple[int, int]:
    """Return descriptors of standard input and output, and put others in their places.

    Whatever else reads or writes them, here or in a task, finds /dev/null and standard error.

    Ownership: the caller closes both.
    """
    taken = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return taken


def serve_stdio(
    streams: tuple[int, int],
    *,
    monitor: Monitor,
    service: Service | None = None,
    patience: Patience = PATIENCE,
) -> str:
    """Hold one conversation; return why it ended.

    Args:
        streams: From ``take_standard_streams``; closed when this returns.
        monitor: Runs what is asked for; what runs still is stopped when it is closed.
        service: The methods that are served beside pipes.
        patience: How long silence is borne.

    Raises:
        UsageError: Standard input or output is a file.

    Blocking: until it has ended, or this process is told to end.
    """
    return asyncio.run(_serve(streams, monitor, service, patience))


async def _serve(
    streams: tuple[int, int], monitor: Monitor, service: Service | None, patience: Patience
) -> str:
    reader, writer, transport = await _opened(*streams)
    told: list[int] = []
    with Hub(monitor) as hub:
        talk = asyncio.ensure_future(
            converse(
                reader,
                writer,
                hub=hub,
                who=Who(name="the client"),
                service=service,
                patience=patience,
            )
        )

        def stop(number: int) -> None:
            told.append(number)
            talk.cancel()

        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, stop, number)
        try:
            with suppress(asyncio.CancelledError):
                return await talk
        finally:
            transport.close()
            for number in _STOPS:
                loop.remove_signal_handler(number)
    raise SystemExit(128 + told[0])


async def _opened(
    given: int, taken: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.BaseTransport]:
    first, second = os.fstat(given), os.fstat(taken)
    for found in (first, second):
        if not (stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
            raise UsageError(reason="standard input and output must be pipes, or a socket")
    if first.st_ino == second.st_ino and stat.S_ISSOCK(first.st_mode):
        os.close(taken)  # one socket for both ways
        both, writer = await asyncio.open_connection(sock=socket.socket(fileno=given))
        return both, writer, writer.transport
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 16)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(given, "rb", buffering=0)
    )
    out, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(taken, "wb", buffering=0)
    )
    return reader, asyncio.StreamWriter(out, protocol, reader, loop), transport
