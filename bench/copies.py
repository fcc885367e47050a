"""Copies on one machine, RAM to RAM, beside cp, rsync and tar: wall and processor seconds.

    python bench/copies.py [--runs 5] [--place /dev/shm]

100,000 small files, then one of 2 GB; commands whole, start included; interleaved, medians.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def fill(root: Path) -> None:
    for folder in range(500):
        (root / "small" / f"d{folder:03}").mkdir(parents=True)
        for number in range(200):
            size = 1000 + number * 37 % 3000
            (root / "small" / f"d{folder:03}" / f"f{number:03}").write_bytes(os.urandom(size))
    (root / "large").mkdir()
    with (root / "large" / "file").open("wb") as file:
        for _ in range(2000):
            file.write(os.urandom(1 << 20))


def timed(command: str) -> tuple[float, float]:
    before, begin = os.times(), time.perf_counter()
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begin, os.times()
    user = after.children_user - before.children_user
    return seconds, user + after.children_system - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--place", default="/dev/shm")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="copies-", dir=given.place))
    try:
        fill(root)
        target = root / "target"
        program = f"{sys.executable} -m datamover copy --quiet"
        for name in ("small", "large"):
            source = root / name
            commands = {
                "datamover": f"{program} {source} {target}",
                "datamover --through-buffers": f"{program} --through-buffers {source} {target}",
                "cp -a": f"cp -a {source} {target}",
                "rsync -a": f"rsync -a --whole-file {source}/ {target}",
                "tar | tar": f"mkdir {target}; tar -C {source} -cf - . | tar -C {target} -xf -",
            }
            found: dict[str, list[tuple[float, float]]] = {word: [] for word in commands}
            for _ in range(given.runs):
                for word, command in commands.items():
                    shutil.rmtree(target, ignore_errors=True)
                    found[word].append(timed(command))
            for word, runs in found.items():
                wall, cpu = (statistics.median(one) for one in zip(*runs, strict=True))
                print(f"{name:6} {word:28} {wall:6.2f} s  {cpu:6.2f} processor seconds")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
