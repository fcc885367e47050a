"""Serve conversations in an event loop, beside a monitor that lives in it too.

    Hub        steps the monitor when its descriptor is readable, or a grace is over
    converse   one conversation over a reader and a writer of asyncio
    Worker     runs a conversation's methods, one after the other, in a thread of its own

Source: docs/spec/control-protocol.md; SPEC C1, C2, C4, C16; DESIGN D7.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Self

from datamover.monitor.admission import Admission
from datamover.monitor.conversation import Conversation
from datamover.monitor.outgoing import Outgoing
from datamover.monitor.patience import PATIENCE
from datamover.monitor.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path
    from types import TracebackType

    from datamover.monitor.controllers import Initiator
    from datamover.monitor.jobs import Jobs
    from datamover.monitor.patience import Patience
    from datamover.monitor.permit import Who
    from datamover.monitor.supervisor import Monitor
    from datamover.monitor.worker import Service
    from datamover.wire.message import Identify

__all__ = ["Hub", "converse"]

_AT_ONCE: Final = 64 << 10
_MOST_UNSENT: Final = 16 << 20
_LAST_WORD_S: Final = 1.0
"""For the last word, which says why a conversation ends, to go out."""
_SERVICE_S: Final = 5.0
"""For what a method does when its conversation ends; more than that it is left to itself."""


class Hub:
    """A monitor in the running event loop; use it ``with``, around the conversations.

    Attributes:
        monitor: Its own; only calls from the loop's thread touch it.
        conversations: Those that go on.
        is_draining: No new pipe is taken.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.conversations: list[Conversation] = []
        self.is_draining = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        """Begin to step the monitor."""
        self._loop.add_reader(self.monitor.fileno(), self.step)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Step it no longer; its pipes end when it is closed."""
        self._loop.remove_reader(self.monitor.fileno())
        if self._timer is not None:
            self._timer.cancel()

    @contextlib.contextmanager
    def holding(self, conversation: Conversation) -> Iterator[None]:
        """Tell this conversation, while it goes on, what has become of pipes."""
        self.conversations.append(conversation)
        if self.is_draining:
            conversation.drain()
        try:
            yield
        finally:
            self.conversations.remove(conversation)
            self.step()

    def drain(self) -> None:
        """Take no new pipes, in no conversation."""
        self.is_draining = True
        for conversation in self.conversations:
            conversation.drain()

    def step(self) -> None:
        """Let the monitor do what is to be done, and tell who asked."""
        if self._timer is not None:
            self._timer.cancel()
        self.monitor.step(0.0)
        for conversation in list(self.conversations):
            conversation.look()
        due = self.monitor.due()
        self._timer = None if due is None else self._loop.call_later(due, self.step)


async def converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    hub: Hub,
    who: Who,
    service: Service | None = None,
    initiator: Initiator | None = None,
    jobs: Jobs | None = None,
    runtime: Path | None = None,
    patience: Patience = PATIENCE,
) -> str:
    """Hold one conversation to its end; return why it ended.

    Args:
        reader: What the client says.
        writer: What it is told; closed when this returns.
        hub: The monitor that runs what it asks for, and tells when something has become of it.
        who: Who it is, and what it may do.
        service: The methods that are served beside pipes; closed when this returns.
        initiator: Initiates pipes for it; None: it may not ask for that.
        jobs: What the daemon goes on with by itself; None: it may not ask for that.
        runtime: The folder of the gates that it may identify itself at; None: at none.
        patience: How long silence is borne.

    Blocking: until the client goes, is gone, or breaks the protocol; what it had asked for is
    stopped then, and ends in the steps of the monitor.
    """
    out = Outgoing(writer)

    def send(data: bytes) -> None:
        out.put(data)
        if out.waiting > _MOST_UNSENT:
            conversation.end("it takes nothing in")
            out.abort()

    def admit(message: Identify) -> None:
        if admission is not None:
            admission.admit(conversation, message)

    admission = None
    if initiator is not None and runtime is not None:
        admission = Admission(runtime, writer, initiator)
    async with _working(service) as worker:
        conversation = Conversation(
            monitor=hub.monitor,
            who=who,
            send=send,
            caller=worker,
            initiator=initiator,
            jobs=jobs,
            admit=None if admission is None else admit,
            patience=patience,
        )
        if worker is not None:
            worker.serve(conversation, out)
        with hub.holding(conversation):
            await _hold_to_its_end(reader, out, conversation, hub)
    return str(conversation.over)


@contextlib.asynccontextmanager
async def _working(service: Service | None) -> AsyncIterator[Worker | None]:
    """Have a worker, and let it close its service before the conversation counts as over."""
    if service is None:
        yield None
        return
    worker = Worker(service, asyncio.get_running_loop())
    try:
        yield worker
    finally:
        worker.close()
        await worker.finish(_SERVICE_S)


async def _hold_to_its_end(
    reader: asyncio.StreamReader,
    out: Outgoing,
    conversation: Conversation,
    hub: Hub,
) -> None:
    try:
        await _hold(reader, out, conversation, hub)
    except asyncio.CancelledError:
        conversation.end("the server ends")
        raise
    except ConnectionError as error:
        conversation.end(error.strerror or "the connection broke")
    finally:
        conversation.end("the server failed")  # unless it has ended
        out.close()


async def _hold(
    reader: asyncio.StreamReader,
    out: Outgoing,
    conversation: Conversation,
    hub: Hub,
) -> None:
    reading: asyncio.Task[bytes] | None = None
    try:
        while conversation.over is None:
            reading = reading or asyncio.ensure_future(reader.read(_AT_ONCE))
            await asyncio.wait([reading], timeout=conversation.tend())
            if reading.done():
                data, reading = reading.result(), None
                if not data:
                    conversation.end("the client ended it")
                    return
                conversation.feed(data)
                hub.step()
        await out.finish(_LAST_WORD_S)
    finally:
        if reading is not None:
            reading.cancel()
