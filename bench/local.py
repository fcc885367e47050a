"""Back up a large tar into a store on the same disk and restore it, beside zstd, restic and borg.

What is timed is the whole command: program start, work, and for ours also inspection, checksums,
encryption and fsync, which zstd does not do (its variant with `sync` at least makes data durable).

With --tree the source is the same data as files, and the others are `tar | zstd` and its opposite.

    python bench/local.py [--runs 5] [--quick] [--json] [--peers] [--megabytes 1200] [--tree]
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from data import large_tar, mean_size, unpacked, warm
from measure import Cost, Report, arguments, compare, median, tool_version
from tools import PEERS, TAR, Job, Tool, datamover_tool, is_ready

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["add_rows", "measure", "ratio"]

ZSTD = (
    Tool(
        name="zstd -T2 -1",
        save="zstd -T2 -1 -f -q $SRC -o $OUT/z",
        restore="zstd -d -q -c $OUT/z > $DST/file",
    ),
    Tool(
        name="zstd -T2 -1, sync",
        save="zstd -T2 -1 -f -q $SRC -o $OUT/z; sync -f $OUT/z",
        restore="zstd -d -q -c $OUT/z > $DST/file; sync $DST/file",
    ),
)


def measure(
    job: Job, tools: Sequence[Tool], runs: int, *, memory: bool = True
) -> dict[str, dict[str, list[Cost]]]:
    """Save and restore in turns; one more round of each with memory looked at."""
    found = {"save": compare(runs, {tool.name: job.saver(tool) for tool in tools})}
    stored = job.stored(tools)
    # Ours writes past the page cache: read everybody's back, so that all restore from memory.
    for folder in job.saved.values():
        warm(folder)
    able = [tool for tool in tools if tool.restore]
    found["restore"] = compare(runs, {tool.name: job.restorer(tool) for tool in able})
    if memory:
        found["memory save"] = compare(1, {t.name: job.saver(t, memory=True) for t in tools})
        found["memory restore"] = compare(1, {t.name: job.restorer(t, memory=True) for t in able})
    for name, costs in found["save"].items():
        for cost in costs:
            cost.stderr = str(stored[name])  # carried along for the table
    return found


def add_rows(report: Report, found: Mapping[str, Mapping[str, list[Cost]]], size: int) -> None:
    """A row a tool and direction; rates are of source bytes."""
    for what in ("save", "restore"):
        for name, costs in found[what].items():
            good = [cost for cost in costs if cost.status == 0]
            if not good:
                report.row(f"{what}  {name}", failed=costs[-1].status)
                continue
            seconds = [cost.seconds for cost in good]
            more: dict[str, Any] = {}
            if peak := found.get(f"memory {what}", {}).get(name):
                more["pss_mib"] = round(peak[0].peak_pss / 2**20)
            if what == "save":
                more["stored_mb"] = int(good[-1].stderr) // 10**6
            report.row(
                f"{what:7} {name}",
                s=median(seconds),
                low=min(seconds),
                high=max(seconds),
                mb_s=size / 1e6 / median(seconds),
                cpu_s=median([cost.cpu_s for cost in good]),
                **more,
            )


def ratio(costs: Mapping[str, list[Cost]], ours: str, other: str) -> float:
    """How many times faster than ``other`` ours is: the median of the ratios of each round."""
    pairs = zip(costs[ours], costs[other], strict=True)
    return median([b.seconds / a.seconds for a, b in pairs if not a.status | b.status])


def main() -> None:
    given = arguments(
        __doc__,
        peers=lambda p: p.add_argument("--peers", action="store_true", help="also restic and borg"),
        size=lambda p: p.add_argument("--megabytes", type=int, default=0),
        tree=lambda p: p.add_argument(
            "--tree", action="store_true", help="what is in the tar, as files"
        ),
    )
    megabytes = given.megabytes or (150 if given.quick else 1200)
    source = unpacked(megabytes) if given.tree else large_tar(megabytes)
    warm(source)
    _, size = mean_size(source)
    others = TAR if given.tree else ZSTD
    ours = [datamover_tool()] if is_ready() else []
    peers = [tool for tool in PEERS if given.peers and shutil.which(tool.name)]
    tools = [*ours, *others, *peers]
    report = Report(
        "local",
        {
            "source": source.name,
            "bytes": size,
            "runs": given.runs,
            "zstd": tool_version("zstd", "--version").rstrip(","),
            **{
                tool.name: tool_version(
                    tool.name, "version" if tool.name == "restic" else "--version"
                )
                for tool in peers
            },
        },
    )
    job = Job(source)
    try:
        found = measure(job, tools, given.runs)
    finally:
        job.clean()
    add_rows(report, found, size)
    if ours:
        name = ours[0].name
        for other in others:
            report.target(
                f"backup: times {other.name}",
                ratio(found["save"], name, other.name),
                1.2,
                at_least=True,
            )
            report.target(
                f"restore: times its opposite of {other.name}",
                ratio(found["restore"], name, other.name),
                1,
                at_least=True,
            )
        if peers:
            best = min(ratio(found["save"], name, tool.name) for tool in peers)
            report.target("backup: times the fastest of restic and borg", best, 2, at_least=True)
    report.finish(as_json=given.json)


if __name__ == "__main__":
    main()
