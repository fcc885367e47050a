"""Peak memory of the whole process group, for few files and for a hundred times as many.

The sum of the proportional set sizes (PSS) counts each shared page once, so the pool is in it once.
What is wanted: pool + a constant, the same for both.

    python bench/memory.py [--runs 2] [--quick] [--json]
"""

from __future__ import annotations

from typing import Any

from data import tiny_files
from measure import Report, arguments, median
from tools import TAR, Job, datamover_tool, is_ready


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
    )
    counts = (1_000, 100_000) if given.quick else (10_000, 1_000_000)
    tool = datamover_tool() if is_ready() else TAR[0]
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
