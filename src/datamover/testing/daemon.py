"""The monitor as a daemon, as a test sees it: a process in folders of its own, on loopback.

Source: docs/guides/monitor.md; SPEC C1.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from datamover.monitor.local import LocalMonitor
from datamover.monitor.reach import reach_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from datamover.monitor.peer import Peer

__all__ = ["Daemon", "gone", "until"]

_BOUND_S: Final = 30.0
_TICK_S: Final = 0.01


def until(condition: Callable[[], object], what: str = "it") -> object:
    """Wait until something is true, and return it.

    Raises:
        AssertionError: It did not come true in time.
    """
    deadline = time.monotonic() + _BOUND_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true in time"
        time.sleep(_TICK_S)
    return found


def gone(pid: int) -> bool:
    """Whether a process is no more, or has only to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Daemon:
    """A running daemon and its log.

    Attributes:
        port: Where it listens, once its machine is in a fleet.
    """

    def __init__(
        self, folder: Path, *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.configuration, self.runtime = folder / "config", folder / "run"
        self.log_path = folder / "log"
        self.environment = {
            **os.environ,
            "DATAMOVER_CONFIG": str(self.configuration),
            "DATAMOVER_RUNTIME": str(self.runtime),
            "DATAMOVER_STATE": str(folder / "state"),
            **(environment or {}),
        }
        self.port = _free_port()
        words = [sys.executable, "-m", "datamover", "monitor", "--log-json"]
        words += ["--listen", f"127.0.0.1:{self.port}", *options]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - tests run what they say
                words, stderr=log, stdin=subprocess.DEVNULL, env=self.environment
            )

    def events(self, name: str = "") -> list[dict[str, object]]:
        """Return what it logged, or what it logged of one kind."""
        lines = self.log_path.read_text().splitlines()
        assert not [line for line in lines if "Traceback" in line]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in found if name in {"", one["event"]}]

    def wait_event(self, name: str, count: int = 1) -> dict[str, object]:
        """Wait until it has logged something so many times; return the last."""

        def come() -> object:
            assert self.process.poll() is None or self.events(name), self.log_path.read_text()
            return len(self.events(name)) >= count

        until(come, f"{name} in {self.log_path.read_text()}")
        return self.events(name)[count - 1]

    def connect(self) -> socket.socket:
        """Connect to its port."""
        return socket.create_connection(("127.0.0.1", self.port), 5)

    def local(self) -> Peer:
        """Begin a conversation with it as its user."""
        return reach_socket(self.runtime / "monitor.sock", name="here")

    def program(self) -> LocalMonitor:
        """Begin a conversation as a program does."""
        return LocalMonitor.reach(self.runtime)

    def datamover(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the same folders."""
        return subprocess.run(  # noqa: S603 - tests run what they say
            [sys.executable, "-m", "datamover", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_BOUND_S,
            check=False,
        )

    def end(self) -> int:
        """Ask it to end, and return its status."""
        self.process.terminate()
        return self.process.wait(_BOUND_S)

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait(_BOUND_S)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
