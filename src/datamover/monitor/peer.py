"""One conversation with a peer, as its client: ask and be answered, hear what it says by itself.

Nothing runs in the background.  Alone, a peer is read by whoever calls ``ask`` or ``receive``;
watched by a monitor, it is served by the monitor's steps, and waiting for an answer lets that
monitor's pipes go on.

Source: docs/spec/control-protocol.md, section 3; SPEC C2, C4, C13-C17; DESIGN D7.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import select
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Self, TypeVar

import msgspec

import datamover
from datamover.errors import (
    FormatError,
    PeerError,
    PeerLostError,
    PeerProtocolError,
    PeerRefusedError,
    PeerUnreachableError,
)
from datamover.monitor.mail import posted, received
from datamover.monitor.patience import PATIENCE, Silence
from datamover.wire.control import VERSION, ControlReader
from datamover.wire.message import (
    Answer,
    Call,
    Hello,
    Message,
    Part,
    Ping,
    Pong,
    Refused,
    Unknown,
    Welcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from datamover.monitor.channel import Channel
    from datamover.monitor.patience import Patience
    from datamover.monitor.supervisor import Monitor

__all__ = ["Peer"]

_MOST_UNSENT: Final = 16 << 20
_READS: Final = 32
_TICK: Final = 0.5

Asked = TypeVar("Asked", bound=Message)


class Peer:
    """A conversation; use it from one thread, and close it.

    After an error of PeerLostError or PeerProtocolError it is broken for good.
    """

    def __init__(self, channel: Channel, *, name: str, patience: Patience = PATIENCE) -> None:
        """Take a connection that nothing was said on yet; see ``greet``.

        Args:
            channel: The connection; it becomes the peer's, and is closed with it.
            name: Who it is, for people.
            patience: How long silence is borne.
        """
        self.name = name
        self.welcome: Welcome | None = None
        self._channel: Channel | None = channel
        self._reader = ControlReader()
        self._unsent = bytearray()
        self._inbox: deque[Message] = deque()
        self._answers: dict[int, deque[Message]] = {}
        self._numbers = itertools.count(1)
        self._silence = Silence(patience)
        self._error: PeerError | None = None
        self._monitor: Monitor | None = None
        self._on_message: Callable[[Message], None] | None = None
        self._on_lost: Callable[[PeerError], None] | None = None
        self._watches: bool | None = None
        self._has_more = False

    def __enter__(self) -> Self:
        """Use it in a ``with`` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    @property
    def is_lost(self) -> bool:
        """Whether the conversation is over."""
        return self._channel is None

    def fileno(self) -> int:
        """Return the descriptor that is readable when something came; -1 when it is over."""
        return -1 if self._channel is None else self._channel.fileno()

    # ---- beginning

    def greet(self, *, purpose: str = "", timeout: float = PATIENCE.opening_s) -> Welcome:
        """Say Hello, and wait for Welcome.

        Raises:
            PeerUnreachableError: Nobody answered in time, or the connection ended.
            PeerRefusedError: The peer will not talk.
            PeerProtocolError: What came is not the protocol.

        Blocking: until the answer, at most ``timeout``.
        """
        hello = Hello(
            release=datamover.__version__,
            machine=platform.node(),
            pid=os.getpid(),
            versions=(VERSION, VERSION),
            purpose=purpose,
        )
        deadline = time.monotonic() + timeout
        try:
            self.send(hello)
            while not self._inbox:
                self._wait(deadline, "it did not answer")
        except PeerLostError as error:
            raise PeerUnreachableError(peer=self.name, reason=error.reason) from None
        match self._inbox.popleft():
            case Welcome(version=version) as welcome if version == VERSION:
                self.welcome = welcome
                self._reader.open()
                return welcome
            case Refused() as refused:
                self.close()
                raise self._refusal(refused)
            case other:
                raise self._break(f"{type(other).__name__} where a welcome was due")

    def watch(
        self,
        monitor: Monitor,
        *,
        on_message: Callable[[Message], None],
        on_lost: Callable[[PeerError], None],
    ) -> None:
        """Be served by a monitor's steps from here on.

        Args:
            monitor: Whose steps.
            on_message: Called with each message that is no answer.
            on_lost: Called once, when the conversation has ended though nobody closed it.
        """
        if self._monitor is not None:
            self._monitor.untend(self._tend_watched)
        self._monitor, self._on_message, self._on_lost = monitor, on_message, on_lost
        monitor.tend(self._tend_watched)
        self._rewatch()

    # ---- talking

    def send(self, message: Message) -> None:
        """Say something; what the kernel does not take now it takes later.

        Raises:
            PeerLostError: The conversation is over, or the peer takes nothing in.
            MalformedError: The message is too long; nothing was said.

        Blocking: never.
        """
        self._check()
        self._unsent += posted(message)
        self._flush()
        if len(self._unsent) > _MOST_UNSENT:
            raise self._lose("it takes nothing in")

    def post(self, message: Message) -> int:
        """Say something that is answered; return the number that the answer repeats.

        The answer, Refused too, comes as any other message.

        Raises:
            PeerLostError: See ``send``.

        Blocking: never.
        """
        number = next(self._numbers)
        self.send(msgspec.structs.replace(message, request=number))
        return number

    def receive(self) -> list[Message]:
        """Return what has come and is no answer that is waited for.

        Raises:
            PeerLostError: The conversation is over, and everything that came was returned.
            PeerProtocolError: The same, by something that is not the protocol.

        Blocking: never.
        """
        if self._error is None:
            self._take()
        found = list(self._inbox)
        self._inbox.clear()
        if not found:
            self._check()
        return found

    def ask(self, message: Message, *, kind: type[Asked], timeout: float | None = None) -> Asked:
        """Say something, wait for its answer and return that.

        Args:
            message: Its ``request`` is chosen here.
            kind: What the answer must be.
            timeout: How long it may take; None: as long as the peer shows that it is there.

        Raises:
            PeerRefusedError: The peer said no.
            PeerLostError: It is gone, or did not answer in time.
            PeerProtocolError: The answer is of another kind.

        Blocking: until the answer, at most ``timeout``; the watching monitor's pipes go on.
        """
        number = self._prepare()
        try:
            self.send(msgspec.structs.replace(message, request=number))
            return self._expect(self._next_answer(number, timeout), kind)
        finally:
            del self._answers[number]

    def call(
        self, method: str, given: Mapping[str, object], *, timeout: float | None = None
    ) -> dict[str, object]:
        """Call a method and return its values.

        Raises:
            PeerError: As ``ask``.

        Blocking: as ``ask``.
        """
        return self.ask(
            Call(request=0, method=method, given=dict(given)), kind=Answer, timeout=timeout
        ).values

    def stream(
        self, method: str, given: Mapping[str, object], *, timeout: float | None = None
    ) -> Iterator[dict[str, object]]:
        """Call a method that answers in parts; yield each, and last the values of the answer.

        Args:
            method: Its name.
            given: What it is given.
            timeout: How long each part may take; None: see ``ask``.

        Raises:
            PeerError: As ``ask``, at the part that does not come.

        Blocking: as ``ask``, for each part.
        """
        number = self._prepare()
        try:
            self.send(Call(request=number, method=method, given=dict(given)))
            while isinstance(found := self._next_answer(number, timeout), Part):
                yield found.values
            yield self._expect(found, Answer).values
        finally:
            del self._answers[number]

    def tend(self) -> float:
        """Keep the conversation alive; return the seconds until this must be called again.

        Raises:
            PeerLostError: The peer has been silent for too long.

        Blocking: never.
        """
        self._check()
        if self._silence.left() <= 0:
            # Perhaps it is we who were away, and what it said waits to be read.
            self._take()
            self._check()
        if self._silence.left() <= 0:
            gone = self._silence.verdict()
            if gone is not None:
                raise self._lose(gone)
            self.send(Ping(request=next(self._numbers)))
        return max(0.0, self._silence.left())

    def close(self) -> None:
        """End the conversation; idempotent, and ``on_lost`` is not called.

        Blocking: at most some seconds, until what carried it has ended.
        """
        self._on_lost = None
        self._fail(PeerLostError(peer=self.name, reason="it was closed here"))
        self._tell_lost()

    # ---- inside

    def _prepare(self) -> int:
        self._check()
        number = next(self._numbers)
        self._answers[number] = deque()
        return number

    def _next_answer(self, number: int, timeout: float | None) -> Message:
        deadline = None if timeout is None else time.monotonic() + timeout
        answers = self._answers[number]
        while not answers:
            self._wait(deadline, f"no answer within {timeout} s")
        return answers.popleft()

    def _expect(self, found: Message, kind: type[Asked]) -> Asked:
        if isinstance(found, Refused):
            raise self._refusal(found)
        if not isinstance(found, kind):
            raise self._break(f"{type(found).__name__} where {kind.__name__} was due")
        return found

    def _refusal(self, refused: Refused) -> PeerRefusedError:
        return PeerRefusedError(
            peer=self.name,
            reason=refused.reason,
            cause_code=refused.code,
            cause_status=refused.status,
            cause_hint=refused.hint,
        )

    def _wait(self, deadline: float | None, otherwise: str) -> None:
        """Wait until something has happened, or the deadline has passed."""
        self._check()
        left = _TICK if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise self._lose(otherwise)
        if self._monitor is not None:
            self._monitor.step(min(left, _TICK))
            return
        if self.welcome is not None:
            left = min(left, self.tend())
        self._poll(0.0 if self._has_more else left)
        self._flush()
        self._take()

    def _poll(self, timeout: float) -> None:
        channel = self._channel
        if channel is None:
            return
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        if self._unsent:
            writer = channel.write_fileno()
            same = writer == channel.fileno()
            poll.register(writer, select.POLLOUT | select.POLLIN * same)
        poll.poll(max(0.0, timeout * 1000))

    def _take(self) -> None:
        """Read what is here, and sort it; ``_check`` says whether that was the end."""
        try:
            self._has_more = self._read()
        except OSError as error:
            self._lose(error.strerror or str(error))
        except FormatError as error:
            self._break(str(error))
        except PeerError:
            return  # an answer to what came could not be said: it is noted why

    def _read(self) -> bool:
        for _ in range(_READS):
            data = self._channel.read() if self._channel is not None else None
            if data is None:
                return False
            if not data:
                self._lose("it ended the conversation")
                return False
            self._silence.hear()
            self._reader.feed(data)
            self._sort()
        return True

    def _sort(self) -> None:
        some = False
        for message in self._reader.messages():
            some = True
            match message:
                case Ping(request=request):
                    self.send(Pong(request=request))
                case Pong():
                    pass
                case Unknown(request=request) if request:
                    self.send(_unknown(message))
                case Unknown():
                    pass
                case _:
                    self._keep(received(message))
        self._silence.understand(some=some, within=self._reader.has_some)

    def _keep(self, message: Message) -> None:
        asked = self._answers.get(getattr(message, "request", 0))
        if asked is not None:
            asked.append(message)
        elif not isinstance(message, Part | Answer):  # to what nobody waits for any more
            self._inbox.append(message)

    def _flush(self) -> None:
        try:
            while self._unsent and self._channel is not None:
                with memoryview(self._unsent) as view:
                    taken = self._channel.write(view)
                if not taken:
                    break
                del self._unsent[:taken]
        except OSError:
            # Whatever it had still said can be read, and says more than this error.
            self._unsent.clear()
        self._rewatch()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _lose(self, reason: str) -> PeerError:
        return self._fail(PeerLostError(peer=self.name, reason=reason))

    def _break(self, reason: str) -> PeerError:
        error = PeerProtocolError(peer=self.name, reason=reason)
        self._fail(error)
        return error

    def _fail(self, error: PeerError) -> PeerError:
        """Remember why it is over, unless it is already, and give the connection back."""
        if self._error is None:
            self._error = error
            channel, self._channel = self._channel, None
            if channel is not None:
                self._unwatch(channel)
                known = channel.close()
                error.reason += f": {known}" if known else ""
        return self._error

    # ---- watched

    def _rewatch(self) -> None:
        monitor, channel, writes = self._monitor, self._channel, bool(self._unsent)
        if monitor is None or channel is None or self._watches == writes:
            return
        self._watches = writes
        reader, writer = channel.fileno(), channel.write_fileno()
        monitor.watch(reader, self._ready, writes=writes and writer == reader)
        if writer != reader and writes:
            monitor.watch(writer, self._flush, reads=False, writes=True)
        elif writer != reader:
            monitor.unwatch(writer)

    def _unwatch(self, channel: Channel) -> None:
        if self._monitor is not None:
            self._monitor.unwatch(channel.fileno())
            self._monitor.unwatch(channel.write_fileno())

    def _ready(self) -> None:
        self._flush()
        self._take()
        self._deliver()

    def _deliver(self) -> None:
        while self._inbox and self._on_message is not None:
            self._on_message(self._inbox.popleft())
        if self._error is not None:
            self._tell_lost()

    def _tell_lost(self) -> None:
        if self._monitor is not None:
            self._monitor.untend(self._tend_watched)
        tell, self._on_lost = self._on_lost, None
        if tell is not None and self._error is not None:
            tell(self._error)

    def _tend_watched(self) -> float:
        if self._has_more:
            self._take()
        left = 0.0
        with contextlib.suppress(PeerError):
            left = self.tend()
        self._deliver()
        return 0.0 if self._has_more else left


def _unknown(message: Unknown) -> Refused:
    return Refused(
        request=message.request,
        code="peer.unknown-message",
        reason=f"messages of type {message.type} are not known here",
        hint="both machines need a release that has what was asked for",
        status=69,
    )
