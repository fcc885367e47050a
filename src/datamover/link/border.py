"""What both network stages share: their settings, their connections, their poll.

Source: docs/spec/link-protocol.md; docs/decisions/0014-two-machines.md; SPEC N1-N3, N6, X15.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from datamover.errors import (
    PeerLostError,
    PeerUnreachableError,
    StopRequestedError,
    UsageError,
)
from datamover.link.dial import Dialer, Target
from datamover.link.door import Door
from datamover.link.greeting import Terms
from datamover.link.growth import Growth
from datamover.wire.frame import MOST_PATHS, Protection

if TYPE_CHECKING:
    from datamover.errors import Fact
    from datamover.link.greeting import Opened
    from datamover.pipe.ports import Port
    from datamover.shm.statistics import Wait

__all__ = ["Border", "BorderSettings"]

_TOKEN: Final = 16
_SECRET: Final = 32
_LONGEST: Final = 0.5  # seconds between two looks at what comes by itself
_TELL: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BorderSettings:
    """What a network stage must be told; both sides of a border have the same first four.

    Attributes:
        token: 16 bytes in hexadecimal, of the border.
        secret: 32 bytes in hexadecimal, of the border.
        protection: "clear", "sealed" or "authenticated".
        paths: How many connections, 1 to 16.
        first: How many of them to begin with, where this side dials; the others come while they
            bring more.  0: all.
        dial: Addresses to connect to, "host:port" or "[address]:port".
        via: Local addresses, or names of interfaces, that the paths go out by.
        command: Instead of ``dial``: a program and its arguments, run once for each path, whose
            standard input and output are the path.
        door: Instead of both: a socket's path, where connections that others accepted are taken in.
        stall_s: Seconds that a path may owe a word before it is given up.
        patience_s: Seconds without any path before the border fails.
        send_buffer: Bytes that the kernel may hold of each path; 0: as it sees fit.
    """

    token: str
    secret: str = field(repr=False)
    protection: str = "sealed"
    paths: int = 1
    first: int = 0
    dial: Sequence[str] = ()
    via: Sequence[str] = ()
    command: Sequence[str] = ()
    door: str = ""
    stall_s: float = 5.0
    patience_s: float = 60.0
    send_buffer: int = 0

    def terms(self, buffer_size: int) -> Terms:
        """Return what the hellos need.

        Raises:
            UsageError: A setting makes no sense.
        """
        try:
            protection = Protection[self.protection.upper()]
        except KeyError:
            known = ", ".join(one.name.lower() for one in Protection)
            raise UsageError(
                reason=f"no protection {self.protection!r:.40}; there are {known}"
            ) from None
        if not 1 <= self.paths <= MOST_PATHS:
            raise UsageError(reason=f"paths is {self.paths}, it must be 1 to {MOST_PATHS}")
        if not 0 <= self.first <= self.paths:
            raise UsageError(reason=f"first is {self.first}, it must be 0 to {self.paths}")
        if self.stall_s <= 0 or self.patience_s <= 0:
            raise UsageError(reason="stall_s and patience_s must be more than 0")
        return Terms(
            token=_hexadecimal("token", self.token, _TOKEN),
            secret=_hexadecimal("secret", self.secret, _SECRET),
            protection=protection,
            paths=self.paths,
            buffer_size=buffer_size,
        )


class Border:
    """One side's connections: opens them, polls them with the queues, knows when to give up."""

    def __init__(self, port: Port, settings: BorderSettings) -> None:
        """Dial, or open the door.

        Raises:
            UsageError: A setting makes no sense, or the door cannot be made.
        """
        self.terms = settings.terms(port.buffer_size)
        self.watched = port.watched
        self._port = port
        self._patience = settings.patience_s
        now = time.monotonic()
        self._alone_since: float | None = now
        self._last = ""
        self._told: dict[int, tuple[float, dict[str, Fact]]] = {}
        self._poll = select.poll()
        self._masks: dict[int, int] = {}
        self._ways = _ways(self.terms, settings, now)
        self._growth = Growth(settings.first, settings.paths, now)

    def __enter__(self) -> Self:
        """Use it in a ``with`` statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop dialing, or close the door; paths that are open are the stage's."""
        self.shut()

    def shut(self) -> None:
        """Open no more paths; idempotent."""
        for descriptor in self._ways.watched():
            self.forget(descriptor)
        self._ways.close()

    # ---- waiting

    def wait(
        self, masks: dict[int, int], timeout: float | None, what: Wait
    ) -> list[tuple[int, int]]:
        """Wait for descriptors of the stage, of new connections, or of the monitor.

        Args:
            masks: What the stage waits for, by descriptor.
            timeout: Seconds; None: for long.
            what: How the time is to be accounted.

        Returns:
            Those that are ready and the stage's; none when only a new connection went on.

        Raises:
            StopRequestedError: The monitor wants this task to end.
        """
        control = self.watched.control
        wanted = {**masks, **self._ways.watched(), control: select.POLLIN}
        self._register(wanted)
        due = self._ways.next_due(time.monotonic())
        times = [one for one in (timeout, due, _LONGEST) if one is not None]
        ready = self._poll.poll(0)
        if not ready:
            with self._port.waiting(what):
                ready = self._poll.poll(min(times) * 1000)
        if any(found == control for found, _ in ready):
            raise StopRequestedError
        return ready

    def _register(self, wanted: dict[int, int]) -> None:
        held = self._masks
        if held == wanted:
            return
        for descriptor in held.keys() - wanted.keys():
            self._poll.unregister(descriptor)
        for descriptor, mask in wanted.items():
            if held.get(descriptor) != mask:
                self._poll.register(descriptor, mask)
        self._masks = wanted

    def forget(self, descriptor: int) -> None:
        """Forget a descriptor before it is closed: its number may come again."""
        if self._masks.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    # ---- connections

    def openings(self, ready: list[tuple[int, int]]) -> list[Opened]:
        """Go on with connections that are ready or due; return the paths that are open now.

        Ownership: they are the caller's.
        """
        now = time.monotonic()
        mine = self._ways.watched()
        found = []
        for descriptor, _ in ready:
            if descriptor in mine:
                # Whatever comes of it, the descriptor may be closed and its number come again.
                self.forget(descriptor)
                opened = self._ways.handle(descriptor, now)
                if opened is not None:
                    found.append(opened)
        for descriptor in self._ways.tick(now):
            self.forget(descriptor)
        for path, reason in self._ways.refusals:
            self._last = reason
            self._port.notice("path refused", path=path, reason=reason)
        self._ways.refusals.clear()
        if found:
            self._alone_since = None
        return found

    def lost(
        self, path: int, reason: str, *, lasted: float, is_alone: bool, is_news: bool = True
    ) -> None:
        """Learn that an open path is no more, and tell; it will be opened again.

        Args:
            path: Its number.
            reason: Why.
            lasted: Seconds that it was open.
            is_alone: No other path is open.
            is_news: It matters to somebody.
        """
        now = time.monotonic()
        self._last = reason
        if is_alone:
            self._alone_since = now
        if is_news:
            self._port.notice("path lost", path=path, reason=reason)
        self._ways.lost(path, now, lasted=lasted)

    def alone(self, now: float) -> float:
        """Seconds for which no path has been open."""
        return 0.0 if self._alone_since is None else now - self._alone_since

    def check_patience(self, now: float) -> None:
        """Fail when no path has been open for too long.

        Raises:
            PeerUnreachableError: None ever was.
            PeerLostError: There were some.
        """
        if self.alone(now) <= self._patience:
            return
        reason = f"no path for {self._patience:g} s" + (f": {self._last}" if self._last else "")
        name = f"border {self.terms.token.hex()[:8]}"
        if self._told:
            raise PeerLostError(peer=name, reason=reason)
        raise PeerUnreachableError(peer=name, reason=reason)

    def grow(self, frames: int, size: int, now: float) -> None:
        """Learn what has arrived since the start; open more paths if they may bring more.

        Args:
            frames: How many, on all paths.
            size: Their bytes.
            now: Monotonic seconds.
        """
        if self._growth.look(frames, size, now) and isinstance(self._ways, Dialer):
            self._ways.widen(self._growth.wanted, now)

    # ---- telling

    def tell(self, path: int, now: float, *, force: bool = False, **facts: Fact) -> None:
        """Tell the monitor of a path: at most once a second, and only what is new."""
        at, before = self._told.get(path, (-_TELL, {}))
        if force or (now - at >= _TELL and facts != before):
            self._told[path] = (now, facts)
            self._port.notice("paths", path=path, **facts)


def _ways(terms: Terms, settings: BorderSettings, now: float) -> Dialer | Door:
    ways = [bool(settings.dial), bool(settings.command), bool(settings.door)]
    if sum(ways) != 1:
        raise UsageError(reason="a border has one of: dial, command, door")
    if settings.door:
        return Door(terms, settings.door)
    target = Target(
        addresses=settings.dial,
        via=settings.via,
        command=settings.command,
        send_buffer=settings.send_buffer,
        first=settings.first,
    )
    return Dialer(terms, target, now)


def _hexadecimal(name: str, text: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size:
        raise UsageError(reason=f"{name} is not {size} bytes in hexadecimal")
    return value
