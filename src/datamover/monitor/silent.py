"""Silent tasks: alive for the system, and dead for the pipe.

    stopped    somebody sent SIGSTOP, or a debugger holds it: it will take no buffer, and no word
    silent     it neither waits in a verb nor calls one, for longer than the pipe allows (silence_s)

A task that computes, or waits for a disk, is silent too as far as a monitor can see, so how long is
too long is the pipe's to say; that a stopped one is of no use is certain after a minute.
A monitor that did not run itself for a while, since the whole session was stopped or the machine
slept, begins to count anew.

Source: seed, "Control Messages" (poll periodically), "Status Monitoring"; SPEC C14, C16; issue 3.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from datamover.monitor.wiring import Wiring

__all__ = ["STOPPED_S", "Silent", "SilentTasks"]

STOPPED_S: Final = 60.0
"""How long a process may be stopped."""

_LOOK_S: Final = 1.0
_AWAY: Final = 5.0
"""So many looks late, and the monitor was away itself."""
_STARTED, _ENDED, _WAITS = 7, 8, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A process that is as good as dead.

    Attributes:
        pid: Of it.
        task: The first of its tasks.
        reason: Why, in words.
    """

    pid: int
    task: int
    reason: str


@dataclass(slots=True)
class _Seen:
    """What a process was when it last showed life."""

    values: tuple[object, ...]
    at: float
    stopped_at: float | None = None


class SilentTasks:
    """Watches the processes of one pipe."""

    def __init__(self, wiring: Wiring, silence_s: float) -> None:
        """Begin to watch.

        Args:
            wiring: The pipe's.
            silence_s: Seconds that a task may be silent; 0: for ever.
        """
        self._wiring = wiring
        self._silence_s = silence_s
        self._seen: dict[int, _Seen] = {}
        self._looked = 0.0

    def find(self, pids: Mapping[int, int]) -> list[Silent]:
        """Return those that are silent for too long now; looks once a second at most.

        Args:
            pids: The process of each task that has one.

        Blocking: never.
        """
        now = time.monotonic()
        if now < self._looked + _LOOK_S:
            return []
        was_away = now > self._looked + _AWAY * _LOOK_S
        self._looked = now
        crews: dict[int, list[int]] = {}
        for task, pid in pids.items():
            crews.setdefault(pid, []).append(task)
        self._seen = {pid: seen for pid, seen in self._seen.items() if pid in crews}
        if was_away:
            self._seen.clear()
        return list(self._silent(crews, now))

    def _silent(self, crews: Mapping[int, Sequence[int]], now: float) -> Iterator[Silent]:
        for pid, crew in crews.items():
            records = [self._record(task) for task in crew]
            values = tuple(map(tuple, records))
            seen = self._seen.get(pid)
            if seen is None or seen.values != values:
                seen = self._seen[pid] = _Seen(values, now)
            if not _is_stopped(pid):
                seen.stopped_at = None
            elif seen.stopped_at is None:
                seen.stopped_at = now
            reason = ""
            if seen.stopped_at is not None and now - seen.stopped_at >= STOPPED_S:
                reason = f"its process was stopped, and not continued for {STOPPED_S:g} s"
            elif self._silence_s and now - seen.at >= self._silence_s and _works(records):
                reason = f"silent for {now - seen.at:.0f} s, {self._silence_s:g} s are allowed"
            if reason:
                del self._seen[pid]
                yield Silent(pid=pid, task=min(crew), reason=reason)

    def _record(self, task: int) -> list[int]:
        with self._wiring.segment.record(task) as record:
            return list(record.tolist())


def _works(records: Sequence[Sequence[int]]) -> bool:
    """Whether a process has begun, has not ended, and none of its tasks waits in a verb."""
    return all(one[_STARTED] and not one[_WAITS] for one in records) and not all(
        one[_ENDED] for one in records
    )


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in {b"T", b"t"}
    except (OSError, IndexError):
        return False
