"""What some processes and folders hold at a moment, to find what a job left behind.

    before = Snapshot.take(host.processes, folders=[host.folder])
    ... a job that must leave nothing ...
    assert not wait_clean(before, host.processes, folders=[host.folder], timeout=5)

A daemon that was there before may live on, but may hold no more descriptors and no other memory
files than it did.

Source: SPEC C15, C16, G9; proc(5).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Snapshot", "wait_clean"]

_TICK: Final = 0.02
_MEMFD: Final = "/memfd:"


@dataclass(frozen=True, slots=True)
class _Process:
    """A process: its number and start time name it for good; what it holds open."""

    name: str
    descriptors: Counter[str]
    memory: frozenset[str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is; see ``leaks`` for what came on top of another.

    Attributes:
        processes: By number and start time.
        files: Below the folders.
    """

    processes: Mapping[tuple[int, int], _Process]
    files: frozenset[str]

    @classmethod
    def take(cls, pids: Callable[[], Iterable[int]], *, folders: Iterable[Path] = ()) -> Self:
        """Look at these processes, and at what lies below these folders now."""
        found = {}
        for pid in pids():
            # A process that ends while it is looked at is not there.
            with suppress(OSError):
                found[pid, _born(pid)] = _Process(_name(pid), *_open(pid))
        files = {
            f"{at}/{name}" for top in folders for at, _, names in os.walk(top) for name in names
        }
        return cls(found, frozenset(files))

    def leaks(self, now: Snapshot) -> list[str]:
        """Say what is there now and was not: a line each, sorted."""
        files = (f"file: {name}" for name in now.files - self.files)
        return sorted([*self._processes(now), *files])

    def _processes(self, now: Snapshot) -> Iterator[str]:
        for key, one in now.processes.items():
            before = self.processes.get(key)
            if before is None:
                yield f"process: {one.name} ({key[0]})"
                continue
            for what, count in (one.descriptors - before.descriptors).items():
                yield f"descriptor: {one.name} ({key[0]}) holds {count} more: {what}"
            for what in one.memory - before.memory:
                yield f"memory: {one.name} ({key[0]}) maps {what}"


def wait_clean(
    before: Snapshot,
    pids: Callable[[], Iterable[int]],
    *,
    folders: Iterable[Path] = (),
    timeout: float = 5.0,
) -> list[str]:
    """Wait until nothing is left that was not there before; return what still is.

    Blocking: at most ``timeout`` seconds.
    """
    deadline, places = time.monotonic() + timeout, tuple(folders)
    while True:
        found = before.leaks(Snapshot.take(pids, folders=places))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(_TICK)


def _born(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _open(pid: int) -> tuple[Counter[str], frozenset[str]]:
    """Return the kinds of its descriptors with their numbers, and the memory files that it maps."""
    kinds: Counter[str] = Counter()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            # Pipes and sockets by kind: their numbers change, and how many there are counts.
            target = str(Path(entry).readlink())
            if target.startswith(_MEMFD):
                target += f" {Path(entry).stat().st_ino}"
            kinds[target if target[:1] == "/" else target.partition(":")[0]] += 1
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    # The inode tells one memory file from another of the same name.
    memory = {" ".join(line.split()[4:6]) for line in maps if _MEMFD in line}
    return kinds, frozenset(memory)
