"""What every benchmark shares: options, interleaved runs, process groups, medians, results.

Runs of the things that are compared are interleaved (A B C, then B C A, ...), because a machine
that others use changes from minute to minute: only ratios of one run mean anything.  Nothing here
asserts a time; targets are printed beside what was measured.

Source: docs/PERFORMANCE.md.
"""

from __future__ import annotations

import argparse
import compileall
import ctypes
import importlib.util
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "Cost",
    "Report",
    "arguments",
    "cache",
    "compare",
    "group_pss",
    "machine",
    "median",
    "run_group",
    "tool_version",
]

RESULTS = Path(__file__).parent / "results"
PASSPHRASE = "benchmark"  # not a secret: what it protects is deleted at the end
_PR_SET_CHILD_SUBREAPER = 36


def arguments(
    about: str | None, **more: Callable[[argparse.ArgumentParser], Any]
) -> argparse.Namespace:
    """Parse the options that all benchmarks have, and those that ``more`` adds."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=None, help="rounds (default: 5, quick: 2)")
    parser.add_argument(
        "--quick", action="store_true", help="small data: a smoke test, not a number"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    for add in more.values():
        add(parser)
    given = parser.parse_args()
    _install()
    given.runs = given.runs or (2 if given.quick else 5)
    return given


def _install() -> None:
    """Compile the program as its installation does, or each start of it would do so again."""
    found = importlib.util.find_spec("datamover")
    for folder in (found and found.submodule_search_locations) or ():
        compileall.compile_dir(folder, quiet=2)


def machine() -> dict[str, Any]:
    """Name the machine by what it is, not by what it is called."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def tool_version(*command: str) -> str:
    """Return the first number-like word that a tool prints of itself, "" when it is not there."""
    if shutil.which(command[0]) is None:
        return ""
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    words = [word.strip("v,*") for word in text.split()]
    return next((word for word in words if word[:1].isdigit()), "?")


def cache() -> Path:
    """The folder for data sets and outputs: on a real disk, kept between runs."""
    path = Path(os.environ.get("DATAMOVER_BENCH") or os.environ.get("TMPDIR") or "/var/tmp") / (
        "datamover-bench"
    )
    path.mkdir(parents=True, exist_ok=True)
    return path


def median(values: Sequence[float]) -> float:
    """The middle of ``values``; 0 when there are none."""
    return statistics.median(values) if values else 0.0


@dataclass(slots=True)
class Cost:
    """What one run of a command cost: the whole group, from start to the last exit."""

    seconds: float
    cpu_s: float
    status: int
    peak_pss: int = 0
    stderr: str = ""


def run_group(
    command: Sequence[str] | str,
    *,
    memory: bool = False,
    environment: Mapping[str, str] | None = None,
    limit: float = 1800,
) -> Cost:
    """Run a command (a string: with bash, pipefail) in a session of its own and wait for all of it.

    Orphans come back to this process (it makes itself their reaper), so their CPU time counts too.

    Args:
        memory: sample the sum of PSS; costs time, so do it in a run of its own.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if isinstance(command, str):
        command = ["bash", "-o", "pipefail", "-c", command]
    settings = {**os.environ, "DATAMOVER_PASSPHRASE": PASSPHRASE, **(environment or {})}
    # An installed program is compiled; one of a checkout must not be compiled again in each run.
    settings.pop("PYTHONDONTWRITEBYTECODE", None)
    before = os.times()
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=settings,
    )
    sampler = _Sampler(process.pid) if memory else None
    try:
        _, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, stderr = process.communicate()
    seconds = time.monotonic() - start
    _reap(process.pid)
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    peak = sampler.stop() if sampler else 0
    return Cost(seconds, cpu, process.returncode, peak, stderr.decode(errors="replace")[-2000:])


def group_pss(session: int) -> int:
    """Sum of the proportional set sizes, in bytes, of all processes of a session."""
    total = 0
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_bytes()
            if int(stat.rpartition(b")")[2].split()[3]) != session:
                continue
            for line in Path(entry.path, "smaps_rollup").read_bytes().splitlines():
                if line.startswith(b"Pss:"):
                    total += int(line.split()[1]) * 1024
                    break
        except (OSError, IndexError, ValueError):  # it ended while it was looked at
            continue
    return total


class _Sampler:
    def __init__(self, session: int, every: float = 0.05) -> None:
        self._session, self._every, self._peak = session, every, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.wait(self._every):
            self._peak = max(self._peak, group_pss(self._session))

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak


def _reap(session: int, limit: float = 30) -> None:
    """Wait for orphans of the group that ``session`` leads."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-session, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(0.005)


def compare(
    runs: int, candidates: Mapping[str, Callable[[int], Any]], *, quiet: bool = False
) -> dict[str, list[Any]]:
    """Call each candidate once a round, in a turning order; return what each returned, by round."""
    names = list(candidates)
    found: dict[str, list[Any]] = {name: [] for name in names}
    for number in range(runs):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(candidates[name](number))
            if not quiet:
                print(
                    f"  round {number + 1}/{runs}: {name}: {_short(found[name][-1])}",
                    file=sys.stderr,
                )
    return found


def _short(value: Any) -> str:
    if isinstance(value, Cost):
        failed = f", status {value.status}: {value.stderr[-300:]}" if value.status else ""
        return f"{value.seconds:.2f} s, {value.cpu_s:.2f} CPU s{failed}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(slots=True)
class Report:
    """The rows of one benchmark, printed as a table or as JSON and kept in bench/results/."""

    name: str
    settings: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=machine)

    def row(self, what: str, **values: Any) -> None:
        """Add a line; every line may have its own columns."""
        self.rows.append({"what": what, **values})

    def target(self, what: str, value: float, wanted: float, *, at_least: bool) -> None:
        """Put what was measured beside what is wanted; nobody fails here."""
        met = value >= wanted if at_least else value <= wanted
        sign = ">=" if at_least else "<="
        self.targets.append(
            {"what": what, "value": round(value, 3), "wanted": f"{sign} {wanted:g}", "met": met}
        )

    def finish(self, *, as_json: bool) -> None:
        """Print, and keep a copy."""
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps({**asdict(self), "commit": _commit()}, indent=1)
        stamp = time.strftime("%Y%m%dT%H%M%S")
        (RESULTS / f"{self.name}-{stamp}.json").write_text(text)
        print(text if as_json else self._table())

    def _table(self) -> str:
        lines = [f"# {self.name}: " + ", ".join(f"{k} {v}" for k, v in self.machine.items())]
        lines.append("# " + ", ".join(f"{k} {v}" for k, v in self.settings.items()))
        width = max((len(str(row["what"])) for row in self.rows), default=10)
        for row in self.rows:
            cells = [f"{k} {_cell(v)}" for k, v in row.items() if k != "what"]
            lines.append(f"{row['what']!s:{width}}  " + "  ".join(cells))
        for goal in self.targets:
            word = "met" if goal["met"] else "MISSED"
            lines.append(
                f"target {word:6}  {goal['what']}: {goal['value']} (wanted {goal['wanted']})"
            )
        return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
