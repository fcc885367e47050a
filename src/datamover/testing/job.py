"""A program under observation: its own session, its tasks by name, its end, and what it leaves.

    job = Job([sys.executable, "-m", "datamover", "backup", ...])
    task = job.wait_task("dm:compress.0", timeout=5)
    job.kill(task)
    ended = job.wait(timeout=10)      # ended.status, ended.error, ended.left

Tasks tell what they are in /proc/PID/comm (``dm:<stage>.<instance>``, 15 bytes).

Source: SPEC C15, C16; docs/STYLE.md, "Tests"; proc(5), pidfd_send_signal(2).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Ended", "Job", "Task", "network_of", "running"]

_MARK: Final = "DATAMOVER_TEST_JOB"
_TICK: Final = 0.002
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True, order=True)
class Task:
    """One live process of a job.

    Attributes:
        name: What it calls itself; "main" for the process that was started.
        host: The host that it runs on, where there are several.
    """

    pid: int
    name: str
    host: str = ""

    @property
    def role(self) -> str:
        """Its name, with its host before it."""
        return f"{self.host}/{self.name}" if self.host else self.name

    @property
    def stage(self) -> str:
        """The stage's name, as far as 15 bytes hold it; "" for what is no task of a pipe."""
        return self.name[3:].rpartition(".")[0] or self.name[3:] if self.name[:3] == "dm:" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a job ended.

    Attributes:
        status: Exit status; negative for a signal.
        seconds: From start to the end of the process that was started.
        left: Processes that lived on past the grace period (they are killed then).
    """

    status: int
    stdout: str
    stderr: str
    seconds: float
    left: tuple[Task, ...]

    @property
    def events(self) -> list[dict[str, object]]:
        """Every JSON object that either stream holds, a line each, in order."""
        return list(_objects(self.stdout)) + list(_objects(self.stderr))

    @property
    def error(self) -> dict[str, object]:
        """The error event of ``--json``; empty when there was none."""
        found = [event for event in self.events if event.get("event") == "error"]
        return found[-1] if found else {}

    @property
    def code(self) -> str:
        """The stable code of the error; of its cause, when a stage failed of one."""
        facts = self.error.get("facts")
        cause = facts.get("cause_code") if isinstance(facts, dict) else None
        return str(cause or self.error.get("code", ""))

    def check(self, *statuses: int) -> Ended:
        """Hold it to what every end must be: one of ``statuses``, nothing left, no traceback.

        Raises:
            AssertionError: It is not so.
        """
        told = f"status {self.status}\n{self.stdout[-1000:]}\n{self.stderr[-3000:]}"
        assert not self.left, f"processes left: {self.left}\n{told}"
        assert "Traceback" not in self.stderr, told
        assert self.status in statuses, f"wanted {statuses}, {told}"
        return self


class Job:
    """A running program, in a session of its own, with its output in files.

    Output goes to files and not to pipes, so that a process that lives on cannot hang the test.

    Args:
        command: program and arguments.
        environment: added to this process's own.
    """

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._mark = uuid.uuid4().hex
        self._strangers: set[tuple[int, int]] = set()
        self._stdout = tempfile.TemporaryFile()  # noqa: SIM115  closed by wait
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed by wait
        self.started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603  tests run what they say
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            start_new_session=True,
            env={**os.environ, **(environment or {}), _MARK: self._mark},
        )
        self.pid = self._process.pid

    def tasks(self) -> list[Task]:
        """Return its live processes, whoever their parent is now."""
        return sorted(
            Task(pid, "main" if pid == self.pid else name)
            for pid, name, session, born in running()
            if session == self.pid or self._is_marked(pid, born)
        )

    def left(self) -> list[Task]:
        """Return the live processes that must go when it ends."""
        return self.tasks()

    def wait_task(self, name: str, *, timeout: float) -> Task | None:
        """Wait until a process in that role is there; None when there was none in time.

        Blocking: at most ``timeout`` seconds, or until the job has ended.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for task in self.tasks():
                if task.role == name:
                    return task
            if not self.is_running():
                return None
            time.sleep(_TICK)
        return None

    def is_running(self) -> bool:
        """Whether the process that was started has not ended."""
        return self._process.poll() is None

    def kill(self, task: Task, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal; False when the process had ended, whoever has its number now."""
        try:
            handle = os.pidfd_open(task.pid)
        except ProcessLookupError:
            return False
        try:
            # The handle names one process for good; now see that it is the right one.
            if task not in self.tasks():
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def wait(self, *, timeout: float = 60, grace: float = 5.0) -> Ended:
        """Wait for the end of the program, and then for all that it started.

        A program that does not end within ``timeout`` is killed; its status is then -9.

        Blocking: at most ``timeout`` + ``grace`` seconds.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        seconds = time.monotonic() - self.started
        left = self._wait_gone(grace)
        return Ended(
            status=status,
            stdout=_text(self._stdout),
            stderr=_text(self._stderr),
            seconds=seconds,
            left=left,
        )

    def _wait_gone(self, grace: float) -> tuple[Task, ...]:
        deadline = time.monotonic() + grace
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(_TICK)
        for task in left:
            self.kill(task)
        return tuple(left)

    def _is_marked(self, pid: int, born: int) -> bool:
        """A process that made a session of its own still has the environment it began with."""
        # Who was none of ours at birth never becomes one: asking everybody once is enough.
        if (pid, born) in self._strangers:
            return False
        with suppress(OSError):
            if f"{_MARK}={self._mark}".encode() in (_PROC / f"{pid}/environ").read_bytes():
                return True
            self._strangers.add((pid, born))
        return False


def running() -> Iterator[tuple[int, str, int, int]]:
    """Yield (pid, name, session, start time) of every process that is not a zombie."""
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name is in parentheses and may hold some itself, so look from the right.
            front, _, back = (entry / "stat").read_bytes().rpartition(b")")
        except OSError:
            continue  # it ended just now
        fields = back.split()
        if fields[0] not in {b"Z", b"X"}:
            name = front.partition(b"(")[2].decode(errors="replace")
            yield int(entry.name), name, int(fields[3]), int(fields[19])


def network_of(pid: int) -> int:
    """Return what tells the network namespace of a process from others; 0 when it has ended."""
    with suppress(OSError):
        return (_PROC / f"{pid}/ns/net").stat().st_ino
    return 0


def _objects(text: str) -> Iterator[dict[str, object]]:
    for line in text.splitlines():
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                yield found


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    with file:
        return file.read().decode(errors="replace")
