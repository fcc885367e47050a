"""Copy from one machine to another, beside rsync, tar through pipes, rclone, and iperf3, the limit.

Cases: `loopback` (large files in memory), `small` (many small files in memory), and on hosts made
of network namespaces, as root: `links` (200 + 100 Mbit/s), `line` (1 Gbit/s, incompressible),
`delay` (25 ms each way, 800 Mbit/s, a window of 1 MiB a connection).

What is timed is the whole command on the near side, from its start until all files are there; the
processor time is that of both sides.  Every mover's first result is compared with the source.

    python bench/network.py [--case loopback ...] [--runs 5] [--quick] [--json] [--megabytes 2000]
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from data import large_tar, mean_size, small_files, warm
from local import ratio
from measure import Report, arguments, cache, compare, median, tool_version
from movers import IPERF3, MBUFFER, PEERS, RSYNC, TAR_NC, Mover, available, iperf3
from ours import BACKUP, CLEAR, LOCAL, SEALED, datamover_movers, enroll
from route import Route

from datamover.testing.hosts import Network, hosts_available

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from measure import Cost

__all__: list[str] = []

CASES = ("loopback", "small", "links", "line", "delay")
_PARTS = 8


@contextmanager
def memory() -> Iterator[Path]:
    """A folder in memory: a file system of its own where that is permitted, else /dev/shm."""
    place = cache() / f"memory-{os.getpid()}"
    place.mkdir()
    mounted = os.geteuid() == 0 and not os.system(f"mount -t tmpfs -o size=90% tmpfs {place}")
    root = place if mounted else Path(f"/dev/shm/datamover-bench-{os.getpid()}")
    try:
        root.mkdir(exist_ok=True)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)
        if mounted:
            os.system(f"umount -l {place}")
        shutil.rmtree(place, ignore_errors=True)


def large(root: Path, megabytes: int) -> Path:
    """Files of the system's programs and libraries, as many bytes as wanted."""
    folder = root / "large"
    folder.mkdir()
    with large_tar(megabytes).open("rb") as tar:
        part = megabytes * 10**6 // _PARTS
        for number in range(_PARTS):
            (folder / f"part-{number}").write_bytes(tar.read(part))
    return folder


