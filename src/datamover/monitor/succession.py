"""The dead of a pipe whose place others are to take, and what those begin with.

Source: SPEC X2; DESIGN D7; docs/decisions/0017-the-dead-are-replaced.md.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from datamover.monitor.repair import repair
from datamover.pipe.layout import Task
from datamover.shm.tokens import END, Token

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from datamover.monitor.wiring import Wiring

__all__ = ["Succession", "Successor"]

_AGAIN: Final = 0.005


@dataclass(frozen=True, slots=True)
class Successor:
    """Tasks to start in one process, and the tokens that the first begins with."""

    crew: tuple[Task, ...]
    replay: tuple[Token, ...]
    reason: str

    @property
    def again(self) -> int:
        """How many inputs it is given that its predecessor had."""
        return sum(token.index != END for token in self.replay)


class Succession:
    """Keeps the dead until they have been replaced; an attempt may have to wait for others."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._dead: dict[tuple[int, ...], str] = {}
        self._next = 0.0

    def add(self, crew: tuple[int, ...], reason: str) -> None:
        """Take in the tasks of a process that died."""
        self._dead[crew] = reason
        self._next = 0.0

    def clear(self) -> None:
        """Forget them: the pipe ends."""
        self._dead.clear()

    def started(self, successor: Successor) -> None:
        """Learn that it has been."""
        del self._dead[tuple(task.id for task in successor.crew)]

    @property
    def first(self) -> int:
        """One of the dead."""
        return next(iter(self._dead))[0]

    def left(self) -> float | None:
        """Seconds until ``successors`` should be called; None: nobody is dead."""
        return max(0.0, self._next - time.monotonic()) if self._dead else None

    def successors(self, alive: AbstractSet[int], pids: Mapping[int, int]) -> list[Successor]:
        """Put the pipe in order; return whom to start, or nobody when it could not be done now.

        Args:
            alive: Every task that has not ended.
            pids: The processes, by task.

        Raises:
            OwnershipError: The pipe cannot be put in order.

        Blocking: until every task stands still for a moment; see ``repair``.
        """
        if self.left() != 0.0:
            return []
        self._next = time.monotonic() + _AGAIN
        if not alive <= set(pids):
            return []  # whose process is not known yet cannot be asked to stand still
        processes: dict[int, list[int]] = {}
        for task in alive:
            processes.setdefault(pids[task], []).append(task)
        tasks = self._wiring.layout.tasks
        dead = [tuple(tasks[task] for task in crew) for crew in self._dead]
        replay = repair(self._wiring, dead, processes)
        if replay is None:
            return []
        reasons = list(self._dead.values())
        return [
            Successor(crew, tuple(replay[crew[0].id]), reason)
            for crew, reason in zip(dead, reasons, strict=True)
        ]
