"""One machine made of a network namespace: own addresses, own folders, own host name.

    host.run(["ip", "address"])               to its end
    host.popen(["datamover", "monitor"])      left running, ended with the host
    host.job(["datamover", "copy", ...])      observed, see ``datamover.testing.job``
    host.python("import socket; ...")

Processes of all hosts see the same files and the same process numbers: it is one kernel.  What
datamover keeps per machine is kept apart by the environment, which names folders of the host.

Source: ip-netns(8); CONTRIBUTING.md, "Two machines on one".
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.testing.administer import administer, tool
from datamover.testing.job import Job, network_of, running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Host"]

_FOLDERS: Final = {
    "DATAMOVER_CONFIG": "config",
    "DATAMOVER_RUNTIME": "run",
    "DATAMOVER_STATE": "state",
    "HOME": "home",
    "TMPDIR": "tmp",
    "XDG_CACHE_HOME": "home/.cache",
    "XDG_CONFIG_HOME": "home/.config",
    "XDG_DATA_HOME": "home/.local/share",
    "XDG_RUNTIME_DIR": "run",
    "XDG_STATE_HOME": "home/.local/state",
}
_NAMED: Final = 'echo "$0" >/proc/sys/kernel/hostname && exec "$@"'
_GONE_S: Final = 10.0
_TICK: Final = 0.005


class Host:
    """A machine of a ``Network``, which makes and removes it.

    Attributes:
        name: What the other hosts call it, and its host name.
        namespace: Its network namespace, as ``ip netns`` knows it.
        folder: Where its files lie; its own temporary, home and datamover folders are in there.
        environment: What processes on it get on top of this process's environment.
    """

    def __init__(self, name: str, namespace: str, folder: Path) -> None:
        self.name = name
        self.namespace = namespace
        self.folder = folder
        self.environment = {key: str(folder / part) for key, part in _FOLDERS.items()}
        self._running: list[subprocess.Popen[bytes]] = []
        self._disks: list[Path] = []

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words that, put before a command, run it on this host; its pid stays the same."""
        exec_in = (tool("ip"), "netns", "exec", self.namespace)
        return (*exec_in, tool("unshare"), "--uts", "/bin/sh", "-c", _NAMED, self.name)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        given: str | None = None,
        timeout: float = 60,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, its output as text.

        Raises:
            AssertionError: its status is not 0 and ``check`` was asked for.
            subprocess.TimeoutExpired: it took longer; it was killed.
        """
        done = subprocess.run(  # noqa: S603  tests run what they say
            [*self.prefix, *map(str, command)],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self._environment(env),
            cwd=self.folder,
            check=False,
        )
        told = f"{self.name}: status {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
        assert not check or done.returncode == 0, told
        return done

    def popen(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.PIPE,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own and leave it running.

        Ownership: it is killed with the host, and its pipes are closed.
        """
        process = subprocess.Popen(  # noqa: S603  tests run what they say
            [*self.prefix, *map(str, command)],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            env=self._environment(env),
            cwd=self.folder,
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def python(
        self,
        code: str,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run some Python to its end; ``sys.argv[1:]`` are the arguments."""
        return self.run([sys.executable, "-c", code, *arguments], env=env, timeout=timeout)

    def job(self, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> Job:
        """Start a command under observation."""
        words = [*self.prefix, *map(str, command)]
        return Job(words, environment={**self.environment, **(env or {})})

    def disk(self, mebibytes: int) -> Path:
        """Mount a file system of that size, which can be filled; it goes with the host."""
        path = self.folder / f"disk-{len(self._disks)}"
        path.mkdir()
        administer("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path))
        self._disks.append(path)
        return path

    @property
    def network(self) -> int:
        """What tells its network from others; 0 when it is gone."""
        with suppress(OSError):
            return Path("/run/netns", self.namespace).stat().st_ino
        return 0

    def processes(self) -> list[int]:
        """Return the numbers of all live processes on it, whoever started them."""
        here = self.network
        return [pid for pid, _, _, _ in running() if here and network_of(pid) == here]

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Return the bytes received and sent by each of its interfaces, headers included."""
        found = json.loads(administer("ip", "-n", self.namespace, "-s", "-j", "link"))
        return {
            one["ifname"]: (one["stats64"]["rx"]["bytes"], one["stats64"]["tx"]["bytes"])
            for one in found
        }

    def start(self) -> None:
        """Make its namespace and its folders (``Network`` does)."""
        for part in _FOLDERS.values():
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "run").chmod(0o700)
        administer("ip", "netns", "add", self.namespace)
        administer("ip", "-n", self.namespace, "link", "set", "lo", "up")

    def stop(self) -> None:
        """Kill what runs on it, then remove it; whatever is gone already is not missed.

        Blocking: at most 10 s, for processes that do not die.
        """
        self._kill_all()
        for process in self._running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GONE_S)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(OSError):  # what it had not read yet
                        pipe.close()
        for path in self._disks:
            with suppress(OSError):
                administer("umount", "-l", str(path))
        with suppress(OSError):
            administer("ip", "netns", "delete", self.namespace)

    def _kill_all(self) -> None:
        deadline = time.monotonic() + _GONE_S
        while time.monotonic() < deadline:
            left = self.processes()
            if not left:
                return
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_TICK)

    def _environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, **self.environment, **(env or {})}
