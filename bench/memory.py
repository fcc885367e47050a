"""Peak memory of the whole process group, for few files and for a hundred times as many.

The sum of the proportional set sizes (PSS) counts each shared page once, so the pool is in it once.
What is wanted: pool + a constant, the same for both.  With ``--copy``, a copy to a second datamover
as if it were on another machine: the sum is that of both sides, and there are two pools.

    python bench/memory.py [--runs 2] [--quick] [--restore | --copy] [--json]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from data import tiny_files
from measure import Report, arguments, median
from tools import DATAMOVER, TAR, Job, Tool, datamover_tool, is_ready

# A remote shell that leaves the host's name away: the other side is this machine.
_SHELL = "sh -c 'shift; exec \\\"\\$@\\\"' rsh"
COPY = Tool(
    name="datamover copy",
    save=f'PATH={Path(sys.executable).parent}:$PATH DATAMOVER_RSH="{_SHELL}" '
    f"{DATAMOVER} copy $SRC/ far:$OUT/copy --json",
)


def main() -> None:
    given: Any = arguments(
        __doc__,
        pool=lambda p: p.add_argument(
            "--pool-mib",
            type=float,
            default=0.0,
            help="the pool's size, to print the constant beside it",
        ),
        restore=lambda p: p.add_argument("--restore", action="store_true"),
        copy=lambda p: p.add_argument("--copy", action="store_true"),
    )
    counts = (1_000, 100_000) if given.quick else (10_000, 1_000_000)
    tool = COPY if given.copy else datamover_tool() if is_ready() else TAR[0]
    report = Report("memory", {"tool": tool.name, "pool_mib": given.pool_mib})
    peaks: dict[str, dict[int, float]] = {}
    for count in counts:
        job = Job(tiny_files(count))
        try:
            for what, call in (("save", job.saver), ("restore", job.restorer)):
                if what == "restore" and not given.restore:
                    continue
                costs = [call(tool, memory=True)(n) for n in range(min(given.runs, 2))]
                peak = median([cost.peak_pss / 2**20 for cost in costs])
                peaks.setdefault(what, {})[count] = peak
                report.row(
                    f"{what:7} {count:9,} files",
                    pss_mib=peak,
                    constant_mib=peak - given.pool_mib,
                    s=costs[-1].seconds,
                    status=costs[-1].status,
                )
        finally:
            job.clean()
    for what, found in peaks.items():
        few, many = (found[count] for count in counts)
        report.target(
            f"{what}: memory for {counts[1]:,} files / for {counts[0]:,}",
            many / few,
            1.1,
            at_least=False,
        )
    report.finish(as_json=given.json)


if __name__ == "__main__":
    main()
