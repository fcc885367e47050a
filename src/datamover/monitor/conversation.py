"""One conversation as its server: what is asked of this machine, and what it says by itself.

It reads no socket and writes none: whoever serves feeds it bytes, and sends what it says.

    bytes ──feed──▶ Conversation ──send──▶ bytes
                      │      ▲
                      ▼      │ look, after each step
                Monitor, methods

Source: docs/spec/control-protocol.md, section 3; SPEC C2, C4, C15-C17; DESIGN D7, D14.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
from typing import TYPE_CHECKING, Final, Protocol

import datamover
from datamover.errors import (
    DataMoverError,
    DrainingError,
    FormatError,
    MalformedError,
    NotAllowedError,
    UsageError,
)
from datamover.monitor.account import shortened
from datamover.monitor.mail import posted, received
from datamover.monitor.parts_here import PartsHere
from datamover.monitor.patience import PATIENCE, Silence
from datamover.monitor.roster import Roster
from datamover.wire.control import VERSION, ControlReader
from datamover.wire.message import (
    Answer,
    AskStatus,
    Call,
    Done,
    ExtendPipe,
    Hello,
    Identify,
    InitiatePipe,
    Message,
    Ping,
    Pong,
    Refused,
    SetLimit,
    Status,
    StopPipe,
    Unknown,
    Welcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from datamover.monitor.controllers import Initiator
    from datamover.monitor.jobs import Jobs
    from datamover.monitor.patience import Patience
    from datamover.monitor.permit import Who
    from datamover.monitor.supervisor import Monitor

__all__ = ["Caller", "Conversation"]

_JOB: Final = "job."
_BEGIN: Final = "job.start"
_SESSIONS: Final = itertools.count(1)


class Caller(Protocol):
    """Who runs the methods of ``Call``, away from the loop that serves."""

    def names(self) -> Collection[str]:
        """Return the methods that there are."""
        ...

    def call(self, call: Call) -> None:
        """Run a method; its answer comes in its own time.

        Raises:
            UsageError: There is none of that name, or too many wait.
        """
        ...


class Conversation:
    """What a client says, done; ``over`` says why it has ended, None while it goes on."""

    def __init__(
        self,
        *,
        monitor: Monitor,
        who: Who,
        send: Callable[[bytes], None],
        caller: Caller | None = None,
        initiator: Initiator | None = None,
        jobs: Jobs | None = None,
        admit: Callable[[Identify], None] | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        """Begin a conversation that nothing was said in.

        Args:
            monitor: Who runs the pipes that it asks for.
            who: Who speaks, and what it may do.
            send: Takes what is said; never blocks.
            caller: Runs methods; None: there are none.
            initiator: Initiates pipes; None: the client may not ask for that.
            jobs: What this process goes on with by itself; None: the client may not ask for that.
            admit: Answers who identifies itself; None: the client may not.
            patience: How long silence is borne.
        """
        self.over: str | None = None
        self.session = f"{os.getpid()}-{next(_SESSIONS)}"
        self.who = who
        self._monitor = monitor
        self._roster = Roster(monitor)
        self._parts = PartsHere(monitor, who.name, self.say)
        self._send = send
        self._caller = caller
        self._initiator = initiator
        self._jobs = jobs
        self._admit = admit
        self._reader = ControlReader()
        self._is_open = self._is_draining = False
        self._numbers = itertools.count(1)
        self._opens_by = time.monotonic() + patience.opening_s
        self._silence = Silence(patience)

    def feed(self, data: bytes) -> None:
        """Take what came, and do what it asks.

        Blocking: never, but for what it takes to start tasks.
        """
        self._silence.hear()
        some = False
        try:
            self._reader.feed(data)
            for message in self._reader.messages():
                some = True
                self._hear(message)
                if self.over is not None:
                    return
        except FormatError as error:
            self.end(str(error))
        self._silence.understand(within=self._reader.has_some, some=some)

    def look(self) -> None:
        """Say what has become of the pipes; call it after each step of the monitor."""
        if self.over is None:
            self._parts.look()

    def drain(self) -> None:
        """Take no new pipes: this process is about to end."""
        self._is_draining = True

    def tend(self) -> float:
        """Keep the conversation alive, or end it; return the seconds until it must be done again.

        Blocking: never.
        """
        if self.over is None and not self._is_open:
            left = self._opens_by - time.monotonic()
            if left <= 0:
                self.end("it said no Hello in time")
            return max(0.0, left)
        if self.over is None and self._silence.left() <= 0:
            gone = self._silence.verdict()
            if gone is None:
                self.say(Ping(request=next(self._numbers)))
            else:
                self.end(gone)
        return 0.0 if self.over is not None else max(0.0, self._silence.left())

    def end(self, reason: str) -> None:
        """End it; what it had asked for is stopped.  Idempotent.

        Blocking: never; tasks end in the steps of the monitor.
        """
        if self.over is None:
            self.over = reason
            self._parts.stop(f"the loss of {self.who.name}")
            if self._initiator is not None:
                self._initiator.leave(self.say)

    def say(self, message: Message) -> None:
        """Say something, unless the conversation is over.

        Raises:
            MalformedError: It is too long; nothing was said.

        Blocking: never.
        """
        if self.over is None:
            self._send(posted(message))

    def refuse(self, request: int, error: DataMoverError | OSError) -> None:
        """Say that something was not done, and why."""
        if isinstance(error, DataMoverError):
            code, reason, hint, status = error.code, str(error), error.hint, error.exit_status
        else:
            name = f"{error.filename}: " if isinstance(error.filename, str) else ""
            code, reason, hint, status = "system", f"{name}{error.strerror or error}", "", 74
        self.say(Refused(request=request, code=code, reason=reason, hint=hint, status=status))

    # ---- inside

    def _hear(self, message: Message) -> None:
        if not self._is_open:
            self._open(message)
            return
        try:
            self._do(received(message))
        except (DataMoverError, OSError) as error:
            self.refuse(getattr(message, "request", 0), error)

    def _open(self, message: Message) -> None:
        if not isinstance(message, Hello):
            self.end(f"{type(message).__name__} where a Hello was due")
            return
        least, most = message.versions
        if not least <= VERSION <= most:
            reason = f"it speaks versions {least} to {most}, this release speaks {VERSION}"
            self.say(Refused(request=0, code="peer.version", reason=reason, status=76))
            self.end(reason)
            return
        self._is_open = True
        self._reader.open()
        self.say(
            Welcome(
                release=datamover.__version__,
                machine=platform.node(),
                pid=os.getpid(),
                version=VERSION,
                serves=sorted(self._caller.names()) if self._caller else [],
                session=self.session,
            )
        )
        if message.purpose == "pipe":
            self._monitor.warm_up()

    def _do(self, message: Message) -> None:
        match message:
            case Ping(request=request):
                self.say(Pong(request=request))
            case AskStatus(request=request, pipe=pipe):
                self._tell(request, pipe)
            case Call():
                self._call(message)
            case Unknown(request=request, type=number) if request:
                self.say(_unknown(request, f"messages of type {number}"))
            case Identify():
                self._identify(message)
            case InitiatePipe():
                self._initiate(message)
            case _:
                self._do_to_pipe(message)

    def _do_to_pipe(self, message: Message) -> None:
        match message:
            case ExtendPipe():
                self._check_open()
                self._parts.extend(message, self.who.permit)
            case StopPipe(request=request, pipe=pipe, reason=reason):
                self._stop(pipe, reason)
                self.say(Done(request=request))
            case SetLimit(request=request, pipe=pipe, bytes_per_s=bytes_per_s):
                self._set_limit(pipe, bytes_per_s)
                self.say(Done(request=request))
            case _:
                return  # an answer to nothing

    def _check_open(self) -> None:
        """Refuse new pipes while this process is about to end."""
        if self._is_draining:
            raise DrainingError(peer=platform.node(), reason="it takes no new pipes")

    def _initiate(self, message: InitiatePipe) -> None:
        if self._initiator is None:
            raise NotAllowedError(machine=self.who.name, action="initiate pipes here")
        self._check_open()
        self._initiator.initiate(message, self.who.name, self.say)

    def _identify(self, message: Identify) -> None:
        if self._admit is None:
            raise NotAllowedError(machine=self.who.name, action="be a part of a pipe here")
        if not self.who.is_process(message.pid):
            action = f"identify process {message.pid}, which it is not"
            raise NotAllowedError(machine=self.who.name, action=action)
        self._admit(message)

    def _stop(self, pipe: str, reason: str) -> None:
        by = reason or self.who.name
        if self._parts.stop_pipe(pipe, by):
            return
        self.who.permit.stop()
        if self._initiator is None or not self._initiator.stop(pipe, by):
            self._roster.stop(pipe, by)

    def _set_limit(self, pipe: str, bytes_per_s: int) -> None:
        if self._parts.set_limit(pipe, bytes_per_s):
            return
        self.who.permit.stop()
        if self._initiator is None or not self._initiator.set_limit(pipe, bytes_per_s):
            self._roster.set_limit(pipe, bytes_per_s)

    def _tell(self, request: int, pipe: str) -> None:
        if self._parts.names() != {pipe}:
            self.who.permit.see()
        accounts = self._roster.accounts(pipe)
        try:
            self.say(Status(request=request, pipes=accounts))
        except MalformedError:
            self.say(Status(request=request, pipes=list(map(shortened, accounts))))

    def _call(self, call: Call) -> None:
        if call.method.startswith(_JOB):
            if self._jobs is None:
                raise NotAllowedError(machine=self.who.name, action="begin jobs here")
            if call.method == _BEGIN:
                self._check_open()
            self.say(
                Answer(request=call.request, values=dict(self._jobs.call(call.method, call.given)))
            )
            return
        if self._caller is None:
            raise UsageError(reason=f"no method {call.method:.100} is served here")
        self._caller.call(call)


def _unknown(request: int, what: str) -> Refused:
    return Refused(
        request=request,
        code="peer.unknown-message",
        reason=f"{what} is nothing that is served here",
        hint="both machines need a release that has what was asked for",
        status=69,
    )
