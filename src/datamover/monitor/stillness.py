"""Have the processes of a pipe stand still between two tokens.

A stopped process is stopped anywhere, also between a queue and the table.  Whoever is found there
(its record says so) is let go on until it is out again, and stopped once more.  One that sleeps in
the kernel for a disk cannot be stopped, and need not be: before it does anything else it stops.

Source: SPEC X2; LIMITS 7; docs/decisions/0017-the-dead-are-replaced.md.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["Stillness"]

_PATIENCE: Final = 2.0
_PAUSE: Final = 0.0002
_STOPPED: Final = frozenset("Tt")
_ASLEEP: Final = frozenset("D")
_GONE: Final = frozenset("ZXx")


class Stillness:
    """A context in which the processes do nothing; ``reached`` says whether they all do."""

    def __init__(self, processes: Mapping[int, Callable[[], bool]]) -> None:
        """Prepare.

        Args:
            processes: By pid: whether a task of it is between a queue and the table.
        """
        self._processes = processes
        self._descriptors: dict[int, int] = {}
        self.reached = False

    def __enter__(self) -> Self:
        """Stop them, for at most some seconds.

        Blocking: until all stand still, or one is found dead, or it takes too long.
        """
        deadline = time.monotonic() + _PATIENCE
        try:
            for pid in self._processes:
                self._descriptors[pid] = os.pidfd_open(pid)
                self._signal(pid, signal.SIGSTOP)
            self.reached = all(self._settle(pid, deadline) for pid in self._processes)
        except ProcessLookupError:
            self.reached = False  # it is dead, and its end will be heard
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let them go on."""
        self._let_go()

    def _settle(self, pid: int, deadline: float) -> bool:
        """Wait until one stands still outside of such a moment; False: it will not, or is dead."""
        is_between = self._processes[pid]
        while time.monotonic() < deadline:
            state = _state(pid)
            if state in _GONE:
                return False
            if state in _STOPPED or state in _ASLEEP:
                if not is_between():
                    return True
                self._signal(pid, signal.SIGCONT)
                while is_between() and time.monotonic() < deadline and _state(pid) not in _GONE:
                    time.sleep(_PAUSE)
                self._signal(pid, signal.SIGSTOP)
            else:
                time.sleep(_PAUSE)
        return False

    def _signal(self, pid: int, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._descriptors[pid], number)

    def _let_go(self) -> None:
        for pid, descriptor in self._descriptors.items():
            with contextlib.suppress(ProcessLookupError):
                self._signal(pid, signal.SIGCONT)
            os.close(descriptor)
        self._descriptors.clear()


def _state(pid: int) -> str:
    """Return what a process does, as one letter of the kernel's; Z when there is none."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "Z"
    try:
        text = os.read(descriptor, 512)
    except ProcessLookupError:
        return "Z"
    finally:
        os.close(descriptor)
    return text[text.rindex(b")") + 2 :][:1].decode()
