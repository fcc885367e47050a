"""How long a pipe of six stages takes to be up and to be down, and what a thousand of them leave.

Up: from the call of ``run`` until the last task has entered its stage.  Down: from the end of
the last stage until ``run`` returns.  Stages tell both times themselves (the monotonic clock is the
same in all processes), so nothing but the public interface is measured.

    python bench/startup.py [--runs 5] [--quick] [--json] [--cycles 1000]
"""

from __future__ import annotations

import glob
import os
import time
from typing import TYPE_CHECKING, Any

from measure import Report, arguments, median

if TYPE_CHECKING:
    from collections.abc import Iterable

import datamover


@datamover.head
def first(port: Any) -> None:
    entered = time.monotonic()
    port.result({"entered": entered, "left": time.monotonic()})


@datamover.middle
def between(port: Any) -> None:
    entered = time.monotonic()
    for buffer in port.incoming():
        port.send(buffer)
    port.result({"entered": entered, "left": time.monotonic()})


@datamover.tail
def last(port: Any) -> None:
    entered = time.monotonic()
    for buffer in port.incoming():
        port.free(buffer)
    port.result({"entered": entered, "left": time.monotonic()})


def cycle(monitor: datamover.Monitor, stages: int = 6) -> tuple[float, float, float]:
    """Run an empty pipe; return milliseconds to up, from end to down, and in all."""
    middles = [between.stage(name=f"between{number}") for number in range(stages - 2)]
    spec = datamover.PipeSpec(name="startup", stages=[first.stage(), *middles, last.stage()])
    start = time.monotonic()
    outcome = monitor.start(spec).wait()
    end = time.monotonic()
    found = [one for instances in outcome.results.values() for one in instances]
    assert len(found) == stages, f"{len(found)} of {stages} results came"
    up = max(float(str(one["entered"])) for one in found) - start
    down = end - max(float(str(one["left"])) for one in found)
    return up * 1000, down * 1000, (end - start) * 1000


def left() -> dict[str, int]:
    """What this process holds: a leak shows here after many cycles."""
    me = os.getpid()
    children = 0
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, "rb") as file:
                children += int(file.read().rpartition(b")")[2].split()[3]) == os.getsid(me)
        except OSError:
            continue
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes in the session": children,
        "files in /dev/shm": len(os.listdir("/dev/shm")),
        "files in the temporary folder": len(os.listdir(os.environ.get("TMPDIR", "/tmp"))),
        "resident KiB": int(open("/proc/self/statm").read().split()[1]) * 4,
    }


def main() -> None:
    given = arguments(
        __doc__,
        cycles=lambda p: p.add_argument("--cycles", type=int, default=0),
    )
    report = Report("startup", {"stages": 6, "runs": given.runs})
    names = ("up_ms", "down_ms", "all_ms")
    with datamover.Monitor() as monitor:
        report.row("first run (starts the fork server)", **_named(names, cycle(monitor)))
        found = [cycle(monitor) for _ in range(max(given.runs, 5) * 4)]
        middle = _named(names, map(median, zip(*found, strict=True)))
        report.row("warm, median", **middle)
        report.row("warm, worst", **_named(names, map(max, zip(*found, strict=True))))
        report.target("up, ms", middle["up_ms"], 150, at_least=False)
        report.target("down, ms", middle["down_ms"], 50, at_least=False)
        if given.cycles:
            many(report, monitor, given.cycles)
    report.finish(as_json=given.json)


def many(report: Report, monitor: datamover.Monitor, cycles: int) -> None:
    """Start and stop pipes again and again, and look what has grown."""
    before = left()
    start = time.monotonic()
    for _ in range(cycles):
        cycle(monitor)
    report.row(f"{cycles} cycles", s=time.monotonic() - start)
    after = left()
    for name, value in before.items():
        report.row(name, before=value, after=after[name])
        if name != "resident KiB":
            report.target(f"{name}: more than before", after[name] - value, 0, at_least=False)


def _named(names: tuple[str, ...], values: Iterable[float]) -> dict[str, float]:
    return dict(zip(names, values, strict=True))


if __name__ == "__main__":
    main()
