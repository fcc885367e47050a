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
from typing import Any

from hops import results
from measure import Report, arguments, median

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


def cycle(stages: int = 6) -> tuple[float, float, float]:
    """Run an empty pipe; return milliseconds to up, from end to down, and in all."""
    middles = [between.stage(name=f"between{number}") for number in range(stages - 2)]
    spec = datamover.PipeSpec(name="startup", stages=[first.stage(), *middles, last.stage()])
    start = time.monotonic()
    outcome = datamover.run(spec)
    end = time.monotonic()
    found = [value for _, value in results(outcome)]
    assert len(found) == stages, f"{len(found)} of {stages} results came"
    up = max(float(one["entered"]) for one in found) - start
    down = end - max(float(one["left"]) for one in found)
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
    cold = cycle()
    report.row("first run (starts the fork server)", up_ms=cold[0], down_ms=cold[1], all_ms=cold[2])
    found = [cycle() for _ in range(max(given.runs, 5))]
    names = ("up_ms", "down_ms", "all_ms")
    middle = dict(zip(names, map(median, zip(*found, strict=True)), strict=True))
    report.row("warm, median", **middle)
    report.row("warm, worst", **dict(zip(names, map(max, zip(*found, strict=True)), strict=True)))
    report.target("up, ms", middle["up_ms"], 150, at_least=False)
    report.target("down, ms", middle["down_ms"], 50, at_least=False)
    if given.cycles:
        before = left()
        start = time.monotonic()
        for _ in range(given.cycles):
            cycle()
        report.row(f"{given.cycles} cycles", s=time.monotonic() - start)
        after = left()
        for name, value in before.items():
            report.row(name, before=value, after=after[name])
            if name != "resident KiB":
                report.target(f"{name}: more than before", after[name] - value, 0, at_least=False)
    report.finish(as_json=given.json)


if __name__ == "__main__":
    main()
