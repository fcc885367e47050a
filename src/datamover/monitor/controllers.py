"""The pipes that this monitor was asked to initiate: each in a process that leads it.

    initiate ──▶ a controller starts, is told what to build, and says how it goes
    client gone  the pipe goes on; its end is in the log
    controller   killed: its pipe is stopped by what it leaves, on both sides, and the client hears
    monitor      killed: each controller sees the end of its line, and stops its pipe

Source: docs/spec/control-protocol.md, section 8; seed FIG. 3A, "Status Monitoring"; SPEC C3, C5,
C16; ADR 0023.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from datamover.errors import ControllerError, DataMoverError, FormatError, UsageError, facts
from datamover.link.events import tell, warn
from datamover.monitor.attended import Attended, attended
from datamover.monitor.ending import refusal
from datamover.wire.message import (
    Initiated,
    InitiatePipe,
    Message,
    PipeEnded,
    PipeNotice,
    Refused,
    SetLimit,
    StopPipe,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Controllers", "Initiator"]

_MOST: Final = 64
_END_S: Final = 15.0


class Initiator(Protocol):
    """Who initiates pipes for the clients of conversations."""

    def initiate(self, message: InitiatePipe, by: str, say: Callable[[Message], None]) -> None:
        """Begin to build a pipe; what becomes of it is said in its own time.

        Raises:
            UsageError: There are too many.
        """
        ...

    def leave(self, say: Callable[[Message], None]) -> None:
        """The client that this speaks to is gone; its pipes go on, or wait for it in vain."""
        ...

    def stop(self, pipe: str, by: str) -> bool:
        """Ask a pipe to end; return whether there is one of that name."""
        ...

    def set_limit(self, pipe: str, bytes_per_s: int) -> bool:
        """Limit a pipe; return whether there is one of that name."""
        ...

    def gate_of(self, pipe: str) -> str:
        """Return what the gate of a pipe is called; the name itself where it was not asked here."""
        ...

    def identified(self, pipe: str) -> None:
        """Note that the invoker has taken its place."""
        ...


@dataclass(slots=True, eq=False)
class _Controller:
    """One process, and whom its pipe is for."""

    asked: InitiatePipe
    by: str
    say: Callable[[Message], None] | None
    task: asyncio.Task[None] | None = None
    process: Attended | None = None
    initiated: Initiated | None = None
    is_refused: bool = False
    is_identified: bool = False
    is_stopped: str = ""
    ended: PipeEnded | None = None

    def tell(self, message: Message) -> None:
        """Tell the client, if it is there."""
        if self.say is not None:
            with contextlib.suppress(DataMoverError):  # too long for a message
                self.say(message)

    def post(self, message: Message) -> None:
        """Tell the controller."""
        if self.process is not None:
            self.process.post(message)


class Controllers:
    """See ``Initiator``; lives in the running event loop."""

    def __init__(self, command: Sequence[str]) -> None:
        """Have none.

        Args:
            command: What to start; a controller has its line at standard input.
        """
        self._command = tuple(command)
        self._running: list[_Controller] = []

    def __len__(self) -> int:
        return len(self._running)

    def initiate(self, message: InitiatePipe, by: str, say: Callable[[Message], None]) -> None:
        """See ``Initiator``."""
        if len(self._running) >= _MOST:
            raise UsageError(reason=f"a monitor leads at most {_MOST} pipes")
        one = _Controller(asked=message, by=by, say=say)
        self._running.append(one)
        one.task = asyncio.ensure_future(self._attend(one))

    def leave(self, say: Callable[[Message], None]) -> None:
        """See ``Initiator``."""
        for one in self._of(say):
            one.say = None
            if one.asked.invoker != "command" and not one.is_identified:
                self._stop(one, f"the loss of {one.by}, which was to be its {one.asked.invoker}")

    def stop(self, pipe: str, by: str) -> bool:
        """See ``Initiator``."""
        found = self._named(pipe)
        for one in found:
            self._stop(one, by)
        return bool(found)

    def set_limit(self, pipe: str, bytes_per_s: int) -> bool:
        """See ``Initiator``."""
        found = self._named(pipe)
        for one in found:
            one.post(SetLimit(request=0, pipe=pipe, bytes_per_s=bytes_per_s))
        return bool(found)

    def gate_of(self, pipe: str) -> str:
        """See ``Initiator``."""
        for one in self._named(pipe):
            if one.initiated is not None and one.initiated.gate:
                return one.initiated.gate
        return pipe

    def identified(self, pipe: str) -> None:
        """See ``Initiator``."""
        for one in self._running:
            if one.initiated is not None and pipe in {one.initiated.pipe, one.initiated.gate}:
                one.is_identified = True

    async def end(self, by: str) -> None:
        """Stop all that runs, and wait until it has ended."""
        for one in list(self._running):
            self._stop(one, by)
        tasks = [one.task for one in self._running if one.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_END_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # ---- inside

    def _of(self, say: Callable[[Message], None]) -> Iterable[_Controller]:
        return [one for one in self._running if one.say == say]

    def _named(self, pipe: str) -> list[_Controller]:
        return [
            one for one in self._running if one.initiated is not None and one.initiated.pipe == pipe
        ]

    def _stop(self, one: _Controller, by: str) -> None:
        one.is_stopped = one.is_stopped or by
        one.post(StopPipe(request=0, pipe="", reason=by))

    async def _attend(self, one: _Controller) -> None:
        """Start a controller, hear what it says, and learn how it ended."""
        status = 71
        try:
            status = await self._run(one)
        except (OSError, FormatError) as error:
            warn("pipe.controller-lost", reason=error)
        finally:
            self._running.remove(one)
            self._conclude(one, status)

    async def _run(self, one: _Controller) -> int:
        async with attended(self._command) as process:
            one.process = process
            one.post(one.asked)
            if one.is_stopped:
                self._stop(one, one.is_stopped)
            async for message in process.messages():
                self._hear(one, message)
            return await process.wait()

    def _hear(self, one: _Controller, message: Message) -> None:
        match message:
            case Initiated():
                one.initiated = message
                tell("pipe.initiated", pipe=message.pipe, by=one.by, controller=message.pid)
                one.tell(message)
            case Refused():
                one.is_refused = True
                warn("pipe.refused", name=one.asked.name, by=one.by, reason=message.reason)
                one.tell(message)
            case PipeEnded():
                one.ended = message
            case PipeNotice() if one.initiated is not None:
                one.tell(msgspec.structs.replace(message, pipe=one.initiated.pipe))
            case _:
                return

    def _conclude(self, one: _Controller, status: int) -> None:
        """Say how a pipe ended whose controller is no more."""
        if one.is_refused:
            return
        name = one.asked.name if one.initiated is None else one.initiated.pipe
        ended = one.ended
        if ended is None:
            failure: dict[str, object] = dict(facts(ControllerError(status=status)))
            ended = PipeEnded(pipe=name, part=0, how="failed", failure=failure)
        reason = ended.failure.get("cause", ended.failure.get("status", ""))
        log = warn if ended.how == "failed" else tell
        log("pipe.ended", pipe=name, how=ended.how, reason=reason)
        if one.initiated is None:
            one.tell(refusal(one.asked.request, ended))
        else:
            one.tell(ended)
