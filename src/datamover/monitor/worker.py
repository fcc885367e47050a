"""Run the methods of one conversation in a thread, so that a slow disk holds nobody else up.

Source: docs/spec/control-protocol.md, sections 3 and 5.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from datamover.errors import DataMoverError, StopRequestedError, UsageError
from datamover.wire.message import Answer, Call, Part

if TYPE_CHECKING:
    from collections.abc import Collection

    from datamover.monitor.conversation import Conversation
    from datamover.monitor.outgoing import Outgoing
    from datamover.wire.message import Message, Plain

__all__ = ["Method", "Service", "Worker"]

Values = Mapping[str, object] | Iterator[Mapping[str, object]]
Method = Callable[["Plain"], Values]
"""Given values, it returns values, or an iterator of many; both are made in the worker's thread."""

_MOST_WAITING: Final = 64


class Service(Protocol):
    """What is served beside pipes, in one conversation; called from one thread alone."""

    def methods(self) -> Mapping[str, Method]:
        """Return what it answers, by name."""
        ...

    def close(self) -> None:
        """The conversation is over."""
        ...


class Worker:
    """A thread that starts with the first call and ends with the conversation."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._methods = dict(service.methods())
        self._loop = loop
        self._calls: queue.Queue[Call | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._conversation: Conversation | None = None
        self._out: Outgoing | None = None

    def serve(self, conversation: Conversation, out: Outgoing) -> None:
        """Answer in this conversation."""
        self._conversation, self._out = conversation, out

    def names(self) -> Collection[str]:
        """See ``conversation.Caller``."""
        return self._methods

    def call(self, call: Call) -> None:
        """See ``conversation.Caller``."""
        if call.method not in self._methods:
            raise UsageError(reason=f"no method {call.method!r:.100} is served here")
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            raise UsageError(reason=f"more than {_MOST_WAITING} calls wait") from None
        if self._thread is None:
            # A daemon: a method that hangs in the system must not keep the program.
            self._thread = threading.Thread(target=self._run, name="methods", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread behind the call that it is at, and close the service; never blocks."""
        if self._thread is None:
            self._service.close()
            return
        while True:
            try:
                self._calls.put_nowait(None)
            except queue.Full:
                self._calls.get_nowait()
            else:
                return

    async def finish(self, timeout: float) -> None:
        """Wait until the service is closed, if that happens in time."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, timeout)

    # ---- in the thread

    def _run(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                self._answer(call)
        except StopRequestedError:
            return
        finally:
            self._service.close()

    def _answer(self, call: Call) -> None:
        try:
            found = self._methods[call.method](call.given)
            if isinstance(found, Mapping):
                self._say(Answer(request=call.request, values=dict(found)))
                return
            for values in found:
                self._say(Part(request=call.request, values=dict(values)))
            self._say(Answer(request=call.request))
        except StopRequestedError:
            raise
        except (DataMoverError, OSError) as error:
            self._refuse(call.request, error)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            self._refuse(call.request, UsageError(reason=f"method {call.method} failed: {text}"))

    def _refuse(self, request: int, error: DataMoverError | OSError) -> None:
        self._in_loop(lambda conversation: conversation.refuse(request, error))

    def _say(self, message: Message) -> None:
        self._in_loop(lambda conversation: conversation.say(message))

    def _in_loop(self, say: Callable[[Conversation], None]) -> None:
        """Say something from the loop's thread; wait until there is room for more."""
        saying = self._say_with_room(say)
        try:
            asyncio.run_coroutine_threadsafe(saying, self._loop).result()
        except RuntimeError:  # the loop has ended, and the conversation with it
            saying.close()
            raise StopRequestedError from None

    async def _say_with_room(self, say: Callable[[Conversation], None]) -> None:
        conversation, out = self._conversation, self._out
        if conversation is None or out is None or conversation.over is not None:
            raise StopRequestedError
        say(conversation)
        try:
            await out.drain()
        except ConnectionError:
            raise StopRequestedError from None
