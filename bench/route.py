"""Run a mover from one machine to another, and say what both sides of it cost."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from measure import PASSPHRASE, Cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from movers import Mover

__all__ = ["Route"]

_SHELL = ("bash", "-o", "pipefail", "-c")
_UP_S = 10.0
_END_S = 20.0
_TICK = 0.002
_SUBREAPER = 36


@dataclass(slots=True, kw_only=True)
class Route:
    """Two machines, which may be this one twice.

    Attributes:
        source: What is copied.
        work: A folder for destinations and settings, in memory.
        near: Words that run a command on the near machine.
        far: And on the far one.
        host: The far machine's address.
        near_host: The near machine's address.
        near_more: What else commands find in their environment on the near machine.
        far_more: And on the far one.
        limit: Seconds after which a run has failed.
    """

    source: Path
    work: Path
    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    near_host: str = "127.0.0.1"
    near_more: dict[str, str] = field(default_factory=dict)
    far_more: dict[str, str] = field(default_factory=dict)
    limit: float = 300
    _numbers: count = field(default_factory=lambda: count(1))
    _checked: set[str] = field(default_factory=set)

    def runner(self, mover: Mover, size: int) -> Callable[[int], Cost]:
        """Return a candidate for ``compare``."""

        def run(_: int) -> Cost:
            number = next(self._numbers)
            place = self.work / f"run-{number}"
            (place / "dst").mkdir(parents=True)
            try:
                cost = self._timed(mover, place, 20_000 + number, size)
                if cost.status == 0 and mover.files and mover.name not in self._checked:
                    self._check(mover, place / "dst")
            finally:
                shutil.rmtree(place, ignore_errors=True)
            return cost

        return run

    def run_far(self, command: str, *, given: str = "") -> str:
        """Run a command on the far machine, return what it prints; not timed."""
        return self._told((*self.far, *_SHELL, command), self.far_more, given)

    def run_near(self, command: str, *, given: str = "") -> str:
        """Run a command on the near machine, return what it prints; not timed."""
        return self._told((*self.near, *_SHELL, command), self.near_more, given)

    @contextmanager
    def serving(self, command: str, port: int) -> Iterator[None]:
        """Let the far machine run a command while something else is done."""
        with (self.work / "serving").open("w+b") as log:
            server = self._start(self.far, command, self._environment(self.far_more), log)
            try:
                self._wait_listening(server, port)
                yield
            finally:
                _end(server)

    def _timed(self, mover: Mover, place: Path, port: int, size: int) -> Cost:
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)  # orphans' time counts too
        run = {
            "DST": str(place / "dst"),
            "WORK": str(place),
            "PORT": str(port),
            "BYTES": str(size),
        }
        near, far = (self._environment({**one, **run}) for one in (self.near_more, self.far_more))
        with (place / "stderr").open("w+b") as log:
            others, before = _children(), os.times()
            server = None
            try:
                if mover.serve:
                    server = self._start(self.far, mover.serve, far, log)
                    self._wait_listening(server, mover.port or port)
                start = time.monotonic()
                client = self._start(self.near, mover.copy, near, log)
                status = _wait(client, self.limit)
                if server is not None and mover.ends and status == 0:
                    status = _wait(server, self.limit)
                seconds = time.monotonic() - start
            finally:
                if server is not None:
                    _end(server)
            _reap(others)
            after = os.times()
            log.seek(0)
            told = log.read().decode(errors="replace")[-2000:]
        cpu = sum(after[2:4]) - sum(before[2:4])
        return Cost(seconds, cpu, status, stderr=told)

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        places = {
            "SRC": str(self.source),
            "STORE": str(self.work / "store"),
            "HOST": self.host,
            "NEAR": self.near_host,
        }
        return {**os.environ, "DATAMOVER_PASSPHRASE": PASSPHRASE, **places, **more}

    def _told(self, words: tuple[str, ...], more: dict[str, str], given: str) -> str:
        done = subprocess.run(
            words,
            input=given,
            capture_output=True,
            text=True,
            env=self._environment(more),
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{words[-1]}: status {done.returncode}: {done.stderr}")
        return done.stdout

    def _start(self, prefix: tuple[str, ...], command: str, environment, log) -> subprocess.Popen:
        return subprocess.Popen(
            [*prefix, *_SHELL, command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )

    def _wait_listening(self, server: subprocess.Popen, port: int) -> None:
        """Wait for the port without connecting to it: some serve only once."""
        deadline = time.monotonic() + _UP_S
        wanted = f":{port:04X} "
        while time.monotonic() < deadline and server.poll() is None:
            table = subprocess.run(
                [*self.far, "cat", "/proc/net/tcp"], capture_output=True, text=True, check=False
            ).stdout
            if any(wanted in line and line.split()[3] == "0A" for line in table.splitlines()):
                return
            time.sleep(0.01)
        raise TimeoutError(f"nobody listens on port {port}")

    def _check(self, mover: Mover, arrived: Path) -> None:
        same = subprocess.run(
            ["diff", "-r", "-q", "--no-dereference", str(self.source), str(arrived)],
            capture_output=True,
            text=True,
            check=False,
        )
        if same.returncode:
            raise RuntimeError(f"{mover.name}: not what was sent: {same.stdout[-500:]}")
        self._checked.add(mover.name)


def _wait(process: subprocess.Popen, limit: float) -> int:
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        _end(process)
        print(f"  ended after {limit} s", file=sys.stderr)
        return 124


def _end(process: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
            return


def _children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def _reap(before: set[int]) -> None:
    """Wait for orphans that came to this process, as far as they end."""
    deadline = time.monotonic() + _END_S
    while (left := _children() - before) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_TICK)
