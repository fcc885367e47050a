"""Files a second of scan, collect and restore alone, beside tar, on a tree of small files.

    python bench/small_files.py [--files 20000] [--rounds 5] [--profile scan|collect|restore]
    python bench/small_files.py --tree /some/folder    (scan and collect only)

The stages run one after another in this process, over a port that keeps blocks in memory, so each
number is one stage's cost with a warm page cache and nobody to wait for.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import nullcontext
from random import Random

from datamover.shm.buffer import TAG_SIZE, TRAILER_SIZE
from datamover.stages.head import scan
from datamover.stages.middle import collect
from datamover.stages.tail import restore

BUFFER_SIZE = 1 << 20
SLOTS = []
CPU = {}


class Slot:
    """A buffer that outlives its handles, for one stage after another to use."""

    def __init__(self):
        # Written once, as a pool's are: a stage is not charged for the kernel's first touch.
        self.data = memoryview(bytearray(b"\1") * (BUFFER_SIZE + TRAILER_SIZE))
        self.tag = memoryview(bytearray(TAG_SIZE))
        self.used = self.tag_used = self.sequence = 0

    @property
    def payload(self):
        return self.data[: self.used]


class Shelf:
    """A port that hands out fresh buffers, takes them back as they are, and plays them again."""

    buffer_size = BUFFER_SIZE
    stage, instance, instances = "bench", 0, 1

    def __init__(self, inputs=()):
        self.inputs, self.sent, self.notices, self.results = inputs, [], 0, {}

    def alloc(self, *, timeout=None):  # noqa: ARG002 - as the port says
        if len(self.sent) == len(SLOTS):
            SLOTS.append(Slot())
        return SLOTS[len(self.sent)]

    def send(self, buffer, *, sequence=None):  # noqa: ARG002
        self.sent.append(buffer)

    def free(self, buffer):
        pass

    def incoming(self):
        return iter(self.inputs)

    def waiting(self, what):  # noqa: ARG002
        return nullcontext()

    def check(self):
        pass

    def count(self, *given, **named):
        pass

    def notice(self, kind, **given):
        self.notices += 1
        print("notice:", kind, given)

    def result(self, values):
        self.results = dict(values)


def make(root, files):
    """Sizes like those of source trees: most below 8 KiB, 20 files a directory."""
    random = Random(1)
    for number in range(files):
        folder = os.path.join(root, f"{number // 2000:03}", f"{number // 20 % 100:02}")
        if number % 20 == 0:
            os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"file-{number:06}.txt"), "wb") as file:
            file.write(b"x" * int(random.expovariate(1 / 5000)))


def run(name, stage, settings, inputs, profile):
    port = Shelf(inputs)
    profiler = cProfile.Profile() if profile == name else None
    start, cpu = time.perf_counter(), time.process_time()
    if profiler:
        profiler.runcall(stage.run, port, settings)
    else:
        stage.run(port, settings)
    CPU.setdefault(name, []).append(time.process_time() - cpu)
    took = time.perf_counter() - start
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(18)
    return port, took


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", default="")
    parser.add_argument("--folder", default=None, help="where to put the trees")
    parser.add_argument("--tree", default=None, help="an absolute path, only read")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = options.tree or os.path.join(folder, "tree")
        times = {"scan": [], "collect": [], "restore": [], "tar": []}
        if options.tree:
            times = {"scan": [], "collect": []}
        else:
            make(root, options.files)
        entries = files = 0
        for _ in range(options.rounds):
            port, took = run("scan", scan, scan.Settings(roots=(root,)), (), options.profile)
            times["scan"].append(took)
            files = port.results["files"]
            entries = files + port.results["directories"]
            port, took = run(
                "collect", collect, collect.Settings(roots=(root,)), port.sent, options.profile
            )
            times["collect"].append(took)
            if options.tree:
                continue
            back = os.path.join(folder, "back")
            settings = restore.Settings(destination=back, sync=False)
            port, took = run("restore", restore, settings, port.sent, options.profile)
            times["restore"].append(took)
            shutil.rmtree(back)
            start = time.perf_counter()
            subprocess.run(f"tar cf - -C {folder} tree | cat > /dev/null", shell=True, check=True)
            times["tar"].append(time.perf_counter() - start)
    files = files or options.files
    print(f"{files} files, {entries} entries, {options.rounds} rounds, medians")
    for name, taken in times.items():
        took, cpu = statistics.median(taken), min(CPU.get(name, [0]))
        each, work = took / entries * 1e6, cpu / entries * 1e6
        print(f"{name:8} {entries / took:9,.0f} entries/s {each:6.2f} us, least CPU {work:6.2f} us")


if __name__ == "__main__":
    main()
