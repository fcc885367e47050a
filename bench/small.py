"""Back up and restore 100,000 small files, beside `tar | zstd -T2 -1` to the same disk.

python bench/small.py [--runs 5] [--quick] [--json] [--files 100000] [--peers]
"""

from __future__ import annotations

import shutil

from data import mean_size, small_files, warm
from local import add_rows, measure, ratio
from measure import Report, arguments
from tools import PEERS, TAR, Job, datamover_tool, is_ready


def main() -> None:
    given = arguments(
        __doc__,
        files=lambda p: p.add_argument("--files", type=int, default=0),
        peers=lambda p: p.add_argument("--peers", action="store_true", help="also restic and borg"),
    )
    source = small_files(given.files or (5_000 if given.quick else 100_000))
    warm(source)
    count, size = mean_size(source)
    ours = [datamover_tool()] if is_ready() else []
    tools = [*ours, *TAR, *(tool for tool in PEERS if given.peers and shutil.which(tool.name))]
    settings = {"files": count, "bytes": size, "mean": size // count, "runs": given.runs}
    report = Report("small", settings)
    job = Job(source)
    try:
        found = measure(job, tools, given.runs, memory=not given.quick)
    finally:
        job.clean()
    add_rows(report, found, size)
    for row in report.rows:
        if "s" in row:
            row["files_s"] = round(count / row["s"])
    if ours:
        for what, word in (("save", "backup"), ("restore", "restore")):
            for other in TAR:
                value = ratio(found[what], ours[0].name, other.name)
                report.target(f"{word}: times {other.name}", value, 1, at_least=True)
    report.finish(as_json=given.json)


if __name__ == "__main__":
    main()