def noise(root: Path, megabytes: int) -> Path:
    """Files that nothing makes smaller."""
    folder, random = root / "noise", Random(5)
    folder.mkdir()
    for number in range(_PARTS):
        (folder / f"part-{number}").write_bytes(random.randbytes(megabytes * 10**6 // _PARTS))
    return folder


def small(root: Path, files: int) -> Path:
    """Many small files."""
    folder = root / "small"
    warm(small_files(files))
    subprocess.run(["cp", "-a", str(small_files(files)), str(folder)], check=True)
    return folder


class Bench:
    """The cases, and the report they write into."""

    def __init__(self, given: Namespace, report: Report, root: Path) -> None:
        self.given, self.report, self.root = given, report, root

    def run(self, case: str) -> None:
        print(f"{case}:", file=sys.stderr)
        getattr(self, f"case_{case}")()

    def case_loopback(self) -> None:
        source = large(self.root, self.given.megabytes)
        movers = (IPERF3, iperf3(2), *datamover_movers(("--paths", "2")), *PEERS, *LOCAL)
        with self.alone(source) as route:
            found = self.measure("loopback", route, movers)
        for ours, rsync, mbuffer in ((CLEAR, 1.8, 2.5), (SEALED, 1.5, 2.0)):
            for other, wanted in ((RSYNC, rsync), (MBUFFER, mbuffer)):
                self.faster("loopback", found, ours, other, wanted)
        shutil.rmtree(source)

    def case_small(self) -> None:
        source = small(self.root, self.given.files)
        # rclone takes a millisecond and more for a file: seen with few, left out with many.
        peers = [mover for mover in PEERS if self.given.quick or "rclone" not in mover.name]
        movers = (*datamover_movers(("--paths", "2")), *peers, *LOCAL)
        with self.alone(source) as route:
            found = self.measure("small", route, movers, most=3)
        for ours in (CLEAR, SEALED):
            for other in (RSYNC, TAR_NC):
                self.faster("small", found, ours, other, 1.0)
        shutil.rmtree(source)

    def case_links(self) -> None:
        source = noise(self.root, self.given.megabytes // 4)
        with Network("near", "far") as network:
            near, far = network.hosts
            links = [network.connect(near, far, mbit=mbit) for mbit in (200, 100)]
            route = self.between(network, source, links[0])
            more = {
                "VIA": ",".join(link.name for link in links),
                "HOST2": links[1].address(far),
            }
            route.near_more |= more
            route.far_more |= more
            movers = (
                IPERF3,
                both_links(),
                *datamover_movers(("--paths", "2", "--via", "$VIA")),
                RSYNC,
                MBUFFER,
            )
            found = self.measure("links", route, movers, most=3)
        self.share(
            "links", found, 300 * 1448 / 1514, 0.95, "the payload that 200 + 100 Mbit/s carry"
        )
        shutil.rmtree(source)

    def case_line(self) -> None:
        source = noise(self.root, self.given.megabytes)
        with Network("near", "far") as network:
            link = network.connect(*network.hosts, mbit=1000, mtu=9000)
            route = self.between(network, source, link)
            movers = (IPERF3, *datamover_movers(("--paths", "1")), RSYNC, MBUFFER)
            found = self.measure("line", route, movers, most=3)
        self.share("line", found, 1000, 0.97, "a line of 1 Gbit/s")
        shutil.rmtree(source)

    def case_delay(self) -> None:
        source = noise(self.root, self.given.megabytes // 5)
        with Network("near", "far") as network:
            near, far = network.hosts
            line = network.long_line(near, far, delay_ms=25, mbit=800, window=1 << 20)
            route = self.between(network, source, line)
            paths = [
                Mover(**{**fields(mover), "name": f"{mover.name}, {number} paths"})
                for number in (1, 2, 4, 8, "auto")
                for mover in datamover_movers(("--paths", str(number)))
                if mover.name in {SEALED, BACKUP}
            ]
            # mbuffer lets in whom it was told of, and here comes the middle of the line.
            movers = (*(iperf3(number) for number in (1, 2, 4, 8)), *paths, RSYNC, TAR_NC)
            self.measure("delay", route, movers, most=3)
        shutil.rmtree(source)

    @contextmanager
    def alone(self, source: Path) -> Iterator[Route]:
        """One machine twice, each time with its own settings; ports are its own where possible."""
        with ExitStack() as stack:
            prefix: tuple[str, ...] = ()
            if hosts_available():
                prefix = stack.enter_context(Network("one")).hosts[0].prefix
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dm-bench-"))
            sides = [_side(Path(folder, name)) for name in ("near", "far")]
            yield Route(
                source=source,
                work=self.root,
                near=prefix,
                far=prefix,
                near_more={**sides[0], "MEMBER": "localhost"},
                far_more={**sides[1], "MEMBER": "localhost"},
            )

    def between(self, network, source: Path, link) -> Route:
        near, far = network.hosts
        return Route(
            source=source,
            work=self.root,
            near=near.prefix,
            far=far.prefix,
            host=link.address(far),
            near_host=link.address(near),
            near_more={**near.environment, "MEMBER": far.name},
            far_more={**far.environment, "MEMBER": far.name},
        )

    def measure(
        self, case: str, route: Route, movers: Sequence[Mover], *, most: int = 99
    ) -> dict[str, list[Cost]]:
        _, size = mean_size(route.source)
        enroll(route)
        wanted = self.given.only or [""]
        able = [m for m in movers if available(m) and any(word in m.name for word in wanted)]
        runs = min(self.given.runs, most)
        found = compare(runs, {mover.name: route.runner(mover, size) for mover in able})
        for name, costs in found.items():
            good = [cost for cost in costs if cost.status == 0]
            if not good:
                self.report.row(f"{case:9} {name}", failed=costs[-1].status)
                continue
            seconds = [cost.seconds for cost in good]
            self.report.row(
                f"{case:9} {name}",
                s=median(seconds),
                low=min(seconds),
                high=max(seconds),
                mb_s=size / 1e6 / median(seconds),
                cpu_s=median([cost.cpu_s for cost in good]),
                runs=len(good),
            )
        return found

    def faster(self, case: str, found, ours: str, other: Mover, wanted: float) -> None:
        if ours in found and other.name in found:
            times = ratio(found, ours, other.name)
            self.report.target(f"{case}: {ours}: times {other.name}", times, wanted, at_least=True)

    def share(self, case: str, found, mbit: float, wanted: float, of: str) -> None:
        for ours in (CLEAR, SEALED):
            good = [cost.seconds for cost in found.get(ours, ()) if cost.status == 0]
            if good:
                _, size = mean_size(self.root / "noise")
                value = size * 8 / median(good) / (mbit * 1e6)
                self.report.target(f"{case}: {ours}: of {of}", value, wanted, at_least=True)


def both_links() -> Mover:
    """The limit of two links: an iperf3 on each, with as much as its rate deserves."""
    return Mover(
        name="iperf3 on both links",
        needs=("iperf3",),
        serve="iperf3 -s -1 -B $HOST2 -p $((PORT + 20000)) & iperf3 -s -1 -B $HOST -p $PORT; wait",
        copy="iperf3 -c $HOST2 -p $((PORT + 20000)) -n $((BYTES / 3)) & "
        "iperf3 -c $HOST -p $PORT -n $((BYTES * 2 / 3)); wait",
        files=False,
    )


def fields(mover: Mover) -> dict[str, object]:
    return {name: getattr(mover, name) for name in Mover.__slots__}


def _side(folder: Path) -> dict[str, str]:
    parts = {"DATAMOVER_CONFIG": "config", "DATAMOVER_RUNTIME": "run", "TMPDIR": "tmp"}
    for part in parts.values():
        (folder / part).mkdir(parents=True, mode=0o700)
    return {name: str(folder / part) for name, part in parts.items()}


def main() -> None:
    given = arguments(
        __doc__,
        case=lambda p: p.add_argument("--case", nargs="+", choices=CASES, default=CASES),
        only=lambda p: p.add_argument(
            "--only", nargs="+", help="movers whose name has such a word"
        ),
        size=lambda p: p.add_argument("--megabytes", type=int, default=0),
        files=lambda p: p.add_argument("--files", type=int, default=0),
    )
    given.megabytes = given.megabytes or (160 if given.quick else 2000)
    given.files = given.files or (5_000 if given.quick else 100_000)
    versions = {
        "iperf3": tool_version("iperf3", "--version"),
        "rsync": tool_version("rsync", "--version"),
        "zstd": tool_version("zstd", "--version"),
        "rclone": tool_version(shlex.split(os.environ.get("RCLONE", "rclone"))[0], "version"),
    }
    settings = {"megabytes": given.megabytes, "files": given.files, "runs": given.runs, **versions}
    report = Report("network", settings)
    # So that an end from outside takes hosts and memory away, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        bench = Bench(given, report, stack.enter_context(memory()))
        for case in given.case:
            if case in {"links", "line", "delay"} and not (able := hosts_available()):
                print(f"{case}: left out: {able.reason}", file=sys.stderr)
                continue
            bench.run(case)
    report.finish(as_json=given.json)


if __name__ == "__main__":
    main()
