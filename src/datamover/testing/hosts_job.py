"""A program on one host and all that runs on the others because of it, for ``testing.chaos``.

    start = functools.partial(HostsJob, on=source, hosts=network.hosts)
    seen = observe(command, grows=folder, start=start)
    struck = strike(command, Plan.draw(seed, seen), grows=folder, start=start)

Its tasks are all processes of all hosts, in the role ``<host>/<name>``: ``source/dm:read.0``,
``destination/dm:forkserver``; the program itself is ``main``.  What runs a module of this project
is called after it: ``monitor``, ``serve``, ``serve-path``; ``shell`` and ``shell-path`` for the
remote shell here that leads to either.  Who was on a host before it began, a monitor say, may be
killed like the others, but is not missed when it stays.

Source: SPEC C15, C16, G9.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from datamover.testing.job import Job, Task, network_of, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from datamover.testing.host import Host

__all__ = ["HostsJob"]


class HostsJob(Job):
    """A running program, and what runs on several hosts.

    Args:
        command: program and arguments.
        environment: added to that of its host.
        on: where it runs.
        hosts: whose processes belong to it.
        residents: whether those that were there before it began do, too.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        on: Host,
        hosts: Sequence[Host],
        residents: bool = True,
    ) -> None:
        self._hosts = {host.network: host.name for host in hosts}
        self.pid = 0
        self._has_residents = residents
        self._residents = {(pid, born) for pid, _, born in self._seen()}
        super().__init__(
            [*on.prefix, *command], environment={**on.environment, **(environment or {})}
        )

    def tasks(self) -> list[Task]:
        """Return every live process of every host."""
        return sorted(task for _, task, _ in self._seen()) if self._has_residents else self.left()

    def left(self) -> list[Task]:
        """Return the live processes that were not there before it began."""
        return sorted(
            task for pid, task, born in self._seen() if (pid, born) not in self._residents
        )

    def _seen(self) -> Iterator[tuple[int, Task, int]]:
        for pid, name, _, born in running():
            host = self._hosts.get(network_of(pid))
            if pid == self.pid:
                yield pid, Task(pid, "main"), born
            elif host is not None:
                yield pid, Task(pid, _called(pid, name), host), born


def _called(pid: int, name: str) -> str:
    """Return what a process is, where its name says only that it runs Python."""
    if not name.startswith("python"):
        return name
    words: list[str] = []
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    if "-m" not in words[:-2]:
        return name
    at = words.index("-m") + 1
    part = "-path" if any("--path" in one.split() for one in words[at:]) else ""
    match words[at]:
        case "datamover":
            return words[at + 1] + part
        case "datamover.testing.remote_shell":
            return "shell" + part
        case _:
            return name
