"""Every pipe that a process knows, by the name that others call it.

Source: docs/spec/control-protocol.md, section 4; SPEC C15, C17.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from datamover.errors import NoPipeError
from datamover.monitor.account import account_of, together

if TYPE_CHECKING:
    from datamover.monitor.live import LivePipe
    from datamover.monitor.supervisor import Monitor
    from datamover.wire.account import Account

__all__ = ["Led", "Roster"]


class Led(Protocol):
    """A pipe over several machines that this process leads; ``Monitor.led`` holds them."""

    @property
    def name(self) -> str:
        """What it is called on every machine."""
        ...

    def account(self) -> Account:
        """Return what all its parts do, as far as it is known here; never blocks."""
        ...

    def stop(self, by: str) -> None:
        """Ask all its parts to end; never blocks."""
        ...

    def set_limit(self, bytes_per_s: int) -> None:
        """Let its borders carry so much a second; 0: as much as they can.  Never blocks."""
        ...


class Roster:
    """The pipes of a monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def accounts(self, pipe: str = "") -> list[Account]:
        """Return what the pipes do, or one of them; none when there is none of that name.

        Blocking: never.
        """
        found = [led.account() for led in self._monitor.led if pipe in {"", led.name}]
        return found + together(map(account_of, self._alone(pipe)))

    def stop(self, pipe: str, by: str) -> None:
        """Ask a pipe to end.

        Raises:
            NoPipeError: There is none of that name.

        Blocking: never.
        """
        for one in self._named(pipe):
            one.stop(by)

    def set_limit(self, pipe: str, bytes_per_s: int) -> None:
        """Let a pipe's borders carry so much a second; 0: as much as they can.

        Raises:
            NoPipeError: There is none of that name.

        Blocking: never.
        """
        for one in self._named(pipe):
            one.set_limit(bytes_per_s)

    def _named(self, pipe: str) -> list[Led | LivePipe]:
        led = [one for one in self._monitor.led if one.name == pipe]
        found: list[Led | LivePipe] = [*led] if led else [*self._alone(pipe)]
        if not found or not pipe:
            raise NoPipeError(pipe=pipe)
        return found

    def _alone(self, pipe: str) -> list[LivePipe]:
        """The pipes of one machine, and parts that others lead."""
        led = {one.name for one in self._monitor.led}
        return [
            one
            for one in self._monitor.pipes
            if one.alias.pipe not in led and pipe in {"", one.alias.pipe}
        ]
