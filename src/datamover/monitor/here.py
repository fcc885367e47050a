"""The pipes of this machine and user, wherever they are supervised: in commands, or the daemon.

Source: docs/spec/control-protocol.md, sections 1 and 6; SPEC C15, C17.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.errors import NoPipeError, PeerError, UsageError
from datamover.monitor.patience import Patience
from datamover.monitor.reach import reach_socket
from datamover.monitor.runtime import is_listening, monitor_socket, pipe_sockets
from datamover.wire.message import AskStatus, Done, SetLimit, Status, StopPipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datamover.wire.account import Account

__all__ = ["Here"]

_ANSWER_S: Final = 3.0
_PATIENCE: Final = Patience(opening_s=_ANSWER_S)


@dataclass(frozen=True, slots=True)
class Here:
    """What runs in a runtime folder; asked anew each time.

    Attributes:
        runtime: The folder.
        silent: Called with the name of a process that does not answer in time.
    """

    runtime: Path
    silent: Callable[[str], None] = lambda _: None

    def accounts(self, pipe: str = "") -> list[Account]:
        """Return what runs, or the pipes that ``pipe`` names.

        Raises:
            NoPipeError: None is named so.
            UsageError: Several are.

        Blocking: until each process has answered, some seconds at most.
        """
        found = [account for _, accounts in self._all() for account in accounts]
        if not pipe:
            return found
        name = self._named(pipe, found)
        return [one for one in found if one.pipe == name]

    def stop(self, pipe: str, by: str) -> str:
        """Ask a pipe to end; return its whole name.

        Raises:
            NoPipeError: None is named so.
            UsageError: Several are.
            PeerError: It cannot be stopped.

        Blocking: as ``accounts``.
        """
        return self._do(pipe, lambda name: StopPipe(request=0, pipe=name, reason=by))

    def set_limit(self, pipe: str, bytes_per_s: int) -> str:
        """Limit a pipe; return its whole name.

        Raises:
            NoPipeError: None is named so.
            UsageError: Several are.
            PeerError: It cannot be limited.

        Blocking: as ``accounts``.
        """
        return self._do(pipe, lambda name: SetLimit(request=0, pipe=name, bytes_per_s=bytes_per_s))

    def _do(self, pipe: str, message: Callable[[str], StopPipe | SetLimit]) -> str:
        found = list(self._all())
        name = self._named(pipe, [one for _, accounts in found for one in accounts])
        for at, accounts in found:
            if any(one.pipe == name for one in accounts):
                with reach_socket(at, name=at.stem, patience=_PATIENCE) as peer:
                    peer.ask(message(name), kind=Done, timeout=_ANSWER_S)
        return name

    def _named(self, pipe: str, accounts: list[Account]) -> str:
        """Return the one name that is meant: a whole one, its beginning, or a process."""
        names = {one.pipe for one in accounts}
        if pipe in names:
            return pipe
        begun = {one for one in names if pipe and one.startswith(pipe)}
        begun |= {one.pipe for one in accounts if str(one.pid) == pipe}
        if len(begun) > 1:
            raise UsageError(reason=f"{pipe} may be {' or '.join(sorted(begun))}")
        if not begun:
            raise NoPipeError(pipe=pipe)
        return begun.pop()

    def _all(self) -> Iterator[tuple[Path, list[Account]]]:
        """Yield each process's socket and what it runs; one that does not answer is passed by."""
        for at in [*pipe_sockets(self.runtime), monitor_socket(self.runtime)]:
            if not is_listening(at):
                continue  # it has ended, or was killed
            try:
                with reach_socket(at, name=at.stem, patience=_PATIENCE) as peer:
                    found = peer.ask(AskStatus(request=0), kind=Status, timeout=_ANSWER_S).pipes
            except PeerError:
                self.silent(at.stem)
            else:
                yield at, found
